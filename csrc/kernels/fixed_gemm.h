// Linear layers, and the convolutions that Winograd's algorithm is not for, in fixed
// point. Phases alternate: round a band of pixels to integers, multiply it. What a
// convolution reads for a pixel of its output is put together from integers, for a few
// rows at a time.
//
// Weights are rounded and packed while they are used, or once, in a phase of its own, if
// the caller keeps them (Matrix::kept).
#pragma once

#include "kernels/conv.h"
#include "kernels/fixed.h"
#include "kernels/int16_low_rank.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kFixedGroup = 24;        // rows that share weights in the first-level cache
constexpr int64_t kFixedOneGroup = 48;     // so many rows or fewer are one group
constexpr int64_t kFixedChunk = 640;       // depth for which weights are packed at a time
constexpr int64_t kFixedPixels = 16 << 20; // numbers of an image, at most, that is rounded as a whole

struct FixedPlan {
    Plan plan;
    bool gathered = false;            // a convolution other than 1x1 of stride 1
    int64_t slice = 0, slices = 0;    // numbers in a slice: whole vectors of integers
    int64_t steps = 0;                // slices of all taps: [slice][tap]
    int64_t chunk = 0;                // steps for which weights are packed at a time
    int64_t band_rows = 0, bands = 0; // of the output; whole tiles, or of whole images
    int64_t band_pixels = 0;          // places for what is rounded of a band
    int64_t rows = 0, columns = 0;    // of a task
    int64_t row_blocks = 0, column_blocks = 0;
    int64_t stride = 0; // of the sums
    int64_t group = 0;  // rows that share weights in the first-level cache
    Int16LowRank low;   // beside integers of 16 bits that are not gathered
};

// Few rows are not worth preparing the weights for (a step with guidance has two
// images), and float32 weights are promised float32 arithmetic. The choice depends on
// the size of one image, as Winograd's does.
inline bool use_fixed(const Plan &p) {
    const Gemm &g = p.gemm;
    const Source &s = p.source;
    if (g.w.type == Type::f32 || 2 * g.rows_per_image < 16 || g.depth < 64 || g.out < kInt16Columns ||
        s.spread != Spread::none) {
        return false;
    }
    if (s.kernel == 1 && !s.upsample) {
        return g.w.type != Type::block ||
               (!g.w.transposed && g.w.block_length % (2 * W) == 0 && g.w.block_length <= 512);
    }
    return s.kernel == 3 && g.depth >= kFixedConvDepth && !g.w.transposed &&
           s.h * s.w * s.channels() <= kFixedPixels;
}

// The columns of a task, at most those of the plan and not less than half, with which the
// threads are done at the same time. Sums are the same with any.
inline int64_t even_columns(const FixedPlan &f, int64_t out, int threads) {
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

// What of a plan does not depend on the rows: how weights are packed.
template <class F> FixedPlan fixed_weights_plan(const Plan &p) {
    FixedPlan f;
    const Gemm &g = p.gemm;
    f.plan = p;
    f.gathered = p.source.kernel == 3;
    const bool blocks = g.w.type == Type::block && g.taps == 1;
    // Blocks of 8 bits stay what they are where each is a slice: its scale is the block's.
    const bool own = F::form == Form::panels8 && blocks && g.w.block_bytes >= size_t(g.w.block_length);
    f.slice = round_up(own ? g.w.block_length : ceil_div(g.depth, ceil_div(g.depth, F::slice)),
                       blocks ? g.w.block_length : 2 * W);
    f.slices = ceil_div(g.depth, f.slice);
    f.steps = f.slices * g.taps;
    f.chunk = lesser(f.steps, greater(1, kFixedChunk / f.slice / g.taps) * g.taps);
    if (F::form == Form::panels16 && !f.gathered) {
        f.low = int16_low_rank(g, f.slice, f.slices);
    }
    return f;
}

// The bands of rows, and the places for pixels.
inline void set_fixed_bands(FixedPlan &f) {
    const Gemm &g = f.plan.gemm;
    const Source &s = f.plan.source;
    if (f.gathered) {
        const int64_t image = s.h * s.w * f.slices * f.slice;
        const int64_t images = lesser(s.n, greater(1, 2 * kBandFloats / image));
        f.band_rows = images * g.rows_per_image;
        f.band_pixels = round_up(images * s.h * s.w, kInt16Rows);
    } else {
        const int64_t row = f.slices * f.slice + f.low.slices * f.low.slice; // numbers that are kept of it
        f.band_rows = greater(1, 2 * kBandFloats / row / (16 * kInt16Rows)) * 16 * kInt16Rows;
        f.band_rows = lesser(f.band_rows, round_up(g.rows, kInt16Rows));
        f.band_pixels = f.band_rows;
    }
    f.bands = ceil_div(g.rows, f.band_rows);
}

template <class F> FixedPlan fixed_plan(const Plan &p, int threads) {
    FixedPlan f = fixed_weights_plan<F>(p);
    const Gemm &g = p.gemm;
    set_fixed_bands(f);
    const int64_t sides = g.geglu ? 2 : 1;
    f.rows = lesser(504, round_up(f.band_rows, kInt16Rows));
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
    f.group = f.rows <= kFixedOneGroup ? f.rows : kFixedGroup;
    return f;
}

// Weights of some panels: [panel][step], and their scales.
template <class F> struct FixedPanels {
    typename F::Weight *integers;
    float *scales;
    int64_t steps; // of a panel
    int64_t slice;

    typename F::Weight *at(int64_t panel, int64_t step) const {
        return integers + (panel * steps + step) * slice * kInt16Columns;
    }
    float *scales_at(int64_t panel, int64_t step) const {
        return scales + (panel * steps + step) * F::scale_rows * kInt16Columns;
    }
};

// All panels of the weights that are kept: those of the values, then those of the gates.
template <class F> FixedPanels<F> kept_panels(const FixedPlan &f, int64_t panels) {
    char *start = static_cast<char *>(f.plan.gemm.w.kept);
    return {reinterpret_cast<typename F::Weight *>(start),
            reinterpret_cast<float *>(start + panels * f.steps * f.slice * kInt16Columns *
                                                  int64_t(sizeof(typename F::Weight))),
            f.steps, f.slice};
}
inline int64_t panels_of_side(const FixedPlan &f) {
    return ceil_div(f.plan.gemm.out, kInt16Columns);
}
inline int64_t all_panels(const FixedPlan &f) {
    return panels_of_side(f) * (f.plan.gemm.geglu ? 2 : 1);
}
template <class F> size_t fixed_kept_bytes(const Plan &p) {
    const FixedPlan f = fixed_weights_plan<F>(p);
    return size_t(all_panels(f) * f.steps * kInt16Columns) *
           (size_t(f.slice) * sizeof(typename F::Weight) + F::scale_rows * sizeof(float));
}

// A thread's memory.
template <class F> struct FixedMemory {
    FixedPanels<F> panels;
    float *sums, *bias;
    typename F::Activation *gathered; // rows of a group
    float *gathered_scales;
    float *floats, *dequantized; // of weights that are packed
    float *end;

    FixedMemory(const FixedPlan &f, float *memory) {
        const auto take = [&](int64_t floats) {
            float *place = memory;
            memory += round_up(floats, 16);
            return place;
        };
        constexpr int64_t size = sizeof(typename F::Weight);
        const Gemm &g = f.plan.gemm;
        panels.integers =
            reinterpret_cast<typename F::Weight *>(take(f.stride * f.chunk * f.slice * size / 4));
        panels.scales = take(f.stride * f.chunk * F::scale_rows);
        panels.steps = f.chunk, panels.slice = f.slice;
        sums = take(f.rows * f.stride);
        bias = take(2 * f.stride);
        gathered = reinterpret_cast<typename F::Activation *>(
            take(f.gathered ? round_up(f.group, kInt16Rows) * f.slice * size / 4 : 0));
        gathered_scales = take(round_up(f.group, kInt16Rows));
        floats = take(g.taps * f.slice * W);
        dequantized = take(dequantize_floats(g.w, g.taps * f.slice));
        end = memory;
    }
};

template <class F> int64_t fixed_thread_floats(const FixedPlan &f) {
    float *const nowhere = nullptr;
    const int64_t floats =
        int64_t(reinterpret_cast<uintptr_t>(FixedMemory<F>(f, nowhere).end) / sizeof(float));
    return round_up(greater(floats, f.slices * f.slice + kInt16Rows * f.low.stride()), 16);
}

// What a band's pixels become: integers, [slice][pixel][number], and their scales,
// [slice][pixel]; the same of what a low-rank change makes of them.
template <class F> struct FixedBand {
    typename F::Activation *integers;
    float *scales;
    int16_t *low;
    float *low_scales;
};
template <class F> int64_t integer_floats(const FixedPlan &f) {
    return round_up(f.band_pixels * f.slices * f.slice * int64_t(sizeof(typename F::Activation)) / 4, 16);
}
template <class F> int64_t fixed_band_floats(const FixedPlan &f) {
    return integer_floats<F>(f) + round_up(f.band_pixels * f.slices, 16) +
           low_rank_floats(f.low, f.band_pixels);
}
template <class F> FixedBand<F> fixed_band(const FixedPlan &f, float *memory) {
    float *scales = memory + integer_floats<F>(f), *low = scales + round_up(f.band_pixels * f.slices, 16);
    return {reinterpret_cast<typename F::Activation *>(memory), scales, reinterpret_cast<int16_t *>(low),
            low + low_integer_floats(f.low, f.band_pixels)};
}

// Reads place i of a band's pixels; false if there is none.
inline bool read_place(const FixedPlan &f, int64_t band, int64_t i, float *row) {
    const Source &s = f.plan.source;
    const Gemm &g = f.plan.gemm;
    if (!f.gathered) {
        const int64_t m = band * f.band_rows + i, in_image = m % g.rows_per_image;
        if (m >= g.rows) {
            return false;
        }
        read_pixel(s, m / g.rows_per_image, in_image / f.plan.out_w * s.stride,
                   in_image % f.plan.out_w * s.stride, 0, g.depth, row);
        return true;
    }
    const int64_t pixels = s.h * s.w, images = f.band_rows / g.rows_per_image;
    const int64_t image = band * images + i / pixels, zoom = s.upsample ? 2 : 1;
    if (i / pixels >= images || image >= s.n) {
        return false;
    }
    read_pixel(s, image, i % pixels / s.w * zoom, i % s.w * zoom, 0, g.depth, row);
    return true;
}

// A tile of a band's pixels.
template <class F>
void round_task(const FixedPlan &f, int64_t band, int64_t task, float *row, const FixedBand<F> &to) {
    const Gemm &g = f.plan.gemm;
    for (int64_t i = g.depth; i < f.slices * f.slice; i++) {
        row[i] = 0;
    }
    for (int64_t i = task * kInt16Rows; i < (task + 1) * kInt16Rows; i++) {
        if (!read_place(f, band, i, row)) {
            __builtin_memset(row, 0, size_t(g.depth) * sizeof(float));
        }
        for (int64_t k = 0; k < f.slices; k++) {
            const int64_t place = k * f.band_pixels + i;
            to.scales[place] = round_slice(row + k * f.slice, f.slice, to.integers + place * f.slice);
        }
    }
    if constexpr (F::form == Form::panels16) {
        if (f.low.rank > 0) {
            const int64_t first = task * kInt16Rows;
            multiply_down(f.low, {to.integers + first * f.slice, to.scales + first, f.slice}, f.band_pixels,
                          row + f.slices * f.slice, to.low + first * f.low.slice, to.low_scales + first);
        }
    }
}

// Steps [k, k + count) of panel `to` of weights: those of a panel's columns, rows [row, row + n)
// of the matrix, n of any size.
template <class F>
void pack_fixed(const FixedPlan &f, int64_t row, int64_t n, int64_t k, int64_t count,
                const FixedPanels<F> &panels, int64_t to, int64_t first, const FixedMemory<F> &m) {
    const Gemm &g = f.plan.gemm;
    for (int64_t half = 0; half < kInt16Columns; half += W) {
        const int64_t columns = greater(0, lesser(W, n - half));
        const bool more = n - half >= 2 * W;
        for (int64_t step = k; step < k + count; step += g.taps) {
            const int64_t from = step / g.taps * f.slice, depth = lesser(f.slice, g.depth - from);
            const auto place = [&](int64_t tap) {
                return panels.at(to, step + tap - first) + F::together * half;
            };
            const auto scales = [&](int64_t tap) { return panels.scales_at(to, step + tap - first) + half; };
            if constexpr (F::form == Form::panels16) {
                if (g.taps == 1) {
                    pack_int16(g.w, row + half, columns, from, depth, f.slice, place(0), scales(0),
                               m.dequantized, more);
                    continue;
                }
            }
            if (columns == 0) {
                for (int64_t i = 0; i < g.taps * depth * W; i += W) {
                    store(m.floats + i, zero());
                }
            } else {
                pack_column(g.w, row + half, columns, from, depth, g.taps, m.floats, W, m.dequantized, more);
            }
            for (int64_t tap = 0; tap < g.taps; tap++) {
                const float *x = m.floats + tap * depth * W;
                F::round_columns([&](int64_t i) { return load(x + i * W); }, depth, f.slice, place(tap),
                                 scales(tap));
            }
        }
    }
}

// Puts rows [m, m + n) of a band together from their pixels' integers, a step of each.
template <class F>
void gather_rows(const FixedPlan &f, int64_t m, int64_t n, int64_t step, const FixedBand<F> &from,
                 const FixedMemory<F> &to) {
    const Source &s = f.plan.source;
    const int64_t tap = step % f.plan.gemm.taps, slice = step / f.plan.gemm.taps;
    for (int64_t i = 0; i < n; i++) {
        const int64_t image = (m + i) / f.plan.gemm.rows_per_image,
                      pixel = (m + i) % f.plan.gemm.rows_per_image;
        int64_t y = pixel / f.plan.out_w * s.stride + tap / 3 - s.pad;
        int64_t x = pixel % f.plan.out_w * s.stride + tap % 3 - s.pad;
        typename F::Activation *place = to.gathered + i * f.slice;
        if (y < 0 || y >= s.up_h || x < 0 || x >= s.up_w) {
            __builtin_memset(place, 0, size_t(f.slice) * sizeof(*place));
            to.gathered_scales[i] = 0;
            continue;
        }
        if (s.upsample) {
            y /= 2, x /= 2;
        }
        const int64_t at = slice * f.band_pixels + (image * s.h + y) * s.w + x;
        __builtin_memcpy(place, from.integers + at * f.slice, size_t(f.slice) * sizeof(*place));
        to.gathered_scales[i] = from.scales[at];
    }
}

// A block of rows by a block of columns.
template <class F> struct FixedTask {
    const FixedPlan &f;
    const FixedBand<F> &from;
    FixedMemory<F> m;
    int64_t row, rows, column, columns; // of the block; rows of the band

    // Calls visit(column of the sums, column of the side, side).
    template <class Visit> void each_panel(Visit visit) const {
        for (int64_t n = 0; n < columns; n += kInt16Columns) {
            visit(n, column + n, 0);
            if (f.plan.gemm.geglu) {
                visit(f.columns + n, column + n, 1);
            }
        }
    }

    // Rows [first, end) of the block times step k, to the sums c.
    void multiply(int64_t first, int64_t end, int64_t k, const FixedPanels<F> &panels, bool kept,
                  int64_t chunk, float *c) const {
        const Gemm &g = f.plan.gemm;
        const int64_t slice = k / g.taps,
                      depth = lesser(f.slice, round_up(g.depth - slice * f.slice, F::together));
        const int64_t place = slice * f.band_pixels + row + first;
        const typename F::Activation *a = from.integers + place * f.slice;
        const float *a_scales = from.scales + place;
        if (f.gathered) {
            gather_rows<F>(f, row + first, end - first, k, from, m);
            a = m.gathered, a_scales = m.gathered_scales;
        }
        each_panel([&](int64_t n, int64_t at, int64_t side) {
            const int64_t panel = kept ? side * panels_of_side(f) + at / kInt16Columns : n / kInt16Columns;
            const int64_t step = kept ? k : k - chunk;
            const auto tile = [&](auto ahead, int64_t i) {
                F::template multiply<decltype(ahead)::value>(
                    a + i * f.slice, a_scales + i, f.slice, end - first - i, panels.at(panel, step),
                    panels.scales_at(panel, step), depth, c + i * f.stride + n, f.stride, k == 0);
            };
            int64_t i = 0;
            if (kept && first == 0) { // the first tile brings the weights from memory
                tile(std::true_type(), i);
                i += kInt16Rows;
            }
            for (; i < end - first; i += kInt16Rows) {
                tile(std::false_type(), i);
            }
        });
    }

    // Adds a low-rank change to the sums c of rows [first, end).
    void add_low_rank(int64_t first, int64_t end, float *c) const {
        for (int64_t s = 0; s < f.low.slices; s++) {
            const int64_t place = s * f.band_pixels + row + first;
            const Int16Factor a = {from.low + place * f.low.slice, from.low_scales + place, f.low.slice};
            each_panel([&](int64_t n, int64_t at, int64_t side) {
                multiply_up(f.low, a, end - first, s, side * f.plan.gemm.out + at, c + n, f.stride);
            });
        }
    }

    void run(int64_t band) const {
        const Gemm &g = f.plan.gemm;
        const bool kept = g.w.kept != nullptr;
        const FixedPanels<F> panels = kept ? kept_panels<F>(f, all_panels(f)) : m.panels;
        const int64_t gates = g.geglu ? f.columns : 0;
        load_vector(g.bias, column, columns, m.bias, 0);
        if (g.geglu) {
            load_vector(g.bias, g.out + column, columns, m.bias + gates, 0);
        }
        for (int64_t k = 0; k < f.steps; k += f.chunk) {
            const int64_t count = lesser(f.chunk, f.steps - k);
            if (!kept) {
                each_panel([&](int64_t n, int64_t at, int64_t side) {
                    pack_fixed<F>(f, side * g.out + at, g.out - at, k, count, panels, n / kInt16Columns, k,
                                  m);
                });
            }
            // A group's integers and sums and a panel's weights stay in the
            // first-level cache.
            for (int64_t first = 0; first < rows; first += f.group) {
                const int64_t end = lesser(rows, first + f.group);
                float *c = f.chunk < f.steps ? m.sums + first * f.stride : m.sums;
                for (int64_t s = k; s < k + count; s++) {
                    multiply(first, end, s, panels, kept, k, c);
                }
                if (k + count < f.steps) {
                    continue;
                }
                add_low_rank(first, end, c);
                for (int64_t i = first; i < end; i++) {
                    finish_row(g, band * f.band_rows + row + i, column, columns, c + (i - first) * f.stride,
                               m.bias, gates);
                }
            }
        }
    }
};

template <class F>
void fixed_task(const FixedPlan &f, int64_t band, int64_t task, const FixedBand<F> &from, float *memory) {
    const Gemm &g = f.plan.gemm;
    const int64_t band_rows = lesser(f.band_rows, g.rows - band * f.band_rows);
    const int64_t row = task % f.row_blocks * f.rows, column = task / f.row_blocks * f.columns;
    const int64_t rows = lesser(f.rows, band_rows - row);
    if (rows > 0) {
        FixedTask<F>{f, from, FixedMemory<F>(f, memory), row, rows, column, lesser(f.columns, g.out - column)}
            .run(band);
    }
}

// One phase to pack weights that are kept, two for each band.
template <class F> int fixed_phases(const FixedPlan &f) {
    return int(2 * f.bands) + (f.plan.gemm.w.pack ? 1 : 0);
}

template <class F> size_t fixed_scratch(const FixedPlan &f, int threads) {
    return size_t(fixed_band_floats<F>(f) + threads * fixed_thread_floats<F>(f)) * sizeof(float);
}

template <class F> void run_fixed(const FixedPlan &f, int phase, int thread, Team &team) {
    float *start = static_cast<float *>(team.scratch);
    float *memory = start + fixed_band_floats<F>(f) + thread * fixed_thread_floats<F>(f);
    if (f.plan.gemm.w.pack && phase-- == 0) {
        const FixedMemory<F> m(f, memory);
        const FixedPanels<F> panels = kept_panels<F>(f, all_panels(f));
        take_tasks(team, all_panels(f), [&](int64_t i) {
            const int64_t out = f.plan.gemm.out, from = i % panels_of_side(f) * kInt16Columns;
            pack_fixed<F>(f, i / panels_of_side(f) * out + from, out - from, 0, f.steps, panels, i, 0, m);
        });
        return;
    }
    const int64_t band = phase / 2, rows = lesser(f.band_rows, f.plan.gemm.rows - band * f.band_rows);
    const int64_t pixels =
        f.gathered ? rows / f.plan.gemm.rows_per_image * f.plan.source.h * f.plan.source.w : rows;
    const FixedBand<F> numbers = fixed_band<F>(f, start);
    if (phase % 2 == 0) {
        take_tasks(team, ceil_div(pixels, kInt16Rows),
                   [&](int64_t i) { round_task<F>(f, band, i, memory, numbers); });
    } else {
        take_tasks(team, f.row_blocks * f.column_blocks,
                   [&](int64_t i) { fixed_task<F>(f, band, i, numbers, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
