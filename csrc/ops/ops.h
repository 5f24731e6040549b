// The operators that nets are written in.
//
// A net's forward function sees two kinds of tensors: *tokens*, ne = [C, L, N]
// (channels, length, batch), and *images*, whose memory layout is up to the
// implementation: channels-first for ggml's operators, channels-last for the CPU
// kernels, where an image's tokens are a reshape.
//
// Weights are named where they are used, with the shape that they must have.
//
// Convolutions are two-dimensional, with kernels of 1 and 3.
#pragma once

#include "core/profile.h"
#include "core/weights.h"
#include "ops/adapter.h"
#include "ops/tuning.h"

#include <functional>

namespace sdgo {

enum class Act { none, silu, gelu, gelu_tanh, quick_gelu };

// Which numbers of a head rotary embeddings turn together: 2i and 2i + 1 (LLaMA's
// original code, FLUX), or i and i + dim/2 (GPT-NeoX, the transformers library).
enum class Pairs { interleaved, halves };

// A convolution with everything that can be fused into it.
struct Conv {
    int64_t out = 0; // output channels
    int kernel = 3;  // 1 or 3, padded to keep the size
    int stride = 1;  // 1 or 2
    bool bias = true;
    bool pad_end = false;          // pad right and bottom only (the VAE encoder's downsampling)
    int64_t up_width = 0;          // not 0: nearest-neighbour 2x before the convolution,
    int64_t up_height = 0;         // cut to this size (twice the input's or one less)
    Tensor add_channels = nullptr; // [C, N], added to every position
    Tensor add = nullptr;          // an image of the output's shape
};

// A group normalisation and what follows it. The groups divide the channels.
struct GroupNorm {
    int groups = 32;
    float eps = 1e-6f;
    bool silu = false;
    // [2C, N]: scales, then shifts. The normalised image times (1 + scale), plus shift,
    // before SiLU (Dhariwal and Nichol 2021, AdaGN).
    Tensor modulation = nullptr;
};

// The rows of a fused layer for queries, keys and values: all queries, all keys, all
// values; or for each head its queries, keys and values.
enum class Fused { whole, by_head };

// How an image becomes another size; kernels/kernels.h has the filters.
enum class Sampling { same, mean_down, nearest_up, fir_down, fir_up, fir_blur };

// Sines and cosines of t·f: the angles of a time's embedding, half of them sines.
// f is falling from 1 to about 1/10000: f_i = 10000^(-i / (n - shift)) for i of 0 to n - 1.
struct Sinusoids {
    int64_t width = 0;
    bool cosines_first = true;
    int shift = 0; // 0 or 1
};

struct Linear {
    int64_t out = 0;
    bool bias = true;
    Act act = Act::none;
    Tensor add = nullptr; // of the output's shape, added after the activation
    bool vectors = false; // [C, N]: one for each image, not an image's tokens
    Shape shape{};        // of the weight in files, if not [out, in]
};

class Backward;

class Ops {
  public:
    // Nodes of the largest net that can be computed: ggml visits a graph by recursion,
    // and its stack is finite.
    static constexpr size_t kMaxNodes = 1 << 14;
    // Of one with its gradients, whose graph is made without recursion.
    static constexpr size_t kMaxGradientNodes = 1 << 18;
    void set_max_nodes(size_t n) { max_nodes_ = n; }

    // Thrown by operators whose context has no room for more tensors. `ctx` has room for
    // `capacity` tensors; 0: for all that will be made.
    struct Full {};

    // Weights that are not bound yet are taken to be of type `unbound`.
    Ops(ggml_context *ctx, Weights &weights, size_t capacity, ggml_type unbound = GGML_TYPE_F32)
        : ctx_(ctx), weights_(weights), capacity_(capacity), unbound_(unbound) {}
    virtual ~Ops() = default;

    // Images.
    virtual Tensor image_in(Tensor nchw) = 0;   // from ne = [W, H, C, N]
    virtual Tensor image_out(Tensor image) = 0; // to ne = [W, H, C, N]
    virtual int64_t width(Tensor image) const = 0;
    virtual int64_t height(Tensor image) const = 0;
    virtual int64_t channels(Tensor image) const = 0;
    Tensor conv2d(Tensor image, const std::string &name, const Conv &c);
    virtual Tensor group_norm(Tensor image, const std::string &name, const GroupNorm &g) = 0;
    virtual Tensor concat(Tensor a, Tensor b) = 0;                           // along channels
    virtual Tensor resample(Tensor image, Sampling how, float gain = 1) = 0; // times the gain
    virtual Tensor tokens(Tensor image) = 0;                                 // [C, W*H, N]
    // x where it is positive, elsewhere x times the channel's weight (He et al. 2015).
    virtual Tensor prelu(Tensor image, const std::string &name) = 0;
    virtual Tensor image(Tensor tokens, int64_t width, int64_t height) = 0;

    // Tokens.
    Tensor linear(Tensor x, const std::string &name, const Linear &l);
    // (x·Wv + bv) · gelu(x·Wg + bg); name's weight is Wv followed by Wg.
    Tensor geglu(Tensor x, const std::string &name, int64_t out);
    // Without weights if the name is empty.
    virtual Tensor layer_norm(Tensor x, const std::string &name, float eps) = 0;
    // Divides each of a token's heads, [C/heads], by its root mean square and multiplies
    // it by the weight, whose whole name is given where it ends in ".scale".
    virtual Tensor rms_norm(Tensor x, const std::string &name, float eps, int heads) = 0;
    // Divides each of a token's heads by 1e-4 and its root mean square (Karras et al. 2024,
    // pixel normalisation).
    virtual Tensor unit_norm(Tensor x, int heads) = 0;
    // x·(1 + scale) + shift; scale and shift are [C, N], the same for all tokens.
    virtual Tensor modulate(Tensor x, Tensor scale, Tensor shift) = 0;
    // y·gate + x; the gate is [C, N], the same for all tokens.
    virtual Tensor gated(Tensor x, Tensor y, Tensor gate) = 0;
    // Rotary position embedding: pair p of each head of token l is turned by the angle
    // whose cosine and sine are at [p, l], of C/heads/2 by L.
    virtual Tensor rope(Tensor x, Tensor cos, Tensor sin, int heads, Pairs pairs) = 0;
    // Token merging (Bolya and Hoffman 2023, arXiv:2303.17604) of the tokens of images of
    // width by height: which of them are averaged with others, as many as `merged` has
    // numbers, at most most_merged; the averages, [C, L - merged, N]; and all tokens again,
    // each with its average's numbers and those of `add`. Only this library's kernels do
    // that, and without gradients.
    static int64_t most_merged(int64_t width, int64_t height) {
        return width < 2 || height < 2 ? 0 : width * height - width / 2 * (height / 2);
    }
    virtual Tensor merge_plan(Tensor x, int64_t width, int64_t height, Tensor merged);
    virtual Tensor merge(Tensor x, Tensor plan, Tensor merged);
    virtual Tensor unmerge(Tensor x, Tensor plan, Tensor add);
    // softmax(q·kᵀ/√d)·v for each head; q, k, v are [C, L, N] with heads side by side in C.
    virtual Tensor attention(Tensor q, Tensor k, Tensor v, int heads, bool causal) = 0;
    // The same of tokens to each other, [3C, L, N], whose layer is fused; to [C, L, N].
    virtual Tensor self_attention(Tensor qkv, int heads, Fused order) = 0;

    // What `make` computes from weights and from inputs that are constant across
    // steps (see Architecture) alone: an implementation may cache it between runs.
    virtual Tensor cache(const std::function<Tensor()> &make) { return make(); }

    // Videos, folded from [N, C, T, H, W] to ne = [W, H, T, C·N] (core/shape.h), to a
    // batch of N·T images, a video's frames one after the other, and back.
    Tensor frames_in(Tensor video, int64_t n);
    Tensor frames_out(Tensor frames, int64_t n);

    // Squares of p by p pixels of images, ne = [W, H, C, N], as tokens [p·p·C, L, N]: each
    // has its channels one after another, as a convolution's weight does. And images of
    // W/p by H/p tokens, which have the channels of a pixel next to each other.
    Tensor patches_in(Tensor nchw, int64_t p);
    Tensor patches_out(Tensor tokens, int64_t p, int64_t width, int64_t height);
    // The inverse of patches_in.
    Tensor patches_back(Tensor tokens, int64_t p, int64_t width, int64_t height);
    // The inverse of patches_out: tokens that have the channels of a pixel next to each other.
    Tensor pixels_in(Tensor nchw, int64_t p);

    // Squares of side x side channels of an image, ne = [W, H, C·side², N], to pixels,
    // [W·side, H·side, C, N], row by row (Shi et al. 2016): the inverse of pixel unshuffle.
    Tensor pixel_shuffle(Tensor nchw, int side);
    // The largest of squares of 2x2 pixels; sides are halved and rounded up.
    Tensor max_pool(Tensor image);
    // Images, ne = [W, H, C, N], less a vector of a number for each channel.
    Tensor minus_channels(Tensor nchw, const std::string &name);
    Tensor nearest(Tensor nchw, int factor); // sides times a factor; ne = [W, H, C, N]

    // The same in every implementation.
    Tensor silu(Tensor x);
    Tensor times(Tensor x, float factor);
    Tensor clamped(Tensor x, float limit); // to -limit … limit
    Tensor ones(Tensor nchw);              // a channel of ones beside an image, ne = [W, H, 1, N]
    // √2·cos(t·f + p) with the vectors NAME.freqs and NAME.phases: [N] → [count, N].
    Tensor cosine_features(Tensor t, const std::string &name, int64_t count);
    Tensor add(Tensor a, Tensor b);
    Tensor scale(Tensor x, float factor);
    Tensor leaky_relu(Tensor x, float slope);
    Tensor scale_tokens(Tensor x, Tensor factors);     // [C, L, N], a factor for each token: [L, N]
    Tensor scale_images(Tensor image, Tensor factors); // a factor for each image of a batch: [N]
    Tensor embedding(Tensor ids, const std::string &name, int64_t rows,
                     int64_t width); // ids [L, N] → [width, L, N]
    Tensor vectors(Tensor tokens);   // [C, 1, N] or [C, N, 1] → [C, N]
    Tensor positions(Tensor x, const std::string &name,
                     int64_t length); // adds a learned row to each of [C, L, N]
    // Adds a row for each of [C, L, N] of a table that is one vector, of float32: of positions
    // that are computed, not learned.
    Tensor fixed_positions(Tensor x, const std::string &name);
    // Adds to tokens of width x height the rows in the middle of a table for side x side of them,
    // whose shape is [1, side², C].
    Tensor central_positions(Tensor x, const std::string &name, int64_t side, int64_t width, int64_t height);
    // Adds a learned column to each of [C, L, N]; the table is [C, L].
    Tensor position_columns(Tensor x, const std::string &name);
    Tensor multiply(Tensor a, Tensor b);       // number by number
    Tensor tanh(Tensor x);                     // of each number
    Tensor scale_by(Tensor x, Tensor factors); // x·(1 + factors), which are [C, N], the same for all tokens
    // Adds a learned token as often as it takes to make the tokens a multiple; its shape is [1, C].
    Tensor pad_tokens(Tensor x, const std::string &name, int64_t multiple);
    // Each of `heads` heads of the channels `times` times, next to each other: keys and values of
    // grouped-query attention (Ainslie et al. 2023, arXiv:2305.13245).
    Tensor repeat_heads(Tensor x, int heads, int times);
    // What is added to the products of queries and keys of T5's attention: the row of a table,
    // [buckets, heads], for each pair of positions, whose numbers are [Lk, Lq]; to [Lk, Lq, heads].
    Tensor position_bias(Tensor buckets, const std::string &name, int64_t rows, int heads);
    // softmax(q·kᵀ + bias)·v for each head, without the factor 1/√d.
    Tensor biased_attention(Tensor q, Tensor k, Tensor v, Tensor bias, int heads);
    Tensor mean_token(Tensor x);                           // [C, L, N] → [C, 1, N]
    Tensor timestep_embedding(Tensor t, int64_t dim);      // [N] → [dim, N], cosines first
    Tensor sinusoids(Tensor t, const Sinusoids &s);        // [N] → [width, N]
    Tensor number_embeddings(Tensor numbers, int64_t dim); // [K, N] → [dim·K, N], of each number
    // sin and cos of 2π·t·w, whose w is the weight `name`: [N] → [2·count, N].
    Tensor fourier_features(Tensor t, const std::string &name, int64_t count, bool cosines_first);
    Tensor concat_tokens(Tensor a, Tensor b);                    // [C, La, N], [C, Lb, N] → [C, La + Lb, N]
    Tensor split_tokens(Tensor vectors, int64_t n);              // [C·n, N] → [C, n, N]
    Tensor regrouped(Tensor x, int64_t groups);                  // [C, L, N] → [C, L·N/groups, groups]
    Tensor joined_tokens(Tensor x, int64_t n);                   // [C, L, N] → [C·n, L/n, N]
    Tensor slice_tokens(Tensor x, int64_t from, int64_t length); // [C, L, N] → [C, length, N]
    Tensor table_rows(Tensor table, int64_t rows);               // the first ones: [C, L] → [C, rows]
    Tensor chunk(Tensor x, int64_t index, int64_t chunks);       // an equal part of the channels
    Tensor slice_channels(Tensor x, int64_t from, int64_t length); // [C, L, N] → [length, L, N]
    Tensor concat_channels(Tensor a, Tensor b); // [Ca, L, N], [Cb, L, N] → [Ca + Cb, L, N]
    Tensor gelu_tanh(Tensor x);                 // of each number
    Tensor gelu(Tensor x);                      // of each number
    // One of the equal parts of a fused layer's tokens, [parts·C, L, N] → [C, L, N].
    Tensor fused_part(Tensor x, int heads, Fused order, int64_t index, int64_t parts);

    // The arithmetic of the whole graph, in floating-point operations, and the
    // part of it that computes what is cached.
    double flop() const { return flop_; }
    double cached_flop() const { return cached_flop_; }

    // What is cached: where it is computed, and the leaf of the graph that stands for it.
    struct Cached {
        Tensor computed, leaf;
    };
    const std::vector<Cached> &cached() const { return cached_; }

    // Its own operators for derivatives; null: there are none.
    virtual Backward *backward() { return nullptr; }

    // Memory outside the graph that the operators share while they run.
    virtual uint64_t scratch_size() const { return 0; }
    virtual bool allocate_scratch() { return true; }
    // The bytes of weights in kernels' own forms that would be kept from run to run, if
    // there were memory, and are not yet.
    virtual uint64_t unkept() const { return 0; }

    // A layer's weight and bias, which may be none, and a low-rank change of the weight that the
    // operator itself adds, if there is one.
    struct Layer {
        Tensor weight, bias;
        const LowRank *low = nullptr;
    };

    // Whether the operators below can add layer.low themselves, with the numbers that they
    // multiply anyway.
    virtual bool takes_low_rank(Tensor, const Layer &, const Conv &) const { return false; }
    virtual bool takes_low_rank(Tensor, const Layer &, const Linear &, bool /*geglu*/) const { return false; }

    // conv2d, linear and geglu with given weights. `before`, which may be none, has the
    // shape of what the activation takes, and is added to that.
    virtual Tensor convolution(Tensor image, const Layer &layer, const Conv &c) = 0;
    virtual Tensor product(Tensor x, const Layer &layer, const Linear &l, Tensor before) = 0;
    virtual Tensor gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) = 0;
    // Multiplies channels; a factor for each, [C].
    virtual Tensor scale_channels(Tensor image, Tensor factors) = 0;

    // Adapters whose changes apply to the layers that follow: conv2d, linear and geglu
    // add what is low-rank, and every operator takes what is in place of a weight.
    void adapt(const Adapters &adapters) { adapters_ = adapters; }

    // A weight, or what is in its place.
    Tensor weight(const std::string &name, const Shape &shape);

  protected:
    // Throws Full if the context may lack room for the tensors until the next weight, and
    // Code::invalid if the net is too large. It is enough to ask at each weight: what a
    // net has many of has weights.
    void expect_room() const;

    Tensor activate(Tensor x, Act act);
    // prelu with slopes whose shape ggml repeats over the image's.
    Tensor prelu_with(Tensor x, Tensor slopes);

    // What unit_norm adds to the root mean square.
    static constexpr float kUnitEps = 1e-4f;

    // The name of an RMS norm's weight.
    static std::string norm_weight(const std::string &name);

    // Fails unless a normalisation's groups divide the channels.
    static void check_groups(const std::string &name, const GroupNorm &g, int64_t channels, int64_t images);

    // The same for heads, whose numbers each are returned.
    static int64_t check_heads(int64_t channels, int heads);
    static int64_t check_fused(Tensor qkv, int heads); // also that there are three in one
    static void check_modulate(Tensor x, Tensor scale, Tensor shift);
    static void check_gate(Tensor x, Tensor y, Tensor gate);
    static void check_rope(Tensor x, Tensor cos, Tensor sin, int heads);

    // Counts an operator's arithmetic: 2 for a multiplication with its addition.
    double count(double flop) {
        flop_ += flop;
        return flop;
    }

    ggml_context *ctx_;
    Weights &weights_;
    std::vector<Cached> cached_;
    double cached_flop_ = 0;

  private:
    Tensor outer(Tensor a, Tensor b); // [n], [m] → [n, m]

    // All low-rank changes of a weight, or what is in its place.
    template <class F> void each_low_rank(const std::string &weight, F f) const;
    Tensor whole(const std::string &weight) const;

    // What low-rank changes of a layer's weight, but `but`, add to its output, and `add`, which
    // may be none.
    Tensor low_rank(Tensor x, const std::string &name, const Linear &l, Tensor add, const LowRank *but);

    // A weight's first low-rank change, if `takes` says of a layer with it that its operator adds
    // it.
    template <class F> const LowRank *own_low_rank(const std::string &weight, Layer layer, F takes) const;

    Adapters adapters_;
    size_t capacity_, max_nodes_ = kMaxNodes;
    ggml_type unbound_;
    size_t placeholders_ = 0; // tensors that stand for weights
    double flop_ = 0;
};

// Queries, keys and values, [C, L, N] each, of a fused layer's tokens, [3C, L, N].
struct Fusion {
    Tensor q, k, v;
};
Fusion fused_parts(ggml_context *ctx, Tensor qkv, int heads, Fused order);

// ggml's own operators, on any device.
std::unique_ptr<Ops> ggml_ops(ggml_context *ctx, Weights &weights, const OpChoice &choice, size_t capacity,
                              ggml_type unbound = GGML_TYPE_F32);

// The CPU kernels; each call of one is added to a profile.
struct Cpu;
std::unique_ptr<Ops> cpu_ops(ggml_context *ctx, Weights &weights, Cpu &cpu, Profile &profile,
                             size_t capacity);

} // namespace sdgo
