// Attention in fixed point, otherwise as in attention.h: keys and queries are rounded
// to integers, and so are the softmax's powers and the values. A row of powers has a
// scale for each block of keys, so that a block of small ones is as exact as one of
// large ones.
//
// Phase 0 rounds keys and values to panels, phase 1 takes blocks of queries.
#pragma once

#include "kernels/attention.h"
#include "kernels/int16.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kInt16Queries = 60;        // of a task: whole register tiles
constexpr int64_t kInt16KeyBytes = 24 << 10; // of a block's keys and values in the first-level cache
constexpr int64_t kInt16FewKeys = 96;        // the fewest keys of a block

inline bool use_int16(const Attention &a) {
    return !a.exact && a.dim >= 8 && a.dim <= 512 && a.k_length >= 16;
}

struct Int16AttentionPlan {
    int64_t row = 0;                                      // a query's or key's integers, in whole vectors
    int64_t depth = 0;                                    // of them to multiply: the dimension, made even
    int64_t wide = 0;                                     // the dimension in whole vectors of values
    int64_t keys = 0;                                     // in a block
    int64_t blocks = 0;                                   // of keys
    int64_t key_scales = 0, values = 0, value_scales = 0; // where they begin in a head's memory, in floats
    int64_t head_floats = 0;
    int64_t query_blocks = 0;
    int64_t thread_floats = 0;
};

// A thread's memory.
struct Int16Queries {
    int16_t *integers; // [query][row]
    float *scales, *row;
    float *scores; // of a register tile: [query][key]
    int16_t *powers;
    float *power_scales;
    float *out;       // [query][wide]
    float *max, *sum; // of each query's scores so far, and of powers of two relative to it
    float *end;

    Int16Queries(const Int16AttentionPlan &p, float *memory) {
        const auto take = [&](int64_t floats) {
            float *place = memory;
            memory += round_up(floats, 16);
            return place;
        };
        integers = reinterpret_cast<int16_t *>(take(kInt16Queries * p.row / 2));
        scores = take(kInt16Rows * p.keys);
        powers = reinterpret_cast<int16_t *>(take(kInt16Rows * p.keys / 2));
        row = take(p.row);
        out = take(kInt16Queries * p.wide);
        scales = take(kInt16Queries);
        power_scales = take(W);
        max = take(kInt16Queries + W); // whole vectors are read and written
        sum = take(kInt16Queries + W);
        end = memory;
    }
};

inline Int16AttentionPlan int16_plan(const Attention &a) {
    Int16AttentionPlan p;
    p.row = round_up(a.dim, 2 * W);
    p.depth = round_up(a.dim, 2);
    p.wide = round_up(a.dim, W);
    p.keys = kInt16KeyBytes / 2 / (p.depth + p.wide) / kInt16Columns * kInt16Columns;
    p.keys = lesser(greater(p.keys, kInt16FewKeys), round_up(a.k_length, kInt16Columns));
    p.blocks = ceil_div(a.k_length, p.keys);
    const int64_t all = p.blocks * p.keys; // room for whole blocks
    p.key_scales = all * p.row / 2;
    p.values = p.key_scales + all;
    p.value_scales = p.values + all * p.wide / 2;
    p.head_floats = round_up(p.value_scales + p.blocks * p.wide, 16);
    p.query_blocks = ceil_div(a.q_length, kInt16Queries);
    p.thread_floats = int64_t(reinterpret_cast<uintptr_t>(Int16Queries(p, nullptr).end) / sizeof(float));
    return p;
}

// A block of a head's keys and values: keys as panels of two vectors, values as
// panels of two vectors of dimensions and one of one if there is one left.
inline void round_keys_task(const Attention &a, const Int16AttentionPlan &p, int64_t task, float *packed) {
    const int64_t block = task % p.blocks, head = task / p.blocks, from = block * p.keys;
    const int64_t n = lesser(p.keys, a.k_length - from);
    packed += head * p.head_floats;
    int16_t *keys = reinterpret_cast<int16_t *>(packed);
    float *key_scales = packed + p.key_scales;
    const float *k = a.k.data + head / a.heads * a.k.batch + head % a.heads * a.k.head + from * a.k.token;
    for (int64_t j = 0; j < round_up(n, kInt16Columns); j += W) {
        const void *rows[W];
        for (int64_t i = 0; i < lesser(W, n - j); i++) {
            rows[i] = k + (j + i) * a.k.token;
        }
        const int64_t at = from + j, panel = at / kInt16Columns * kInt16Columns, half = at % kInt16Columns;
        float *scales = key_scales + at;
        pack_int16_rows<Type::f32>(rows, greater(0, lesser(W, n - j)), 0, a.dim, p.row, 0,
                                   keys + panel * p.row + 2 * half, scales);
        store(scales, load(scales) * broadcast(a.scale * 1.44269504f)); // scores to the base of 2
    }

    int16_t *values = reinterpret_cast<int16_t *>(packed + p.values) + from * p.wide;
    float *value_scales = packed + p.value_scales + block * p.wide;
    const float *v = a.v.data + head / a.heads * a.v.batch + head % a.heads * a.v.head + from * a.v.token;
    const int64_t slice = round_up(n, kInt16Columns);
    for (int64_t d = 0; d < p.wide; d += W) {
        const auto read = [&](int64_t j) {
            const float *x = v + j * a.v.token + d;
            return d + W <= a.dim ? load(x) : load(x, a.dim - d);
        };
        if (d / kInt16Columns * kInt16Columns + kInt16Columns <= p.wide) {
            const int64_t panel = d / kInt16Columns * kInt16Columns;
            round_columns<2>(read, n, slice, values + panel * slice + 2 * (d - panel), value_scales + d);
        } else {
            round_columns<1>(read, n, slice, values + d * slice, value_scales + d);
        }
    }
}

// 2^x for x ≤ 0 within 3e-6, which is less than rounding to 16 bits costs.
// Below -126 it stays at 2^-126.
inline V exp2_rough(V x) {
    x = max(broadcast(-126), x);
    const V big = broadcast(12582912.0f + 127); // 1.5·2^23: no bits are left for a fraction
    const V shifted = x + big, r = x - (shifted - big);
    V p = fma(r, broadcast(9.570101e-3f), broadcast(5.591786e-2f));
    p = fma(p, r, broadcast(2.4024744e-1f));
    p = fma(p, r, broadcast(6.931218e-1f));
    p = fma(p, r, broadcast(9.999993e-1f));
    return scale_by_bits(p, shifted);
}

inline float largest_score(const float *scores, int64_t n) {
    V top[2] = {load(scores), load(scores + W)};
    for (int64_t j = 2 * W; j < n; j += 2 * W) {
        top[0] = max(top[0], load(scores + j));
        top[1] = max(top[1], load(scores + j + W));
    }
    return maximum(max(top[0], top[1]));
}

// Scores to powers of two relative to `top`; their sum.
inline float powers_of_scores(float *scores, int64_t n, float top) {
    const V minus = broadcast(top);
    V total[2] = {zero(), zero()};
    for (int64_t j = 0; j < n; j += 2 * W) {
#pragma GCC unroll 2
        for (int i = 0; i < 2; i++) {
            const V e = exp2_rough(load(scores + j + i * W) - minus);
            store(scores + j + i * W, e);
            total[i] = total[i] + e;
        }
    }
    return sdgo::kernels::SDGO_ISA::sum(total[0] + total[1]);
}

// The softmax of `valid` queries from m over a block of keys, n of them, whole
// panels: what is at `scores` becomes integers at `powers`, and what
// came before shrinks. Each step is done for all queries before the next, so that
// the latency of one query's step hides behind the others'.
inline void soften_int16(const Int16AttentionPlan &p, const Int16Queries &q, int64_t m, int64_t valid,
                         int64_t n) {
    alignas(64) float largest[W], sums[W] = {}, top[W], factor[W], shrink[W];
    store(largest, broadcast(-3e38f)); // after `valid`: nothing that changes the next queries' numbers
    for (int64_t i = 0; i < valid; i++) {
        largest[i] = largest_score(q.scores + i * p.keys, n);
    }
    const V before = load(q.max + m), now = max(before, load(largest));
    store(top, now);
    for (int64_t i = 0; i < valid; i++) {
        sums[i] = powers_of_scores(q.scores + i * p.keys, n, top[i]);
    }
    const V relative = exp2_negative(load(largest) - now), less = exp2_negative(before - now);
    store(shrink, less);
    store(q.max + m, now);
    store(q.sum + m, fma(load(q.sum + m), less, load(sums)));
    // As int16_scale does; the sum of squares is at most the largest times the sum.
    const V squares = relative * load(sums);
    const V back = max(relative * broadcast(1 / 32767.0f), square_root(squares) * broadcast(1 / kInt16Norm));
    const V least = broadcast(1e-30f);
    store(factor, unless_below(squares, least, broadcast(1) / back));
    store(q.power_scales, unless_below(squares, least, back));
    for (int64_t i = 0; i < valid; i++) {
        const float *scores = q.scores + i * p.keys;
        const V all = broadcast(factor[i]);
        for (int64_t j = 0; j < n; j += 2 * W) {
            store_integers(q.powers + i * p.keys + j,
                           round_to_integers(load(scores + j) * all, load(scores + j + W) * all));
        }
        float *out = q.out + (m + i) * p.wide;
        for (int64_t d = 0; shrink[i] != 1 && d < p.wide; d += W) {
            store(out + d, load(out + d) * broadcast(shrink[i]));
        }
    }
}

// A register tile of queries from `m` of a block, `valid` of them real, against a block of keys.
inline void attend_int16(const Attention &a, const Int16AttentionPlan &p, int64_t query, int64_t m,
                         int64_t valid, int64_t block, const float *packed, const Int16Queries &q) {
    const int64_t from = block * p.keys, n = lesser(p.keys, a.k_length - from),
                  slice = round_up(n, kInt16Columns);
    const int16_t *keys = reinterpret_cast<const int16_t *>(packed) + from * p.row;
    const float *key_scales = packed + p.key_scales + from;
    for (int64_t j = 0; j < slice; j += kInt16Columns) {
        multiply_int16_rows<2>({q.integers + m * p.row, q.scales + m, p.row}, valid, keys + j * p.row,
                               key_scales + j, p.depth, q.scores + j, p.keys, true);
    }
    for (int64_t i = 0; a.causal && i < valid; i++) {
        for (int64_t j = greater(lesser(n, query + i + 1 - from), 0); j < n; j++) {
            q.scores[i * p.keys + j] = -__builtin_inff();
        }
    }
    for (int64_t i = 0; n < slice && i < valid; i++) {
        for (int64_t j = n; j < slice; j++) {
            q.scores[i * p.keys + j] = -__builtin_inff();
        }
    }
    soften_int16(p, q, m, valid, slice);
    float *out = q.out + m * p.wide;
    const Int16Factor powers = {q.powers, q.power_scales, p.keys};
    const int16_t *values = reinterpret_cast<const int16_t *>(packed + p.values) + from * p.wide;
    const float *value_scales = packed + p.value_scales + block * p.wide;
    int64_t d = 0;
    for (; d + kInt16Columns <= p.wide; d += kInt16Columns) {
        multiply_int16_rows<2>(powers, valid, values + d * slice, value_scales + d, slice, out + d, p.wide,
                               false);
    }
    if (d < p.wide) {
        multiply_int16_rows<1>(powers, valid, values + d * slice, value_scales + d, slice, out + d, p.wide,
                               false);
    }
}

// A block of queries of one head.
inline void int16_attention_task(const Attention &a, const Int16AttentionPlan &p, int64_t task,
                                 const float *packed, float *memory) {
    const int64_t head = task / p.query_blocks, first = task % p.query_blocks * kInt16Queries;
    const int64_t queries = lesser(kInt16Queries, a.q_length - first);
    const Int16Queries q(p, memory);
    packed += head * p.head_floats;
    const float *x = a.q.data + head / a.heads * a.q.batch + head % a.heads * a.q.head + first * a.q.token;
    for (int64_t i = a.dim; i < p.row; i++) {
        q.row[i] = 0;
    }
    for (int64_t i = kInt16Queries; i < kInt16Queries + W; i++) {
        q.max[i] = q.sum[i] = 0;
    }
    for (int64_t i = 0; i < kInt16Queries; i++) {
        q.max[i] = -3e38f;
        q.sum[i] = 0;
        q.scales[i] = 0;
        if (i < queries) {
            __builtin_memcpy(q.row, x + i * a.q.token, size_t(a.dim) * sizeof(float));
            q.scales[i] = round_slice(q.row, p.row, q.integers + i * p.row);
        }
    }
    for (int64_t i = 0; i < kInt16Queries * p.wide; i++) {
        q.out[i] = 0;
    }
    const int64_t end = a.causal ? lesser(a.k_length, first + queries) : a.k_length;
    for (int64_t block = 0; block * p.keys < end; block++) {
        for (int64_t m = 0; m < queries; m += kInt16Rows) {
            attend_int16(a, p, first + m, m, lesser(kInt16Rows, queries - m), block, packed, q);
        }
    }
    for (int64_t m = 0; m < queries; m++) {
        store_output(a, p.wide, head, first + m, q.out + m * p.wide, q.sum[m]);
    }
}

inline size_t int16_attention_scratch(const Attention &a, int threads) {
    const Int16AttentionPlan p = int16_plan(a);
    return size_t(a.n * a.heads * p.head_floats + threads * p.thread_floats) * sizeof(float);
}

inline void run_int16_attention(const Attention &a, int phase, int thread, Team &team) {
    const Int16AttentionPlan p = int16_plan(a);
    float *packed = static_cast<float *>(team.scratch);
    const int64_t heads = a.n * a.heads;
    if (phase == 0) {
        take_tasks(team, heads * p.blocks, [&](int64_t i) { round_keys_task(a, p, i, packed); });
        return;
    }
    float *memory = packed + heads * p.head_floats + thread * p.thread_floats;
    take_tasks(team, heads * p.query_blocks,
               [&](int64_t i) { int16_attention_task(a, p, i, packed, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
