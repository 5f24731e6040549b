// quantize_k for one instruction set: the layouts of blocks, as ggml defines them. See
// fit_k.h for how the scales are found.
#pragma once

#include "kernels/fit_k.h"

namespace sdgo::kernels::SDGO_ISA {

// Scales and offsets of the parts of four blocks.
constexpr int kTogether = 4;
struct Fits {
    float scale[16 * kTogether], offset[16 * kTogether];
};
template <int N, class Call> Fits fit_parts(const float *x, Call fit) {
    Fits f = {};
    for (int i = 0; i < kTogether * int(kKQuantBlock) / N; i += kTwo * W) {
        const Parts<N> p(x + i * N);
        const Fit part = fit(p);
        each([&](int v) {
            store(f.scale + i + v * W, part.scale[v]);
            store(f.offset + i + v * W, part.offset[v]);
        });
    }
    return f;
}

inline uint16_t half(float x) {
    return uint16_t(_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT));
}
inline float whole(uint16_t x) {
    return _cvtsh_ss(x);
}

// Levels of n numbers, multiples of d less `offset`.
inline void set_levels(const float *x, int n, float d, float offset, int low, int high, uint8_t *level) {
    const V lowest = broadcast(float(low)), highest = broadcast(float(high));
    for (int i = 0; i < n; i += W) {
        const V l = nearest_level((load(x + i) + broadcast(offset)) / broadcast(d), lowest, highest);
        store_bytes(level + i, round_to_integers(l - lowest));
    }
}

// Two bits of each level, four levels a byte.
inline void pack_twos(const uint8_t *level, uint8_t *to) {
    for (int j = 0; j < 256; j += 128) {
        for (int i = 0; i < 32; i++) {
            const uint8_t *l = level + j + i;
            to[j / 4 + i] = uint8_t((l[0] & 3) | (l[32] & 3) << 2 | (l[64] & 3) << 4 | (l[96] & 3) << 6);
        }
    }
}

inline float largest(const float *x, int n) {
    float found = 0;
    for (int i = 0; i < n; i++) {
        found = x[i] > found ? x[i] : found;
    }
    return found;
}
// The number of the greatest size, the first of several.
inline float extreme(const float *x, int n) {
    float found = 0;
    for (int i = 0; i < n; i++) {
        found = __builtin_fabsf(x[i]) > __builtin_fabsf(found) ? x[i] : found;
    }
    return found;
}

// Each of these writes a block, or returns false for one that is left to ggml.

// [16 bytes: scale, offset of each part][64: levels][scale][offset].
inline bool write_q2(const float *x, const float *scale, const float *offset, uint8_t *to) {
    uint8_t level[256];
    const float most = largest(scale, 16), most_offset = largest(offset, 16);
    if (!(most > 0)) {
        return false;
    }
    const uint16_t d = half(most / 15.0f), d_offset = half(most_offset > 0 ? most_offset / 15.0f : 0);
    for (int j = 0; j < 16; j++) {
        const uint8_t s = uint8_t(nearest(times(15.0f / most, scale[j])));
        const uint8_t o = most_offset > 0 ? uint8_t(nearest(times(15.0f / most_offset, offset[j]))) : 0;
        to[j] = uint8_t(s | o << 4);
        const float by = whole(d) * float(to[j] & 15);
        if (by == 0) {
            return false;
        }
        set_levels(x + 16 * j, 16, by, times(whole(d_offset), float(to[j] >> 4)), 0, 3, level + 16 * j);
    }
    pack_twos(level, to + 16);
    __builtin_memcpy(to + 80, &d, sizeof d);
    __builtin_memcpy(to + 82, &d_offset, sizeof d_offset);
    return true;
}

// [32 bytes: the levels' third bits][64: their others][12: scales of 6 bits][scale].
inline bool write_q3(const float *x, const float *scale, const float *, uint8_t *to) {
    uint8_t level[256], *scales = to + 96;
    const float most = extreme(scale, 16);
    if (most == 0) {
        return false;
    }
    const float inverse = -32.0f / most;
    const uint16_t d = half(1 / inverse);
    __builtin_memset(to, 0, 110);
    for (int j = 0; j < 16; j++) {
        int s = int8_t(nearest(times(inverse, scale[j])));
        s = s < -32 ? -32 : s > 31 ? 31 : s;
        const float by = whole(d) * float(s);
        if (by == 0) {
            return false;
        }
        s += 32;
        scales[j % 8] = uint8_t(scales[j % 8] | (s & 15) << (j < 8 ? 0 : 4));
        scales[8 + j % 4] = uint8_t(scales[8 + j % 4] | s >> 4 << (2 * (j / 4)));
        set_levels(x + 16 * j, 16, by, 0, -4, 3, level + 16 * j);
    }
    for (int j = 0; j < 256; j++) {
        to[j % 32] = uint8_t(to[j % 32] | level[j] >> 2 << (j / 32));
    }
    pack_twos(level, to + 32);
    __builtin_memcpy(to + 108, &d, sizeof d);
    return true;
}

// [scale][offset][12 bytes: scales and offsets of 6 bits][the levels' fifth bits, of q5][their
// others, two a byte].
template <int levels> bool write_q45(const float *x, const float *scale, const float *offset, uint8_t *to) {
    constexpr bool fifth = levels > 15;
    uint8_t level[256], *scales = to + 4, *highs = to + 16, *lows = highs + (fifth ? 32 : 0);
    const float most = largest(scale, 8), most_offset = largest(offset, 8);
    const float inverse = most > 0 ? 63.0f / most : 0,
                inverse_offset = most_offset > 0 ? 63.0f / most_offset : 0;
    const uint16_t d = half(most / 63.0f), d_offset = half(most_offset / 63.0f);
    __builtin_memcpy(to, &d, sizeof d);
    __builtin_memcpy(to + 2, &d_offset, sizeof d_offset);
    for (int j = 0; j < 8; j++) {
        const uint8_t s8 = uint8_t(nearest(times(inverse, scale[j]))),
                      o8 = uint8_t(nearest(times(inverse_offset, offset[j])));
        const int s = s8 > 63 ? 63 : s8, o = o8 > 63 ? 63 : o8;
        const float by = whole(d) * float(s);
        if (by == 0) {
            return false;
        }
        if (j < 4) {
            scales[j] = uint8_t(s), scales[j + 4] = uint8_t(o);
        } else {
            scales[j + 4] = uint8_t((s & 15) | (o & 15) << 4);
            scales[j - 4] = uint8_t(scales[j - 4] | s >> 4 << 6);
            scales[j] = uint8_t(scales[j] | o >> 4 << 6);
        }
        set_levels(x + 32 * j, 32, by, times(whole(d_offset), float(o)), 0, levels, level + 32 * j);
    }
    for (int i = 0; fifth && i < 32; i++) {
        highs[i] = 0;
        for (int j = 0; j < 8; j++) {
            highs[i] = uint8_t(highs[i] | level[32 * j + i] >> 4 << j);
        }
    }
    for (int j = 0; j < 4; j++) {
        for (int i = 0; i < 32; i++) {
            lows[32 * j + i] = uint8_t((level[64 * j + i] & 15) | (level[64 * j + 32 + i] & 15) << 4);
        }
    }
    return true;
}

// [128 bytes: four bits of the levels][64: two bits][16 bytes: scales][scale].
inline bool write_q6(const float *x, const float *scale, const float *, uint8_t *to) {
    uint8_t level[256];
    const float most = extreme(scale, 16);
    if (__builtin_fabsf(most) < kNothing) {
        return false;
    }
    const float inverse = -128.0f / most;
    const uint16_t d = half(1 / inverse);
    for (int j = 0; j < 16; j++) {
        const int s = nearest(times(inverse, scale[j]));
        const int8_t s8 = int8_t(s > 127 ? 127 : s);
        const float by = whole(d) * float(s8);
        if (by == 0) {
            return false;
        }
        to[192 + j] = uint8_t(s8);
        set_levels(x + 16 * j, 16, by, 0, -32, 31, level + 16 * j);
    }
    for (int j = 0; j < 2; j++) {
        const uint8_t *l = level + 128 * j;
        for (int i = 0; i < 32; i++) {
            to[64 * j + i] = uint8_t((l[i] & 15) | (l[i + 64] & 15) << 4);
            to[64 * j + 32 + i] = uint8_t((l[i + 32] & 15) | (l[i + 96] & 15) << 4);
            to[128 + 32 * j + i] =
                uint8_t(l[i] >> 4 | l[i + 32] >> 4 << 2 | l[i + 64] >> 4 << 4 | l[i + 96] >> 4 << 6);
        }
    }
    __builtin_memcpy(to + 208, &d, sizeof d);
    return true;
}

struct KQuantizer {
    Fits (*fit)(const float *x); // of four blocks
    bool (*write)(const float *x, const float *scale, const float *offset, uint8_t *to);
    int parts; // of a block
};
inline const KQuantizer &k_quantizer(KQuant type) {
    static const KQuantizer all[] = {
        {[](const float *x) {
             return fit_parts<16>(x, [](const auto &p) { return Offsets<16, true>{3, -0.5f, 15}.fit(p); });
         },
         write_q2, 16},
        {[](const float *x) { return fit_parts<16>(x, fit_q3); }, write_q3, 16},
        {[](const float *x) {
             return fit_parts<32>(x, [](const auto &p) { return Offsets<32, false>{15, -1.0f, 20}.fit(p); });
         },
         write_q45<15>, 8},
        {[](const float *x) {
             return fit_parts<32>(x, [](const auto &p) { return Offsets<32, false>{31, -0.5f, 15}.fit(p); });
         },
         write_q45<31>, 8},
        {[](const float *x) { return fit_parts<16>(x, fit_q6); }, write_q6, 16},
    };
    return all[size_t(type)];
}

inline void quantize_blocks(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made) {
    const KQuantizer &q = k_quantizer(type);
    for (int64_t i = 0; i < blocks; i += kTogether) {
        float last[kTogether * kKQuantBlock] = {};
        const float *some = x + i * kKQuantBlock;
        const int64_t n = blocks - i < kTogether ? blocks - i : kTogether;
        if (n < kTogether) {
            __builtin_memcpy(last, some, size_t(n * kKQuantBlock) * sizeof(float));
            some = last;
        }
        const Fits f = q.fit(some);
        for (int64_t b = 0; b < n; b++) {
            const float *scale = f.scale + b * q.parts, *offset = f.offset + b * q.parts;
            made[i + b] = true;
            for (int p = 0; p < q.parts; p++) {
                made[i + b] = made[i + b] && scale[p] == scale[p];
            }
            made[i + b] = made[i + b] && q.write(some + b * kKQuantBlock, scale, offset,
                                                 to + size_t(i + b) * k_quant_bytes(type));
        }
    }
}

} // namespace sdgo::kernels::SDGO_ISA
