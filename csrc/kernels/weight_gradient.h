// Derivatives of convolutions and linear layers by their weights: a product of dy,
// transposed, by x, whose depth are the pixels of all images. For a kernel of 3 there is
// a product for each tap, of x at other places.
//
// A task makes a block of outputs by a block of channels, all taps. It packs both factors
// a slice of the pixels at a time; slices, and pixels in them, are added in order,
// whatever the tasks are.
#pragma once

#include "kernels/conv.h"
#include "kernels/gradients.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kSlicePixels = 128;

struct WeightGradientPlan {
    Source source;
    int64_t out_h = 0, out_w = 0, pixels = 0;
    int64_t taps = 1;
    int64_t rows = 0, columns = 0; // of a task: outputs and channels
    int64_t row_blocks = 0, column_blocks = 0;
};

inline WeightGradientPlan plan(const WeightGradient &a, int threads) {
    Conv2d c;
    c.x = a.x, c.n = a.n, c.h = a.h, c.w = a.w, c.c1 = a.c, c.out = a.out;
    c.kernel = a.kernel, c.stride = a.stride, c.pad_end = a.pad_end;
    c.upsample = a.upsample, c.up_h = a.up_h, c.up_w = a.up_w;
    const Plan conv = plan(c);
    WeightGradientPlan p;
    p.source = conv.source;
    p.out_h = conv.out_h, p.out_w = conv.out_w;
    p.pixels = a.n * p.out_h * p.out_w;
    p.taps = a.kernel * a.kernel;
    p.rows = lesser(round_up(a.out, MR), 32 * MR);
    p.columns = lesser(round_up(a.c, kPanel), a.kernel == 1 ? 8 * kPanel : kPanel);
    const auto tasks = [&] { return ceil_div(a.out, p.rows) * ceil_div(a.c, p.columns); };
    while (tasks() < 4 * threads && p.columns > kPanel) {
        p.columns -= kPanel;
    }
    while (tasks() < 4 * threads && p.rows > 4 * MR) {
        p.rows = round_up(p.rows / 2, MR);
    }
    p.row_blocks = ceil_div(a.out, p.rows);
    p.column_blocks = ceil_div(a.c, p.columns);
    return p;
}

// A thread's packed dy and x, and sums.
inline int64_t weight_gradient_floats(const WeightGradientPlan &p) {
    return round_up(p.rows * kSlicePixels + p.columns * kSlicePixels + p.rows * p.columns * p.taps + W, 16);
}

inline size_t weight_gradient_scratch(const WeightGradient &a, int threads) {
    return size_t(threads * weight_gradient_floats(plan(a, threads))) * sizeof(float);
}

// n outputs from `from` of pixels [first, first + count): [output][kSlicePixels].
inline void pack_gradient(const WeightGradient &a, int64_t from, int64_t n, int64_t first, int64_t count,
                          float *to) {
    for (int64_t o = 0; o < n; o += W) {
        const int64_t outputs = lesser(W, n - o);
        for (int64_t k = 0; k < count; k += W) {
            V r[W];
            for (int64_t i = 0; i < W; i++) {
                const float *dy = a.dy + (first + k + i) * a.out + from + o;
                r[i] = k + i >= count ? zero() : outputs == W ? load(dy) : load(dy, outputs);
            }
            transpose(r);
            for (int64_t i = 0; i < outputs; i++) {
                store(to + (o + i) * kSlicePixels + k, r[i]);
            }
        }
    }
}

// n channels from `from` of what a tap sees of the same pixels: panels [pixel][width].
inline void pack_pixels(const WeightGradientPlan &p, int64_t tap, int64_t from, int64_t n, int64_t first,
                        int64_t count, float *to) {
    const Source &s = p.source;
    const int64_t dy = tap / s.kernel - s.pad, dx = tap % s.kernel - s.pad;
    for (int64_t c = 0; c < n; c += kPanel) {
        const int64_t here = lesser(kPanel, n - c), width = round_up(here, W);
        for (int64_t k = first; k < first + count; k++, to += width) {
            const int64_t line = k / p.out_w;
            for (int64_t i = here; i < width; i++) {
                to[i] = 0;
            }
            read_pixel(s, line / p.out_h, line % p.out_h * s.stride + dy, k % p.out_w * s.stride + dx,
                       from + c, here, to);
        }
    }
}

// The finished sums, [tap][output][columns], into dw.
inline void finish_weights(const WeightGradient &a, const WeightGradientPlan &p, int64_t row, int64_t rows,
                           int64_t column, int64_t columns, const float *sums) {
    for (int64_t o = 0; o < rows; o++) {
        float *to = a.dw + ((row + o) * a.c + column) * p.taps;
        for (int64_t t = 0; t < p.taps; t++) {
            const float *from = sums + (t * p.rows + o) * p.columns;
            for (int64_t c = 0; c < columns; c++) {
                to[c * p.taps + t] = from[c];
            }
        }
    }
}

inline void weight_gradient_task(const WeightGradient &a, const WeightGradientPlan &p, int64_t task,
                                 float *memory) {
    const int64_t row = task % p.row_blocks * p.rows, column = task / p.row_blocks * p.columns;
    const int64_t rows = lesser(p.rows, a.out - row), columns = lesser(p.columns, a.c - column);
    float *gradient = memory, *pixels = gradient + p.rows * kSlicePixels;
    float *sums = pixels + p.columns * kSlicePixels;
    for (int64_t first = 0; first < p.pixels; first += kSlicePixels) {
        const int64_t count = lesser(kSlicePixels, p.pixels - first);
        pack_gradient(a, row, rows, first, count, gradient);
        for (int64_t t = 0; t < p.taps; t++) {
            pack_pixels(p, t, column, columns, first, count, pixels);
            float *c = sums + t * p.rows * p.columns;
            for (int64_t m = 0; m < rows; m += MR) {
                const float *a_rows[MR];
                for (int64_t i = 0; i < MR; i++) {
                    a_rows[i] = gradient + lesser(m + i, rows - 1) * kSlicePixels;
                }
                const float *panel = pixels;
                for (int64_t n = 0; n < columns; n += kPanel) {
                    const int64_t width = lesser(kPanel, round_up(columns - n, W));
                    multiply(int(width / W), a_rows, nullptr, count, panel, c + m * p.columns + n, p.columns,
                             first == 0);
                    panel += width * count;
                }
            }
        }
    }
    finish_weights(a, p, row, rows, column, columns, sums);
}

inline void run_weight_gradient(const WeightGradient &a, int, int thread, Team &team) {
    const WeightGradientPlan p = plan(a, team.threads);
    float *memory = static_cast<float *>(team.scratch) + thread * weight_gradient_floats(p);
    take_tasks(team, p.row_blocks * p.column_blocks,
               [&](int64_t i) { weight_gradient_task(a, p, i, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
