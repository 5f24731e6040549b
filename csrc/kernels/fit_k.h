// The scales of k-quants, for one instruction set. A vector's lanes are parts of blocks, 16 or
// 32 numbers that share a scale, and each lane does what ggml does for a part, in the same
// order: sums come out the same to the bit, if no product is fused with an addition.
#pragma once

#include "kernels/quantize.h"

namespace sdgo::kernels::SDGO_ISA {

// A product that is rounded.
inline V times(V a, V b) {
    V product = a * b;
    __asm__("" : "+v"(product));
    return product;
}
inline float times(float a, float b) {
    float product = a * b;
    __asm__("" : "+v"(product));
    return product;
}

// The nearest integer, as ggml computes it, of a number below 2^22.
inline int nearest(float x) {
    const float sum = x + 12582912.0f;
    int32_t bits;
    __builtin_memcpy(&bits, &sum, sizeof bits);
    return (bits & 0x7fffff) - 0x400000;
}
inline V nearest_level(V x, V low, V high) {
    return max(min(round(x), high), low);
}

// Of larger numbers ggml makes something else: whether x is none of them, and not NaN.
inline Mask small(V x) {
    return less(abs(x), broadcast(2097152.0f));
}

// Parts of N numbers from x on, one in each lane of each of two vectors, whose sums need not
// wait for one another.
constexpr int kTwo = 2;
template <int N> struct Parts {
    V x[kTwo][N];

    explicit Parts(const float *from) {
        for (int v = 0; v < kTwo; v++) {
            for (int k = 0; k < N; k += W) {
                V rows[W];
                for (int i = 0; i < W; i++) {
                    rows[i] = load(from + (v * W + i) * N + k);
                }
                transpose(rows);
                for (int i = 0; i < W; i++) {
                    x[v][k + i] = rows[i];
                }
            }
        }
    }
};

// Calls f for both vectors.
template <class Call> void each(Call f) {
    f(0);
    f(1);
}

// A scale of parts that ggml's function must find.
inline V no_scale() {
    return broadcast(__builtin_nanf(""));
}

// Scales of parts, and what is subtracted.
struct Fit {
    V scale[kTwo], offset[kTwo];
};

// For numbers x ≈ scale·level - offset, levels from 0 to `levels`: scales for which the range
// is a little wider or narrower are tried, each with the scale and the offset that fit the
// levels best.
template <int N, bool absolute> struct Offsets { // absolute errors; else squared
    int levels;
    float first; // added to the levels in the first trial
    int tries;

    static constexpr float step = 0.1f;

    struct Trial {
        const Parts<N> &p;
        V weights[kTwo][N];
        V level[kTwo][N];
        V least[kTwo], most[kTwo], inverse[kTwo];
        V smallest[kTwo]; // the least before it changed
        Mask sane[kTwo];

        void set_levels(V highest) {
            each([&](int v) {
                sane[v] = both(sane[v], both(small(times(inverse[v], most[v] - least[v])),
                                             small(times(inverse[v], smallest[v] - least[v]))));
            });
            for (int i = 0; i < N; i++) {
                each([&](int v) {
                    const V place = times(inverse[v], p.x[v][i] - least[v]);
                    level[v][i] = nearest_level(place, zero(), highest);
                });
            }
        }

        void errors(const V (&scale)[kTwo], const V (&offset)[kTwo], V (&sum)[kTwo]) const {
            sum[0] = sum[1] = zero();
            for (int i = 0; i < N; i++) {
                each([&](int v) {
                    const V d = times(scale[v], level[v][i]) + offset[v] - p.x[v][i];
                    sum[v] = sum[v] + times(weights[v][i], absolute ? abs(d) : times(d, d));
                });
            }
        }
    };

    Fit fit(const Parts<N> &p) const {
        Trial t{p, {}, {}, {}, {}, {}, {}, {}};
        V sum_w[kTwo], sum_x[kTwo], scale[kTwo], best[kTwo];
        each([&](int v) {
            V squares = zero();
            for (int i = 0; !absolute && i < N; i++) {
                squares = squares + times(p.x[v][i], p.x[v][i]);
            }
            const V mean = square_root(squares / broadcast(N));
            for (int i = 0; i < N; i++) {
                t.weights[v][i] = absolute ? abs(p.x[v][i]) : mean + abs(p.x[v][i]);
            }
            V least = p.x[v][0], most = least;
            sum_w[v] = t.weights[v][0], sum_x[v] = times(sum_w[v], least);
            for (int i = 1; i < N; i++) {
                least = min(p.x[v][i], least), most = max(p.x[v][i], most);
                sum_w[v] = sum_w[v] + t.weights[v][i];
                sum_x[v] = sum_x[v] + times(t.weights[v][i], p.x[v][i]);
            }
            t.smallest[v] = least;
            t.most[v] = most, t.least[v] = min(zero(), least);
            t.inverse[v] = broadcast(float(levels)) / (most - t.least[v]);
            t.sane[v] = less(t.least[v], most);
            scale[v] = broadcast(1) / t.inverse[v];
        });
        const V highest = broadcast(float(levels));
        t.set_levels(highest);
        t.errors(scale, t.least, best);
        for (int n = 0; n <= tries; n++) {
            each([&](int v) {
                t.inverse[v] =
                    broadcast(first + times(step, float(n)) + float(levels)) / (t.most[v] - t.least[v]);
            });
            t.set_levels(highest);
            V sum_l[kTwo] = {zero(), zero()}, sum_l2[kTwo] = {zero(), zero()},
              sum_xl[kTwo] = {zero(), zero()};
            for (int i = 0; i < N; i++) {
                each([&](int v) {
                    const V weighted = times(t.weights[v][i], t.level[v][i]);
                    sum_l[v] = sum_l[v] + weighted;
                    sum_l2[v] = sum_l2[v] + times(weighted, t.level[v][i]);
                    sum_xl[v] = sum_xl[v] + times(weighted, p.x[v][i]);
                });
            }
            V determinant[kTwo], new_scale[kTwo], new_least[kTwo], now[kTwo];
            each([&](int v) {
                determinant[v] = times(sum_w[v], sum_l2[v]) - times(sum_l[v], sum_l[v]);
                const V s = (times(sum_w[v], sum_xl[v]) - times(sum_x[v], sum_l[v])) / determinant[v];
                const V l = (times(sum_l2[v], sum_x[v]) - times(sum_l[v], sum_xl[v])) / determinant[v];
                const Mask above = less(zero(), l);
                new_least[v] = pick(above, zero(), l);
                new_scale[v] = pick(above, sum_xl[v] / sum_l2[v], s);
            });
            t.errors(new_scale, new_least, now);
            each([&](int v) {
                const Mask better = both(less(zero(), determinant[v]), less(now[v], best[v]));
                best[v] = pick(better, now[v], best[v]);
                scale[v] = pick(better, new_scale[v], scale[v]);
                t.least[v] = pick(better, new_least[v], t.least[v]);
            });
        }
        Fit f;
        each([&](int v) {
            f.scale[v] = pick(t.sane[v], scale[v], no_scale());
            f.offset[v] = zero() - t.least[v];
        });
        return f;
    }
};

// The numbers of the greatest size, the first of several; NaN in place of those below
// `nothing`, for ggml takes such parts as zeros.
constexpr float kNothing = 1e-15f;
inline V extreme(const V (&x)[16]) {
    V found = zero(), size = zero();
    for (int i = 0; i < 16; i++) {
        const Mask larger = less(size, abs(x[i]));
        size = pick(larger, abs(x[i]), size);
        found = pick(larger, x[i], found);
    }
    return pick(less(size, broadcast(kNothing)), no_scale(), found);
}

// For x ≈ scale·level, levels from -32 to 31, weighted by squares of x.
inline Fit fit_q6(const Parts<16> &p) {
    const V low = broadcast(-32), high = broadcast(31), greatest[kTwo] = {extreme(p.x[0]), extreme(p.x[1])};
    V scale[kTwo] = {zero(), zero()}, best[kTwo] = {zero(), zero()};
    for (int t = -10; t <= 9; t++) { // the first is the one without a change
        if (t == 0) {
            continue;
        }
        const V levels = broadcast(t == -10 ? -32.0f : -(32.0f + times(0.1f, float(t))));
        const V inverse[kTwo] = {levels / greatest[0], levels / greatest[1]};
        V sum_xl[kTwo] = {zero(), zero()}, sum_l2[kTwo] = {zero(), zero()};
        for (int i = 0; i < 16; i++) {
            each([&](int v) {
                const V x = p.x[v][i], level = nearest_level(times(inverse[v], x), low, high);
                const V weight = times(x, x);
                sum_xl[v] = sum_xl[v] + times(times(weight, x), level);
                sum_l2[v] = sum_l2[v] + times(times(weight, level), level);
            });
        }
        each([&](int v) {
            const V now = pick(equal(sum_l2[v], zero()), zero(), sum_xl[v] / sum_l2[v]);
            const Mask better =
                both(less(zero(), sum_l2[v]), less(times(best[v], sum_l2[v]), times(sum_xl[v], sum_xl[v])));
            scale[v] = t == -10 ? now : pick(better, now, scale[v]);
            best[v] = t == -10 ? times(now, sum_xl[v]) : pick(better, times(now, sum_xl[v]), best[v]);
        });
    }
    Fit f;
    each([&](int v) { f.scale[v] = pick(equal(greatest[v], greatest[v]), scale[v], no_scale()); });
    return f;
}

// For x ≈ scale·level, levels from -4 to 3: levels change one at a time where that fits better.
inline Fit fit_q3(const Parts<16> &p) {
    const V low = broadcast(-4), high = broadcast(3), greatest[kTwo] = {extreme(p.x[0]), extreme(p.x[1])};
    V level[kTwo][16], sum_xl[kTwo] = {zero(), zero()}, sum_l2[kTwo] = {zero(), zero()};
    Mask sane[kTwo] = {equal(greatest[0], greatest[0]), equal(greatest[1], greatest[1])};
    const V inverse[kTwo] = {low / greatest[0], low / greatest[1]};
    for (int i = 0; i < 16; i++) {
        each([&](int v) {
            const V x = p.x[v][i], l = nearest_level(times(inverse[v], x), low, high), weight = times(x, x);
            level[v][i] = l;
            sum_xl[v] = sum_xl[v] + times(times(weight, x), l);
            sum_l2[v] = sum_l2[v] + times(times(weight, l), l);
        });
    }
    for (int t = 0; t < 5; t++) {
        for (int i = 0; i < 16; i++) {
            each([&](int v) {
                const V x = p.x[v][i], l = level[v][i], weight = times(x, x), cube = times(weight, x);
                V xl = sum_xl[v] - times(cube, l), l2 = sum_l2[v] - times(times(weight, l), l);
                const Mask possible = less(zero(), xl);
                const V place = times(x, l2) / xl, next = nearest_level(place, low, high);
                sane[v] = both(sane[v], either(small(place), less_or_equal(xl, zero())));
                xl = xl + times(cube, next), l2 = l2 + times(times(weight, next), next);
                const Mask fits =
                    less(times(times(sum_xl[v], sum_xl[v]), l2), times(times(xl, xl), sum_l2[v]));
                const Mask better = both(both(possible, fits), both(less(zero(), l2), unequal(next, l)));
                level[v][i] = pick(better, next, l);
                sum_xl[v] = pick(better, xl, sum_xl[v]), sum_l2[v] = pick(better, l2, sum_l2[v]);
            });
        }
    }
    Fit f;
    each([&](int v) {
        const V scale = pick(less(zero(), sum_l2[v]), sum_xl[v] / sum_l2[v], zero());
        f.scale[v] = pick(sane[v], scale, no_scale());
    });
    return f;
}

} // namespace sdgo::kernels::SDGO_ISA
