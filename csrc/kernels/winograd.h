// 3x3 convolutions by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): a tile of
// 4x4 outputs takes 36 products a channel instead of 144.
//
// Inputs are cut into overlapping 6x6 tiles; each tile and each filter becomes
// 36 numbers, each of which is a matrix product of its own over the channels,
// [tiles][channels] by [channels][outputs]; 36 products make 16 outputs.
// Phases alternate: transform a band of tiles, multiply it.
#pragma once

#include "kernels/conv.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int kSide = 4;               // of a tile of the output
constexpr int kInput = 6;              // of a tile of the input
constexpr int kPoints = 36;            // products of a tile
constexpr int64_t kWinogradDepth = 64; // channels in a slice
constexpr int64_t kSegment = 16;       // tiles that are transformed together
// Added between two points: 36 addresses a multiple of 4096 bytes apart would compete
// for the same few lines of the first-level cache.
constexpr int64_t kGap = 16;
constexpr int64_t kSegmentWidth = kSide * kSegment + kInput - kSide;

// One dimension of the transforms, for the points 0, ±a, ±b and ∞. These two were
// found by trial: rounding errors are half those of the usual 1 and 2, and their
// powers are exact in float.
constexpr float kA = 0.625f, kA2 = kA * kA, kB = 1.5f, kB2 = kB * kB;

inline void transform_input(const V (&d)[kInput], V (&o)[kInput]) {
    const V even_a = fma(broadcast(-kB2), d[2], d[4]), odd_a = fma(broadcast(-kB2), d[1], d[3]);
    const V even_b = fma(broadcast(-kA2), d[2], d[4]), odd_b = fma(broadcast(-kA2), d[1], d[3]);
    o[0] = fma(broadcast(kA2 * kB2), d[0], fma(broadcast(-kA2 - kB2), d[2], d[4]));
    o[1] = fma(broadcast(kA), odd_a, even_a);
    o[2] = fma(broadcast(-kA), odd_a, even_a);
    o[3] = fma(broadcast(kB), odd_b, even_b);
    o[4] = fma(broadcast(-kB), odd_b, even_b);
    o[5] = fma(broadcast(kA2 * kB2), d[1], fma(broadcast(-kA2 - kB2), d[3], d[5]));
}

inline void transform_filter(V g0, V g1, V g2, V (&o)[kInput]) {
    constexpr float factor_a = 1 / (2 * kA2 * (kA2 - kB2)), factor_b = 1 / (2 * kB2 * (kB2 - kA2));
    const V even_a = fma(g2, broadcast(kA2), g0) * broadcast(factor_a);
    const V even_b = fma(g2, broadcast(kB2), g0) * broadcast(factor_b);
    o[0] = g0 * broadcast(1 / (kA2 * kB2));
    o[1] = fma(g1, broadcast(kA * factor_a), even_a);
    o[2] = fma(g1, broadcast(-kA * factor_a), even_a);
    o[3] = fma(g1, broadcast(kB * factor_b), even_b);
    o[4] = fma(g1, broadcast(-kB * factor_b), even_b);
    o[5] = g2;
}

inline void transform_output(const V (&m)[kInput], V (&o)[kSide]) {
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    o[0] = m[0] + even_a + even_b;
    o[1] = fma(broadcast(kA), odd_a, broadcast(kB) * odd_b);
    o[2] = fma(broadcast(kA2), even_a, broadcast(kB2) * even_b);
    o[3] = fma(broadcast(kA * kA2), odd_a, fma(broadcast(kB * kB2), odd_b, m[5]));
}

struct WinogradPlan {
    Plan plan;
    int64_t tiles_x = 0, tile_lines = 0; // tile lines: of all images
    int64_t lines_per_image = 0;
    int64_t band_lines = 0, bands = 0;
};

inline WinogradPlan winograd_plan(const Plan &p) {
    WinogradPlan w;
    w.plan = p;
    w.tiles_x = ceil_div(p.out_w, kSide);
    w.lines_per_image = ceil_div(p.out_h, kSide);
    w.tile_lines = w.lines_per_image * p.source.n;
    const int64_t line = w.tiles_x * kPoints * p.source.channels();
    w.band_lines = lesser(w.tile_lines, greater(1, kBandFloats / line));
    w.bands = ceil_div(w.tile_lines, w.band_lines);
    return w;
}

// Whether it pays: few products are lost to tiles that reach beyond the image, and
// there are enough tiles to be worth the transforms. It depends on the size of one
// image alone, so that an image has the same result alone and in a batch.
inline bool use_winograd(const Plan &p) {
    const Source &s = p.source;
    const int64_t tiles = ceil_div(p.out_w, kSide) * ceil_div(p.out_h, kSide);
    return s.kernel == 3 && s.stride == 1 && s.pad == 1 && s.channels() >= 16 && p.gemm.out >= 2 * W &&
           tiles >= 2 && 2 * kPoints * tiles < 9 * p.out_w * p.out_h;
}

inline int64_t lines_in_band(const WinogradPlan &w, int64_t band) {
    return lesser(w.band_lines, w.tile_lines - band * w.band_lines);
}

// Where a slice of a band's transformed tiles begins:
// [slice][point][tile][channel of the slice].
inline int64_t slice_begin(int64_t tiles, int64_t channel) {
    return kPoints * (tiles * channel + channel / kWinogradDepth * kGap);
}

inline int64_t tiles_floats(const WinogradPlan &w) {
    const int64_t c = w.plan.source.channels();
    return round_up(kPoints * (w.band_lines * w.tiles_x * c + ceil_div(c, kWinogradDepth) * kGap), 16);
}

inline int64_t transform_floats() {
    return kInput * kSegmentWidth * kWinogradDepth;
}

// A tile's channels [0, depth) into to[point · stride + channel].
inline void transform_tile(const float *pixels, int64_t depth, float *to, int64_t stride) {
    for (int64_t c = 0; c < depth; c += W) {
        V half[kInput][kInput];
        float *place = to + c;
        keep(place);
#pragma GCC unroll 6
        for (int x = 0; x < kInput; x++) {
            V d[kInput], o[kInput];
#pragma GCC unroll 6
            for (int y = 0; y < kInput; y++) {
                d[y] = load(pixels + (y * kSegmentWidth + x) * kWinogradDepth + c);
            }
            transform_input(d, o);
#pragma GCC unroll 6
            for (int y = 0; y < kInput; y++) {
                half[y][x] = o[y];
            }
        }
#pragma GCC unroll 6
        for (int y = 0; y < kInput; y++) {
            V o[kInput];
            transform_input(half[y], o);
#pragma GCC unroll 6
            for (int x = 0; x < kInput; x++) {
                if (c + W <= depth) {
                    store(place, o[x]);
                } else {
                    store(place, o[x], depth - c);
                }
                place += stride;
            }
        }
    }
}

inline int64_t transform_tasks(const WinogradPlan &w, int64_t band) {
    return lines_in_band(w, band) * ceil_div(w.tiles_x, kSegment) *
           ceil_div(w.plan.source.channels(), kWinogradDepth);
}

// A piece of a line of tiles, a slice of the channels.
struct TileRun {
    int64_t channel, depth;
    int64_t first, tiles; // in the band
};

inline TileRun read_tiles(const WinogradPlan &w, int64_t band, int64_t task, float *pixels) {
    const Source &s = w.plan.source;
    const int64_t slices = ceil_div(s.channels(), kWinogradDepth), pieces = ceil_div(w.tiles_x, kSegment);
    const int64_t channel = task % slices * kWinogradDepth,
                  depth = lesser(kWinogradDepth, s.channels() - channel);
    const int64_t first = task / slices % pieces * kSegment, tiles = lesser(kSegment, w.tiles_x - first);
    const int64_t line = task / slices / pieces, all_line = band * w.band_lines + line;
    const int64_t image = all_line / w.lines_per_image, y = all_line % w.lines_per_image * kSide - 1;
    for (int64_t i = 0; i < kInput; i++) {
        for (int64_t x = 0; x < tiles * kSide + kInput - kSide; x++) {
            read_pixel(s, image, y + i, first * kSide + x - 1, channel, depth,
                       pixels + (i * kSegmentWidth + x) * kWinogradDepth);
        }
    }
    return {channel, depth, line * w.tiles_x + first, tiles};
}

inline void transform_task(const WinogradPlan &w, int64_t band, int64_t task, float *pixels, float *to) {
    const TileRun r = read_tiles(w, band, task, pixels);
    const int64_t in_band = lines_in_band(w, band) * w.tiles_x;
    to += slice_begin(in_band, r.channel) + r.first * r.depth;
    for (int64_t t = 0; t < r.tiles; t++) {
        transform_tile(pixels + t * kSide * kWinogradDepth, r.depth, to + t * r.depth,
                       in_band * r.depth + kGap);
    }
}

// Filters of W outputs, `depth` channels, into a column of panels [point][channel][width] at
// `to`; tap(t, k) loads tap t of channel k.
template <class Tap> void transform_column(Tap tap, int64_t depth, int64_t width, int64_t stride, float *to) {
    for (int64_t k = 0; k < depth; k++) {
        V half[3][kInput];
        float *place = to + k * width;
        keep(place);
#pragma GCC unroll 6
        for (int x = 0; x < 3; x++) {
            transform_filter(tap(x, k), tap(3 + x, k), tap(6 + x, k), half[x]);
        }
#pragma GCC unroll 6
        for (int y = 0; y < kInput; y++) {
            V o[kInput];
            transform_filter(half[0][y], half[1][y], half[2][y], o);
#pragma GCC unroll 6
            for (int x = 0; x < kInput; x++) {
                store(place, o[x]);
                place += stride;
            }
        }
    }
}

// Weights that are kept: [W outputs][slice][tap][channel of the slice][output], in their own
// type of 16 bits.
constexpr int64_t kTapsBlock = 9 * kWinogradDepth * W;

inline Keep keep_taps(const Plan &p) {
    const Gemm &g = p.gemm;
    if ((g.w.type != Type::f16 && g.w.type != Type::bf16) || g.w.transposed) {
        return {};
    }
    const int64_t blocks = ceil_div(g.out, W) * ceil_div(g.depth, kWinogradDepth);
    return {Form::taps, size_t(blocks * kTapsBlock) * sizeof(uint16_t)};
}

inline uint16_t *kept_taps(const Gemm &g, int64_t row, int64_t channel) {
    const int64_t block = row / W * ceil_div(g.depth, kWinogradDepth) + channel / kWinogradDepth;
    return static_cast<uint16_t *>(g.w.kept) + block * kTapsBlock;
}

// Packs W outputs of the weights that are kept.
inline void pack_taps(const Gemm &g, int64_t row) {
    const int64_t n = lesser(W, g.out - row);
    for (int64_t channel = 0; channel < g.depth; channel += kWinogradDepth) {
        uint16_t *to = kept_taps(g, row, channel);
        const int64_t depth = lesser(kWinogradDepth, g.depth - channel);
        __builtin_memset(to, 0, size_t(kTapsBlock) * sizeof(*to));
        for (int64_t i = 0; i < n; i++) {
            const auto *from = reinterpret_cast<const uint16_t *>(static_cast<const char *>(g.w.data) +
                                                                  size_t(row + i) * g.w.row_bytes) +
                               channel * 9;
            for (int64_t k = 0; k < depth; k++) {
                for (int64_t t = 0; t < 9; t++) {
                    to[(t * kWinogradDepth + k) * W + i] = from[k * 9 + t];
                }
            }
        }
    }
}

// The phases: one to pack weights that are kept, two for each band.
inline int winograd_phases(const Plan &p, int64_t bands) {
    return int(2 * bands) + (p.gemm.w.pack ? 1 : 0);
}

// Runs the first phase of those if it packs weights; else it makes `phase` that of the bands.
inline bool run_pack_taps(const Gemm &g, int &phase, Team &team) {
    if (!g.w.pack || phase-- > 0) {
        return false;
    }
    take_tasks(team, ceil_div(g.out, W), [&](int64_t i) { pack_taps(g, i * W); });
    return true;
}

// Filters of n outputs from `row`, channels [channel, channel + depth), into
// panels [point][channel][width].
inline void transform_filters(const Gemm &g, int64_t row, int64_t n, int64_t channel, int64_t depth,
                              float *taps, float *dequantized, float *to) {
    const Matrix &w = g.w;
    const int64_t width = round_up(n, W), stride = depth * width + kGap;
    for (int64_t column = 0; column < width; column += W) {
        if (w.kept) {
            const uint16_t *from = kept_taps(g, row + column, channel);
            // The next slice's follow in memory: a line of them for each line that is read.
            const auto at = [&](int t, int64_t k) {
                const uint16_t *now = from + (t * kWinogradDepth + k) * W;
                __builtin_prefetch(now + kTapsBlock, 0, 2);
                return now;
            };
            if (w.type == Type::f16) {
                transform_column([&](int t, int64_t k) { return load_f16(at(t, k)); }, depth, width, stride,
                                 to + column);
            } else {
                transform_column([&](int t, int64_t k) { return load_bf16(at(t, k)); }, depth, width, stride,
                                 to + column);
            }
            continue;
        }
        pack_column(w, row + column, lesser(W, n - column), channel, depth, 9, taps, W, dequantized,
                    column + 2 * W <= n);
        transform_column([&](int t, int64_t k) { return load(taps + (t * depth + k) * W); }, depth, width,
                         stride, to + column);
    }
}

// The outputs of a tile, `products` being its 36 rows `stride` apart.
inline void finish_tile(const WinogradPlan &w, int64_t all_line, int64_t tile_x, int64_t column, int64_t n,
                        const float *products, int64_t stride, const float *bias) {
    const Plan &p = w.plan;
    float out[kSide * kSide][kPanel];
    for (int64_t c = 0; c < n; c += W) {
        V half[kSide][kInput];
#pragma GCC unroll 6
        for (int x = 0; x < kInput; x++) {
            V m[kInput], o[kSide];
#pragma GCC unroll 6
            for (int y = 0; y < kInput; y++) {
                m[y] = load(products + (y * kInput + x) * stride + c);
            }
            transform_output(m, o);
#pragma GCC unroll 6
            for (int y = 0; y < kSide; y++) {
                half[y][x] = o[y];
            }
        }
#pragma GCC unroll 6
        for (int y = 0; y < kSide; y++) {
            V o[kSide];
            transform_output(half[y], o);
#pragma GCC unroll 6
            for (int x = 0; x < kSide; x++) {
                store(out[y * kSide + x] + c, o[x]);
            }
        }
    }
    const int64_t image = all_line / w.lines_per_image, top = all_line % w.lines_per_image * kSide;
    for (int64_t y = top; y < lesser(top + kSide, p.out_h); y++) {
        for (int64_t x = tile_x * kSide; x < lesser((tile_x + 1) * kSide, p.out_w); x++) {
            finish_row(p.gemm, (image * p.out_h + y) * p.out_w + x, column, n,
                       out[(y - top) * kSide + x - tile_x * kSide], bias, 0);
        }
    }
}

// A thread's transformed filters and products.
constexpr int64_t kFilterFloats = kPoints * (kPanel * kWinogradDepth + kGap);
constexpr int64_t kProductStride = kPanel * kWinogradTiles + kGap;

inline int64_t winograd_floats(const WinogradPlan &w) {
    const int64_t most = kFilterFloats + kPoints * kProductStride + 9 * kWinogradDepth * W + kPanel +
                         dequantize_floats(w.plan.gemm.w, 9 * kWinogradDepth);
    return round_up(greater(most, transform_floats()), 16);
}

// kWinogradTiles tiles of a band, a panel of outputs.
inline void winograd_task(const WinogradPlan &w, int64_t band, int64_t task, const float *tiles,
                          float *memory) {
    const Gemm &g = w.plan.gemm;
    const int64_t in_band = lines_in_band(w, band) * w.tiles_x, blocks = ceil_div(in_band, kWinogradTiles);
    const int64_t first = task % blocks * kWinogradTiles, count = lesser(kWinogradTiles, in_band - first);
    const int64_t column = task / blocks * kPanel, n = lesser(kPanel, g.out - column), width = round_up(n, W);
    float *products = memory + kFilterFloats;
    float *taps = products + kPoints * kProductStride;
    float *bias = taps + 9 * kWinogradDepth * W;
    float *dequantized = bias + kPanel;

    load_vector(g.bias, column, n, bias, 0);
    for (int64_t k = 0; k < g.depth; k += kWinogradDepth) {
        const int64_t depth = lesser(kWinogradDepth, g.depth - k);
        transform_filters(g, column, n, k, depth, taps, dequantized, memory);
        for (int64_t point = 0; point < kPoints; point++) {
            const float *a =
                tiles + slice_begin(in_band, k) + point * (in_band * depth + kGap) + first * depth;
            for (int64_t m = 0; m < count; m += MR) {
                const float *rows[MR], *next[MR];
                for (int i = 0; i < MR; i++) {
                    rows[i] = a + lesser(m + i, count - 1) * depth;
                    next[i] = a + lesser(m + MR + i, count - 1) * depth;
                }
                multiply(int(width / W), rows, next, depth, memory + point * (depth * width + kGap),
                         products + point * kProductStride + m * width, width, k == 0);
            }
        }
    }
    for (int64_t t = 0; t < count; t++) {
        finish_tile(w, band * w.band_lines + (first + t) / w.tiles_x, (first + t) % w.tiles_x, column, n,
                    products + t * width, kProductStride, bias);
    }
}

inline size_t winograd_scratch(const WinogradPlan &w, int threads) {
    return size_t(tiles_floats(w) + threads * winograd_floats(w)) * sizeof(float);
}

inline void run_winograd(const WinogradPlan &w, int phase, int thread, Team &team) {
    if (run_pack_taps(w.plan.gemm, phase, team)) {
        return;
    }
    const int64_t band = phase / 2;
    float *tiles = static_cast<float *>(team.scratch);
    float *memory = tiles + tiles_floats(w) + thread * winograd_floats(w);
    if (phase % 2 == 0) {
        take_tasks(team, transform_tasks(w, band),
                   [&](int64_t i) { transform_task(w, band, i, memory, tiles); });
        return;
    }
    const int64_t blocks = ceil_div(lines_in_band(w, band) * w.tiles_x, kWinogradTiles);
    take_tasks(team, blocks * ceil_div(w.plan.gemm.out, kPanel),
               [&](int64_t i) { winograd_task(w, band, i, tiles, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
