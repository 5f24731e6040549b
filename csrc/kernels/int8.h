// Numbers in fixed point of 8 bits, for what may be less exact: VNNI multiplies and adds
// twice as many of them as of 16 bits.
//
// Slices of rows and of columns have a scale each, chosen by the largest number. The
// instruction multiplies unsigned by signed numbers, so activations have 128 added, and
// sums start at what that adds to them.
#pragma once

#include "kernels/int16.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr float kInt8Largest = 127;

// Of the numbers' largest magnitude.
inline Scale int8_scale(float largest) {
    if (largest < 1e-30f) {
        return {0, 0};
    }
    return {kInt8Largest / largest, largest / kInt8Largest};
}

// n floats, whole vectors, to integers with 128 added; their scale.
inline float round_slice(const float *x, int64_t n, uint8_t *to) {
    V largest[2] = {zero(), zero()};
    V not_finite = zero(); // 0, or NaN where a number is NaN or infinite: maxima lose NaN
    for (int64_t i = 0; i < n; i += 2 * W) {
        for (int j = 0; j < 2; j++) {
            const V v = load(x + i + j * W);
            largest[j] = max(abs(v), largest[j]);
            not_finite = fma(v, zero(), not_finite);
        }
    }
    const Scale scale = int8_scale(maximum(max(largest[0], largest[1])));
    const V factor = broadcast(scale.to_integer);
    for (int64_t i = 0; i < n; i += W) {
        store_bytes(to + i, add_integers(round_to_integers(load(x + i) * factor), broadcast_integers(128)));
    }
    return scale.back + sum(not_finite);
}

// W columns of numbers to integers, as a part of a panel of N vectors; load(k) returns
// number k of each. `slice` rows, a multiple of four, are written: zeros after `depth`.
// After the scales come, N·W floats on, the integers at which sums start.
template <int N, class Load>
void round_columns8(Load load, int64_t depth, int64_t slice, int8_t *to, float *scales) {
    V largest = zero(), not_finite = zero();
    for (int64_t k = 0; k < depth; k++) {
        largest = max(abs(load(k)), largest);
        not_finite = fma(load(k), zero(), not_finite);
    }
    const V back = largest * broadcast(1 / kInt8Largest), least = broadcast(1e-30f);
    const V factor = unless_below(largest, least, broadcast(1) / back);
    store(scales, unless_below(largest, least, back) + not_finite);
    VI total = zero_integers();
    const auto integers = [&](int64_t k) {
        const VI x = k < depth ? round_to_integers(load(k) * factor) : zero_integers();
        total = add_integers(total, x);
        return x;
    };
    for (int64_t k = 0; k < slice; k += 4) {
        const VI a = integers(k), b = integers(k + 1), c = integers(k + 2), d = integers(k + 3);
        store_integers(reinterpret_cast<int16_t *>(to + k * N * W), quads(a, b, c, d));
    }
    store(scales + N * W, as_floats(minus_times_128(total)));
}

// Adds the products of a's quads of unsigned bytes and b's of signed ones to the sum.
inline void add_byte_products(VI a, VI b, VI &sum) {
#if defined(SDGO_AVX512_VNNI)
    __asm__ volatile("vpdpbusd %[b], %[a], %[sum]" : [sum] "+v"(sum) : [a] "v"(a), [b] "v"(b));
#else
    __asm__ volatile("%{vex%} vpdpbusd %[b], %[a], %[sum]" : [sum] "+v"(sum) : [a] "v"(a), [b] "v"(b));
#endif
}

// Rows of integers, `stride` apart.
struct Int8Factor {
    const uint8_t *integers;
    const float *scales; // of each row
    int64_t stride;
};

// Adds the products of R rows and a panel of two vectors, [quad of numbers][column][number],
// to c. `Ahead` as in multiply_int16.
template <int R, bool Ahead>
__attribute__((noinline)) void multiply_int8(const Int8Factor &a, const int8_t *b, const float *b_scales,
                                             int64_t depth, float *c, int64_t stride, bool fresh) {
    constexpr int N = 2;
    VI sum[R][N];
    const int16_t *starts = reinterpret_cast<const int16_t *>(b_scales + N * W);
#pragma GCC unroll 12
    for (int m = 0; m < R; m++) {
#pragma GCC unroll 2
        for (int n = 0; n < N; n++) {
            sum[m][n] = load_integers(starts + n * 2 * W);
        }
    }
    // Two pointers, as in multiply_int16.
    constexpr bool two_pointers = R > 6;
    int64_t once = a.stride, thrice = 3 * once, five_times = 5 * once;
    const uint8_t *upper = a.integers, *lower = upper + R / 2 * once;
    if constexpr (two_pointers) {
        keep(once), keep(thrice), keep(five_times);
    }
    for (int64_t k = 0; k < depth; k += 4) {
        if constexpr (two_pointers) {
            keep(upper), keep(lower);
        }
        const int16_t *place = reinterpret_cast<const int16_t *>(b);
        const VI b0 = load_integers(place), b1 = load_integers(place + 2 * W);
        if constexpr (Ahead) {
            prefetch_panel<N * 4 * W>(b);
        }
        b += N * 4 * W;
#pragma GCC unroll 12
        for (int m = 0; m < R; m++) {
            const int i = m % (R / 2);
            const int64_t offset = i == 3 ? thrice : i == 5 ? five_times : i * once;
            int32_t quad;
            __builtin_memcpy(&quad, (m == i ? upper : lower) + offset, sizeof quad);
            const VI av = broadcast_integers(quad);
            add_byte_products(av, b0, sum[m][0]);
            add_byte_products(av, b1, sum[m][1]);
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

// The same for the first `valid` rows of a register tile.
template <bool Ahead>
void multiply_int8_rows(const Int8Factor &a, int64_t valid, const int8_t *b, const float *b_scales,
                        int64_t depth, float *c, int64_t stride, bool fresh) {
    with_rows(valid, [&](auto rows) {
        multiply_int8<decltype(rows)::value, Ahead>(a, b, b_scales, depth, c, stride, fresh);
    });
}

} // namespace sdgo::kernels::SDGO_ISA
