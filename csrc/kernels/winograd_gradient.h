// Derivatives of 3x3 convolutions by their weights with the products of Winograd's F(4x4,
// 3x3): the adjoint of winograd.h. A tile of the image and one of dy become 36 numbers
// each; each of the 36 is a matrix product of its own, [outputs][tiles] by
// [tiles][channels], and 36 products make the 9 weights of an output and a channel.
#pragma once

#include "kernels/weight_gradient.h"
#include "kernels/winograd.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kGradientTiles = 16; // that are transformed at a time
static_assert(kGradientTiles % W == 0, "tiles are transposed in whole vectors");

// The adjoints of transform_output and transform_filter.
inline void transform_gradient(const V (&d)[kSide], V (&o)[kInput]) {
    const V even_a = fma(broadcast(kA2), d[2], d[0]), even_b = fma(broadcast(kB2), d[2], d[0]);
    const V odd_a = fma(broadcast(kA * kA2), d[3], broadcast(kA) * d[1]);
    const V odd_b = fma(broadcast(kB * kB2), d[3], broadcast(kB) * d[1]);
    o[0] = d[0];
    o[1] = even_a + odd_a;
    o[2] = even_a - odd_a;
    o[3] = even_b + odd_b;
    o[4] = even_b - odd_b;
    o[5] = d[3];
}

inline void finish_filter(const V (&u)[kInput], V (&g)[3]) {
    constexpr float factor_a = 1 / (2 * kA2 * (kA2 - kB2)), factor_b = 1 / (2 * kB2 * (kB2 - kA2));
    const V sum_a = (u[1] + u[2]) * broadcast(factor_a), sum_b = (u[3] + u[4]) * broadcast(factor_b);
    g[0] = fma(u[0], broadcast(1 / (kA2 * kB2)), sum_a + sum_b);
    g[1] = fma(u[1] - u[2], broadcast(kA * factor_a), (u[3] - u[4]) * broadcast(kB * factor_b));
    g[2] = fma(sum_a, broadcast(kA2), fma(sum_b, broadcast(kB2), u[5]));
}

struct WinogradGradientPlan {
    WeightGradientPlan plan;
    int64_t tiles_x = 0, tiles_y = 0, tiles = 0;
    int64_t width = 0;                     // of a panel: the columns
    int64_t panel = 0, rows = 0, sums = 0; // floats of one point's tiles, transposed dy, sums
};

inline bool use_winograd(const WeightGradient &a) {
    return use_winograd(plan(convolution(a)));
}

inline WinogradGradientPlan winograd_plan(const WeightGradient &a, int threads) {
    WinogradGradientPlan w;
    WeightGradientPlan &p = w.plan;
    p = plan(a, threads);
    constexpr int64_t fit = kPanelBytes / int64_t(sizeof(float)) / (kPoints * kPanel) / MR * MR;
    p.columns = even_part(a.c, kPanel);
    p.rows = lesser(round_up(a.out, MR), greater(fit, MR));
    const int64_t enough = threads == 1 ? 1 : 4 * threads;
    while (ceil_div(a.out, p.rows) * ceil_div(a.c, p.columns) < enough && p.rows > 2 * MR) {
        p.rows = round_up(p.rows / 2, MR);
    }
    p.row_blocks = ceil_div(a.out, p.rows);
    p.column_blocks = ceil_div(a.c, p.columns);
    w.tiles_x = ceil_div(p.out_w, kSide), w.tiles_y = ceil_div(p.out_h, kSide);
    w.tiles = a.n * w.tiles_x * w.tiles_y;
    w.width = round_up(p.columns, W);
    w.panel = kGradientTiles * w.width + kGap;
    w.rows = round_up(p.rows, W) * kGradientTiles + kGap;
    w.sums = p.rows * w.width + kGap;
    return w;
}

// A thread's transformed tiles, dy before it is transposed and after, sums, pixels.
inline int64_t winograd_gradient_floats(const WinogradGradientPlan &w) {
    return round_up(kPoints * (w.panel + w.rows + w.sums + kGradientTiles * W + kPanel), 16);
}

struct TilePlace {
    int64_t image, y, x; // of its first output
};

inline TilePlace tile_place(const WinogradGradientPlan &w, int64_t tile) {
    const int64_t line = tile / w.tiles_x;
    return {line / w.tiles_y, line % w.tiles_y * kSide, tile % w.tiles_x * kSide};
}

// n channels from `from` of a tile's pixels, transformed, to to[point · panel].
inline void transform_pixels(const WinogradGradientPlan &w, int64_t tile, int64_t from, int64_t n,
                             float *pixels, float *to) {
    const TilePlace p = tile_place(w, tile);
    const int64_t wide = round_up(n, W);
    for (int64_t i = 0; i < kPoints; i++) {
        for (int64_t c = n; c < wide; c++) {
            pixels[i * kPanel + c] = 0;
        }
        read_pixel(w.plan.source, p.image, p.y + i / kInput - 1, p.x + i % kInput - 1, from, n,
                   pixels + i * kPanel);
    }
    for (int64_t c = 0; c < wide; c += W) {
        V half[kInput][kInput];
        for (int x = 0; x < kInput; x++) {
            V d[kInput], o[kInput];
            for (int y = 0; y < kInput; y++) {
                d[y] = load(pixels + (y * kInput + x) * kPanel + c);
            }
            transform_input(d, o);
            for (int y = 0; y < kInput; y++) {
                half[y][x] = o[y];
            }
        }
        for (int y = 0; y < kInput; y++) {
            V o[kInput];
            transform_input(half[y], o);
            for (int x = 0; x < kInput; x++) {
                store(to + (y * kInput + x) * w.panel + c, o[x]);
            }
        }
    }
}

// n ≤ W outputs from `from` of a tile of dy, transformed, to to[point · kGradientTiles · W].
inline void transform_dy(const WeightGradient &a, const WinogradGradientPlan &w, int64_t tile, int64_t from,
                         int64_t n, float *to) {
    const TilePlace p = tile_place(w, tile);
    V half[kInput][kSide];
    for (int x = 0; x < kSide; x++) {
        V d[kSide], o[kInput];
        for (int y = 0; y < kSide; y++) {
            const int64_t row = p.y + y, column = p.x + x;
            const bool inside = row < w.plan.out_h && column < w.plan.out_w;
            const float *dy = a.dy + ((p.image * w.plan.out_h + row) * w.plan.out_w + column) * a.out + from;
            d[y] = !inside ? zero() : n == W ? load(dy) : load(dy, n);
        }
        transform_gradient(d, o);
        for (int y = 0; y < kInput; y++) {
            half[y][x] = o[y];
        }
    }
    for (int y = 0; y < kInput; y++) {
        V o[kInput];
        transform_gradient(half[y], o);
        for (int x = 0; x < kInput; x++) {
            store(to + (y * kInput + x) * kGradientTiles * W, o[x]);
        }
    }
}

// `count` tiles of dy from `first`, all points: [point][output][tile].
inline void pack_dy(const WeightGradient &a, const WinogradGradientPlan &w, int64_t from, int64_t n,
                    int64_t first, int64_t count, float *transformed, float *to) {
    for (int64_t o = 0; o < n; o += W) {
        for (int64_t t = 0; t < count; t++) {
            transform_dy(a, w, first + t, from + o, lesser(W, n - o), transformed + t * W);
        }
        for (int64_t point = 0; point < kPoints; point++) {
            for (int64_t t = 0; t < count; t += W) {
                V r[W];
                for (int64_t i = 0; i < W; i++) {
                    r[i] = t + i < count ? load(transformed + (point * kGradientTiles + t + i) * W) : zero();
                }
                transpose(r);
                for (int64_t i = 0; i < W; i++) {
                    store(to + point * w.rows + (o + i) * kGradientTiles + t, r[i]);
                }
            }
        }
    }
}

// The finished sums into dw.
inline void finish_filters(const WeightGradient &a, const WinogradGradientPlan &w, int64_t row, int64_t rows,
                           int64_t column, int64_t columns, const float *sums) {
    for (int64_t o = 0; o < rows; o++) {
        for (int64_t c = 0; c < columns; c += W) {
            V half[3][kInput];
            for (int x = 0; x < kInput; x++) {
                V u[kInput], g[3];
                for (int y = 0; y < kInput; y++) {
                    u[y] = load(sums + (y * kInput + x) * w.sums + o * w.width + c);
                }
                finish_filter(u, g);
                for (int y = 0; y < 3; y++) {
                    half[y][x] = g[y];
                }
            }
            alignas(64) float out[9][W];
            for (int y = 0; y < 3; y++) {
                V g[3];
                finish_filter(half[y], g);
                for (int x = 0; x < 3; x++) {
                    store(out[3 * y + x], g[x]);
                }
            }
            float *to = a.dw + ((row + o) * a.c + column + c) * 9;
            for (int64_t i = 0; i < lesser(W, columns - c); i++) {
                for (int t = 0; t < 9; t++) {
                    to[i * 9 + t] = out[t][i];
                }
            }
        }
    }
}

inline void winograd_gradient_task(const WeightGradient &a, const WinogradGradientPlan &w, int64_t task,
                                   float *memory) {
    const WeightGradientPlan &p = w.plan;
    const int64_t row = task % p.row_blocks * p.rows, column = task / p.row_blocks * p.columns;
    const int64_t rows = lesser(p.rows, a.out - row), columns = lesser(p.columns, a.c - column);
    float *tiles = memory, *dy = tiles + kPoints * w.panel, *sums = dy + kPoints * w.rows;
    float *transformed = sums + kPoints * w.sums, *pixels = transformed + kPoints * kGradientTiles * W;
    for (int64_t first = 0; first < w.tiles; first += kGradientTiles) {
        const int64_t count = lesser(kGradientTiles, w.tiles - first);
        for (int64_t t = 0; t < count; t++) {
            transform_pixels(w, first + t, column, columns, pixels, tiles + t * w.width);
        }
        pack_dy(a, w, row, rows, first, count, transformed, dy);
        for (int64_t point = 0; point < kPoints; point++) {
            for (int64_t m = 0; m < rows; m += MR) {
                const float *r[MR];
                for (int64_t i = 0; i < MR; i++) {
                    r[i] = dy + point * w.rows + lesser(m + i, rows - 1) * kGradientTiles;
                }
                multiply(int(w.width / W), r, nullptr, count, tiles + point * w.panel,
                         sums + point * w.sums + m * w.width, w.width, first == 0);
            }
        }
    }
    finish_filters(a, w, row, rows, column, columns, sums);
}

inline size_t weight_gradient_scratch(const WeightGradient &a, int threads) {
    const int64_t each = use_winograd(a) ? winograd_gradient_floats(winograd_plan(a, threads))
                                         : weight_gradient_floats(plan(a, threads));
    return size_t(threads * each) * sizeof(float);
}

inline void run_weight_gradient(const WeightGradient &a, int, int thread, Team &team) {
    float *memory = static_cast<float *>(team.scratch);
    if (use_winograd(a)) {
        const WinogradGradientPlan w = winograd_plan(a, team.threads);
        memory += thread * winograd_gradient_floats(w);
        take_tasks(team, w.plan.row_blocks * w.plan.column_blocks,
                   [&](int64_t i) { winograd_gradient_task(a, w, i, memory); });
        return;
    }
    const WeightGradientPlan p = plan(a, team.threads);
    memory += thread * weight_gradient_floats(p);
    take_tasks(team, p.row_blocks * p.column_blocks,
               [&](int64_t i) { weight_gradient_task(a, p, i, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
