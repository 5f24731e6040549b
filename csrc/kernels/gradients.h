// The kernels of derivatives: vector-Jacobian products of the kernels in kernels.h, run in
// the same way. dy is the gradient of some number by a kernel's result, dx that by its
// input. What is not here is one of those kernels, of a transposed matrix (Linear and
// Conv2d by their input), or the opposite one (Resample).
#pragma once

#include "kernels/kernels.h"

namespace sdgo::kernels {

// Heads that are written.
struct HeadsOut {
    float *data = nullptr;
    int64_t batch = 0, token = 0, head = 0;
};

// Attention by its queries, keys and values. Scores are computed again, for a few rows at a
// time (Dao et al. 2022, appendix B). The arithmetic is float32.
struct AttentionGradient {
    Heads q, k, v, dy;
    HeadsOut dq, dk, dv;
    int64_t n = 0, heads = 0, dim = 0, q_length = 0, k_length = 0;
    float scale = 1;
    bool causal = false;
    Isa isa = Isa::best;
};

// GroupNormStats with Normalize by x. `sums` are what the gradients of weight, bias and
// modulation are made of: with g the gradient of what SiLU takes (of y, without SiLU) and x̂
// the normalised x, the sums over an image's rows of g·x̂, then those of g.
struct GroupNormGradient {
    const float *x = nullptr, *x2 = nullptr; // as GroupNormStats
    const float *dy = nullptr;               // [n][rows][c1 + c2]
    int64_t n = 0, rows = 0, c1 = 0, c2 = 0, groups = 32;
    float eps = 1e-5f;
    Vector weight, bias;
    const float *modulation = nullptr; // as GroupNormStats
    bool silu = false;
    float *dx = nullptr;   // [n][rows][c1 + c2]
    float *sums = nullptr; // [n][2·(c1 + c2)]; may be none
    Isa isa = Isa::best;
};

// LayerNorm (`centred`) and RmsNorm by x. With sums over all rows as above.
struct RowNormGradient {
    const float *x = nullptr, *dy = nullptr; // [rows][dim]
    int64_t rows = 0, dim = 0;
    bool centred = true;
    float eps = 1e-5f, added = 0;
    Vector weight;         // [dim]; all 1 without data
    float *dx = nullptr;   // may be dy
    float *sums = nullptr; // [2·dim]; may be none
    Isa isa = Isa::best;
};

// dx = dy·act'(x)
struct ActivationGradient {
    const float *x = nullptr, *dy = nullptr;
    int64_t size = 0;
    Act act = Act::none;
    float *dx = nullptr; // may be x or dy
    Isa isa = Isa::best;
};

// y = x[0 … out)·gelu(x[out … 2·out)), the end of Linear with geglu; and its derivative.
struct Geglu {
    const float *x = nullptr; // [rows][2·out]
    int64_t rows = 0, out = 0;
    float *y = nullptr; // [rows][out]
    Isa isa = Isa::best;
};
struct GegluGradient {
    const float *x = nullptr, *dy = nullptr; // [rows][2·out], [rows][out]
    int64_t rows = 0, out = 0;
    float *dx = nullptr; // [rows][2·out]; may be x
    Isa isa = Isa::best;
};

// Conv2d by its weights, and Linear by its matrix (a kernel of 1): sums over all pixels of
// all images of dy with what the weight was multiplied by. Fields as in Conv2d.
struct WeightGradient {
    const float *x = nullptr;  // [n][h][w][c]
    const float *dy = nullptr; // [n][out_h][out_w][out]
    int64_t n = 0, h = 0, w = 0, c = 0, out = 0;
    int kernel = 1, stride = 1;
    bool pad_end = false, upsample = false;
    int64_t up_h = 0, up_w = 0;
    float *dw = nullptr; // [out][c][kernel][kernel]
    Isa isa = Isa::best;
};

// Sums of each image's rows: the derivative by what is added to all of them.
struct ColumnSums {
    const float *x = nullptr; // [n][rows][dim]
    int64_t n = 0, rows = 0, dim = 0;
    float *y = nullptr; // [n][dim]
    Isa isa = Isa::best;
};

#define SDGO_KERNEL(Args)                                                                                    \
    int phases(const Args &args);                                                                            \
    size_t scratch_bytes(const Args &args, int threads);                                                     \
    void run(const Args &args, int phase, int thread, Team &team);
SDGO_KERNEL(AttentionGradient)
SDGO_KERNEL(GroupNormGradient)
SDGO_KERNEL(RowNormGradient)
SDGO_KERNEL(ActivationGradient)
SDGO_KERNEL(Geglu)
SDGO_KERNEL(GegluGradient)
SDGO_KERNEL(WeightGradient)
SDGO_KERNEL(ColumnSums)
#undef SDGO_KERNEL

} // namespace sdgo::kernels
