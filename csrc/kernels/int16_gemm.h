// Linear layers and 1x1 convolutions in fixed point. Phases alternate: round a
// band of rows to integers, multiply it.
#pragma once

#include "kernels/int16_low_rank.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kInt16Slice = 160; // numbers that share a scale, about
constexpr int64_t kInt16Group = 24;  // rows that share weights in the first-level cache
constexpr int64_t kInt16Chunk = 640; // depth for which weights are packed at a time

struct Int16Plan {
    Plan plan;
    int64_t slice = 0, slices = 0;    // numbers in a slice: whole vectors of integers
    int64_t chunk = 0;                // slices for which weights are packed at a time
    int64_t band_rows = 0, bands = 0; // whole tiles of rows
    int64_t rows = 0, columns = 0;    // of a task
    int64_t row_blocks = 0, column_blocks = 0;
    int64_t stride = 0; // of the sums
    Int16LowRank low;
};

// Few rows are not worth preparing the weights for (a step with guidance has two
// images), and float32 weights are promised float32 arithmetic. The choice depends on
// the size of one image, as Winograd's does.
inline bool use_int16(const Plan &p) {
    const Gemm &g = p.gemm;
    return p.source.kernel == 1 && !p.source.upsample && g.w.type != Type::f32 &&
           2 * g.rows_per_image >= 16 && g.depth >= 64 && g.out >= kInt16Columns &&
           (g.w.type != Type::block ||
            (!g.w.transposed && g.w.block_length % (2 * W) == 0 && g.w.block_length <= 512));
}

// The columns of a task, at most those of the plan and not less than half, with which the
// threads are done at the same time. Sums are the same with any.
inline int64_t even_columns(const Int16Plan &f, int64_t out, int threads) {
    const int64_t row_blocks = ceil_div(f.band_rows, f.rows);
    const auto longest = [&](int64_t columns) { // the columns of the thread that has most
        return ceil_div(row_blocks * ceil_div(out, columns), threads) * columns;
    };
    int64_t best = f.columns;
    for (int64_t c = f.columns; 2 * c >= f.columns && c >= kInt16Columns; c -= kInt16Columns) {
        best = longest(c) < longest(best) ? c : best;
    }
    return best;
}

inline Int16Plan int16_plan(const Plan &p, int threads) {
    Int16Plan f;
    const Gemm &g = p.gemm;
    f.plan = p;
    f.slice = round_up(ceil_div(g.depth, ceil_div(g.depth, kInt16Slice)),
                       g.w.type == Type::block ? g.w.block_length : 2 * W);
    f.slices = ceil_div(g.depth, f.slice);
    f.low = int16_low_rank(g, f.slice, f.slices);
    f.chunk = lesser(f.slices, greater(1, kInt16Chunk / f.slice));
    const int64_t row = f.slices * f.slice + f.low.slices * f.low.slice; // numbers that are kept of it
    f.band_rows = greater(1, 2 * kBandFloats / row / (16 * kInt16Rows)) * 16 * kInt16Rows;
    f.band_rows = lesser(f.band_rows, round_up(g.rows, kInt16Rows));
    f.bands = ceil_div(g.rows, f.band_rows);
    const int64_t sides = g.geglu ? 2 : 1;
    f.rows = lesser(504, f.band_rows);
    f.columns = kInt16Packed / (f.chunk * f.slice) / sides / kInt16Columns * kInt16Columns;
    f.columns = lesser(greater(f.columns, kInt16Columns), round_up(g.out, kInt16Columns));
    const auto tasks = [&] { return ceil_div(f.band_rows, f.rows) * ceil_div(g.out, f.columns); };
    const int64_t enough = threads == 1 ? 1 : 4 * threads;
    while (tasks() < enough && f.columns > kInt16Columns) {
        f.columns -= kInt16Columns;
    }
    while (tasks() < enough && f.rows > 48) {
        f.rows = round_up(f.rows / 2, kInt16Rows);
    }
    f.columns = even_columns(f, g.out, threads);
    f.row_blocks = ceil_div(f.band_rows, f.rows);
    f.column_blocks = ceil_div(g.out, f.columns);
    f.stride = sides * f.columns;
    return f;
}

// A band's integers, [slice][row][number], then their scales, [slice][row].
inline int64_t integer_floats(const Int16Plan &f) {
    return round_up(f.band_rows * f.slices * f.slice / 2, 16);
}
inline int64_t int16_band_floats(const Int16Plan &f) {
    return integer_floats(f) + round_up(f.band_rows * f.slices, 16) + low_rank_floats(f.low, f.band_rows);
}

// A thread's packed weights and their scales, sums, biases, unpacked
// quantized weights; or a row of floats.
inline int64_t int16_thread_floats(const Int16Plan &f) {
    const int64_t weights = f.stride * f.chunk * (f.slice / 2 + 1);
    const int64_t dequantized = dequantize_floats(f.plan.gemm.w, f.slice);
    const int64_t rounding = f.slices * f.slice + kInt16Rows * f.low.stride();
    return round_up(greater(weights + (f.rows + 2) * f.stride + dequantized, rounding), 16);
}

// What a band's rows become: integers with their scales; of what a low-rank change adds, too.
struct Int16Band {
    int16_t *integers;
    float *scales;
    int16_t *low;
    float *low_scales;
};
inline Int16Band int16_band(const Int16Plan &f, float *memory) {
    float *scales = memory + integer_floats(f), *low = scales + round_up(f.band_rows * f.slices, 16);
    return {reinterpret_cast<int16_t *>(memory), scales, reinterpret_cast<int16_t *>(low),
            low + low_integer_floats(f.low, f.band_rows)};
}

// A tile of rows of a band.
inline void round_task(const Int16Plan &f, int64_t band, int64_t task, float *row, const Int16Band &to) {
    const Source &s = f.plan.source;
    const Gemm &g = f.plan.gemm;
    const int64_t per_image = f.plan.out_w * f.plan.out_h;
    for (int64_t i = g.depth; i < f.slices * f.slice; i++) {
        row[i] = 0;
    }
    for (int64_t i = task * kInt16Rows; i < (task + 1) * kInt16Rows; i++) {
        const int64_t m = band * f.band_rows + i;
        if (m < g.rows) {
            read_pixel(s, m / per_image, m % per_image / f.plan.out_w * s.stride, m % f.plan.out_w * s.stride,
                       0, g.depth, row);
        } else {
            __builtin_memset(row, 0, size_t(g.depth) * sizeof(float));
        }
        for (int64_t k = 0; k < f.slices; k++) {
            const int64_t place = k * f.band_rows + i;
            to.scales[place] = round_slice(row + k * f.slice, f.slice, to.integers + place * f.slice);
        }
    }
    if (f.low.rank > 0) {
        const int64_t first = task * kInt16Rows;
        multiply_down(f.low, {to.integers + first * f.slice, to.scales + first, f.slice}, f.band_rows,
                      row + f.slices * f.slice, to.low + first * f.low.slice, to.low_scales + first);
    }
}

// A block of rows by a block of columns.
inline void int16_task(const Int16Plan &f, int64_t band, int64_t task, const Int16Band &from, float *memory) {
    const Gemm &g = f.plan.gemm;
    const int64_t band_rows = lesser(f.band_rows, g.rows - band * f.band_rows);
    const int64_t row = task % f.row_blocks * f.rows, column = task / f.row_blocks * f.columns;
    const int64_t rows = lesser(f.rows, band_rows - row), columns = lesser(f.columns, g.out - column);
    const int64_t gates = g.geglu ? f.columns : 0, panel = f.chunk * f.slice * kInt16Columns;
    int16_t *weights = reinterpret_cast<int16_t *>(memory);
    float *weight_scales = memory + f.stride * f.chunk * f.slice / 2; // [panel][slice][column]
    float *sums = weight_scales + f.stride * f.chunk, *bias = sums + f.rows * f.stride;
    float *dequantized = bias + 2 * f.stride;
    if (rows <= 0) {
        return;
    }
    load_vector(g.bias, column, columns, bias, 0);
    if (g.geglu) {
        load_vector(g.bias, g.out + column, columns, bias + gates, 0);
    }
    const auto each_panel =
        [&](auto visit) { // visit(column of the sums, row of the weights, rows of weights)
            for (int64_t n = 0; n < columns; n += kInt16Columns) {
                visit(n, column + n, columns - n);
                if (g.geglu) {
                    visit(gates + n, g.out + column + n, columns - n);
                }
            }
        };
    for (int64_t k = 0; k < f.slices; k += f.chunk) {
        const int64_t count = lesser(f.chunk, f.slices - k);
        each_panel([&](int64_t n, int64_t w_row, int64_t w_rows) {
            for (int64_t half = 0; half < kInt16Columns; half += W) {
                for (int64_t s = 0; s < count; s++) {
                    const int64_t channel = (k + s) * f.slice;
                    pack_int16(g.w, w_row + half, greater(0, lesser(W, w_rows - half)), channel,
                               lesser(f.slice, g.depth - channel), f.slice,
                               weights + n / kInt16Columns * panel + s * f.slice * kInt16Columns + 2 * half,
                               weight_scales + n * f.chunk + s * kInt16Columns + half, dequantized,
                               w_rows - half >= 2 * W);
                }
            }
        });
        // A group's integers and sums and a panel's weights stay in the
        // first-level cache.
        for (int64_t first = 0; first < rows; first += kInt16Group) {
            const int64_t end = lesser(rows, first + kInt16Group);
            float *c = f.chunk < f.slices ? sums + first * f.stride : sums;
            for (int64_t s = 0; s < count; s++) {
                const int64_t depth = lesser(f.slice, round_up(g.depth - (k + s) * f.slice, 2));
                each_panel([&](int64_t n, int64_t, int64_t) {
                    for (int64_t m = first; m < end; m += kInt16Rows) {
                        const int64_t place = (k + s) * f.band_rows + row + m;
                        const Int16Factor a = {from.integers + place * f.slice, from.scales + place, f.slice};
                        multiply_int16_rows<2>(
                            a, end - m, weights + n / kInt16Columns * panel + s * f.slice * kInt16Columns,
                            weight_scales + n * f.chunk + s * kInt16Columns, depth,
                            c + (m - first) * f.stride + n, f.stride, k + s == 0);
                    }
                });
            }
            for (int64_t s = 0; k + count == f.slices && s < f.low.slices; s++) {
                const int64_t place = s * f.band_rows + row + first;
                const Int16Factor a = {from.low + place * f.low.slice, from.low_scales + place, f.low.slice};
                each_panel([&](int64_t n, int64_t w_row, int64_t) {
                    multiply_up(f.low, a, end - first, s, w_row, c + n, f.stride);
                });
            }
            for (int64_t m = first; k + count == f.slices && m < end; m++) {
                finish_row(g, band * f.band_rows + row + m, column, columns, c + (m - first) * f.stride, bias,
                           gates);
            }
        }
    }
}

inline size_t int16_scratch(const Int16Plan &f, int threads) {
    return size_t(int16_band_floats(f) + threads * int16_thread_floats(f)) * sizeof(float);
}

inline void run_int16(const Int16Plan &f, int phase, int thread, Team &team) {
    const int64_t band = phase / 2, rows = lesser(f.band_rows, f.plan.gemm.rows - band * f.band_rows);
    float *start = static_cast<float *>(team.scratch);
    float *memory = start + int16_band_floats(f) + thread * int16_thread_floats(f);
    const Int16Band numbers = int16_band(f, start);
    if (phase % 2 == 0) {
        take_tasks(team, ceil_div(rows, kInt16Rows),
                   [&](int64_t i) { round_task(f, band, i, memory, numbers); });
    } else {
        take_tasks(team, f.row_blocks * f.column_blocks,
                   [&](int64_t i) { int16_task(f, band, i, numbers, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
