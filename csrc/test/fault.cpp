// A plugin of ggml's with a device that computes nothing but zeros and fails on request
// as Vulkan's and CUDA's plugins do when a device is lost or full, for tests.
// csrc/fault builds it.
//
// Environment variables, read each time, say what happens:
//   SDGO_FAULT         throw, abort, fail, memory: how the next piece of a graph ends;
//                      nan: products that are not asked to be precise give NaN;
//                      slow: each piece takes 5 ms; unknown: group norms are not known
//   SDGO_FAULT_MEMORY  bytes that the device has
//   SDGO_FAULT_MARK    a file that is written when the library is loaded
//
// Macros make plugins that can't be loaded: WRONG_API, NO_REG, NO_DEVICE, NO_STAMP.
#include "ggml-backend-impl.h"
#include "ggml-impl.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>

#ifdef _WIN32
#include <windows.h>
#endif

namespace {

std::atomic<size_t> taken{0};
ggml_abort_callback_t on_abort = nullptr;

// An environment variable as it is now: on Windows getenv returns what it was when the
// program started.
std::string variable(const char *name) {
#ifdef _WIN32
    char text[512] = {};
    GetEnvironmentVariableA(name, text, sizeof text);
#else
    const char *text = getenv(name);
#endif
    return text ? text : "";
}

bool fault(const char *name) {
    return variable("SDGO_FAULT") == name;
}

size_t total() {
    const std::string bytes = variable("SDGO_FAULT_MEMORY");
    return !bytes.empty() ? size_t(atoll(bytes.c_str())) : size_t(1) << 30;
}

// Memory is the host's.

constexpr std::align_val_t kAlignment{64};

struct Memory {
    uint8_t *base;
    size_t size;
};

Memory *memory_of(ggml_backend_buffer_t b) {
    return static_cast<Memory *>(b->context);
}

void buffer_free(ggml_backend_buffer_t b) {
    taken -= memory_of(b)->size;
    operator delete(memory_of(b)->base, kAlignment);
    delete memory_of(b);
    delete b; // this module's ggml leaves it to the device
}

void *buffer_base(ggml_backend_buffer_t b) {
    return memory_of(b)->base;
}

void buffer_memset(ggml_backend_buffer_t, ggml_tensor *t, uint8_t value, size_t offset, size_t size) {
    memset(static_cast<uint8_t *>(t->data) + offset, value, size);
}

void buffer_set(ggml_backend_buffer_t, ggml_tensor *t, const void *data, size_t offset, size_t size) {
    memcpy(static_cast<uint8_t *>(t->data) + offset, data, size);
}

void buffer_get(ggml_backend_buffer_t, const ggml_tensor *t, void *data, size_t offset, size_t size) {
    memcpy(data, static_cast<const uint8_t *>(t->data) + offset, size);
}

bool buffer_copy(ggml_backend_buffer_t, const ggml_tensor *, ggml_tensor *) {
    return false;
}

void buffer_clear(ggml_backend_buffer_t b, uint8_t value) {
    memset(memory_of(b)->base, value, memory_of(b)->size);
}

const char *name_of(ggml_backend_buffer_type_t) {
    return "Fault";
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t kind, size_t size) {
    if (taken + size > total()) {
        return nullptr;
    }
    void *base = operator new(size + 64, kAlignment, std::nothrow);
    if (!base) {
        return nullptr;
    }
    taken += size;
    auto *b = new ggml_backend_buffer{};
    b->iface = {buffer_free, buffer_base, nullptr,      buffer_memset, buffer_set,
                buffer_get,  buffer_copy, buffer_clear, nullptr};
    b->buft = kind;
    b->context = new Memory{static_cast<uint8_t *>(base), size};
    b->size = size;
    return b;
}

size_t alignment(ggml_backend_buffer_type_t) {
    return 64;
}

extern ggml_backend_device device;
ggml_backend_buffer_type buffer_type{
    {name_of, allocate, alignment, nullptr, nullptr, nullptr, nullptr}, &device, nullptr, false};

// Computing.

bool precise(const ggml_cgraph *graph) {
    for (int i = 0; i < graph->n_nodes; i++) {
        if (graph->nodes[i]->op == GGML_OP_MUL_MAT && graph->nodes[i]->op_params[0] != GGML_PREC_F32) {
            return false;
        }
    }
    return true;
}

ggml_status compute(ggml_backend_t, ggml_cgraph *graph, int) {
    if (fault("throw")) {
        throw std::runtime_error("vk::Queue::submit: ErrorDeviceLost");
    }
    if (fault("memory")) {
        throw std::runtime_error("vk::Device::allocateMemory: ErrorOutOfDeviceMemory");
    }
    if (fault("abort")) {
        if (on_abort) {
            on_abort("CUDA error: an illegal memory access was encountered");
        }
        abort();
    }
    if (fault("fail")) {
        return GGML_STATUS_FAILED;
    }
    if (fault("slow")) {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    const bool nan = fault("nan") && !precise(graph);
    for (int i = 0; i < graph->n_nodes; i++) {
        ggml_tensor *t = graph->nodes[i];
        if (t->view_src || !t->data) {
            continue;
        }
        size_t size = t->nb[3] * size_t(t->ne[3]);
        memset(t->data, 0, size);
        if (nan && t->type == GGML_TYPE_F32) {
            *static_cast<float *>(t->data) = std::numeric_limits<float>::quiet_NaN();
        }
    }
    return GGML_STATUS_SUCCESS;
}

const char *backend_name(ggml_backend_t) {
    return "Fault";
}

void backend_free(ggml_backend_t b) {
    delete b;
}

// The device.

const char *device_name(ggml_backend_dev_t) {
    return "Fault0";
}

const char *device_description(ggml_backend_dev_t) {
    return "a device that fails";
}

void device_memory(ggml_backend_dev_t, size_t *free, size_t *all) {
    *all = total();
    *free = *all - taken;
}

// No GPU, so that nothing chooses it by itself.
enum ggml_backend_dev_type device_type(ggml_backend_dev_t) {
    return GGML_BACKEND_DEVICE_TYPE_ACCEL;
}

void device_props(ggml_backend_dev_t dev, ggml_backend_dev_props *props) {
    *props = {};
    props->name = device_name(dev);
    props->description = device_description(dev);
    props->type = device_type(dev);
    device_memory(dev, &props->memory_free, &props->memory_total);
}

ggml_backend_t device_init(ggml_backend_dev_t dev, const char *) {
    auto *b = new ggml_backend{};
    b->iface.get_name = backend_name;
    b->iface.free = backend_free;
    b->iface.graph_compute = compute;
    b->device = dev;
    return b;
}

ggml_backend_buffer_type_t device_buffer_type(ggml_backend_dev_t) {
    return &buffer_type;
}

bool device_supports(ggml_backend_dev_t, const ggml_tensor *op) {
    return !(op->op == GGML_OP_GROUP_NORM && fault("unknown")) &&
           !(op->src[0] && op->src[0]->type == GGML_TYPE_BF16);
}

bool device_supports_memory(ggml_backend_dev_t, ggml_backend_buffer_type_t kind) {
    return kind == &buffer_type;
}

// The plugin.

const char *reg_name(ggml_backend_reg_t) {
    return "Fault";
}

size_t reg_count(ggml_backend_reg_t) {
#ifdef NO_DEVICE
    return 0;
#else
    return 1;
#endif
}

ggml_backend_dev_t reg_device(ggml_backend_reg_t, size_t) {
    return &device;
}

void *reg_symbol(ggml_backend_reg_t, const char *) {
    return nullptr;
}

#ifdef WRONG_API
constexpr int kApi = GGML_BACKEND_API_VERSION + 1;
#else
constexpr int kApi = GGML_BACKEND_API_VERSION;
#endif

ggml_backend_reg reg{kApi, {reg_name, reg_count, reg_device, reg_symbol}, nullptr};

ggml_backend_device make_device() {
    ggml_backend_device d{};
    d.iface.get_name = device_name;
    d.iface.get_description = device_description;
    d.iface.get_memory = device_memory;
    d.iface.get_type = device_type;
    d.iface.get_props = device_props;
    d.iface.init_backend = device_init;
    d.iface.get_buffer_type = device_buffer_type;
    d.iface.supports_op = device_supports;
    d.iface.supports_buft = device_supports_memory;
    d.reg = &reg;
    return d;
}

ggml_backend_device device = make_device();

// Runs when the library is loaded: writes the file that SDGO_FAULT_MARK names.
const bool ran = [] {
    const std::string path = variable("SDGO_FAULT_MARK");
    std::FILE *f = path.empty() ? nullptr : std::fopen(path.c_str(), "w");
    return f && std::fclose(f) == 0;
}();

} // namespace

extern "C" {

#ifndef NO_STAMP
#define SDGO_GGML_VERSION STAMP
#include "../../third_party/stamp.c"
#endif

ggml_backend_reg_t ggml_backend_init(void);
ggml_backend_reg_t ggml_backend_init(void) {
#ifdef NO_REG
    return nullptr;
#else
    return &reg;
#endif
}

// A plugin's own core has these.
void ggml_log_set(ggml_log_callback, void *) {}

void ggml_abort(const char *, int, const char *, ...) {
    abort();
}

ggml_abort_callback_t ggml_set_abort_callback(ggml_abort_callback_t callback) {
    on_abort = callback;
    return nullptr;
}
}
