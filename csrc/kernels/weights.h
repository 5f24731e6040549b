// Weights from their place in the model's file into panels that a register
// tile reads in one sweep: [tap][channel][column], columns a few vectors wide.
#pragma once

#include "kernels/vector_math.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int kPanel = NV * W; // columns of a full panel

// Columns of a transposed matrix of quantized weights that are unpacked at a time: many,
// because blocks reach beyond them.
constexpr int64_t kUnpackedColumns = 8 * kPanel;

// Floats that unpacking blocks of quantized weights needs in addition to the panels.
inline int64_t dequantize_floats(const Matrix &w, int64_t depth) {
    if (w.type != Type::block) {
        return 0;
    }
    return w.transposed ? 9 * kUnpackedColumns + 2 * w.block_length : W * (depth + 2 * w.block_length);
}

// Prefetches a line of each of the W rows that begin `ahead` bytes after these.
inline void prefetch_rows(const void *const *rows, int64_t n_rows, int64_t offset, size_t ahead) {
    for (int64_t i = 0; i < n_rows; i++) {
        __builtin_prefetch(static_cast<const char *>(rows[i]) + ahead + offset);
    }
}

// Columns of weights: W rows, elements [from, from + depth·taps) of each. An
// element's place in its row is channel·taps + tap. Weights come from memory, so the
// rows `ahead` bytes away, if not 0, are prefetched at the same time.
template <Type type>
void pack_rows(const void *const *rows, int64_t n_rows, int64_t from, int64_t depth, int taps, size_t ahead,
               float *to, int64_t to_stride) {
    constexpr int64_t size = type == Type::f32 ? 4 : 2;
    const int64_t count = depth * taps;
    int64_t channel = 0;
    int tap = 0;
    for (int64_t e = 0; e < count; e += W) {
        V r[W];
        const int64_t n = lesser(W, count - e);
        if (ahead && e * size % 64 == 0) {
            prefetch_rows(rows, n_rows, (from + e) * size, ahead);
        }
        for (int i = 0; i < W; i++) {
            r[i] = i >= n_rows ? zero()
                   : n == W    ? load_as<type>(rows[i], from + e)
                               : load_as<type>(rows[i], from + e, n);
        }
        transpose(r);
        if (taps == 1) {
            for (int64_t i = 0; i < n; i++) {
                store(to + (e + i) * to_stride, r[i]);
            }
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            store(to + (tap * depth + channel) * to_stride, r[i]);
            if (++tap == taps) {
                tap = 0;
                channel++;
            }
        }
    }
}

// The weights of n ≤ W outputs in a row of a transposed matrix, from index `from`, as one
// channel of `depth`.
template <Type type>
void pack_turned(const void *row, int64_t from, int64_t n, int64_t depth, int taps, float *to,
                 int64_t to_stride) {
    if (taps == 1) {
        store(to, n == W ? load_as<type>(row, from) : load_as<type>(row, from, n));
        return;
    }
    for (int64_t t = 0; t < taps; t += W) {
        const int64_t count = lesser(W, taps - t);
        V r[W];
        for (int i = 0; i < W; i++) {
            const int64_t at = from + i * taps + t;
            r[i] = i >= n ? zero() : count == W ? load_as<type>(row, at) : load_as<type>(row, at, count);
        }
        transpose(r);
        for (int64_t i = 0; i < count; i++) {
            store(to + (taps - 1 - t - i) * depth * to_stride, r[i]);
        }
    }
}

// Outputs [from, from + n), any number of them, of a row of a transposed matrix of
// quantized weights; where they are.
inline const float *unpack_row(const Matrix &w, int64_t row, int64_t from, int64_t n, float *dequantized) {
    const int64_t first_block = from / w.block_length, end = ceil_div(from + n, w.block_length);
    w.to_float(static_cast<const char *>(w.data) + size_t(row) * w.row_bytes +
                   size_t(first_block) * w.block_bytes,
               dequantized, (end - first_block) * w.block_length);
    return dequantized + from - first_block * w.block_length;
}

// pack_column for a transposed matrix.
inline void pack_transposed(const Matrix &w, int64_t output, int64_t n, int64_t channel, int64_t depth,
                            int taps, float *to, int64_t to_stride, float *dequantized) {
    for (int64_t k = 0; k < depth; k++, to += to_stride) {
        const char *row = static_cast<const char *>(w.data) + size_t(channel + k) * w.row_bytes;
        switch (w.type) {
        case Type::f32:
            pack_turned<Type::f32>(row, output * taps, n, depth, taps, to, to_stride);
            break;
        case Type::f16:
            pack_turned<Type::f16>(row, output * taps, n, depth, taps, to, to_stride);
            break;
        case Type::bf16:
            pack_turned<Type::bf16>(row, output * taps, n, depth, taps, to, to_stride);
            break;
        case Type::block:
            pack_turned<Type::f32>(unpack_row(w, channel + k, output * taps, n * taps, dequantized), 0, n,
                                   depth, taps, to, to_stride);
            break;
        }
    }
}

// Weight rows [row, row + n), n ≤ W, channels [channel, channel + depth), into
// one vector-wide column of a panel. `more`: whether the next W rows follow.
inline void pack_column(const Matrix &w, int64_t row, int64_t n, int64_t channel, int64_t depth, int taps,
                        float *to, int64_t to_stride, float *dequantized, bool more) {
    if (w.transposed) {
        return pack_transposed(w, row, n, channel, depth, taps, to, to_stride, dequantized);
    }
    const void *rows[W];
    const char *data = static_cast<const char *>(w.data);
    for (int64_t i = 0; i < n; i++) {
        rows[i] = data + size_t(row + i) * w.row_bytes;
    }
    const int64_t from = channel * taps;
    const size_t ahead = more ? W * w.row_bytes : 0;
    switch (w.type) {
    case Type::f32:
        return pack_rows<Type::f32>(rows, n, from, depth, taps, ahead, to, to_stride);
    case Type::f16:
        return pack_rows<Type::f16>(rows, n, from, depth, taps, ahead, to, to_stride);
    case Type::bf16:
        return pack_rows<Type::bf16>(rows, n, from, depth, taps, ahead, to, to_stride);
    case Type::block:
        break;
    }
    const int64_t first_block = from / w.block_length, end = ceil_div(from + depth * taps, w.block_length);
    const int64_t length = (end - first_block) * w.block_length;
    for (int64_t i = 0; i < n; i++) {
        w.to_float(static_cast<const char *>(rows[i]) + size_t(first_block) * w.block_bytes,
                   dequantized + i * length, length);
        rows[i] = dequantized + i * length;
    }
    pack_rows<Type::f32>(rows, n, from - first_block * w.block_length, depth, taps, 0, to, to_stride);
}

// pack_panels for a transposed matrix of quantized weights.
inline void unpack_panels(const Matrix &w, int64_t output, int64_t n, int64_t channel, int64_t depth,
                          int taps, float *to, float *dequantized) {
    for (int64_t first = 0; first < n; first += kUnpackedColumns) {
        const int64_t count = lesser(kUnpackedColumns, n - first);
        for (int64_t k = 0; k < depth; k++) {
            const float *row = unpack_row(w, channel + k, (output + first) * taps, count * taps, dequantized);
            for (int64_t c = 0; c < count; c += W) {
                const int64_t panel = (first + c) / kPanel * kPanel;
                const int64_t width = lesser(kPanel, round_up(n - panel, W));
                pack_turned<Type::f32>(row, c * taps, lesser(W, count - c), depth, taps,
                                       to + panel * depth * taps + k * width + first + c - panel, width);
            }
        }
    }
}

// Weight rows [row, row + n), the panels of which lie one after the other,
// each [tap][depth][its width].
inline void pack_panels(const Matrix &w, int64_t row, int64_t n, int64_t channel, int64_t depth, int taps,
                        float *to, float *dequantized) {
    if (w.transposed && w.type == Type::block) {
        return unpack_panels(w, row, n, channel, depth, taps, to, dequantized);
    }
    for (int64_t p = 0; p < n; p += kPanel) {
        const int64_t width = lesser(kPanel, round_up(n - p, W));
        for (int64_t c = 0; c < width; c += W) {
            pack_column(w, row + p + c, lesser(W, n - p - c), channel, depth, taps, to + c, width,
                        dequantized, p + c + 2 * W <= n);
        }
        to += width * depth * taps;
    }
}

} // namespace sdgo::kernels::SDGO_ISA
