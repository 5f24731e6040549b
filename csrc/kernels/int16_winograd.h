// Winograd's convolutions with products in fixed point: transformed tiles and
// filters are rounded to integers of 16 bits, a slice of channels at each point
// with a scale of its own. The points' magnitudes differ, so one scale for all
// would cost most of the precision; like this the relative RMS error is 1e-4
// (smooth images) to 3.2e-4 (noise), as if image and filters had been rounded to
// float16: 3e-4.
//
// Phases alternate, as in kernel_winograd.h. A task takes a point at a time
// through all channels of a chunk, so that its sums stay in the first-level
// cache.
#pragma once

#include "kernels/int16.h"
#include "kernels/winograd.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kFixedTiles = 96;        // that share transformed filters, at most
constexpr int64_t kFixedFewTiles = 12;     // don't pay for rounding the filters
constexpr int64_t kFixedWinogradChunk = 4; // slices for which filters are transformed at a time

// Like use_winograd it depends on one image.
inline bool use_fixed_winograd(const Plan &p) {
    const Gemm &g = p.gemm;
    return use_winograd(p) && g.w.type != Type::f32 && g.out >= kFixedColumns &&
           ceil_div(p.out_w, kSide) * ceil_div(p.out_h, kSide) >= kFixedFewTiles;
}

struct FixedWinogradPlan {
    WinogradPlan winograd;
    int64_t slices = 0;                  // of the channels
    int64_t blocks = 0, block_tiles = 0; // of a band's tiles: of a task
    int64_t rows = 0;                    // places for tiles at each point of a slice
};

inline FixedWinogradPlan fixed_winograd_plan(const Plan &p) {
    FixedWinogradPlan f;
    WinogradPlan &w = f.winograd = winograd_plan(p);
    f.slices = ceil_div(p.source.channels(), kWinogradDepth);
    const int64_t line = w.tiles_x * kPoints * f.slices * kWinogradDepth;
    w.band_lines = lesser(w.tile_lines, greater(1, 2 * kBandFloats / line));
    w.bands = ceil_div(w.tile_lines, w.band_lines);
    const int64_t tiles = w.band_lines * w.tiles_x;
    f.blocks = ceil_div(tiles, kFixedTiles);
    f.block_tiles = round_up(ceil_div(tiles, f.blocks), kFixedRows);
    // Room for a whole register tile at the end. Odd: the points' places must
    // not be a multiple of 4096 bytes apart, see kGap.
    f.rows = (tiles + kFixedRows) | 1;
    return f;
}

// A band's integers, [slice][point][tile][channel], then their scales.
inline int64_t fixed_tile_places(const FixedWinogradPlan &f) {
    return f.slices * kPoints * f.rows;
}
inline int64_t fixed_tiles_floats(const FixedWinogradPlan &f) {
    return fixed_tile_places(f) * kWinogradDepth / 2 + round_up(fixed_tile_places(f), 16);
}

// A thread's memory: while tiles are transformed, pixels and a tile; while they
// are multiplied, what Multiplication lists.
inline int64_t fixed_product_stride(const FixedWinogradPlan &f) {
    return f.block_tiles * kFixedColumns + kGap;
}

constexpr int64_t kFixedFilter = kWinogradDepth * kFixedColumns; // integers of a point's slice

struct Multiplication {
    int16_t *filters;     // [slice][point], a panel each
    float *filter_scales; // [slice][point][column]
    float *products;      // [point][tile][column]
    float *transformed;   // filters of W outputs: [point][channel][output]
    float *taps, *bias, *dequantized;
    float *end;

    Multiplication(const FixedWinogradPlan &f, float *memory) {
        const auto take = [&](int64_t floats) {
            float *p = memory;
            memory += round_up(floats, 16);
            return p;
        };
        const int64_t panels = lesser(f.slices, kFixedWinogradChunk) * kPoints;
        filters = reinterpret_cast<int16_t *>(take(panels * kFixedFilter / 2));
        filter_scales = take(panels * kFixedColumns);
        products = take(kPoints * fixed_product_stride(f));
        transformed = take(kPoints * (kWinogradDepth * W + kGap));
        taps = take(9 * kWinogradDepth * W);
        bias = take(kFixedColumns);
        dequantized = take(dequantize_floats(f.winograd.plan.gemm.w, 9 * kWinogradDepth));
        end = memory;
    }
};

inline int64_t fixed_winograd_thread_floats(const FixedWinogradPlan &f) {
    float *const nowhere = nullptr;
    const int64_t multiplication =
        int64_t(reinterpret_cast<uintptr_t>(Multiplication(f, nowhere).end) / sizeof(float));
    return round_up(greater(multiplication, transform_floats() + kPoints * kWinogradDepth), 16);
}

inline void fixed_transform_task(const FixedWinogradPlan &f, int64_t band, int64_t task, float *memory,
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
inline void round_filters(const Matrix &w, int64_t row, int64_t n, int64_t channel, int64_t depth,
                          const Multiplication &m, int16_t *to, float *scales) {
    transform_filters(w, row, n, channel, depth, m.taps, m.dequantized, m.transformed);
    for (int64_t point = 0; point < kPoints; point++) {
        const float *x = m.transformed + point * (depth * W + kGap);
        round_columns<2>([&](int64_t k) { return load(x + k * W); }, depth, kWinogradDepth,
                         to + point * kFixedFilter, scales + point * kFixedColumns);
    }
}

// A block of a band's tiles, a panel of outputs.
inline void fixed_winograd_task(const FixedWinogradPlan &f, int64_t band, int64_t task,
                                const int16_t *integers, const float *scales, float *memory) {
    const WinogradPlan &w = f.winograd;
    const Gemm &g = w.plan.gemm;
    const int64_t in_band = lines_in_band(w, band) * w.tiles_x;
    const int64_t first = task % f.blocks * f.block_tiles, count = lesser(f.block_tiles, in_band - first);
    const int64_t column = task / f.blocks * kFixedColumns, n = lesser(kFixedColumns, g.out - column);
    const Multiplication m(f, memory);
    if (count <= 0) {
        return;
    }
    load_vector(g.bias, column, n, m.bias, 0);
    for (int64_t chunk = 0; chunk < f.slices; chunk += kFixedWinogradChunk) {
        const int64_t slices = lesser(kFixedWinogradChunk, f.slices - chunk);
        for (int64_t s = 0; s < slices; s++) {
            const int64_t channel = (chunk + s) * kWinogradDepth;
            for (int64_t half = 0; half < n; half += W) {
                round_filters(g.w, column + half, lesser(W, n - half), channel,
                              lesser(kWinogradDepth, g.depth - channel), m,
                              m.filters + s * kPoints * kFixedFilter + 2 * half,
                              m.filter_scales + s * kPoints * kFixedColumns + half);
            }
        }
        for (int64_t point = 0; point < kPoints; point++) {
            float *products = m.products + point * fixed_product_stride(f);
            for (int64_t s = 0; s < slices; s++) {
                const int64_t panel = s * kPoints + point;
                const int64_t place = ((chunk + s) * kPoints + point) * f.rows + first;
                for (int64_t t = 0; t < count; t += kFixedRows) {
                    const FixedFactor a = {integers + (place + t) * kWinogradDepth, scales + place + t,
                                           kWinogradDepth};
                    multiply_fixed<2>(a, true, m.filters + panel * kFixedFilter,
                                      m.filter_scales + panel * kFixedColumns, kWinogradDepth,
                                      products + t * kFixedColumns, kFixedColumns, chunk + s == 0);
                }
            }
        }
    }
    for (int64_t t = 0; t < count; t++) {
        finish_tile(w, band * w.band_lines + (first + t) / w.tiles_x, (first + t) % w.tiles_x, column, n,
                    m.products + t * kFixedColumns, fixed_product_stride(f), m.bias);
    }
}

inline size_t fixed_winograd_scratch(const FixedWinogradPlan &f, int threads) {
    return size_t(fixed_tiles_floats(f) + threads * fixed_winograd_thread_floats(f)) * sizeof(float);
}

inline void run_fixed_winograd(const FixedWinogradPlan &f, int phase, int thread, Team &team) {
    const int64_t band = phase / 2;
    float *start = static_cast<float *>(team.scratch);
    float *memory = start + fixed_tiles_floats(f) + thread * fixed_winograd_thread_floats(f);
    int16_t *integers = reinterpret_cast<int16_t *>(start);
    float *scales = start + fixed_tile_places(f) * kWinogradDepth / 2;
    if (phase % 2 == 0) {
        take_tasks(team, transform_tasks(f.winograd, band),
                   [&](int64_t i) { fixed_transform_task(f, band, i, memory, integers, scales); });
    } else {
        take_tasks(team, f.blocks * ceil_div(f.winograd.plan.gemm.out, kFixedColumns),
                   [&](int64_t i) { fixed_winograd_task(f, band, i, integers, scales, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
