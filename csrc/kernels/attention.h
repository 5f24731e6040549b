// Attention with an online softmax (Milakov and Gimelshein 2018; Dao et al.
// 2022): scores exist for a register tile of queries and a block of keys at a
// time.
//
// Phase 0 packs keys and values into panels, phase 1 takes blocks of queries.
#pragma once

#include "kernels/conv.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kQueryBlock = 64;

struct AttentionPlan {
    int64_t wide = 0;         // the head's dimension in whole vectors
    int64_t keys = 0;         // in a block
    int64_t k_floats = 0;     // packed keys of a head
    int64_t head_floats = 0;  // packed keys and values of a head
    int64_t query_blocks = 0; // of a head
    int64_t thread_floats = 0;
};

inline AttentionPlan plan(const Attention &a) {
    AttentionPlan p;
    p.wide = round_up(a.dim, W);
    const int64_t fit = kPanelBytes / 2 / int64_t(sizeof(float)) / p.wide / kPanel * kPanel;
    p.keys = lesser(greater(fit, kPanel), round_up(240, kPanel));
    p.k_floats = a.dim * round_up(a.k_length, W);
    p.head_floats = round_up(p.k_floats + p.wide * a.k_length, 16);
    p.query_blocks = ceil_div(a.q_length, kQueryBlock);
    p.thread_floats = round_up(MR * p.keys + kQueryBlock * (p.wide + 2), 16);
    return p;
}

// Values [from, from + n) of a head into panels of columns [key][its width].
inline void pack_values(const float *v, int64_t stride, int64_t keys, int64_t from, int64_t n, int64_t dim,
                        float *to) {
    for (int64_t d = 0; d < dim; d += kPanel) {
        const int64_t width = lesser(kPanel, round_up(dim - d, W));
        for (int64_t j = from; j < from + n; j++) {
            for (int64_t c = 0; c < width; c += W) {
                const float *x = v + j * stride + d + c;
                store(to + j * width + c, d + c + W <= dim ? load(x) : load(x, dim - d - c));
            }
        }
        to += width * keys;
    }
}

constexpr int64_t kKeysPerTask = 4 * kPanel;

inline void pack_keys_task(const Attention &a, const AttentionPlan &p, int64_t task, float *packed) {
    const int64_t pieces = ceil_div(a.k_length, kKeysPerTask);
    const int64_t from = task % pieces * kKeysPerTask, head = task / pieces;
    const int64_t n = lesser(kKeysPerTask, a.k_length - from);
    const float *k = a.k.data + head / a.heads * a.k.batch + head % a.heads * a.k.head;
    const float *v = a.v.data + head / a.heads * a.v.batch + head % a.heads * a.v.head;
    packed += head * p.head_floats;
    Matrix m;
    m.data = k;
    m.row_bytes = size_t(a.k.token) * sizeof(float);
    float *keys = packed + from * a.dim;
    pack_panels(m, from, n, 0, a.dim, 1, keys, nullptr);
    const V scale = broadcast(a.scale * 1.44269504f); // scores to the base of 2
    for (int64_t i = 0; i < round_up(n, W) * a.dim; i += W) {
        store(keys + i, load(keys + i) * scale);
    }
    pack_values(v, a.v.token, a.k_length, from, n, a.dim, packed + p.k_floats);
}

// What an online softmax remembers of a row: the largest score so far and the
// sum of powers relative to it.
struct Running {
    float max, sum;
};

// Scores of a row to powers of two relative to the new maximum; the factor by
// which what came before shrinks. n is a whole number of vectors.
inline float soften(float *scores, int64_t n, Running &r) {
    V top = broadcast(r.max);
    for (int64_t j = 0; j < n; j += W) {
        top = max(top, load(scores + j));
    }
    const float new_max = maximum(top);
    const V minus = broadcast(new_max);
    V total = zero();
    for (int64_t j = 0; j < n; j += W) {
        const V e = exp2_negative(load(scores + j) - minus);
        store(scores + j, e);
        total = total + e;
    }
    alignas(64) float shrink[W];
    store(shrink, exp2_negative(broadcast(r.max - new_max)));
    r.sum = r.sum * shrink[0] + sdgo::kernels::SDGO_ISA::sum(total);
    r.max = new_max;
    return shrink[0];
}

// MR queries (`valid` of them real) against keys [from, from + n).
inline void attend(const Attention &a, const AttentionPlan &p, const float *const *q, int64_t query,
                   int64_t valid, int64_t from, int64_t n, const float *packed, float *scores, float *out,
                   Running *running) {
    for (int64_t j = 0; j < n; j += kPanel) {
        const int64_t width = lesser(kPanel, round_up(n - j, W));
        multiply(int(width / W), q, nullptr, a.dim, packed + (from + j) * a.dim, scores + j, p.keys, true);
    }
    const float *rows[MR];
    for (int64_t m = 0; m < MR; m++) {
        float *s = scores + m * p.keys;
        rows[m] = s;
        if (m >= valid) {
            continue;
        }
        const int64_t seen = a.causal ? lesser(n, query + m + 1 - from) : n;
        for (int64_t j = greater(seen, 0); j < round_up(n, W); j++) {
            s[j] = -__builtin_inff();
        }
        const float shrink = soften(s, round_up(n, W), running[m]);
        for (int64_t d = 0; shrink != 1 && d < p.wide; d += W) {
            store(out + m * p.wide + d, load(out + m * p.wide + d) * broadcast(shrink));
        }
    }
    const float *v = packed + p.k_floats;
    for (int64_t d = 0; d < a.dim; d += kPanel) {
        const int64_t width = lesser(kPanel, p.wide - d);
        multiply(int(width / W), rows, nullptr, n, v + from * width, out + d, p.wide, false);
        v += width * a.k_length;
    }
}

// `wide`: the head's dimension in whole vectors.
inline void store_output(const Attention &a, int64_t wide, int64_t head, int64_t query, const float *out,
                         float sum) {
    const int64_t stride = a.y_token ? a.y_token : a.heads * a.dim;
    float *y = a.y + (head / a.heads * a.q_length + query) * stride + head % a.heads * a.dim;
    const V factor = broadcast(1 / sum);
    for (int64_t d = 0; d < wide; d += W) {
        const V x = load(out + d) * factor;
        if (d + W <= a.dim) {
            store(y + d, x);
        } else {
            store(y + d, x, a.dim - d);
        }
    }
}

// A block of queries of one head.
inline void attention_task(const Attention &a, const AttentionPlan &p, int64_t task, const float *packed,
                           float *memory) {
    const int64_t head = task / p.query_blocks, first = task % p.query_blocks * kQueryBlock;
    const int64_t queries = lesser(kQueryBlock, a.q_length - first);
    const float *q = a.q.data + head / a.heads * a.q.batch + head % a.heads * a.q.head;
    float *scores = memory, *out = scores + MR * p.keys;
    Running running[kQueryBlock];
    packed += head * p.head_floats;
    for (int64_t i = 0; i < kQueryBlock; i++) {
        running[i] = {-3e38f, 0};
    }
    for (int64_t i = 0; i < kQueryBlock * p.wide; i++) {
        out[i] = 0;
    }
    const int64_t end = a.causal ? lesser(a.k_length, first + queries) : a.k_length;
    for (int64_t from = 0; from < end; from += p.keys) {
        for (int64_t m = 0; m < queries; m += MR) {
            const float *rows[MR];
            for (int i = 0; i < MR; i++) {
                rows[i] = q + (first + lesser(m + i, queries - 1)) * a.q.token;
            }
            attend(a, p, rows, first + m, lesser(MR, queries - m), from, lesser(p.keys, a.k_length - from),
                   packed, scores, out + m * p.wide, running + m);
        }
    }
    for (int64_t m = 0; m < queries; m++) {
        store_output(a, p.wide, head, first + m, out + m * p.wide, running[m].sum);
    }
}

inline void run_attention(const Attention &a, int phase, int thread, Team &team) {
    const AttentionPlan p = plan(a);
    float *packed = static_cast<float *>(team.scratch);
    const int64_t heads = a.n * a.heads;
    if (phase == 0) {
        take_tasks(team, heads * ceil_div(a.k_length, kKeysPerTask),
                   [&](int64_t i) { pack_keys_task(a, p, i, packed); });
        return;
    }
    float *memory = packed + heads * p.head_floats + thread * p.thread_floats;
    take_tasks(team, heads * p.query_blocks, [&](int64_t i) { attention_task(a, p, i, packed, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
