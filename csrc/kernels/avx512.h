// Vectors of 16 floats: AVX-512 F, BW, VL and DQ.
#pragma once

#include "kernels/unaligned.h"

#include <cstdint>

namespace sdgo::kernels::SDGO_ISA {

using V = __m512;
constexpr int W = 16;                       // floats in a vector
constexpr int MR = 8;                       // rows of a register tile
constexpr int NV = 3;                       // vectors in a row of a register tile
constexpr int64_t kPanelBytes = 448 << 10;  // of packed weights that fit into the cache
constexpr int64_t kRowBlock = 512;          // rows that share packed weights
constexpr int64_t kWinogradTiles = 64;      // that share transformed filters
constexpr int kInt16Rows = 12;              // of a register tile in fixed point, two vectors wide
constexpr int64_t kInt16Packed = 208 << 10; // of its packed weights: numbers that fit into the cache

inline __mmask16 first(int64_t n) {
    return __mmask16((1u << n) - 1);
}

inline V zero() {
    return _mm512_setzero_ps();
}
inline V broadcast(float x) {
    return _mm512_set1_ps(x);
}
inline V load(const float *p) {
    return _mm512_loadu_ps(p);
}
inline V load(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(first(n), p);
} // n < W, then zeros
inline void store(float *p, V x) {
    _mm512_storeu_ps(p, x);
}
inline void store(float *p, V x, int64_t n) {
    _mm512_mask_storeu_ps(p, first(n), x);
}
inline V fma(V a, V b, V c) {
    return _mm512_fmadd_ps(a, b, c);
}
// The second if one is NaN.
inline V max(V a, V b) {
    return _mm512_max_ps(a, b);
}
inline V min(V a, V b) {
    return _mm512_min_ps(a, b);
}
inline V abs(V a) {
    return _mm512_abs_ps(a);
}
inline V round(V a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline V copy_sign(V magnitude, V sign) {
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(
        _mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(sign), _mm512_castps_si512(magnitude), 0xca));
}
inline V scale_by_power(V a, V n) {
    return _mm512_scalef_ps(a, n);
} // a · 2^n
inline float sum(V a) {
    return _mm512_reduce_add_ps(a);
}
inline float maximum(V a) {
    return _mm512_reduce_max_ps(a);
}

inline V load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}
inline V load_f16(const uint16_t *p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}
inline V from_bf16(__m256i x) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}
inline V load_bf16(const uint16_t *p) {
    return from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(p)));
}
inline V load_bf16(const uint16_t *p, int64_t n) {
    return from_bf16(_mm256_maskz_loadu_epi16(first(n), p));
}

// Integers: 16 of 32 bits or 32 of 16.
using VI = __m512i;

inline VI zero_integers() {
    return _mm512_setzero_si512();
}
inline VI load_integers(const int16_t *p) {
    return _mm512_loadu_si512(p);
}
inline void store_integers(int16_t *p, VI x) {
    _mm512_storeu_si512(p, x);
}
inline VI broadcast_integers(int32_t x) {
    return _mm512_set1_epi32(x);
}
inline VI round_to_integers(V a) {
    return _mm512_cvtps_epi32(a);
}
// To 16 bits, rounded, those of `low` first.
inline VI round_to_integers(V low, V high) {
    const VI both = _mm512_packs_epi32(_mm512_cvtps_epi32(low), _mm512_cvtps_epi32(high));
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), both);
}
// The lower 16 bits of `even` and `odd`, alternately.
inline VI pairs(VI even, VI odd) {
    return _mm512_mask_blend_epi16(0xaaaaaaaa, even, _mm512_slli_epi32(odd, 16));
}
inline VI add_integers(VI a, VI b) {
    return _mm512_add_epi32(a, b);
}
// The lowest bytes of a, b, c and d in turns.
inline VI quads(VI a, VI b, VI c, VI d) {
    const VI low = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, a, _mm512_slli_epi32(b, 8));
    const VI high = _mm512_mask_blend_epi8(0xaaaaaaaaaaaaaaaa, c, _mm512_slli_epi32(d, 8));
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}
inline VI minus_times_128(VI a) {
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(a, 7));
}
// The lowest byte of each.
inline void store_bytes(uint8_t *p, VI a) {
    _mm_storeu_si128(reinterpret_cast<__m128i *>(p), _mm512_cvtepi32_epi8(a));
}
inline V to_floats(VI a) {
    return _mm512_cvtepi32_ps(a);
}
inline V as_floats(VI a) {
    return _mm512_castsi512_ps(a);
}
inline VI as_integers(V a) {
    return _mm512_castps_si512(a);
}
// a · 2^(n - 127) for n in the lowest bits of `bits`.
inline V scale_by_bits(V a, V bits) {
    return a * as_floats(_mm512_slli_epi32(as_integers(bits), 23));
}
inline V square_root(V a) {
    return _mm512_sqrt_ps(a);
}
// `x` where not a < limit, else 0.
inline V unless_below(V a, V limit, V x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, limit, _CMP_NLT_UQ), x);
}

// Rows to columns.
inline void transpose(V (&r)[W]) {
    V t[W];
#pragma GCC unroll 8
    for (int i = 0; i < W; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    // In each quarter: four rows' values of one column.
#pragma GCC unroll 4
    for (int i = 0; i < W; i += 4) {
        const __m512d a = _mm512_castps_pd(t[i]), b = _mm512_castps_pd(t[i + 1]);
        const __m512d c = _mm512_castps_pd(t[i + 2]), d = _mm512_castps_pd(t[i + 3]);
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const V a = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88),
                b = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        const V c = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd),
                d = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
        t[i] = _mm512_shuffle_f32x4(a, b, 0x88);
        t[8 + i] = _mm512_shuffle_f32x4(a, b, 0xdd);
        t[4 + i] = _mm512_shuffle_f32x4(c, d, 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < W; i++) {
        r[i] = t[i];
    }
}

} // namespace sdgo::kernels::SDGO_ISA
