// Numbers in fixed point, for processors whose fastest multiplication is of
// 16-bit integers: AVX2's, and AVX-512's with VNNI, multiply and add twice as
// many of them as of float32.
//
// Rows of both factors are cut into slices; a slice becomes integers and a
// scale, chosen so that the lengths (in the Euclidean sense) of two have a
// product below 2^31. By the Cauchy-Schwarz inequality no sum of products of two such
// slices overflows 32 bits, in any order, and sums are exact. A slice of 160 numbers
// then has a root mean square of some 3600, so rounding to integers loses about as
// much as rounding to float16: a relative RMS error of 1.1e-4 of a product of random
// rows.
#pragma once

#include "kernels/conv.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kInt16Columns = 2 * W; // of a register tile
// Channels, at least, of convolutions of several taps and few pixels.
constexpr int64_t kFixedConvDepth = 256;
// Limits of a slice's length. Their product is 2^31 less what rounding may add.
// That alone keeps one factor (weights) below 2^15; for the other (activations) the
// largest number counts, too.
constexpr float kInt16Norm = 65000, kInt16WeightNorm = 32766;

// What turns numbers into integers, and back.
struct Scale {
    float to_integer, back;
};

// `largest`: of the numbers' magnitudes, or 0 if `limit` bounds them all.
inline Scale int16_scale(float squares, float limit, float largest) {
    if (squares < 1e-30f) {
        return {0, 0};
    }
    // With NaN or infinities the way back is NaN or infinite, and so are the products.
    const float by_norm = __builtin_sqrtf(squares) / limit, by_size = largest / 32767;
    const float back = by_norm < by_size ? by_size : by_norm;
    return {1 / back, back};
}

// n floats, whole vectors of integers, to integers; their scale.
inline float round_slice(const float *x, int64_t n, int16_t *to) {
    V squares[2] = {zero(), zero()}, largest[2] = {zero(), zero()};
    for (int64_t i = 0; i < n; i += 2 * W) {
        for (int j = 0; j < 2; j++) {
            const V v = load(x + i + j * W);
            squares[j] = fma(v, v, squares[j]);
            largest[j] = max(abs(v), largest[j]);
        }
    }
    const Scale scale =
        int16_scale(sum(squares[0] + squares[1]), kInt16Norm, maximum(max(largest[0], largest[1])));
    const V factor = broadcast(scale.to_integer);
    for (int64_t i = 0; i < n; i += 2 * W) {
        store_integers(to + i, round_to_integers(load(x + i) * factor, load(x + i + W) * factor));
    }
    return scale.back;
}

// W columns of numbers to integers, as a part of a panel of N vectors; load(k)
// returns number k of each. `slice` rows, an even number, are written: zeros after
// `depth`.
template <int N, class Load>
void round_columns(Load load, int64_t depth, int64_t slice, int16_t *to, float *scales) {
    V squares = zero();
    for (int64_t k = 0; k < depth; k++) {
        squares = fma(load(k), load(k), squares);
    }
    // int16_scale for a vector of them.
    const V back = square_root(squares) * broadcast(1 / kInt16WeightNorm), least = broadcast(1e-30f);
    const V factor = unless_below(squares, least, broadcast(1) / back);
    store(scales, unless_below(squares, least, back));
    const auto integers = [&](int64_t k) {
        return k < depth ? round_to_integers(load(k) * factor) : zero_integers();
    };
    for (int64_t k = 0; k < slice; k += 2) {
        store_integers(to + k * N * W, pairs(integers(k), integers(k + 1)));
    }
}

// A slice of each of W rows of weights, of which `depth` numbers exist, as one half
// of a panel: [pair of numbers][column][number].
template <Type type>
void pack_int16_rows(const void *const *rows, int64_t n_rows, int64_t from, int64_t depth, int64_t slice,
                     size_t ahead, int16_t *to, float *scales) {
    const auto read = [&](int64_t i, int64_t k) {
        return i >= n_rows || k >= depth ? zero()
               : k + W <= depth          ? load_as<type>(rows[i], from + k)
                                         : load_as<type>(rows[i], from + k, depth - k);
    };
    V factor[W];
    for (int i = 0; i < W; i++) {
        V squares = zero();
        for (int64_t k = 0; k < depth; k += W) {
            if (ahead && k % 32 == 0 && i < n_rows) {
                __builtin_prefetch(static_cast<const char *>(rows[i]) + (from + k) * 2 + ahead);
            }
            const V v = read(i, k);
            squares = fma(v, v, squares);
        }
        const Scale scale = int16_scale(sum(squares), kInt16WeightNorm, 0);
        factor[i] = broadcast(scale.to_integer);
        scales[i] = scale.back;
    }
    for (int64_t k = 0; k < slice; k += 2 * W) {
        V r[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
            r[i] = as_floats(round_to_integers(read(i, k) * factor[i], read(i, k + W) * factor[i]));
        }
        transpose(r);
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
            store_integers(to, as_integers(r[i]));
            to += 2 * kInt16Columns;
        }
    }
}

// One instruction, or two with a register between them, that add the products of
// the operands `b` and a, pairs of them to a sum, to the operand `sum`.
#if defined(SDGO_AVX512_VNNI)
#define SDGO_ADD_PRODUCTS(b, sum) "vpdpwssd %[" b "], %[a], %[" sum "]\n\t"
#elif defined(SDGO_AVX_VNNI)
#define SDGO_ADD_PRODUCTS(b, sum) "%{vex%} vpdpwssd %[" b "], %[a], %[" sum "]\n\t"
#else
#define SDGO_ADD_PRODUCTS(b, sum)                                                                            \
    "vpmaddwd %[" b "], %[a], %[product]\n\t"                                                                \
    "vpaddd %[product], %[" sum "], %[" sum "]\n\t"
#endif

// Adds a·b0 to sum0 and a·b1 to sum1. In assembly, because GCC 12 otherwise separates
// multiplications from additions, or moves sums around, and runs out of registers.
inline void add_products(VI a, VI b0, VI b1, VI &sum0, VI &sum1) {
    [[maybe_unused]] VI product;
    __asm__ volatile(SDGO_ADD_PRODUCTS("b0", "sum0") SDGO_ADD_PRODUCTS("b1", "sum1")
                     : [sum0] "+v"(sum0), [sum1] "+v"(sum1), [product] "=&v"(product)
                     : [a] "v"(a), [b0] "v"(b0), [b1] "v"(b1));
}

// The same for one vector of b.
inline void add_products(VI a, VI b, VI &sum) {
    [[maybe_unused]] VI product;
    __asm__ volatile(SDGO_ADD_PRODUCTS("b", "sum")
                     : [sum] "+v"(sum), [product] "=&v"(product)
                     : [a] "v"(a), [b] "v"(b));
}
#undef SDGO_ADD_PRODUCTS

// A factor's rows of integers, `stride` apart.
struct Int16Factor {
    const int16_t *integers;
    const float *scales; // of each row
    int64_t stride;
};

// Prefetches so many bytes of a panel, some way ahead: what memory delivers while the
// products of one pass over it take their time.
constexpr int64_t kPanelAhead = 4096;

template <int64_t bytes> void prefetch_panel(const void *now) {
    for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(static_cast<const char *>(now) + kPanelAhead + i);
    }
}

// Adds the products of R rows and a panel of N vectors, [pair of numbers][column][number],
// to c. `next`: whether the rows after these are needed next and are not in the cache, so
// that they are prefetched. `Ahead`: whether the panel comes from memory, so that it is
// prefetched, too.
template <int N, int R = kInt16Rows, bool Ahead = false>
__attribute__((noinline)) void multiply_int16(const Int16Factor &a, bool next, const int16_t *b,
                                              const float *b_scales, int64_t depth, float *c, int64_t stride,
                                              bool fresh) {
    VI sum[R][N];
#pragma GCC unroll 12
    for (int m = 0; m < R; m++) {
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) {
            sum[m][n] = zero_integers();
        }
    }
    for (int64_t k = 0; next && k < R * a.stride; k += 32) {
        __builtin_prefetch(a.integers + R * a.stride + k);
    }
    // Six rows have a pointer each, which takes no arithmetic. There are no registers
    // for twelve pointers: twelve rows are addressed from two, by the multiples of the
    // stride that an x86 address can express.
    constexpr bool two_pointers = R > 6;
    int64_t once = a.stride * int64_t(sizeof(int16_t)), thrice = 3 * once, five_times = 5 * once;
    const char *upper = reinterpret_cast<const char *>(a.integers), *lower = upper + R / 2 * once;
    if constexpr (two_pointers) {
        keep(once), keep(thrice), keep(five_times);
    }
    for (int64_t k = 0; k < depth; k += 2) {
        if constexpr (two_pointers) {
            keep(upper), keep(lower);
        }
        const VI b0 = load_integers(b), b1 = load_integers(b + (N - 1) * 2 * W);
        if constexpr (Ahead) {
            prefetch_panel<N * 2 * W * sizeof(int16_t)>(b);
        }
        b += N * 2 * W;
#pragma GCC unroll 12
        for (int m = 0; m < R; m++) {
            const int i = m % (R / 2);
            const int64_t offset = i == 3 ? thrice : i == 5 ? five_times : i * once;
            int32_t pair;
            __builtin_memcpy(&pair, (m == i ? upper : lower) + offset, sizeof pair);
            if constexpr (N == 2) {
                add_products(broadcast_integers(pair), b0, b1, sum[m][0], sum[m][1]);
            } else {
                add_products(broadcast_integers(pair), b0, sum[m][0]);
            }
        }
        upper += sizeof(int32_t);
        lower += sizeof(int32_t);
    }
#pragma GCC unroll 12
    for (int m = 0; m < R; m++) {
        const V scale = broadcast(a.scales[m]);
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) {
            const V x = to_floats(sum[m][n]) * load(b_scales + n * W);
            float *to = c + m * stride + n * W;
            store(to, fresh ? x * scale : fma(x, scale, load(to)));
        }
    }
}

// Calls f with the rows of a register tile, a constant, of which `valid` are needed: a
// whole tile, or so few that little is multiplied in vain.
template <class Call> void with_rows(int64_t valid, Call f) {
    if constexpr (kInt16Rows > 8) {
        if (valid > 4 && valid <= 8) {
            return f(std::integral_constant<int, 8>());
        }
    }
    if (valid > 4 || valid > kInt16Rows - 4) {
        f(std::integral_constant<int, kInt16Rows>());
    } else {
        f(std::integral_constant<int, 4>());
    }
}

// The same for the first `valid` rows of a register tile.
template <int N, bool Ahead = false>
void multiply_int16_rows(const Int16Factor &a, int64_t valid, const int16_t *b, const float *b_scales,
                         int64_t depth, float *c, int64_t stride, bool fresh, bool next = false) {
    with_rows(valid, [&](auto rows) {
        constexpr int R = decltype(rows)::value;
        multiply_int16<N, R, Ahead>(a, next, b, b_scales, depth, c, stride, fresh);
    });
}

} // namespace sdgo::kernels::SDGO_ISA
