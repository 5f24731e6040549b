// The derivative of attention. With P = softmax(s·Q·Kᵀ) and O = P·V of each head,
//   dV = Pᵀ·dO, dP = dO·Vᵀ, dS = s·P∘(dP - D), dQ = dS·K, dK = dSᵀ·Q,
// where D is each row's sum of P∘dP. A register tile of rows of P exists at a time: of
// queries for dQ, then, computed again, of keys for dK and dV.
//
// Phases: pack keys and values; queries; pack queries and gradients; keys.
#pragma once

#include "kernels/attention.h"
#include "kernels/gradients.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kGradientRows = 4 * MR; // that a task takes

struct AttentionGradientPlan {
    int64_t wide = 0;               // the head's dimension in whole vectors
    int64_t q_wide = 0, k_wide = 0; // the same of the lengths
    int64_t head_floats = 0;        // what is packed of a head, in either half of the phases
    int64_t stats_floats = 0;       // of a head: three numbers of each query
    int64_t row = 0;                // floats of a row of scores
    int64_t thread_floats = 0;
};

inline AttentionGradientPlan plan(const AttentionGradient &a) {
    AttentionGradientPlan p;
    p.wide = round_up(a.dim, W);
    p.q_wide = round_up(a.q_length, W);
    p.k_wide = round_up(a.k_length, W);
    const int64_t keys = 2 * a.dim * p.k_wide + p.wide * a.k_length;
    const int64_t queries = 2 * (a.dim * p.q_wide + p.wide * a.q_length);
    p.head_floats = round_up(greater(keys, queries), 16);
    p.stats_floats = round_up(3 * p.q_wide, 16);
    p.row = greater(p.q_wide, p.k_wide);
    p.thread_floats = round_up(2 * MR * p.row + MR * p.wide, 16);
    return p;
}

// A head's tokens.
inline const float *head_of(const Heads &x, const AttentionGradient &a, int64_t head) {
    return x.data + head / a.heads * x.batch + head % a.heads * x.head;
}

// Tokens [from, from + n) as the columns of panels, times a factor.
inline void pack_tokens(const float *x, int64_t token, int64_t from, int64_t n, int64_t dim, float factor,
                        float *to) {
    Matrix m;
    m.data = x;
    m.row_bytes = size_t(token) * sizeof(float);
    to += from * dim;
    pack_panels(m, from, n, 0, dim, 1, to, nullptr);
    const V f = broadcast(factor);
    for (int64_t i = 0; factor != 1 && i < round_up(n, W) * dim; i += W) {
        store(to + i, load(to + i) * f);
    }
}

// Calls f(head, first token, tokens) for pieces of `length` tokens of each head.
template <class F> void take_tokens(const AttentionGradient &a, int64_t length, Team &team, F f) {
    const int64_t pieces = ceil_div(length, kKeysPerTask);
    take_tasks(team, a.n * a.heads * pieces, [&](int64_t task) {
        const int64_t from = task % pieces * kKeysPerTask;
        f(task / pieces, from, lesser(kKeysPerTask, length - from));
    });
}

// A register tile of rows times n columns of panels of `depth`.
inline void tile(const float *const *rows, int64_t depth, int64_t n, const float *panels, float *to,
                 int64_t stride) {
    for (int64_t j = 0; j < n; j += kPanel) {
        const int64_t width = lesser(kPanel, round_up(n - j, W));
        multiply(int(width / W), rows, nullptr, depth, panels + j * depth, to + j, stride, true);
    }
}

// Pointers to MR rows; the last one is repeated.
inline void rows_at(const float *x, int64_t stride, int64_t first, int64_t end, const float **rows) {
    for (int i = 0; i < MR; i++) {
        rows[i] = x + lesser(first + i, end - 1) * stride;
    }
}

// What is to be stored of MR rows times values packed by pack_values: rows [first, …) of a
// head's tokens.
inline void multiply_values(const AttentionGradient &a, const AttentionGradientPlan &p, const float *rows,
                            int64_t valid, int64_t depth, const float *values, float *sums,
                            const HeadsOut &out, int64_t head, int64_t first) {
    const float *r[MR];
    rows_at(rows, p.row, 0, MR, r);
    tile(r, depth, a.dim, values, sums, p.wide);
    float *y = out.data + head / a.heads * out.batch + head % a.heads * out.head;
    for (int64_t m = 0; m < valid; m++) {
        float *to = y + (first + m) * out.token;
        for (int64_t d = 0; d < a.dim; d += W) {
            const V x = load(sums + m * p.wide + d);
            if (d + W <= a.dim) {
                store(to + d, x);
            } else {
                store(to + d, x, a.dim - d);
            }
        }
    }
}

// Of a row of scores to the base of 2 and the row of dP, `seen` of n numbers: the row of
// dS in place of the scores, and the query's largest score, 1 / sum and D.
inline void derive_softmax(float *scores, const float *dp, int64_t seen, int64_t n, float scale,
                           float *largest, float *inverse, float *mean) {
    for (int64_t j = seen; j < n; j++) {
        scores[j] = -__builtin_inff();
    }
    Running r = {-3e38f, 0};
    soften(scores, n, r);
    const V factor = broadcast(1 / r.sum);
    V along = zero();
    for (int64_t j = 0; j < n; j += W) {
        along = fma(load(scores + j) * factor, load(dp + j), along);
    }
    const float d = sum(along);
    for (int64_t j = 0; j < n; j += W) {
        store(scores + j, load(scores + j) * factor * (load(dp + j) - broadcast(d)) * broadcast(scale));
    }
    *largest = r.max, *inverse = 1 / r.sum, *mean = d;
}

// kGradientRows queries of a head.
inline void queries_task(const AttentionGradient &a, const AttentionGradientPlan &p, int64_t task,
                         const float *packed, float *stats, float *memory) {
    const int64_t blocks = ceil_div(a.q_length, kGradientRows), head = task / blocks;
    const int64_t end = lesser(a.q_length, (task % blocks + 1) * kGradientRows);
    const float *keys = packed + head * p.head_floats, *values = keys + a.dim * p.k_wide;
    const float *key_rows = values + a.dim * p.k_wide;
    float *scores = memory, *dp = scores + MR * p.row, *sums = dp + MR * p.row;
    stats += head * p.stats_floats;
    for (int64_t m = task % blocks * kGradientRows; m < end; m += MR) {
        const float *q[MR], *dy[MR];
        rows_at(head_of(a.q, a, head), a.q.token, m, end, q);
        rows_at(head_of(a.dy, a, head), a.dy.token, m, end, dy);
        tile(q, a.dim, a.k_length, keys, scores, p.row);
        tile(dy, a.dim, a.k_length, values, dp, p.row);
        const int64_t valid = lesser(MR, end - m);
        for (int64_t i = 0; i < valid; i++) {
            const int64_t seen = a.causal ? lesser(a.k_length, m + i + 1) : a.k_length;
            derive_softmax(scores + i * p.row, dp + i * p.row, seen, p.k_wide, a.scale, stats + m + i,
                           stats + p.q_wide + m + i, stats + 2 * p.q_wide + m + i);
        }
        multiply_values(a, p, scores, valid, a.k_length, key_rows, sums, a.dq, head, m);
    }
}

// Of a key's row of scores to the base of 2 and of dP: those of P and dS.
inline void derive_key(float *scores, float *dp, int64_t unseen, int64_t n, float scale, const float *stats,
                       int64_t stride) {
    for (int64_t i = 0; i < n; i += W) {
        const V e = exp2_negative(load(scores + i) - load(stats + i)) * load(stats + stride + i);
        store(scores + i, e);
        store(dp + i, e * (load(dp + i) - load(stats + 2 * stride + i)) * broadcast(scale));
    }
    for (int64_t i = 0; i < unseen; i++) {
        scores[i] = dp[i] = 0;
    }
}

// kGradientRows keys of a head.
inline void keys_task(const AttentionGradient &a, const AttentionGradientPlan &p, int64_t task,
                      const float *packed, const float *stats, float *memory) {
    const int64_t blocks = ceil_div(a.k_length, kGradientRows), head = task / blocks;
    const int64_t end = lesser(a.k_length, (task % blocks + 1) * kGradientRows);
    const float *queries = packed + head * p.head_floats, *gradients = queries + a.dim * p.q_wide;
    const float *query_rows = gradients + a.dim * p.q_wide, *gradient_rows = query_rows + p.wide * a.q_length;
    float *scores = memory, *dp = scores + MR * p.row, *sums = dp + MR * p.row;
    for (int64_t m = task % blocks * kGradientRows; m < end; m += MR) {
        const float *k[MR], *v[MR];
        rows_at(head_of(a.k, a, head), a.k.token, m, end, k);
        rows_at(head_of(a.v, a, head), a.v.token, m, end, v);
        tile(k, a.dim, a.q_length, queries, scores, p.row);
        tile(v, a.dim, a.q_length, gradients, dp, p.row);
        const int64_t valid = lesser(MR, end - m);
        for (int64_t i = 0; i < valid; i++) {
            const int64_t unseen = a.causal ? lesser(a.q_length, m + i) : 0;
            derive_key(scores + i * p.row, dp + i * p.row, unseen, p.q_wide, a.scale,
                       stats + head * p.stats_floats, p.q_wide);
        }
        multiply_values(a, p, scores, valid, a.q_length, gradient_rows, sums, a.dv, head, m);
        multiply_values(a, p, dp, valid, a.q_length, query_rows, sums, a.dk, head, m);
    }
}

inline size_t attention_gradient_scratch(const AttentionGradient &a, int threads) {
    const AttentionGradientPlan p = plan(a);
    const int64_t heads = a.n * a.heads;
    return size_t(heads * (p.head_floats + p.stats_floats) + threads * p.thread_floats) * sizeof(float);
}

inline int attention_gradient_phases(const AttentionGradient &) {
    return 4;
}

inline void run_attention_gradient(const AttentionGradient &a, int phase, int thread, Team &team) {
    const AttentionGradientPlan p = plan(a);
    const int64_t heads = a.n * a.heads;
    float *packed = static_cast<float *>(team.scratch), *stats = packed + heads * p.head_floats;
    float *memory = stats + heads * p.stats_floats + thread * p.thread_floats;
    const float to_base_2 = a.scale * 1.44269504f;
    switch (phase) {
    case 0:
        return take_tokens(a, a.k_length, team, [&](int64_t head, int64_t from, int64_t n) {
            const float *k = head_of(a.k, a, head), *v = head_of(a.v, a, head);
            float *keys = packed + head * p.head_floats, *values = keys + a.dim * p.k_wide;
            pack_tokens(k, a.k.token, from, n, a.dim, to_base_2, keys);
            pack_tokens(v, a.v.token, from, n, a.dim, 1, values);
            pack_values(k, a.k.token, a.k_length, from, n, a.dim, values + a.dim * p.k_wide);
        });
    case 1:
        return take_tasks(team, heads * ceil_div(a.q_length, kGradientRows),
                          [&](int64_t i) { queries_task(a, p, i, packed, stats, memory); });
    case 2:
        return take_tokens(a, a.q_length, team, [&](int64_t head, int64_t from, int64_t n) {
            const float *q = head_of(a.q, a, head), *dy = head_of(a.dy, a, head);
            float *queries = packed + head * p.head_floats, *gradients = queries + a.dim * p.q_wide;
            float *query_rows = gradients + a.dim * p.q_wide;
            pack_tokens(q, a.q.token, from, n, a.dim, to_base_2, queries);
            pack_tokens(dy, a.dy.token, from, n, a.dim, 1, gradients);
            pack_values(q, a.q.token, a.q_length, from, n, a.dim, query_rows);
            pack_values(dy, a.dy.token, a.q_length, from, n, a.dim, query_rows + p.wide * a.q_length);
        });
    default:
        return take_tasks(team, heads * ceil_div(a.k_length, kGradientRows),
                          [&](int64_t i) { keys_task(a, p, i, packed, stats, memory); });
    }
}

} // namespace sdgo::kernels::SDGO_ISA
