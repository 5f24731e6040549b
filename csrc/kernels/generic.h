// Vectors of 4 floats in the compiler's own vector arithmetic: NEON on arm64,
// SSE2 on x86-64, and what the compiler has elsewhere.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace sdgo::kernels::SDGO_ISA {

typedef float V __attribute__((vector_size(16)));
typedef int32_t VI __attribute__((vector_size(16)));
constexpr int W = 4; // floats in a vector
#if defined(__aarch64__)
constexpr int MR = 8; // rows of a register tile
constexpr int NV = 2; // vectors in a row of a register tile
#else
constexpr int MR = 4;
constexpr int NV = 2;
#endif
constexpr int64_t kPanelBytes = 144 << 10; // of packed weights that stay in the cache
constexpr int64_t kRowBlock = 256;         // rows that share packed weights
constexpr int64_t kWinogradTiles = 48;     // that share transformed filters

inline V broadcast(float x) {
    return V{x, x, x, x};
}
inline V zero() {
    return broadcast(0);
}
inline V load(const float *p) {
    V x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
inline V load(const float *p, int64_t n) { // n < W, then zeros
    V x = zero();
    std::memcpy(&x, p, size_t(n) * sizeof(float));
    return x;
}
inline void store(float *p, V x) {
    std::memcpy(p, &x, sizeof x);
}
inline void store(float *p, V x, int64_t n) {
    std::memcpy(p, &x, size_t(n) * sizeof(float));
}
inline V fma(V a, V b, V c) {
#if defined(__aarch64__)
    return V(vfmaq_f32(float32x4_t(c), float32x4_t(a), float32x4_t(b)));
#else
    return a * b + c;
#endif
}
// The second if one is NaN.
inline V max(V a, V b) {
    return a > b ? a : b;
}
inline V min(V a, V b) {
    return a < b ? a : b;
}
inline V abs(V a) {
    return V(VI(a) & INT32_MAX);
}
inline V copy_sign(V magnitude, V sign) {
    return V((VI(magnitude) & INT32_MAX) | (VI(sign) & INT32_MIN));
}
// For values below 2^22: adding 1.5·2^23 leaves no bits for a fraction.
inline V round(V a) {
    const V big = broadcast(12582912.0f);
    return (a + big) - big;
}
// a · 2^n for whole n between -126 and 127.
inline V scale_by_power(V a, V n) {
    const V shifted = n + broadcast(12582912.0f + 127.0f); // n + 127 in the lowest bits
    return a * V(VI(shifted) << 23);
}
inline float sum(V a) {
    return (a[0] + a[2]) + (a[1] + a[3]);
}
inline float maximum(V a) {
    const float x = a[0] > a[2] ? a[0] : a[2], y = a[1] > a[3] ? a[1] : a[3];
    return x > y ? x : y;
}

// Half floats by arithmetic on bits: exponent and mantissa move 13 places up,
// and a multiplication by 2^112 corrects the exponent's bias, also of subnormals.
inline V load_f16(const uint16_t *p, int64_t n) {
    VI h = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++) {
        h[i] = p[i];
    }
    const VI sign = (h & 0x8000) << 16, rest = (h & 0x7fff) << 13;
    const VI finite = VI(V(rest) * broadcast(5.192296858534828e33f));
    const VI special = rest | 0x7f800000; // infinity and NaN
    const VI is_special = rest >= (0x7c00 << 13);
    return V(sign | (is_special & special) | (~is_special & finite));
}
inline V load_f16(const uint16_t *p) {
    return load_f16(p, W);
}
inline V load_bf16(const uint16_t *p, int64_t n) {
    VI h = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++) {
        h[i] = int32_t(uint32_t(p[i]) << 16);
    }
    return V(h);
}
inline V load_bf16(const uint16_t *p) {
    return load_bf16(p, W);
}

// Rows to columns.
inline void transpose(V (&r)[W]) {
    V t[W];
    for (int i = 0; i < W; i++) {
        t[i] = V{r[0][i], r[1][i], r[2][i], r[3][i]};
    }
    for (int i = 0; i < W; i++) {
        r[i] = t[i];
    }
}

} // namespace sdgo::kernels::SDGO_ISA
