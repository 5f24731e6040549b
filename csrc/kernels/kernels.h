// The CPU kernels: the arithmetic that diffusion nets spend their time in.
//
// Activations are float32 and channels-last: an image is [N][H][W][C], tokens
// are [N][L][C], so that a linear layer reads both alike. Weights stay where
// they are, in the order and type of the model's file, and are converted tile
// by tile while they are used, or once if there is memory to keep them (Matrix::kept).
//
// A kernel call is described by a struct and runs on the threads of a pool:
//
//     Conv2d c;                       // fill in its fields
//     run_on(pool, c, scratch);       // scratch: scratch_bytes(c, pool.threads()), 64-byte aligned;
//                                     // see kernels/pages.h
//
// Nothing here allocates, throws or keeps state. The result is the same, bit
// for bit, for any number of threads: each sum has one fixed order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sdgo::kernels {

// Instruction sets, slowest first. `generic` is the compiler's default target
// (SSE2 on x86-64, NEON on arm64). A machine need not have all those below its
// best. Each has one line in kernels.cpp.
enum class Isa { best, generic, avx2, avx_vnni, avx512, avx512_vnni, amx };
constexpr int isa_count = 7;

bool isa_available(Isa isa);   // does this machine have it? always true for best and generic
Isa best_isa();                // the fastest available
const char *isa_name(Isa isa); // null where this program has no such kernels

// Element types. `block` is anything else that ggml knows.
enum class Type { f32, f16, bf16, block };

// A vector of parameters (bias, norm weight); no data means there is none.
struct Vector {
    const void *data = nullptr;
    Type type = Type::f32; // not block
};

// A matrix of weights: one row for each output, `in` weights in a row; for a
// 3x3 convolution a row is [in][3][3].
//
// With `transposed`, a row for each input, with a weight for each output; for a 3x3
// convolution a row is [out][3][3], and the kernels are turned by 180°. The weights of a
// layer are read so for the derivative by its input.
struct Matrix {
    const void *data = nullptr;
    Type type = Type::f32;
    bool transposed = false;
    size_t row_bytes = 0; // from one row to the next
    // For Type::block only: n weights from a place where a block starts
    // (ggml's type traits), a block's length and its size.
    void (*to_float)(const void *from, float *to, int64_t n) = nullptr;
    int64_t block_length = 0;
    size_t block_bytes = 0;
    // Memory of the caller's for weights in the form that keep() says, 64-byte aligned, in
    // which the kernel finds them, or writes them first if `pack`; none: it converts them
    // while they are used. Results are the same.
    void *kept = nullptr;
    bool pack = false;
};

// Forms of weights that a caller can keep. A form depends on the shape of a layer and on
// the size of one image, not on their number, nor on threads.
enum class Form { none, taps, panels16, panels8 };

struct Keep {
    Form form = Form::none;
    size_t bytes = 0;
};

enum class Act { none, silu, gelu, gelu_tanh, quick_gelu };

// A normalisation applied to a kernel's input while it is read:
// x·scale + shift, then SiLU if `silu`. See GroupNormStats.
struct InputNorm {
    const float *scale = nullptr; // [N][C]; none: no normalisation
    const float *shift = nullptr; // [N][C]
    bool silu = false;
};

// What the threads that run one kernel call share.
struct Team {
    int threads = 1;
    void *scratch = nullptr;
    std::atomic<int64_t> next{0};    // the next piece of work; zero when a phase starts
    const int32_t *cancel = nullptr; // once it is not zero no piece is begun, and results are invalid

    bool cancelled() const { return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0; }
};

// A change of a product's weights by a product of two thin matrices, up·diag(scale)·down, which a
// kernel adds while it multiplies. Only some kernels can: those for whose arguments
// low_rank_bytes is not 0.
struct LowRank {
    int64_t rank = 0;             // 0: none
    const float *scale = nullptr; // [rank]
    const void *packed = nullptr; // low_rank_bytes that pack_low_rank has written, 64-byte aligned
};

// y[m][n] = act(Σ_k x[m][k]·w[n][k] + bias[n] + before[m][n]) + residual[m][n]
// With geglu, w has 2·out rows, values above gates, and before as many columns:
// y[m][n] = (x·w[n] + bias[n] + before[m][n]) · gelu(x·w[out+n] + bias[out+n] + before[m][out+n])
//           + residual[m][n]
struct Linear {
    const float *x = nullptr; // [rows][in]
    int64_t x_stride = 0;     // floats from one row to the next; 0: in
    int64_t rows = 0, in = 0, out = 0;
    InputNorm norm;             // of images of rows_per_image rows
    int64_t rows_per_image = 0; // 0: rows; the sums depend on it, not on rows
    Matrix w;
    Vector bias;
    Act act = Act::none;
    bool geglu = false;
    LowRank low;                   // of w
    const float *before = nullptr; // [rows][out], with geglu [rows][2·out]
    const float *residual = nullptr;
    int64_t residual_stride = 0; // 0: out
    float *y = nullptr;          // may be residual, not x
    int64_t y_stride = 0;        // 0: out
    bool fast = false;           // with numbers of 8 bits where the processor multiplies those faster
    Isa isa = Isa::best;
};
Keep keep(const Linear &l); // of l.w; pointers are not read

// Which of four pixels an enlarged image has a pixel's value in, if not in all: the first,
// or the last. The derivative of a convolution of stride 2 by its input starts so.
enum class Spread { none, first, last };

// y = act(conv(x) + bias + channel_add) + residual
// The input is x with channels c1, followed by x2 with channels c2 (a skip
// connection); 3x3 kernels pad by one on each side, or on the right and the
// bottom only (pad_end), so that y has ceil(size / stride) rows and columns
// of the input, enlarged by two if `upsample`; sizes are the input's own.
struct Conv2d {
    const float *x = nullptr;  // [n][h][w][c1]
    const float *x2 = nullptr; // [n][h][w][c2]
    int64_t n = 0, h = 0, w = 0, c1 = 0, c2 = 0, out = 0;
    int kernel = 3;               // 3 or 1
    int stride = 1;               // 1 or 2
    bool pad_end = false;         // with stride 2: floor(size / 2) rows and columns
    bool upsample = false;        // nearest neighbour, before the convolution
    Spread spread = Spread::none; // with upsample, instead: zeros between pixels
    int64_t up_h = 0;             // with upsample: cut to this size; 0: 2·h, 2·w
    int64_t up_w = 0;
    InputNorm norm; // [n][c1 + c2]
    Matrix weight;  // [out][c1 + c2][kernel][kernel]
    LowRank low;    // of the weight
    Vector bias;
    const float *channel_add = nullptr; // [n][out], the time embedding's
    int64_t channel_add_stride = 0;     // 0: out
    Act act = Act::none;
    const float *residual = nullptr; // [n][out_h][out_w][out]
    float *y = nullptr;              // may be residual, not x
    bool fast = false;               // see Linear
    Isa isa = Isa::best;
};
Keep keep(const Conv2d &c);
int64_t out_height(const Conv2d &c);
int64_t out_width(const Conv2d &c);

// Heads of tokens: element (n, l, h, d) is at n·batch + l·token + h·head + d.
struct Heads {
    const float *data = nullptr;
    int64_t batch = 0, token = 0, head = 0;
};

// y[n][l][h] = Σ_j softmax_j(scale · q[n][l][h]·k[n][j][h]) v[n][j][h]
// With causal, j ≤ l only.
struct Attention {
    Heads q, k, v;
    int64_t n = 0, heads = 0, dim = 0, q_length = 0, k_length = 0;
    float scale = 1;
    bool causal = false;
    bool exact = true;   // float32 arithmetic only; else as with weights of less than float32
    float *y = nullptr;  // [n][q_length][heads][dim]
    int64_t y_token = 0; // floats from one token to the next; 0: heads·dim
    Isa isa = Isa::best;
};

// The scale and shift [n][c1 + c2] that make InputNorm a group normalisation
// of x (and x2, its further channels), for kernels to fuse.
struct GroupNormStats {
    const float *x = nullptr, *x2 = nullptr; // [n][rows][c1], [n][rows][c2]
    int64_t n = 0, rows = 0, c1 = 0, c2 = 0, groups = 32;
    float eps = 1e-5f;
    Vector weight, bias; // [c1 + c2]
    // [n][2·(c1 + c2)]: scales, then shifts; none: there is no modulation. The normalised
    // numbers times (1 + scale), plus shift.
    const float *modulation = nullptr;
    float *scale = nullptr, *shift = nullptr;
    Isa isa = Isa::best;
};

// y = x·scale + shift by image and channel, then SiLU if norm.silu: what other
// kernels do while they read, for consumers that can't. y may be x.
struct Normalize {
    const float *x = nullptr, *x2 = nullptr; // as GroupNormStats
    int64_t n = 0, rows = 0, c1 = 0, c2 = 0;
    InputNorm norm;
    float *y = nullptr; // [n][rows][c1 + c2]
    Isa isa = Isa::best;
};

// Each row to zero mean and unit variance, then weight and bias. y may be x.
struct LayerNorm {
    const float *x = nullptr; // [rows][dim]
    int64_t rows = 0, dim = 0;
    float eps = 1e-5f;
    Vector weight, bias; // [dim]
    float *y = nullptr;
    Isa isa = Isa::best;
};

// Each row to a root mean square of one, then weight (Zhang and Sennrich 2019):
// x / (√(mean x² + eps) + added). y may be x.
struct RmsNorm {
    const float *x = nullptr; // [rows][dim]
    int64_t rows = 0, dim = 0;
    float eps = 1e-6f, added = 0;
    Vector weight; // [dim]; all 1 without data
    float *y = nullptr;
    Isa isa = Isa::best;
};

// y = x·(1 + scale) + shift by image and channel. y may be x.
struct Modulate {
    const float *x = nullptr; // [n][rows][dim]
    int64_t n = 0, rows = 0, dim = 0;
    const float *scale = nullptr, *shift = nullptr; // [n][dim]
    float *y = nullptr;
    Isa isa = Isa::best;
};

// y = x·gate + residual, the gate by image and channel. y may be x or residual.
struct Gate {
    const float *x = nullptr, *residual = nullptr; // [n][rows][dim]
    int64_t n = 0, rows = 0, dim = 0;
    const float *gate = nullptr; // [n][dim]
    float *y = nullptr;
    Isa isa = Isa::best;
};

// Rotary position embedding (Su et al. 2021): the halves of a pair of numbers of a
// head, a and b, become a·cos - b·sin and a·sin + b·cos. Pair i of a head is its
// numbers 2i and 2i + 1 if `interleaved`, else i and i + dim/2. y may be x.
struct Rope {
    const float *x = nullptr; // [n][length][heads][dim]
    int64_t n = 0, length = 0, heads = 0, dim = 0;
    const float *cos = nullptr, *sin = nullptr; // [length][dim/2]
    bool interleaved = false;
    float *y = nullptr;
    Isa isa = Isa::best;
};

// Token merging (Bolya and Hoffman 2023, arXiv:2303.17604). The first token of each whole
// square of 2x2 is a target, the others are sources; the `merged` sources that are most
// like a target, by the cosine of the angle between them, are averaged with it. The plan of
// an image has for each token its slot among those that are left, [length]; the tokens in
// the order of their slots, [length]; and each slot's beginning in that order and its end,
// [length - merged + 1]. merged is at most the number of sources.
struct MergePlan {
    const float *x = nullptr; // [n][height·width][c]
    int64_t n = 0, width = 0, height = 0, c = 0, merged = 0;
    float *y = nullptr; // [n][2·length + length - merged + 1], whole numbers
    Isa isa = Isa::best;
};

// The averages: y [n][length - merged][c].
struct MergeTokens {
    const float *x = nullptr; // [n][length][c]
    const float *plan = nullptr;
    int64_t n = 0, length = 0, c = 0, merged = 0;
    float *y = nullptr;
    Isa isa = Isa::best;
};

// Each token gets what its slot has: y = x[slot] + add, [n][length][c]. y may be add.
struct UnmergeTokens {
    const float *x = nullptr; // [n][length - merged][c]
    const float *plan = nullptr;
    const float *add = nullptr;
    int64_t n = 0, length = 0, c = 0, merged = 0;
    float *y = nullptr;
    Isa isa = Isa::best;
};

// How an image becomes another size. The filter [1, 3, 3, 1] / 8 in both directions
// is that of StyleGAN2 (Karras et al. 2020) and of score-based models (Song et al.
// 2021); outside of the image there are zeros.
enum class Sampling {
    same,       // no other size
    mean_down,  // means of 2x2 pixels; odd sides lose their last pixel
    nearest_up, // each pixel four times
    fir_down,   // filtered, with a border of 1; every second pixel
    fir_up,     // zeros between pixels, filtered with four times the filter
    fir_blur,   // filtered, with a border of 2, one pixel more on each side
};
int64_t sampled_size(Sampling how, int64_t size);

// y = gain · the image sampled. y may be x for Sampling::same.
struct Resample {
    const float *x = nullptr; // [n][h][w][c]
    int64_t n = 0, h = 0, w = 0, c = 0;
    Sampling how = Sampling::same;
    float gain = 1;
    float *y = nullptr; // [n][sampled h][sampled w][c]
    Isa isa = Isa::best;
};

// y = act(a + b); b may be none; y may be a or b.
struct Elementwise {
    const float *a = nullptr, *b = nullptr;
    int64_t size = 0;
    Act act = Act::none;
    float *y = nullptr;
    Isa isa = Isa::best;
};

// The size of a low-rank change of args.low.rank in the form of the kernel that these arguments,
// whose pointers may still be none, call; 0: it can't add any. And its making, of down
// [rank][in] and up [out][rank], with GEGLU [2·out][rank], of type f16 or bf16. The form depends
// on the weight's type and sizes, not on the number of rows.
size_t low_rank_bytes(const Linear &args);
size_t low_rank_bytes(const Conv2d &args);
void pack_low_rank(const Linear &args, const Matrix &down, const Matrix &up, void *to);
void pack_low_rank(const Conv2d &args, const Matrix &down, const Matrix &up, void *to);

// For each kernel: its number of phases, the memory that its threads share
// (a function of sizes and types: the pointers may still be none), and a
// thread's part of a phase. A phase begins when all of the phase before
// is done. A thread that comes late finds its work done by the others.
#define SDGO_KERNEL(Args)                                                                                    \
    int phases(const Args &args);                                                                            \
    size_t scratch_bytes(const Args &args, int threads);                                                     \
    void run(const Args &args, int phase, int thread, Team &team);
SDGO_KERNEL(Linear)
SDGO_KERNEL(Conv2d)
SDGO_KERNEL(Attention)
SDGO_KERNEL(GroupNormStats)
SDGO_KERNEL(Normalize)
SDGO_KERNEL(LayerNorm)
SDGO_KERNEL(RmsNorm)
SDGO_KERNEL(Modulate)
SDGO_KERNEL(Gate)
SDGO_KERNEL(Rope)
SDGO_KERNEL(MergePlan)
SDGO_KERNEL(MergeTokens)
SDGO_KERNEL(UnmergeTokens)
SDGO_KERNEL(Resample)
SDGO_KERNEL(Elementwise)
#undef SDGO_KERNEL

// Runs all of a kernel on a pool: pool.run(n, task) calls task(0) … task(n-1)
// on its threads, pool.threads() says how many there are.
template <class Args, class Pool>
void run_on(Pool &pool, const Args &args, void *scratch, const int32_t *cancel = nullptr) {
    Team team;
    team.threads = pool.threads();
    team.scratch = scratch;
    team.cancel = cancel;
    const int n = phases(args);
    for (int phase = 0; phase < n && !team.cancelled(); phase++) {
        team.next.store(0, std::memory_order_relaxed);
        pool.run(team.threads, [&](int thread) { run(args, phase, thread, team); });
    }
}

} // namespace sdgo::kernels
