// Matrix products on AMX tiles for weights of less than float32, nearly as
// exact as float32: an activation is the sum of two bfloat16 numbers (16 bits
// of mantissa), a weight too (of float16, exactly), and of their four products
// all but the smallest are taken. That is three products on a unit with
// sixteen times the rate.
//
// Phases alternate: split a band of rows into tiles, multiply it.
#pragma once

#include "kernels/conv.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int kTile = 16;                // rows of a tile, and columns of a tile of sums
constexpr int kTileDepth = 32;           // columns of a tile of bfloat16
constexpr int64_t kTileSize = 512;       // its numbers
constexpr int64_t kPair = 2 * kTileSize; // a tile and the tile of its rests
constexpr int64_t kAmxBlock = 2 * kTile; // rows and columns that registers hold

struct AmxPlan {
    Plan plan;
    int64_t depth_tiles = 0;
    int64_t band_rows = 0, bands = 0; // whole blocks of rows
    int64_t slice = 0;                // tiles of depth in a slice
    int64_t rows = 0, columns = 0;    // of a task
    int64_t row_blocks = 0, column_blocks = 0;
    int64_t stride = 0; // of the sums
};

// Few rows are not worth preparing the weights for (a step with guidance has two
// images), and float32 weights are promised float32 arithmetic. The choice depends on
// the size of one image, as Winograd's does.
inline bool use_amx(const Plan &p) {
    return p.source.kernel == 1 && !p.source.upsample && p.gemm.w.type != Type::f32 && !p.gemm.w.transposed &&
           2 * p.gemm.rows_per_image >= kTile && p.gemm.depth >= 64 && p.gemm.out >= kAmxBlock;
}

inline AmxPlan amx_plan(const Plan &p, int threads) {
    AmxPlan a;
    const Gemm &g = p.gemm;
    a.plan = p;
    a.depth_tiles = ceil_div(g.depth, kTileDepth);
    a.slice = ceil_div(a.depth_tiles, ceil_div(a.depth_tiles, 20));
    if (g.w.type == Type::block) {
        a.slice = round_up(a.slice, ceil_div(g.w.block_length, kTileDepth));
    }
    a.band_rows = greater(1024, 2 * kBandFloats / (a.depth_tiles * kTileDepth) / 1024 * 1024);
    a.band_rows = lesser(a.band_rows, round_up(g.rows, kAmxBlock));
    a.bands = ceil_div(g.rows, a.band_rows);
    const int64_t sides = g.geglu ? 2 : 1;
    a.rows = lesser(1024, a.band_rows);
    a.columns = lesser(192 / sides, round_up(g.out, kAmxBlock));
    const auto tasks = [&] { return ceil_div(a.band_rows, a.rows) * ceil_div(g.out, a.columns); };
    const int64_t enough = threads == 1 ? 1 : 4 * threads;
    while (tasks() < enough && a.columns > kAmxBlock) {
        a.columns -= kAmxBlock;
    }
    while (tasks() < enough && a.rows > 4 * kAmxBlock) {
        a.rows = round_up(a.rows / 2, kAmxBlock);
    }
    a.row_blocks = ceil_div(a.band_rows, a.rows);
    a.column_blocks = ceil_div(g.out, a.columns);
    a.stride = sides * a.columns;
    return a;
}

inline int64_t band_floats(const AmxPlan &a) {
    return a.band_rows * a.depth_tiles * kTileDepth;
}

inline int64_t amx_thread_floats(const AmxPlan &a) {
    const int64_t slice = a.slice * kTileDepth;
    const int64_t weights = a.stride * slice + dequantize_floats(a.plan.gemm.w, slice);
    return round_up(greater(weights + (a.rows + 2) * a.stride, a.depth_tiles * kTileDepth), 16);
}

// 32 floats as bfloat16, and the rest, what rounding took away, as bfloat16, too.
inline void split(V low, V high, __m512i &rounded, __m512i &rest) {
    rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    const V low_rest = low - from_bf16(_mm512_castsi512_si256(rounded));
    const V high_rest = high - from_bf16(_mm512_extracti64x4_epi64(rounded, 1));
    rest = (__m512i)_mm512_cvtne2ps_pbh(high_rest, low_rest);
}

// A block of 16 rows of the input into pairs of tiles.
inline void split_task(const AmxPlan &a, int64_t band, int64_t task, float *row, uint16_t *to) {
    const Source &s = a.plan.source;
    const int64_t out_w = a.plan.out_w, per_image = out_w * a.plan.out_h;
    const int64_t depth = a.plan.gemm.depth, padded = a.depth_tiles * kTileDepth;
    to += task * a.depth_tiles * kPair;
    for (int64_t i = 0; i < kTile; i++) {
        const int64_t m = band * a.band_rows + task * kTile + i;
        __builtin_memset(row + depth, 0, size_t(padded - depth) * sizeof(float));
        if (m < a.plan.gemm.rows) {
            read_pixel(s, m / per_image, m % per_image / out_w * s.stride, m % out_w * s.stride, 0, depth,
                       row);
        } else {
            __builtin_memset(row, 0, size_t(depth) * sizeof(float));
        }
        for (int64_t t = 0; t < a.depth_tiles; t++) {
            __m512i rounded, rest;
            split(load(row + t * kTileDepth), load(row + t * kTileDepth + W), rounded, rest);
            uint16_t *place = to + t * kPair + i * kTileDepth;
            _mm512_storeu_si512(place, rounded);
            _mm512_storeu_si512(place + kTileSize, rest);
        }
    }
}

// 32 weights from `from` of each of 16 rows as a pair of tiles: pairs of
// depth in rows, outputs in columns.
template <Type type>
void pack_tile(const void *const *rows, int64_t n_rows, int64_t from, int64_t depth, uint16_t *to) {
    V rounded[W], rest[W];
    for (int i = 0; i < W; i++) {
        const auto read = [&](int64_t k) {
            return i >= n_rows || k >= depth ? zero()
                   : k + W <= depth          ? load_as<type>(rows[i], from + k)
                                             : load_as<type>(rows[i], from + k, depth - k);
        };
        __m512i a, b;
        split(read(0), read(W), a, b);
        rounded[i] = _mm512_castsi512_ps(a);
        rest[i] = _mm512_castsi512_ps(b);
    }
    transpose(rounded);
    transpose(rest);
    for (int i = 0; i < W; i++) {
        _mm512_storeu_si512(to + i * kTileDepth, _mm512_castps_si512(rounded[i]));
        _mm512_storeu_si512(to + kTileSize + i * kTileDepth, _mm512_castps_si512(rest[i]));
    }
}

// Weight rows [row, row + n), n ≤ 16, elements [from, from + depth).
inline void pack_tiles(const Matrix &w, int64_t row, int64_t n, int64_t from, int64_t depth, uint16_t *to,
                       float *dequantized) {
    const void *rows[W];
    const char *data = static_cast<const char *>(w.data);
    for (int64_t i = 0; i < n; i++) {
        rows[i] = data + size_t(row + i) * w.row_bytes;
        if (w.type == Type::block) { // slices are whole blocks
            const int64_t length = round_up(depth, w.block_length);
            w.to_float(static_cast<const char *>(rows[i]) + size_t(from / w.block_length) * w.block_bytes,
                       dequantized + i * length, length);
            rows[i] = dequantized + i * length;
        }
    }
    for (int64_t k = 0; k < depth; k += kTileDepth) {
        if (w.type == Type::f16) {
            pack_tile<Type::f16>(rows, n, from + k, depth - k, to);
        } else if (w.type == Type::bf16) {
            pack_tile<Type::bf16>(rows, n, from + k, depth - k, to);
        } else {
            pack_tile<Type::f32>(rows, n, k, depth - k, to);
        }
        to += kPair;
    }
}

// Tiles 0 to 3 hold sums of 32 by 32, 4 and 5 activations, 6 and 7 weights.
struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_per_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Not the intrinsics of immintrin.h: GCC's have a stride of type long, which has
// 32 bits on Windows, and do not say what memory they read.
inline void configure_tiles(const TileConfig &config) {
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}
template <int tile> void load_tile(const void *from, int64_t stride) {
    __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(tile), "r"(from), "r"(stride) : "memory");
}
template <int tile> void store_tile(void *to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(tile), "r"(to), "r"(stride) : "memory");
}

inline void multiply_tiles() {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
}

// Adds 32 rows by 32 columns to c; a1, b1: the tiles of the second half of
// rows and columns. Without `rests` the weights are bfloat16 themselves.
inline void multiply_block(const uint16_t *a0, const uint16_t *a1, const uint16_t *b0, const uint16_t *b1,
                           int64_t tiles, bool rests, float *c, int64_t stride, bool fresh) {
    constexpr int kRow = 64; // bytes
    const int64_t bytes = stride * int64_t(sizeof(float));
    if (fresh) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        load_tile<0>(c, bytes);
        load_tile<1>(c + kTile, bytes);
        load_tile<2>(c + kTile * stride, bytes);
        load_tile<3>(c + kTile * stride + kTile, bytes);
    }
    for (int64_t t = 0; t < tiles; t++) {
        if (rests) {
            load_tile<4>(a0, kRow);
            load_tile<5>(a1, kRow);
            load_tile<6>(b0 + kTileSize, kRow);
            load_tile<7>(b1 + kTileSize, kRow);
            multiply_tiles();
        }
        load_tile<4>(a0 + kTileSize, kRow);
        load_tile<5>(a1 + kTileSize, kRow);
        load_tile<6>(b0, kRow);
        load_tile<7>(b1, kRow);
        multiply_tiles();
        load_tile<4>(a0, kRow);
        load_tile<5>(a1, kRow);
        multiply_tiles();
        a0 += kPair, a1 += kPair, b0 += kPair, b1 += kPair;
    }
    store_tile<0>(c, bytes);
    store_tile<1>(c + kTile, bytes);
    store_tile<2>(c + kTile * stride, bytes);
    store_tile<3>(c + kTile * stride + kTile, bytes);
}

// A block of rows by a block of columns.
inline void amx_task(const AmxPlan &a, int64_t band, int64_t task, const uint16_t *tiles, float *memory) {
    const Gemm &g = a.plan.gemm;
    const int64_t band_rows = lesser(a.band_rows, g.rows - band * a.band_rows);
    const int64_t row = task % a.row_blocks * a.rows, column = task / a.row_blocks * a.columns;
    const int64_t rows = lesser(a.rows, band_rows - row), columns = lesser(a.columns, g.out - column);
    const int64_t gates = g.geglu ? a.columns : 0;
    float *sums = memory + a.stride * a.slice * kTileDepth, *bias = sums + a.rows * a.stride;
    float *dequantized = bias + 2 * a.stride;
    uint16_t *weights = reinterpret_cast<uint16_t *>(memory);
    if (rows <= 0) {
        return;
    }
    load_vector(g.bias, column, columns, bias, 0);
    if (g.geglu) {
        load_vector(g.bias, g.out + column, columns, bias + gates, 0);
    }
    configure_tiles(TileConfig());
    for (int64_t t = 0; t < a.depth_tiles; t += a.slice) {
        const int64_t count = lesser(a.slice, a.depth_tiles - t);
        const int64_t from = t * kTileDepth, depth = lesser(count * kTileDepth, g.depth - from);
        const auto each_block = [&](auto f) { // f(column of the sums, row of the weights, rows of weights)
            for (int64_t n = 0; n < columns; n += kAmxBlock) {
                f(n, column + n, columns - n);
                if (g.geglu) {
                    f(gates + n, g.out + column + n, columns - n);
                }
            }
        };
        each_block([&](int64_t n, int64_t w_row, int64_t w_rows) {
            for (int64_t half = 0; half < kAmxBlock; half += kTile) {
                pack_tiles(g.w, w_row + half, greater(0, lesser(kTile, w_rows - half)), from, depth,
                           weights + (n + half) / kTile * count * kPair, dequantized);
            }
        });
        for (int64_t m = 0; m < rows; m += kAmxBlock) {
            const uint16_t *x = tiles + ((row + m) / kTile * a.depth_tiles + t) * kPair;
            float *c = a.slice < a.depth_tiles ? sums + m * a.stride : sums;
            each_block([&](int64_t n, int64_t, int64_t) {
                const uint16_t *w = weights + n / kTile * count * kPair;
                multiply_block(x, x + a.depth_tiles * kPair, w, w + count * kPair, count,
                               g.w.type != Type::bf16, c + n, a.stride, t == 0);
            });
            for (int64_t i = 0; t + count == a.depth_tiles && i < lesser(kAmxBlock, rows - m); i++) {
                finish_row(g, band * a.band_rows + row + m + i, column, columns, c + i * a.stride, bias,
                           gates);
            }
        }
    }
    _tile_release();
}

inline size_t amx_scratch(const AmxPlan &a, int threads) {
    return size_t(band_floats(a) + threads * amx_thread_floats(a)) * sizeof(float);
}

inline void run_amx(const AmxPlan &a, int phase, int thread, Team &team) {
    const int64_t band = phase / 2, rows = lesser(a.band_rows, a.plan.gemm.rows - band * a.band_rows);
    float *start = static_cast<float *>(team.scratch);
    float *memory = start + band_floats(a) + thread * amx_thread_floats(a);
    uint16_t *tiles = reinterpret_cast<uint16_t *>(start);
    if (phase % 2 == 0) {
        take_tasks(team, round_up(rows, kAmxBlock) / kTile,
                   [&](int64_t i) { split_task(a, band, i, memory, tiles); });
    } else {
        take_tasks(team, a.row_blocks * a.column_blocks,
                   [&](int64_t i) { amx_task(a, band, i, tiles, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
