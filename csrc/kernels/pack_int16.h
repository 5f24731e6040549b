// Rows of a matrix of weights to panels of 16-bit integers.
#pragma once

#include "kernels/int16.h"
#include "kernels/weights.h"

namespace sdgo::kernels::SDGO_ISA {

// A slice of n ≤ W columns from `column` of a transposed matrix.
template <Type type>
void pack_int16_transposed(const Matrix &w, int64_t column, int64_t n, int64_t from, int64_t depth,
                           int64_t slice, int16_t *to, float *scales) {
    const char *data = static_cast<const char *>(w.data) + size_t(from) * w.row_bytes;
    const auto read = [&](int64_t k) {
        const char *row = data + size_t(k) * w.row_bytes;
        return n == W ? load_as<type>(row, column) : n > 0 ? load_as<type>(row, column, n) : zero();
    };
    round_columns<2>(read, depth, slice, to, scales);
}

// Rows [row, row + n) of weights, n ≤ W, a slice from `from`.
inline void pack_int16(const Matrix &w, int64_t row, int64_t n, int64_t from, int64_t depth, int64_t slice,
                       int16_t *to, float *scales, float *dequantized, bool more) {
    if (w.transposed) { // of type f16 or bf16: see use_fixed
        return w.type == Type::f16
                   ? pack_int16_transposed<Type::f16>(w, row, n, from, depth, slice, to, scales)
                   : pack_int16_transposed<Type::bf16>(w, row, n, from, depth, slice, to, scales);
    }
    const void *rows[W];
    for (int64_t i = 0; i < n; i++) {
        rows[i] = static_cast<const char *>(w.data) + size_t(row + i) * w.row_bytes;
        if (w.type == Type::block) { // slices are whole blocks
            w.to_float(static_cast<const char *>(rows[i]) + size_t(from / w.block_length) * w.block_bytes,
                       dequantized + i * slice, round_up(depth, w.block_length));
            rows[i] = dequantized + i * slice;
        }
    }
    const size_t ahead = more ? W * w.row_bytes : 0;
    if (w.type == Type::f16) {
        pack_int16_rows<Type::f16>(rows, n, from, depth, slice, ahead, to, scales);
    } else if (w.type == Type::bf16) {
        pack_int16_rows<Type::bf16>(rows, n, from, depth, slice, ahead, to, scales);
    } else {
        pack_int16_rows<Type::f32>(rows, n, 0, depth, slice, 0, to, scales);
    }
}

} // namespace sdgo::kernels::SDGO_ISA
