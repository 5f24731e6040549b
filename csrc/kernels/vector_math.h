// Elementary functions on vectors, and small integer helpers.
#pragma once

#include "kernels/kernels.h"

namespace sdgo::kernels::SDGO_ISA {

// Instead of the standard library's: of an inline function that is compiled for
// several instruction sets the linker keeps one copy, for whichever set.
inline int64_t lesser(int64_t a, int64_t b) {
    return a < b ? a : b;
}
inline int64_t greater(int64_t a, int64_t b) {
    return a > b ? a : b;
}
inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
inline int64_t round_up(int64_t a, int64_t b) {
    return ceil_div(a, b) * b;
}

// Hides from the compiler how this pointer or offset was computed, so that it derives
// addresses from it one by one, instead of keeping many that there are no registers
// for.
template <class T> void keep(T &value) {
    __asm__("" : "+r"(value));
}

// 2^x for x ≤ 0, within 2 units in the last place: 2^n·2^r, |r| ≤ 1/2, and 2^r
// by the series of e^(r·ln 2). Below -126 it stays at 2^-126, which makes no
// difference in a sum with a 1 in it; NaN stays NaN.
inline V exp2_negative(V x) {
    x = max(broadcast(-126), x);
    const V n = round(x), r = x - n;
    V p = fma(r, broadcast(1.540353039e-4f), broadcast(1.333355815e-3f));
    p = fma(p, r, broadcast(9.618129108e-3f));
    p = fma(p, r, broadcast(5.550410866e-2f));
    p = fma(p, r, broadcast(2.402265070e-1f));
    p = fma(p, r, broadcast(6.931471806e-1f));
    p = fma(p, r, broadcast(1));
    return scale_by_power(p, n);
}

// e^x within 2 units in the last place, in the same way: x = n·ln 2 + r. Beyond the
// range of normal floats it saturates; NaN stays NaN.
inline V exp(V x) {
    x = min(broadcast(88.0f), max(broadcast(-87.0f), x));
    const V n = round(x * broadcast(1.44269504f));
    V r = fma(n, broadcast(-0.693359375f), x);
    r = fma(n, broadcast(2.12194440e-4f), r);
    V p = fma(r, broadcast(1 / 720.0f), broadcast(1 / 120.0f));
    p = fma(p, r, broadcast(1 / 24.0f));
    p = fma(p, r, broadcast(1 / 6.0f));
    p = fma(p, r, broadcast(0.5f));
    p = fma(p, r, broadcast(1.0f));
    p = fma(p, r, broadcast(1.0f));
    return scale_by_power(p, n);
}

inline V sigmoid(V x) {
    return broadcast(1) / (broadcast(1) + exp(zero() - x));
}

// Abramowitz and Stegun, formula 7.1.26: off by 1.5e-7 at most.
inline V erf(V x) {
    const V a = abs(x);
    const V t = broadcast(1) / fma(a, broadcast(0.3275911f), broadcast(1));
    V p = fma(t, broadcast(1.061405429f), broadcast(-1.453152027f));
    p = fma(p, t, broadcast(1.421413741f));
    p = fma(p, t, broadcast(-0.284496736f));
    p = fma(p, t, broadcast(0.254829592f));
    return copy_sign(broadcast(1) - p * t * exp(zero() - a * a), x);
}

inline V gelu(V x) {
    const V half = broadcast(0.5f) * x;
    return fma(half, erf(x * broadcast(0.70710678f)), half);
}

// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), as x·σ(2·…).
inline V gelu_tanh(V x) {
    const V u = fma(x * x * x, broadcast(0.044715f), x) * broadcast(1.5957691216f);
    return x * sigmoid(u);
}

inline V activate(V x, Act act) {
    switch (act) {
    case Act::none:
        return x;
    case Act::silu:
        return x * sigmoid(x);
    case Act::gelu:
        return gelu(x);
    case Act::gelu_tanh:
        return gelu_tanh(x);
    case Act::quick_gelu:
        return x * sigmoid(x * broadcast(1.702f));
    }
    return x;
}

// W values, or the first n < W of them and zeros.
template <Type type> V load_as(const void *data, int64_t index) {
    if constexpr (type == Type::f16) {
        return load_f16(static_cast<const uint16_t *>(data) + index);
    } else if constexpr (type == Type::bf16) {
        return load_bf16(static_cast<const uint16_t *>(data) + index);
    } else {
        return load(static_cast<const float *>(data) + index);
    }
}
template <Type type> V load_as(const void *data, int64_t index, int64_t n) {
    if constexpr (type == Type::f16) {
        return load_f16(static_cast<const uint16_t *>(data) + index, n);
    } else if constexpr (type == Type::bf16) {
        return load_bf16(static_cast<const uint16_t *>(data) + index, n);
    } else {
        return load(static_cast<const float *>(data) + index, n);
    }
}

template <Type type> void load_vector(const void *data, int64_t from, int64_t n, float *to) {
    int64_t i = 0;
    for (; i + W <= n; i += W) {
        store(to + i, load_as<type>(data, from + i));
    }
    if (i < n) {
        store(to + i, load_as<type>(data, from + i, n - i), n - i);
    }
}

// n parameters from index `from`, as floats; `missing` where there is no vector.
inline void load_vector(const Vector &v, int64_t from, int64_t n, float *to, float missing) {
    if (!v.data) {
        for (int64_t i = 0; i < n; i++) {
            to[i] = missing;
        }
    } else if (v.type == Type::f16) {
        load_vector<Type::f16>(v.data, from, n, to);
    } else if (v.type == Type::bf16) {
        load_vector<Type::bf16>(v.data, from, n, to);
    } else {
        load_vector<Type::f32>(v.data, from, n, to);
    }
}

} // namespace sdgo::kernels::SDGO_ISA
