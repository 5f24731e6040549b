// Token merging (Bolya and Hoffman 2023, arXiv:2303.17604): which tokens of an image are
// averaged, the averages, and the way back.
#pragma once

#include "kernels/norm.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kMatchRows = 4;  // sources, and targets, of a block of products
constexpr int64_t kMatchTask = 16; // sources of a task

// Where what threads share lies: lists of the sources and the targets, for each token the
// inverse of its length, for each source its target and how alike they are.
struct Matching {
    int64_t sources, targets;
    int32_t *source, *target, *best;
    float *inverse, *likeness;
};

inline int64_t merge_targets(const MergePlan &a) {
    return (a.width / 2) * (a.height / 2);
}

inline Matching matching(const MergePlan &a, void *scratch) {
    Matching m;
    const int64_t length = a.width * a.height;
    m.targets = merge_targets(a), m.sources = length - m.targets;
    m.source = static_cast<int32_t *>(scratch);
    m.target = m.source + m.sources;
    m.best = m.target + m.targets;
    m.inverse = reinterpret_cast<float *>(m.best + a.n * m.sources);
    m.likeness = m.inverse + a.n * length;
    return m;
}

inline size_t merge_scratch(const MergePlan &a, int) {
    const int64_t length = a.width * a.height;
    return size_t(length + a.n * (length + 2 * (length - merge_targets(a)))) * sizeof(float);
}

// The first token of each whole square is a target, the others are sources.
inline void list_tokens(const MergePlan &a, Matching &m) {
    int32_t *source = m.source, *target = m.target;
    for (int64_t i = 0; i < a.width * a.height; i++) {
        const int64_t x = i % a.width, y = i / a.width;
        const bool first = x % 2 == 0 && y % 2 == 0 && x + 1 < a.width && y + 1 < a.height;
        *(first ? target++ : source++) = int32_t(i);
    }
}

inline float inverse_length(const float *x, int64_t c) {
    V squares = zero();
    for (int64_t i = 0; i < c; i += W) {
        const V v = i + W <= c ? load(x + i) : load(x + i, c - i);
        squares = fma(v, v, squares);
    }
    const float length = __builtin_sqrtf(sum(squares));
    return length > 1e-30f ? 1 / length : 0;
}

// Products of up to kMatchRows rows with as many others.
inline void match_products(const float *const *a, const float *const *b, int64_t c, float *to) {
    V sums[kMatchRows][kMatchRows];
    for (auto &row : sums) {
        for (V &s : row) {
            s = zero();
        }
    }
    for (int64_t i = 0; i < c; i += W) {
        const auto read = [&](const float *p) { return i + W <= c ? load(p + i) : load(p + i, c - i); };
        V y[kMatchRows];
        for (int64_t j = 0; j < kMatchRows; j++) {
            y[j] = read(b[j]);
        }
        for (int64_t k = 0; k < kMatchRows; k++) {
            const V x = read(a[k]);
            for (int64_t j = 0; j < kMatchRows; j++) {
                sums[k][j] = fma(x, y[j], sums[k][j]);
            }
        }
    }
    for (int64_t k = 0; k < kMatchRows; k++) {
        for (int64_t j = 0; j < kMatchRows; j++) {
            to[k * kMatchRows + j] = sum(sums[k][j]);
        }
    }
}

// Finds the targets of the sources of a task, whose rows stay in the nearest cache while the
// targets go by.
inline void match_task(const MergePlan &a, const Matching &m, int64_t image, int64_t from) {
    const int64_t length = a.width * a.height, count = lesser(kMatchTask, m.sources - from);
    const float *x = a.x + image * length * a.c, *inverse = m.inverse + image * length;
    const float *rows[kMatchTask], *others[kMatchRows];
    float products[kMatchRows * kMatchRows], best[kMatchTask], scale[kMatchTask];
    int32_t found[kMatchTask] = {};
    for (int64_t k = 0; k < kMatchTask; k++) { // the last may repeat
        const int32_t source = m.source[from + lesser(k, count - 1)];
        rows[k] = x + source * a.c, scale[k] = inverse[source];
        best[k] = -2;
    }
    for (int64_t t = 0; t < m.targets; t += kMatchRows) {
        for (int64_t j = 0; j < kMatchRows; j++) {
            others[j] = x + m.target[lesser(t + j, m.targets - 1)] * a.c;
        }
        for (int64_t k = 0; k < count; k += kMatchRows) {
            match_products(rows + k, others, a.c, products);
            for (int64_t j = 0; j < lesser(kMatchRows, m.targets - t); j++) {
                const float other = inverse[m.target[t + j]];
                for (int64_t i = 0; i < kMatchRows; i++) {
                    const float v = products[i * kMatchRows + j] * other * scale[k + i];
                    if (v > best[k + i]) {
                        best[k + i] = v, found[k + i] = int32_t(t + j);
                    }
                }
            }
        }
    }
    for (int64_t k = 0; k < count; k++) {
        m.likeness[image * m.sources + from + k] = best[k];
        m.best[image * m.sources + from + k] = found[k];
    }
}

// A number whose order among others is that of the float.
inline uint32_t ordered(float v) {
    uint32_t bits;
    __builtin_memcpy(&bits, &v, sizeof(bits));
    return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// The count-th largest of n numbers, byte by byte, and how many of those equal to it are
// among the largest `count`.
struct Threshold {
    uint32_t key;
    int64_t equal;
};

inline Threshold threshold(const float *v, int64_t n, int64_t count) {
    uint32_t key = 0, known = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t counts[256] = {};
        for (int64_t i = 0; i < n; i++) {
            const uint32_t k = ordered(v[i]);
            if ((k & known) == key) {
                counts[k >> shift & 255]++;
            }
        }
        int digit = 255;
        for (; digit > 0 && counts[digit] < count; digit--) {
            count -= counts[digit];
        }
        key |= uint32_t(digit) << shift;
        known |= 255u << shift;
    }
    return {key, count};
}

// Writes an image's plan: see MergePlan. Slots are first those of the targets, then those
// of the sources that stay.
inline void plan_image(const MergePlan &a, const Matching &m, int64_t image) {
    const int64_t length = a.width * a.height, kept = length - a.merged;
    float *slot = a.y + image * (2 * length + kept + 1), *order = slot + length, *start = order + length;
    for (int64_t t = 0; t < m.targets; t++) {
        slot[m.target[t]] = float(t);
    }
    const float *likeness = m.likeness + image * m.sources;
    Threshold least = threshold(likeness, m.sources, a.merged);
    int64_t next = m.targets;
    for (int64_t i = 0; i < m.sources; i++) {
        const uint32_t key = ordered(likeness[i]);
        const bool merges = key > least.key || (key == least.key && least.equal-- > 0);
        slot[m.source[i]] = float(merges ? m.best[image * m.sources + i] : next++);
    }
    for (int64_t s = 0; s <= kept; s++) {
        start[s] = 0;
    }
    for (int64_t i = 0; i < length; i++) {
        start[int64_t(slot[i]) + 1] += 1;
    }
    for (int64_t s = 0; s < kept; s++) {
        start[s + 1] += start[s];
    }
    for (int64_t i = 0; i < length; i++) { // moves each start to its end, which is the next's start
        float &at = start[int64_t(slot[i])];
        order[int64_t(at)] = float(i);
        at += 1;
    }
    for (int64_t s = kept; s > 0; s--) {
        start[s] = start[s - 1];
    }
    start[0] = 0;
}

inline int merge_phases(const MergePlan &) {
    return 3;
}

inline void run_merge_plan(const MergePlan &a, int phase, int, Team &team) {
    Matching m = matching(a, team.scratch);
    const int64_t length = a.width * a.height, tasks = ceil_div(m.sources, kMatchTask);
    if (phase == 0) {
        take_rows(team, a.n * length, [&](int64_t r) {
            if (r == 0) {
                list_tokens(a, m);
            }
            m.inverse[r] = inverse_length(a.x + r * a.c, a.c);
        });
    } else if (phase == 1) {
        take_tasks(team, a.n * tasks,
                   [&](int64_t task) { match_task(a, m, task / tasks, task % tasks * kMatchTask); });
    } else {
        take_tasks(team, a.n, [&](int64_t image) { plan_image(a, m, image); });
    }
}

inline void run_merge_tokens(const MergeTokens &a, int, int, Team &team) {
    const int64_t kept = a.length - a.merged;
    take_rows(team, a.n * kept, [&](int64_t r) {
        const int64_t image = r / kept, s = r % kept;
        const float *order = a.plan + image * (2 * a.length + kept + 1) + a.length, *start = order + a.length;
        const float *x = a.x + image * a.length * a.c;
        const int64_t from = int64_t(start[s]), end = int64_t(start[s + 1]);
        const V share = broadcast(1 / float(end - from));
        for (int64_t i = 0; i < a.c; i += W) {
            const int64_t n = lesser(W, a.c - i);
            V all = zero();
            for (int64_t k = from; k < end; k++) {
                const float *p = x + int64_t(order[k]) * a.c + i;
                all = all + (n == W ? load(p) : load(p, n));
            }
            all = end - from == 1 ? all : all * share;
            float *y = a.y + r * a.c + i;
            n == W ? store(y, all) : store(y, all, n);
        }
    });
}

inline void run_unmerge_tokens(const UnmergeTokens &a, int, int, Team &team) {
    const int64_t kept = a.length - a.merged;
    take_rows(team, a.n * a.length, [&](int64_t r) {
        const int64_t image = r / a.length;
        const float *slot = a.plan + image * (2 * a.length + kept + 1);
        const float *x = a.x + (image * kept + int64_t(slot[r % a.length])) * a.c, *add = a.add + r * a.c;
        float *y = a.y + r * a.c;
        for (int64_t i = 0; i < a.c; i++) {
            y[i] = x[i] + add[i];
        }
    });
}

} // namespace sdgo::kernels::SDGO_ISA
