// Matrix multiplication: rows of activations, read in place or from a padded
// copy, by weights packed panel by panel.
//
// The output is cut into tasks of a block of rows by a block of columns. A
// task packs its weights a slice of the depth at a time, so that they stay in
// the second-level cache, and sweeps all its rows over them. Sums run over
// slices, then taps, then channels in order, whatever the tasks are.
#pragma once

#include "kernels/weights.h"

namespace sdgo::kernels::SDGO_ISA {

// Where rows begin: row m is pixel m of images of width x height.
struct Rows {
    const float *base = nullptr;
    int64_t width = 1, height = 1;
    int64_t pixel = 0, line = 0, image = 0; // distances

    const float *at(int64_t m) const {
        const int64_t l = m / width;
        return base + (l / height) * image + (l % height) * line + (m % width) * pixel;
    }
};

struct Gemm {
    Rows a;
    int64_t rows = 0, depth = 0, out = 0;
    int taps = 1;
    int64_t tap_offset[9] = {}; // of a tap's channels from the row's beginning
    Matrix w;
    LowRank low;

    // What happens to a sum on its way out. Row m here is row first_row + m of
    // y, and of image (first_row + m) / rows_per_image.
    Vector bias;
    Act act = Act::none;
    bool geglu = false;
    const float *channel_add = nullptr;
    int64_t channel_add_stride = 0, rows_per_image = 1, first_row = 0;
    const float *before = nullptr; // added before the activation; with GEGLU to the gates, too
    int64_t before_stride = 0;
    const float *residual = nullptr;
    int64_t residual_stride = 0;
    float *y = nullptr;
    int64_t y_stride = 0;
};

struct Blocking {
    int64_t depth;   // channels in a slice: a function of the shape only
    int64_t rows;    // in a block
    int64_t columns; // in a block, of the output
    int64_t row_blocks, column_blocks;
    int64_t stride; // of the sums' buffer: columns, twice for GEGLU
};

constexpr int64_t kLine = 16;         // floats in a line of the cache
constexpr int64_t kSliceLength = 576; // sums in a slice: taps · channels

inline int64_t slice_depth(int64_t depth, int taps, const Matrix &w) {
    const int64_t most = kSliceLength / taps;
    int64_t d = ceil_div(depth, ceil_div(depth, most));
    d = round_up(d, W);
    return w.type == Type::block && taps == 1 ? round_up(d, w.block_length) : d;
}

inline Blocking block(const Gemm &g, int threads) {
    Blocking b;
    b.depth = slice_depth(g.depth, g.taps, g.w);
    const int64_t sides = g.geglu ? 2 : 1;
    b.columns = kPanelBytes / int64_t(sizeof(float)) / (b.depth * g.taps) / sides / kPanel * kPanel;
    b.columns = lesser(greater(b.columns, kPanel), round_up(g.out, kPanel));
    b.rows = lesser(kRowBlock, round_up(g.rows, MR));
    const int64_t enough = threads == 1 ? 1 : 4 * threads;
    const auto tasks = [&] { return ceil_div(g.rows, b.rows) * ceil_div(g.out, b.columns); };
    while (tasks() < enough && b.columns > kPanel) {
        b.columns -= kPanel;
    }
    while (tasks() < enough && b.rows > 8 * MR) {
        b.rows = round_up(b.rows / 2, MR);
    }
    b.row_blocks = ceil_div(g.rows, b.rows);
    b.column_blocks = ceil_div(g.out, b.columns);
    b.stride = b.columns * sides;
    return b;
}

// A thread's memory: panels, sums, biases, unpacked quantized weights.
inline int64_t gemm_floats(const Gemm &g, const Blocking &b) {
    return b.stride * b.depth * g.taps + (b.rows + 2) * b.stride +
           round_up(dequantize_floats(g.w, b.depth * g.taps), W);
}

// Adds R rows times a panel of N vectors to c; starts from zero if `fresh`. The
// rows that come next, if not null, are prefetched a few lines at a time: more than
// the processor has buffers for would stall it.
// Not inlined: among other code its row pointers would not stay in registers.
template <int N, int R = MR>
__attribute__((noinline)) void multiply(const float *const *rows, const float *const *next,
                                        const int64_t *tap_offset, int taps, int64_t depth, const float *b,
                                        float *c, int64_t stride, bool fresh) {
    V sum[R][N];
#pragma GCC unroll 8
    for (int m = 0; m < R; m++) {
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            sum[m][n] = fresh ? zero() : load(c + m * stride + n * W);
        }
    }
    for (int t = 0; t < taps; t++) {
        const float *a[R];
#pragma GCC unroll 8
        for (int m = 0; m < R; m++) {
            a[m] = rows[m] + tap_offset[t];
        }
        for (int64_t k = 0; k < depth;) {
            if (next) {
                for (int m = 0; m < R; m++) {
                    __builtin_prefetch(next[m] + tap_offset[t] + k);
                }
            }
            for (const int64_t end = lesser(k + kLine, depth); k < end; k++) {
                V bv[N];
#pragma GCC unroll 4
                for (int n = 0; n < N; n++) {
                    bv[n] = load(b + n * W);
                }
                b += N * W;
#pragma GCC unroll 8
                for (int m = 0; m < R; m++) {
                    const V av = broadcast(a[m][k]);
#pragma GCC unroll 4
                    for (int n = 0; n < N; n++) {
                        sum[m][n] = fma(av, bv[n], sum[m][n]);
                    }
                }
            }
        }
    }
#pragma GCC unroll 8
    for (int m = 0; m < R; m++) {
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            store(c + m * stride + n * W, sum[m][n]);
        }
    }
}

inline void multiply(int vectors, const float *const *rows, const float *const *next,
                     const int64_t *tap_offset, int taps, int64_t depth, const float *b, float *c,
                     int64_t stride, bool fresh) {
    static_assert(NV <= 3, "one case for each width");
    if (vectors == NV) {
        multiply<NV>(rows, next, tap_offset, taps, depth, b, c, stride, fresh);
    } else if (vectors == 2) {
        multiply<2>(rows, next, tap_offset, taps, depth, b, c, stride, fresh);
    } else {
        multiply<1>(rows, next, tap_offset, taps, depth, b, c, stride, fresh);
    }
}

// The same for one tap.
inline void multiply(int vectors, const float *const *rows, const float *const *next, int64_t depth,
                     const float *b, float *c, int64_t stride, bool fresh) {
    const int64_t no_offset = 0;
    multiply(vectors, rows, next, &no_offset, 1, depth, b, c, stride, fresh);
}

constexpr int kFewRows = 2; // vectors of one picture, and of one with guidance

// MR rows, `valid` of them real, times n columns of panels. `next`: the rows that come
// next, or null.
inline void multiply_panels(const float *const *rows, int64_t valid, const float *const *next, const Gemm &g,
                            int64_t depth, int64_t n, const float *b, float *c, int64_t stride, bool fresh) {
    for (int64_t p = 0; p < n; p += kPanel) {
        const int64_t width = lesser(kPanel, round_up(n - p, W));
        if (valid <= kFewRows && width == kPanel) {
            multiply<NV, kFewRows>(rows, nullptr, g.tap_offset, g.taps, depth, b, c + p, stride, fresh);
        } else {
            multiply(int(width / W), rows, p == 0 ? next : nullptr, g.tap_offset, g.taps, depth, b, c + p,
                     stride, fresh);
        }
        b += width * depth * g.taps;
    }
}

// The finished sums of a row, n columns from `column`, into y.
inline void finish_row(const Gemm &g, int64_t m, int64_t column, int64_t n, const float *sums,
                       const float *bias, int64_t gates) {
    const int64_t row = g.first_row + m;
    float *y = g.y + row * g.y_stride + column;
    const float *residual = g.residual ? g.residual + row * g.residual_stride + column : nullptr;
    const float *add =
        g.channel_add ? g.channel_add + row / g.rows_per_image * g.channel_add_stride + column : nullptr;
    const float *before = g.before ? g.before + row * g.before_stride + column : nullptr;
    for (int64_t i = 0; i < n; i += W) {
        const bool whole = i + W <= n;
        const auto read = [&](const float *p) { return whole ? load(p + i) : load(p + i, n - i); };
        V x = load(sums + i) + load(bias + i);
        if (add) {
            x = x + read(add);
        }
        if (before) {
            x = x + read(before);
        }
        if (g.geglu) {
            V gate = load(sums + gates + i) + load(bias + gates + i);
            if (before) {
                gate = gate + read(before + g.out);
            }
            x = x * gelu(gate);
        } else {
            x = activate(x, g.act);
        }
        if (residual) {
            x = x + read(residual);
        }
        if (whole) {
            store(y + i, x);
        } else {
            store(y + i, x, n - i);
        }
    }
}

// Channel k of the rows [m, m + MR); the last row is repeated beyond the end.
inline void row_pointers(const Gemm &g, int64_t m, int64_t end, int64_t k, const float **rows) {
    for (int i = 0; i < MR; i++) {
        rows[i] = g.a.at(lesser(m + i, end - 1)) + k;
    }
}

// One block of rows by one block of columns.
inline void gemm_task(const Gemm &g, const Blocking &b, int64_t task, float *memory) {
    const int64_t row = task % b.row_blocks * b.rows, column = task / b.row_blocks * b.columns;
    const int64_t rows = lesser(b.rows, g.rows - row), columns = lesser(b.columns, g.out - column);
    const int64_t gates = g.geglu ? round_up(columns, W) : 0; // where the sums of the gates begin
    float *sums = memory + b.stride * b.depth * g.taps;
    float *bias = sums + b.rows * b.stride;
    float *dequantized = bias + 2 * b.stride;

    load_vector(g.bias, column, columns, bias, 0);
    if (g.geglu) {
        load_vector(g.bias, g.out + column, columns, bias + gates, 0);
    }
    for (int64_t k = 0; k < g.depth; k += b.depth) {
        const int64_t depth = lesser(b.depth, g.depth - k);
        float *gate_panels = memory + gates * depth * g.taps;
        pack_panels(g.w, column, columns, k, depth, g.taps, memory, dequantized);
        if (g.geglu) {
            pack_panels(g.w, g.out + column, columns, k, depth, g.taps, gate_panels, dequantized);
        }
        const float *a[2][MR]; // this tile's rows and the next one's
        row_pointers(g, row, row + rows, k, a[0]);
        for (int64_t m = 0; m < rows; m += MR) {
            const float *const *now = a[m / MR % 2];
            const float **next = a[1 - m / MR % 2];
            row_pointers(g, row + lesser(m + MR, rows - 1), row + rows, k, next);
            // Sums that are finished at once share the place of the first rows.
            float *c = b.depth < g.depth ? sums + m * b.stride : sums;
            multiply_panels(now, rows - m, next, g, depth, columns, memory, c, b.stride, k == 0);
            if (g.geglu) {
                multiply_panels(now, rows - m, nullptr, g, depth, columns, gate_panels, c + gates, b.stride,
                                k == 0);
            }
            if (k + depth == g.depth) {
                for (int64_t i = 0; i < lesser(MR, rows - m); i++) {
                    finish_row(g, row + m + i, column, columns, c + i * b.stride, bias, gates);
                }
            }
        }
    }
}

} // namespace sdgo::kernels::SDGO_ISA
