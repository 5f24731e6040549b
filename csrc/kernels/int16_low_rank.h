// Low-rank changes of weights in fixed point, beside the product that they belong to: the
// first factor multiplies the rows that are integers already, and what comes of it are
// further integers of these rows, which the second factor multiplies into the same sums. Both
// factors are packed once.
#pragma once

#include "kernels/pack_int16.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kInt16RankSlice = 160; // numbers of a rank that share a scale, at most about

struct Int16LowRank {
    int64_t rank = 0; // 0: there is none
    const float *scale = nullptr;
    const void *packed = nullptr;
    int64_t x_depth = 0, x_slice = 0, x_slices = 0; // of the rows
    int64_t slice = 0, slices = 0;                  // of what the first factor makes of a row
    int64_t down_panels = 0;
    int64_t out = 0, sides = 1, up_panels = 0; // panels of a side

    // Floats of a row of sums.
    int64_t stride() const { return greater(down_panels * kInt16Columns, slices * slice); }
};

// `slice`, `slices`: of the rows.
inline Int16LowRank int16_low_rank(const Gemm &g, int64_t slice, int64_t slices) {
    Int16LowRank l;
    l.rank = g.low.rank, l.scale = g.low.scale, l.packed = g.low.packed;
    if (l.rank > 0) {
        l.x_depth = g.depth, l.x_slice = slice, l.x_slices = slices;
        l.slice = round_up(ceil_div(l.rank, ceil_div(l.rank, kInt16RankSlice)), 2 * W);
        l.slices = ceil_div(l.rank, l.slice);
        l.down_panels = ceil_div(l.rank, kInt16Columns);
        l.out = g.out, l.sides = g.geglu ? 2 : 1, l.up_panels = ceil_div(g.out, kInt16Columns);
    }
    return l;
}

// Where a factor's panels are, [panel][slice][pair of numbers][column][number], and their
// scales, [panel][slice][column], in bytes from the beginning.
struct Int16Packed {
    int64_t down, down_scales, up, up_scales, end;
};
inline Int16Packed int16_packed(const Int16LowRank &l) {
    constexpr int64_t line = 64; // bytes
    const auto integers = [](int64_t n) { return round_up(n * int64_t(sizeof(int16_t)), line); };
    const auto floats = [](int64_t n) { return round_up(n * int64_t(sizeof(float)), line); };
    const int64_t down = l.down_panels * kInt16Columns, up = l.sides * l.up_panels * kInt16Columns;
    Int16Packed p;
    p.down = 0;
    p.down_scales = p.down + integers(down * l.x_slices * l.x_slice);
    p.up = p.down_scales + floats(down * l.x_slices);
    p.up_scales = p.up + integers(up * l.slices * l.slice);
    p.end = p.up_scales + floats(up * l.slices);
    return p;
}
inline size_t low_rank_bytes(const Int16LowRank &l) {
    return size_t(int16_packed(l).end);
}

// Rows [row, row + n) of a factor as panels of integers.
inline void pack_factor(const Matrix &w, int64_t row, int64_t n, int64_t depth, int64_t slice, int64_t slices,
                        int16_t *to, float *scales) {
    for (int64_t panel = 0; panel < n; panel += kInt16Columns) {
        for (int64_t s = 0; s < slices; s++) {
            for (int64_t half = 0; half < kInt16Columns; half += W) {
                const int64_t from = panel + half;
                pack_int16(w, row + from, greater(0, lesser(W, n - from)), s * slice,
                           lesser(slice, depth - s * slice), slice, to + 2 * half, scales + half, nullptr,
                           false);
            }
            to += slice * kInt16Columns;
            scales += kInt16Columns;
        }
    }
}

inline void pack_low_rank(const Int16LowRank &l, const Matrix &down, const Matrix &up, void *to) {
    const Int16Packed p = int16_packed(l);
    char *bytes = static_cast<char *>(to);
    const auto integers = [&](int64_t at) { return reinterpret_cast<int16_t *>(bytes + at); };
    const auto floats = [&](int64_t at) { return reinterpret_cast<float *>(bytes + at); };
    pack_factor(down, 0, l.rank, l.x_depth, l.x_slice, l.x_slices, integers(p.down), floats(p.down_scales));
    for (int64_t side = 0; side < l.sides; side++) {
        const int64_t slices = side * l.up_panels * l.slices;
        pack_factor(up, side * l.out, l.out, l.rank, l.slice, l.slices,
                    integers(p.up) + slices * l.slice * kInt16Columns,
                    floats(p.up_scales) + slices * kInt16Columns);
    }
}

// Memory for what the first factor makes of a band's rows: integers, [slice][row][number],
// then scales, [slice][row].
inline int64_t low_integer_floats(const Int16LowRank &l, int64_t band_rows) {
    return round_up(band_rows * l.slices * l.slice / 2, 16);
}
inline int64_t low_rank_floats(const Int16LowRank &l, int64_t band_rows) {
    return low_integer_floats(l, band_rows) + round_up(band_rows * l.slices, 16);
}

// Multiplies a tile of a band's rows by the first factor and rounds what comes of it. `sums` has
// room for a tile of l.stride() floats.
inline void multiply_down(const Int16LowRank &l, const Int16Factor &x, int64_t band_rows, float *sums,
                          int16_t *to, float *to_scales) {
    const Int16Packed p = int16_packed(l);
    const char *bytes = static_cast<const char *>(l.packed);
    const int16_t *b = reinterpret_cast<const int16_t *>(bytes + p.down);
    const float *b_scales = reinterpret_cast<const float *>(bytes + p.down_scales);
    const int64_t stride = l.stride();
    for (int64_t panel = 0; panel < l.down_panels; panel++) {
        for (int64_t s = 0; s < l.x_slices; s++) {
            const Int16Factor a = {x.integers + s * band_rows * l.x_slice, x.scales + s * band_rows,
                                   l.x_slice};
            multiply_int16<2>(a, false, b, b_scales,
                              lesser(l.x_slice, round_up(l.x_depth - s * l.x_slice, 2)),
                              sums + panel * kInt16Columns, stride, s == 0);
            b += l.x_slice * kInt16Columns;
            b_scales += kInt16Columns;
        }
    }
    for (int64_t i = 0; i < kInt16Rows; i++) {
        float *row = sums + i * stride;
        for (int64_t r = 0; r < l.rank; r++) {
            row[r] *= l.scale[r];
        }
        for (int64_t r = l.rank; r < l.slices * l.slice; r++) {
            row[r] = 0;
        }
        for (int64_t s = 0; s < l.slices; s++) {
            const int64_t place = s * band_rows + i;
            to_scales[place] = round_slice(row + s * l.slice, l.slice, to + place * l.slice);
        }
    }
}

// Adds to sums of `rows` rows the products of slice s of what the first factor made, h, and of the
// second factor's panel for the rows of the weight from w_row on.
inline void multiply_up(const Int16LowRank &l, const Int16Factor &h, int64_t rows, int64_t s, int64_t w_row,
                        float *c, int64_t stride) {
    const Int16Packed p = int16_packed(l);
    const char *bytes = static_cast<const char *>(l.packed);
    const int64_t panel =
        w_row < l.out ? w_row / kInt16Columns : l.up_panels + (w_row - l.out) / kInt16Columns;
    const int64_t at = (panel * l.slices + s) * kInt16Columns;
    const int16_t *b = reinterpret_cast<const int16_t *>(bytes + p.up) + at * l.slice;
    const float *b_scales = reinterpret_cast<const float *>(bytes + p.up_scales) + at;
    const int64_t depth = lesser(l.slice, round_up(l.rank - s * l.slice, 2));
    for (int64_t m = 0; m < rows; m += kInt16Rows) {
        multiply_int16_rows<2>({h.integers + m * l.slice, h.scales + m, l.slice}, rows - m, b, b_scales,
                               depth, c + m * stride, stride, false);
    }
}

} // namespace sdgo::kernels::SDGO_ISA
