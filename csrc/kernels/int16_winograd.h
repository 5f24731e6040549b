// Winograd's convolutions with products in fixed point: transformed tiles and
// filters are rounded to integers of 16 bits, with a scale for each slice of channels
// at each point. The points' magnitudes differ, so a common scale would lose most of
// the precision; this way the relative RMS error is 1e-4 (smooth images) to 3.2e-4
// (noise), about that of rounding image and filters to float16, 3e-4.
//
// Phases alternate, as in winograd.h. A task takes a point at a time
// through all channels of a chunk, so that its sums stay in the first-level
// cache.
#pragma once

#include "kernels/int16.h"
#include "kernels/winograd.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kInt16Tiles = 96;        // that share transformed filters, at most
constexpr int64_t kInt16FewTiles = 12;     // fewer are not worth rounding the filters
constexpr int64_t kInt16DeepTiles = 4;     // the same where there are many channels
constexpr int64_t kInt16WinogradChunk = 4; // slices for which filters are transformed at a time

constexpr int64_t kFastFewTiles = 12; // fewer are not worth it in the fast tier

inline int64_t tiles_of_image(const Plan &p) {
    return ceil_div(p.out_w, kSide) * ceil_div(p.out_h, kSide);
}

// As use_winograd it depends on the size of one image. Few tiles of few channels take little
// time, and stay in float32: they are most of what small networks have, whose error would be
// four times as large.
inline bool use_int16_winograd(const Plan &p) {
    const Gemm &g = p.gemm;
    return use_winograd(p) && g.w.type != Type::f32 && g.out >= kInt16Columns &&
           tiles_of_image(p) >= (g.depth < kFixedConvDepth ? kInt16FewTiles : kInt16DeepTiles);
}

struct Int16WinogradPlan {
    WinogradPlan winograd;
    int64_t slices = 0;                  // of the channels
    int64_t blocks = 0, block_tiles = 0; // of a band's tiles: of a task
    int64_t rows = 0;                    // places for tiles at each point of a slice
};

inline Int16WinogradPlan int16_winograd_plan(const Plan &p) {
    Int16WinogradPlan f;
    WinogradPlan &w = f.winograd = winograd_plan(p);
    f.slices = ceil_div(p.source.channels(), kWinogradDepth);
    const int64_t line = w.tiles_x * kPoints * f.slices * kWinogradDepth;
    w.band_lines = lesser(w.tile_lines, greater(1, 2 * kBandFloats / line));
    w.bands = ceil_div(w.tile_lines, w.band_lines);
    const int64_t tiles = w.band_lines * w.tiles_x;
    f.blocks = ceil_div(tiles, kInt16Tiles);
    f.block_tiles = round_up(ceil_div(tiles, f.blocks), kInt16Rows);
    // Room for a whole register tile at the end. Odd, so that the points are not a
    // multiple of 4096 bytes apart, see kGap.
    f.rows = (tiles + kInt16Rows) | 1;
    return f;
}

// A band's integers, [slice][point][tile][channel], then their scales.
inline int64_t int16_tile_places(const Int16WinogradPlan &f) {
    return f.slices * kPoints * f.rows;
}
inline int64_t int16_tiles_floats(const Int16WinogradPlan &f) {
    return int16_tile_places(f) * kWinogradDepth / 2 + round_up(int16_tile_places(f), 16);
}

// A thread's memory: while tiles are transformed, pixels and a tile; while they
// are multiplied, what Multiplication lists.
inline int64_t int16_product_stride(const Int16WinogradPlan &f) {
    return f.block_tiles * kInt16Columns + kGap;
}

constexpr int64_t kInt16Filter = kWinogradDepth * kInt16Columns; // integers of a point's slice

struct Multiplication {
    int16_t *filters;     // [slice][point], a panel each
    float *filter_scales; // [slice][point][column]
    float *products;      // [point][tile][column]
    float *transformed;   // filters of W outputs: [point][channel][output]
    float *taps, *bias, *dequantized;
    float *end;

    Multiplication(const Int16WinogradPlan &f, float *memory) {
        const auto take = [&](int64_t floats) {
            float *p = memory;
            memory += round_up(floats, 16);
            return p;
        };
        const int64_t panels = lesser(f.slices, kInt16WinogradChunk) * kPoints;
        filters = reinterpret_cast<int16_t *>(take(panels * kInt16Filter / 2));
        filter_scales = take(panels * kInt16Columns);
        products = take(kPoints * int16_product_stride(f));
        transformed = take(kPoints * (kWinogradDepth * W + kGap));
        taps = take(9 * kWinogradDepth * W);
        bias = take(kInt16Columns);
        dequantized = take(dequantize_floats(f.winograd.plan.gemm.w, 9 * kWinogradDepth));
        end = memory;
    }
};

inline int64_t int16_winograd_thread_floats(const Int16WinogradPlan &f) {
    float *const nowhere = nullptr;
    const int64_t multiplication =
        int64_t(reinterpret_cast<uintptr_t>(Multiplication(f, nowhere).end) / sizeof(float));
    return round_up(greater(multiplication, transform_floats() + kPoints * kWinogradDepth), 16);
}

inline void int16_transform_task(const Int16WinogradPlan &f, int64_t band, int64_t task, float *memory,
                                 int16_t *to, float *scales) {
    float *tile = memory + transform_floats();
    const TileRun r = read_tiles(f.winograd, band, task, memory);
    if (r.depth < kWinogradDepth) {
        __builtin_memset(tile, 0, kPoints * kWinogradDepth * sizeof(float));
    }
    for (int64_t t = 0; t < r.tiles; t++) {
        transform_tile(memory + t * kSide * kWinogradDepth, r.depth, tile, kWinogradDepth);
        int64_t place = r.channel / kWinogradDepth * kPoints * f.rows + r.first + t;
        for (int64_t point = 0; point < kPoints; point++) {
            scales[place] =
                round_slice(tile + point * kWinogradDepth, kWinogradDepth, to + place * kWinogradDepth);
            place += f.rows;
        }
    }
}

// Filters of n ≤ W outputs from `row`, a slice of the channels, into one half
// of the panels of all points.
inline void round_filters(const Gemm &g, int64_t row, int64_t n, int64_t channel, int64_t depth,
                          const Multiplication &m, int16_t *to, float *scales) {
    transform_filters(g, row, n, channel, depth, m.taps, m.dequantized, m.transformed);
    for (int64_t point = 0; point < kPoints; point++) {
        const float *x = m.transformed + point * (depth * W + kGap);
        round_columns<2>([&](int64_t k) { return load(x + k * W); }, depth, kWinogradDepth,
                         to + point * kInt16Filter, scales + point * kInt16Columns);
    }
}

// A block of a band's tiles, a panel of outputs.
inline void int16_winograd_task(const Int16WinogradPlan &f, int64_t band, int64_t task,
                                const int16_t *integers, const float *scales, float *memory) {
    const WinogradPlan &w = f.winograd;
    const Gemm &g = w.plan.gemm;
    const int64_t in_band = lines_in_band(w, band) * w.tiles_x;
    const int64_t first = task % f.blocks * f.block_tiles, count = lesser(f.block_tiles, in_band - first);
    const int64_t column = task / f.blocks * kInt16Columns, n = lesser(kInt16Columns, g.out - column);
    const Multiplication m(f, memory);
    if (count <= 0) {
        return;
    }
    load_vector(g.bias, column, n, m.bias, 0);
    for (int64_t chunk = 0; chunk < f.slices; chunk += kInt16WinogradChunk) {
        const int64_t slices = lesser(kInt16WinogradChunk, f.slices - chunk);
        for (int64_t s = 0; s < slices; s++) {
            const int64_t channel = (chunk + s) * kWinogradDepth;
            for (int64_t half = 0; half < n; half += W) {
                round_filters(g, column + half, lesser(W, n - half), channel,
                              lesser(kWinogradDepth, g.depth - channel), m,
                              m.filters + s * kPoints * kInt16Filter + 2 * half,
                              m.filter_scales + s * kPoints * kInt16Columns + half);
            }
        }
        for (int64_t point = 0; point < kPoints; point++) {
            float *products = m.products + point * int16_product_stride(f);
            for (int64_t s = 0; s < slices; s++) {
                const int64_t panel = s * kPoints + point;
                const int64_t place = ((chunk + s) * kPoints + point) * f.rows + first;
                for (int64_t t = 0; t < count; t += kInt16Rows) {
                    const Int16Factor a = {integers + (place + t) * kWinogradDepth, scales + place + t,
                                           kWinogradDepth};
                    multiply_int16_rows<2>(a, count - t, m.filters + panel * kInt16Filter,
                                           m.filter_scales + panel * kInt16Columns, kWinogradDepth,
                                           products + t * kInt16Columns, kInt16Columns, chunk + s == 0, true);
                }
            }
        }
    }
    for (int64_t t = 0; t < count; t++) {
        finish_tile(w, band * w.band_lines + (first + t) / w.tiles_x, (first + t) % w.tiles_x, column, n,
                    m.products + t * kInt16Columns, int16_product_stride(f), m.bias);
    }
}

inline size_t int16_winograd_scratch(const Int16WinogradPlan &f, int threads) {
    return size_t(int16_tiles_floats(f) + threads * int16_winograd_thread_floats(f)) * sizeof(float);
}

inline void run_int16_winograd(const Int16WinogradPlan &f, int phase, int thread, Team &team) {
    if (run_pack_taps(f.winograd.plan.gemm, phase, team)) {
        return;
    }
    const int64_t band = phase / 2;
    float *start = static_cast<float *>(team.scratch);
    float *memory = start + int16_tiles_floats(f) + thread * int16_winograd_thread_floats(f);
    int16_t *integers = reinterpret_cast<int16_t *>(start);
    float *scales = start + int16_tile_places(f) * kWinogradDepth / 2;
    if (phase % 2 == 0) {
        take_tasks(team, transform_tasks(f.winograd, band),
                   [&](int64_t i) { int16_transform_task(f, band, i, memory, integers, scales); });
    } else {
        take_tasks(team, f.blocks * ceil_div(f.winograd.plan.gemm.out, kInt16Columns),
                   [&](int64_t i) { int16_winograd_task(f, band, i, integers, scales, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
