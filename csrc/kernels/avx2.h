// Vectors of 8 floats: AVX2, FMA and F16C.
#pragma once

#include "kernels/unaligned.h"

#include <cstdint>

namespace sdgo::kernels::SDGO_ISA {

using V = __m256;
constexpr int W = 8;                        // floats in a vector
constexpr int MR = 4;                       // rows of a register tile
constexpr int NV = 3;                       // vectors in a row of a register tile
constexpr int64_t kPanelBytes = 144 << 10;  // of packed weights that fit into the cache
constexpr int64_t kRowBlock = 256;          // rows that share packed weights
constexpr int64_t kWinogradTiles = 48;      // that share transformed filters
constexpr int kInt16Rows = 6;               // of a register tile in fixed point, two vectors wide
constexpr int64_t kInt16Packed = 104 << 10; // of its packed weights: numbers that fit into the cache

inline __m256i first(int64_t n) {
    alignas(32) static const int32_t ones[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(ones + 8 - n));
}

inline V zero() {
    return _mm256_setzero_ps();
}
inline V broadcast(float x) {
    return _mm256_set1_ps(x);
}
inline V load(const float *p) {
    return _mm256_loadu_ps(p);
}
inline V load(const float *p, int64_t n) {
    return _mm256_maskload_ps(p, first(n));
} // n < W, then zeros
inline void store(float *p, V x) {
    _mm256_storeu_ps(p, x);
}
inline void store(float *p, V x, int64_t n) {
    _mm256_maskstore_ps(p, first(n), x);
}
inline V fma(V a, V b, V c) {
    return _mm256_fmadd_ps(a, b, c);
}
// The second if one is NaN.
inline V max(V a, V b) {
    return _mm256_max_ps(a, b);
}
inline V min(V a, V b) {
    return _mm256_min_ps(a, b);
}
inline V abs(V a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
inline V round(V a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline V copy_sign(V magnitude, V sign) {
    const V bit = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_and_ps(bit, sign), _mm256_andnot_ps(bit, magnitude));
}
// a · 2^n for whole n between -126 and 127.
inline V scale_by_power(V a, V n) {
    const __m256i e = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(e));
}
inline float sum(V a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline float maximum(V a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

inline __m128i load_16bit(const uint16_t *p, int64_t n) {
    alignas(16) uint16_t buffer[8] = {};
    __builtin_memcpy(buffer, p, size_t(n) * 2);
    return _mm_load_si128(reinterpret_cast<const __m128i *>(buffer));
}
inline V load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
inline V load_f16(const uint16_t *p, int64_t n) {
    return _mm256_cvtph_ps(load_16bit(p, n));
}
inline V from_bf16(__m128i x) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16));
}
inline V load_bf16(const uint16_t *p) {
    return from_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
}
inline V load_bf16(const uint16_t *p, int64_t n) {
    return from_bf16(load_16bit(p, n));
}

// Integers: 8 of 32 bits or 16 of 16.
using VI = __m256i;

inline VI zero_integers() {
    return _mm256_setzero_si256();
}
inline VI load_integers(const int16_t *p) {
    return _mm256_loadu_si256(reinterpret_cast<const VI *>(p));
}
inline void store_integers(int16_t *p, VI x) {
    _mm256_storeu_si256(reinterpret_cast<VI *>(p), x);
}
inline VI broadcast_integers(int32_t x) {
    return _mm256_set1_epi32(x);
}
inline VI round_to_integers(V a) {
    return _mm256_cvtps_epi32(a);
}
// To 16 bits, rounded, those of `low` first.
inline VI round_to_integers(V low, V high) {
    const VI both = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
    return _mm256_permute4x64_epi64(both, 0xd8);
}
// The lower 16 bits of `even` and `odd`, alternately.
inline VI pairs(VI even, VI odd) {
    return _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa);
}
inline VI add_integers(VI a, VI b) {
    return _mm256_add_epi32(a, b);
}
// The lowest bytes of a, b, c and d in turns.
inline VI quads(VI a, VI b, VI c, VI d) {
    const VI byte = _mm256_set1_epi32(0xff);
    const VI low =
        _mm256_or_si256(_mm256_and_si256(a, byte), _mm256_slli_epi32(_mm256_and_si256(b, byte), 8));
    const VI high = _mm256_or_si256(_mm256_and_si256(c, byte), _mm256_slli_epi32(d, 8));
    return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa);
}
inline VI minus_times_128(VI a) {
    return _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(a, 7));
}
// The lowest byte of each, which is 0 to 255.
inline void store_bytes(uint8_t *p, VI a) {
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i *>(p), _mm_packus_epi16(words, words));
}
inline V to_floats(VI a) {
    return _mm256_cvtepi32_ps(a);
}
inline V as_floats(VI a) {
    return _mm256_castsi256_ps(a);
}
inline VI as_integers(V a) {
    return _mm256_castps_si256(a);
}
// a · 2^(n - 127) for n in the lowest bits of `bits`.
inline V scale_by_bits(V a, V bits) {
    return a * as_floats(_mm256_slli_epi32(as_integers(bits), 23));
}
inline V square_root(V a) {
    return _mm256_sqrt_ps(a);
}
// `x` where not a < limit, else 0.
inline V unless_below(V a, V limit, V x) {
    return _mm256_andnot_ps(_mm256_cmp_ps(a, limit, _CMP_LT_OQ), x);
}

// Rows to columns.
inline void transpose(V (&r)[W]) {
    V t[W];
#pragma GCC unroll 4
    for (int i = 0; i < W; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    // In each half: four rows' values of one column.
#pragma GCC unroll 2
    for (int i = 0; i < W; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < W; i++) {
        r[i] = t[i];
    }
}

} // namespace sdgo::kernels::SDGO_ISA
