// The C interface of sdgo's core: devices, nets, values.
//
// A *net* is one neural network (a UNet, a text encoder, half an autoencoder)
// on one device, built from an architecture's name and hyperparameters. It
// lists the weights it requires; the caller binds bytes to each of them, loads
// the net, and runs it: named inputs in, named outputs out. Shapes are written
// in PyTorch's order, slowest dimension first. A tensor on a device has at most four
// dimensions, so of five the two slowest become one there (core/shape.h); their
// elements' order in memory stays.
//
// Errors. A function that can fail takes a `sdgo_error *`, which the caller
// owns, and returns false or NULL after filling it. Nothing is thrown, no
// error state is kept, and nothing calls back into the caller.
//
// Threads. Different nets may be used from different threads at once. One net takes one
// call at a time; the only thing that another thread may do meanwhile is to set the
// `cancel` flag that the call was given.
//
// Memory. On the CPU bound weights are used in place: the bytes must stay valid and
// unchanged until the net is freed. On other devices sdgo_net_load copies them and they
// may be freed, unless they are to be copied again. A net has a graph with its buffers for the names and
// shapes of the inputs, the names of the outputs and the adapters of a run, and keeps the two that were used
// last, so a sampling loop builds nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { SDGO_MAX_DIMS = 5 }; // a batch of videos: [N, C, T, H, W]

typedef enum {
    SDGO_OK = 0,
    SDGO_INVALID = 1,   // an argument the caller could have checked
    SDGO_NO_MEMORY = 2, // host or device memory ran out; `needed` has the size
    SDGO_CANCELLED = 3, // *cancel became non-zero
    SDGO_DEVICE = 4,    // the device failed
} sdgo_code;

typedef struct {
    sdgo_code code;
    uint64_t needed;   // bytes, with SDGO_NO_MEMORY; 0 if unknown
    char message[512]; // one line, no trailing full stop
} sdgo_error;

// Devices, in ggml's order. Loading plugins may add to them.
typedef enum { SDGO_CPU = 0, SDGO_GPU = 1, SDGO_IGPU = 2, SDGO_ACCEL = 3 } sdgo_device_kind;

typedef struct {
    const char *name;        // "CPU", "CUDA0", "Vulkan0", "Metal"; static
    const char *description; // static
    sdgo_device_kind kind;
    uint64_t memory_free, memory_total; // bytes
} sdgo_device_info;

// Loads a plugin of ggml's from the file `path`, and with it its devices. It must be
// built from sdgo_plugin_version, which the caller has checked in the file. To be
// called by one thread at a time, before anything else uses devices.
bool sdgo_plugin_load(const char *path, sdgo_error *err);

// The version of ggml's module that plugins must be built from; static.
const char *sdgo_plugin_version(void);

size_t sdgo_device_count(void);
bool sdgo_device_at(size_t index, sdgo_device_info *info);

// Sets of CPU operators, by the names that sdgo_net_new takes: this library's
// kernels, one set for each instruction set that they are compiled for, slowest
// first. `available` says whether this machine has the instructions. Returns false if
// index is beyond the last.
typedef struct {
    const char *name; // "generic", "avx2", …; static
    bool available;
} sdgo_kernels;

bool sdgo_kernels_at(size_t index, sdgo_kernels *set);

// One hyperparameter: a name and up to 16 numbers.
typedef struct {
    const char *name;
    double values[16];
    size_t count;
} sdgo_param;

typedef struct sdgo_net sdgo_net;

// Creates a net of architecture `arch` ("clip_text", "unet", "vae_decoder",
// "vae_encoder", "esrgan" …) on device `device`. `threads` is the number of CPU threads of
// a run. `kernels` chooses the CPU's operators: NULL the fastest kernels that there
// are, a name of sdgo_kernels_at's one set of them, "ggml" ggml's own operators.
// Hyperparameters are documented with each architecture.
sdgo_net *sdgo_net_new(const char *arch, const sdgo_param *params, size_t n_params, size_t device,
                       int threads, const char *kernels, sdgo_error *err);
void sdgo_net_free(sdgo_net *net);

typedef struct {
    const char
        *name; // as in the original checkpoints, without the network's prefix; lives as long as the net
    int n_dims;
    int64_t shape[SDGO_MAX_DIMS];
} sdgo_weight;

size_t sdgo_net_weight_count(const sdgo_net *net);
bool sdgo_net_weight_at(const sdgo_net *net, size_t index, sdgo_weight *weight);

// Binds bytes of ggml type `type` to weight `index`. The bytes hold the weight's
// elements in PyTorch's order, as safetensors and GGUF files do. `mapped` says that they are pages
// of a mapped file, which are given back to the system where the net keeps the weight in a form
// of its own (sdgo_net_keep): it reads them again if need be.
bool sdgo_net_bind(sdgo_net *net, size_t index, int type, const void *data, size_t size, bool mapped,
                   sdgo_error *err);

// Says that the caller has changed the bytes of some weights, between runs of a net that
// is loaded: they are copied to a device that is not the CPU, where it must have been
// loaded with `keep`. Only bytes that are used as they are can change: float32, at an
// address that is a multiple of four. The errors name a weight that was converted.
bool sdgo_net_changed(sdgo_net *net, const size_t *weights, size_t n_weights, sdgo_error *err);

// How weights come to a device that is not the CPU.
typedef struct {
    uint64_t memory;       // not 0: while the net runs, in groups that take at most that many bytes
    bool keep;             // the bound bytes stay, so that sdgo_net_unload is possible; implied by memory
    uint64_t *uploaded;    // NULL or a count of bytes, updated during the upload
    const int32_t *cancel; // NULL or a flag that ends it
} sdgo_load;

// Checks that every weight is bound and copies them to a device that is not
// the CPU. To be called once, before the first run.
bool sdgo_net_load(sdgo_net *net, const sdgo_load *how, sdgo_error *err);

// Frees what a net that was loaded with `keep` holds on a device that is not
// the CPU. The next run brings the weights back.
void sdgo_net_unload(sdgo_net *net);

// Choice of operators on a device that is not the CPU, or there with ggml's
// operators; of this library's kernels' precision; and of how gradients are computed.
typedef struct {
    bool direct_conv;      // direct convolutions, not matrix products of im2col
    bool flash_attention;  // stores no scores; keys and values are float16
    bool float32;          // wherever there is a choice of precision
    bool fast;             // this library's kernels may multiply numbers of 8 bits
    int gradient_segments; // parts whose tensors are computed a second time for gradients; 0 and 1: all are
                           // kept
} sdgo_op_choice;

// Times both kinds of convolution and of attention on a device and returns the
// faster ones. `side`, a multiple of 8 from 8 to 256, is the size of the trial in
// latent pixels: 64 is a UNet's, which takes a GPU milliseconds.
bool sdgo_device_tune(size_t device, int side, sdgo_op_choice *choice, sdgo_error *err);

// Chooses a net's operators. Its graphs are freed; the next run builds them again.
void sdgo_net_choose(sdgo_net *net, const sdgo_op_choice *choice);

// A tensor on a net's device, holding one output of one run.
typedef struct sdgo_value sdgo_value;

typedef enum { SDGO_F32 = 0, SDGO_F16 = 1, SDGO_I32 = 26 } sdgo_element;

typedef struct {
    const char *name;
    sdgo_element element;
    int n_dims;
    int64_t shape[SDGO_MAX_DIMS];
    const void *data;        // host memory, contiguous; or NULL and
    const sdgo_value *value; // a value of a net on the same device
} sdgo_input;

typedef struct {
    const char *name;
    float *data;       // host memory for `count` elements; or NULL to get
    size_t count;      // a value in `value`, which the caller frees
    sdgo_value *value; // set by a run where data is NULL
} sdgo_output;

// Changes to a net's weights that a run applies in addition to them (LoRA); the weights
// themselves stay as they are bound.
typedef struct sdgo_adapter sdgo_adapter;

// A change of one weight. Arrays are contiguous, in PyTorch's order.
//
// With `whole`, its elements take the place of the weight's, a vector's as SDGO_F32.
// Without it the layer adds up·diag(scale)·down to its product with the weight
// [out, in]: down is [rank, in], up [out, rank]. Of a convolution's weight
// [out, in, k, k] down is [rank, in, k, k], or [rank, in] if there is mid,
// [rank, rank, k, k], between the two.
typedef struct {
    size_t weight;        // index of the weight
    sdgo_element element; // SDGO_F32 or SDGO_F16: of whole, or of down, mid and up
    const void *whole;
    int64_t rank;
    const void *down, *mid, *up;
    const float *scale; // [rank]
} sdgo_change;

// Copies changes to the net's device. A weight may have several low-rank changes. The
// adapter is for runs of this net; it may be freed while graphs of the net still use
// it, from any thread, and before or after the net.
sdgo_adapter *sdgo_adapter_new(sdgo_net *net, const sdgo_change *changes, size_t n_changes, sdgo_error *err);

// Copies new numbers for an adapter's changes, between runs, so that graphs need not be
// built again: as many changes, of the same weights, types and ranks, in the same order.
bool sdgo_adapter_update(sdgo_net *net, sdgo_adapter *adapter, const sdgo_change *changes, size_t n_changes,
                         sdgo_error *err);
void sdgo_adapter_free(sdgo_adapter *adapter);

typedef struct {
    const sdgo_adapter *adapter;
    float strength; // a factor of what low-rank changes add
} sdgo_adapter_use;

// Runs the net with some adapters. The outputs asked for decide how much of it
// runs. `cancel` (may be NULL) is polled between the graph's nodes.
//
// Gradients: with inputs d_OUT, each the gradient of some scalar by the output OUT, of its
// shape, the outputs d:IN are that scalar's gradients by inputs, d:weight:NAME by weights,
// and d:adapter:NAME.down, .mid and .up by the factors of the low-rank change of weight NAME
// that the run's first adapter makes which changes it (a vector-Jacobian product). All are
// float32, of the shape of what the gradient is of.
//
// In place of d_OUT there may be two other inputs of OUT's shape, so that one run computes
// an output and the gradients of a loss of it: mse_OUT, from which OUT should not differ, or
// entropy_OUT, probabilities along OUT's last dimension, whose logits OUT are; and
// factor_OUT. OUT's gradient is factor_OUT * (OUT - mse_OUT), or factor_OUT * (softmax(OUT)
// - entropy_OUT): that of squared differences, halved and weighted, and of cross-entropy.
bool sdgo_net_run(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, sdgo_output *outputs,
                  size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters,
                  const int32_t *cancel, sdgo_error *err);

// The bytes that the graph for such a run takes in addition to the weights, without
// allocating them. Only names and shapes of the inputs, names of the outputs and
// the adapters are read.
bool sdgo_net_estimate(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, const sdgo_output *outputs,
                       size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters, uint64_t *bytes,
                       sdgo_error *err);

// What the run that follows takes on the CPU; 0 on other devices.
typedef struct {
    uint64_t graph; // bytes of the graph; 0 if it has its memory
    // Bytes of weights that it would convert to the kernels' own forms and keep for later runs,
    // if sdgo_net_keep allowed that: not those that are kept already, nor in a graph's first run.
    uint64_t weights;
} sdgo_needs;

// Builds the graph for such a run without its memory, and says what the run takes. The run
// that follows allocates it.
bool sdgo_net_prepare(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, const sdgo_output *outputs,
                      size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters,
                      sdgo_needs *needs, sdgo_error *err);

// Lets the next run keep so many more bytes of weights in the kernels' own forms, so that
// later runs need not convert them. Results are the same.
void sdgo_net_keep(sdgo_net *net, uint64_t bytes);

// The bytes of weights that the net keeps so.
uint64_t sdgo_net_kept(const sdgo_net *net);

// Frees the net's graphs with their buffers, and the weights that it keeps. The next run builds one again.
void sdgo_net_trim(sdgo_net *net);

// What one kind of operator did since the last call of sdgo_net_profile.
typedef struct {
    char op[16]; // "conv 3x3", "linear", …; "": whole runs
    uint64_t calls;
    double flop;    // floating-point operations of the plain algorithm
    double seconds; // wall time
} sdgo_work;

// Writes at most `capacity` entries, returns how many there are, and starts counting
// again. Only this library's kernels report kinds of operators; with ggml's operators
// and on other devices there are whole runs alone.
size_t sdgo_net_profile(sdgo_net *net, sdgo_work *work, size_t capacity);

void sdgo_value_shape(const sdgo_value *value, int *n_dims, int64_t shape[SDGO_MAX_DIMS]);
bool sdgo_value_read(const sdgo_value *value, float *data, size_t count, sdgo_error *err);
void sdgo_value_free(sdgo_value *value);

// Converts `rows` rows of `row_length` floats to ggml type `type`, with ggml's
// own quantizers. `size` is the capacity of `dst` in bytes. `importance` is
// NULL or one weight for each column.
bool sdgo_quantize(int type, const float *src, void *dst, size_t size, int64_t rows, int64_t row_length,
                   const float *importance, sdgo_error *err);

// Converts `count` elements of ggml type `type`, `size` bytes, to floats.
bool sdgo_dequantize(int type, const void *src, size_t size, float *dst, int64_t count, sdgo_error *err);

#ifdef __cplusplus
}
#endif
