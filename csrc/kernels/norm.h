// Normalisations and element-wise kernels.
#pragma once

#include "kernels/conv.h"

namespace sdgo::kernels::SDGO_ISA {

// Group normalisation. Each channel's differences from its first value are summed, so
// that a large mean costs no precision: short runs of rows in float, these in double.
constexpr int64_t kStatsRows = 128;
constexpr int64_t kRunRows = 24;

inline int64_t stats_chunks(const GroupNormStats &g) {
    return ceil_div(g.rows, kStatsRows);
}

// Sums and sums of squares of N vectors of channels of a run of rows, to[0 …]
// and to[all …]; n: the channels, less than a vector's if N is 1.
template <int N>
void sum_columns(const float *x, const float *pivot, int64_t rows, int64_t c, int64_t n, int64_t all,
                 float *to) {
    const auto read = [&](const float *p, int i) { return n >= W ? load(p + i * W) : load(p, n); };
    V first[N], sums[N], squares[N];
    for (int i = 0; i < N; i++) {
        first[i] = read(pivot, i);
        sums[i] = squares[i] = zero();
    }
    // Rows that are alike round alike: sums of many of them are made of sums of few.
    for (int64_t from = 0; from < rows; from += kRunRows) {
        V run[N], run_squares[N];
        for (int i = 0; i < N; i++) {
            run[i] = run_squares[i] = zero();
        }
        const int64_t end = lesser(rows, from + kRunRows);
        for (int64_t r = from; r < end; r++) {
#pragma GCC unroll 8
            for (int i = 0; i < N; i++) {
                const V d = read(x + r * c, i) - first[i];
                run[i] = run[i] + d;
                run_squares[i] = fma(d, d, run_squares[i]);
            }
        }
        for (int i = 0; i < N; i++) {
            sums[i] = sums[i] + run[i];
            squares[i] = squares[i] + run_squares[i];
        }
    }
    for (int i = 0; i < N; i++) {
        if (n >= W) {
            store(to + i * W, sums[i]);
            store(to + all + i * W, squares[i]);
        } else {
            store(to, sums[i], n);
            store(to + all, squares[i], n);
        }
    }
}

// The same for c channels, several vectors at a time: memory delivers long pieces of
// a row fastest.
inline void sum_rows(const float *x, const float *pivot, int64_t rows, int64_t c, int64_t all, float *to) {
    constexpr int many = NV > 2 && MR > 4 ? 8 : 4; // that fit into the registers
    int64_t i = 0;
    for (; i + many * W <= c; i += many * W) {
        sum_columns<many>(x + i, pivot + i, rows, c, many * W, all, to + i);
    }
    for (; i < c; i += W) {
        sum_columns<1>(x + i, pivot + i, rows, c, lesser(W, c - i), all, to + i);
    }
}

inline void stats_task(const GroupNormStats &g, int64_t task, float *partial) {
    const int64_t chunks = stats_chunks(g), image = task / chunks, row = task % chunks * kStatsRows;
    const int64_t rows = lesser(kStatsRows, g.rows - row), all = g.c1 + g.c2;
    float *to = partial + task * 2 * all;
    const float *x = g.x + image * g.rows * g.c1;
    sum_rows(x + row * g.c1, x, rows, g.c1, all, to);
    if (g.c2) {
        x = g.x2 + image * g.rows * g.c2;
        sum_rows(x + row * g.c2, x, rows, g.c2, all, to + g.c1);
    }
}

// Of a group; inverse: 1 / √(variance + eps).
struct Moments {
    double mean, inverse;
};

// From those of its channels (Chan et al. 1979).
inline Moments group_moments(const GroupNormStats &g, int64_t task, const float *partial) {
    const int64_t image = task / g.groups, all = g.c1 + g.c2, size = all / g.groups;
    const int64_t from = task % g.groups * size, chunks = stats_chunks(g);
    double mean = 0, m2 = 0, count = 0;
    for (int64_t c = from; c < from + size; c++) {
        double s = 0, squares = 0;
        for (int64_t k = 0; k < chunks; k++) {
            const float *p = partial + (image * chunks + k) * 2 * all;
            s += double(p[c]);
            squares += double(p[all + c]);
        }
        const double rows = double(g.rows);
        const float pivot =
            c < g.c1 ? g.x[image * g.rows * g.c1 + c] : g.x2[image * g.rows * g.c2 + c - g.c1];
        const double channel_mean = double(pivot) + s / rows, delta = channel_mean - mean;
        m2 += squares - s * s / rows + delta * delta * count * rows / (count + rows);
        count += rows;
        mean += delta * rows / count;
    }
    return {mean, 1 / __builtin_sqrt(m2 / count + double(g.eps))};
}

inline void group_task(const GroupNormStats &g, int64_t task, const float *partial) {
    const int64_t image = task / g.groups, all = g.c1 + g.c2, size = all / g.groups;
    const int64_t from = task % g.groups * size;
    const auto [mean, inverse] = group_moments(g, task, partial);
    for (int64_t c = from; c < from + size; c++) {
        float weight, bias;
        load_vector(g.weight, c, 1, &weight, 1);
        load_vector(g.bias, c, 1, &bias, 0);
        double scale = double(weight) * inverse, shift = double(bias) - double(weight) * inverse * mean;
        if (g.modulation) {
            const float *m = g.modulation + image * 2 * all;
            scale *= 1 + double(m[c]);
            shift = shift * (1 + double(m[c])) + double(m[all + c]);
        }
        g.scale[image * all + c] = float(scale);
        g.shift[image * all + c] = float(shift);
    }
}

inline void run_stats(const GroupNormStats &g, int phase, int, Team &team) {
    float *partial = static_cast<float *>(team.scratch);
    if (phase == 0) {
        take_tasks(team, g.n * stats_chunks(g), [&](int64_t i) { stats_task(g, i, partial); });
    } else {
        take_tasks(team, g.n * g.groups, [&](int64_t i) { group_task(g, i, partial); });
    }
}

inline void run_normalize(const Normalize &a, int, int, Team &team) {
    Source s;
    s.x = a.x, s.x2 = a.x2;
    s.n = a.n, s.w = s.up_w = a.rows, s.up_h = 1;
    s.c1 = s.x_stride = a.c1, s.c2 = a.c2;
    s.norm = a.norm;
    const Band all{0, a.n, 0, 1};
    take_tasks(team, pad_tasks(s, all, a.rows), [&](int64_t i) { pad_task(s, all, a.rows, i, a.y); });
}

// Rows of tokens that a task takes.
constexpr int64_t kRowsPerTask = 16;

inline void layer_norm_row(const LayerNorm &a, const float *x, float *y) {
    const int64_t whole = a.dim / W * W, rest = a.dim - whole;
    V total = rest ? load(x + whole, rest) : zero();
    for (int64_t i = 0; i < whole; i += W) {
        total = total + load(x + i);
    }
    const V mean = broadcast(sum(total) / float(a.dim));
    V squares = zero();
    for (int64_t i = 0; i < whole; i += W) {
        const V d = load(x + i) - mean;
        squares = fma(d, d, squares);
    }
    float variance = sum(squares);
    for (int64_t i = whole; i < a.dim; i++) {
        const float d = x[i] - sum(total) / float(a.dim);
        variance += d * d;
    }
    const V inverse = broadcast(1 / __builtin_sqrtf(variance / float(a.dim) + a.eps));
    for (int64_t i = 0; i < a.dim; i += W) {
        alignas(64) float weight[W], bias[W];
        const int64_t n = lesser(W, a.dim - i);
        load_vector(a.weight, i, n, weight, 1);
        load_vector(a.bias, i, n, bias, 0);
        if (n == W) {
            store(y + i, fma((load(x + i) - mean) * inverse, load(weight), load(bias)));
        } else {
            store(y + i, fma((load(x + i, n) - mean) * inverse, load(weight, n), load(bias, n)), n);
        }
    }
}

// Calls row(r) for each of `rows` rows, a few of them a task.
template <class F> void take_rows(Team &team, int64_t rows, F row) {
    take_tasks(team, ceil_div(rows, kRowsPerTask), [&](int64_t task) {
        for (int64_t r = task * kRowsPerTask; r < lesser(rows, (task + 1) * kRowsPerTask); r++) {
            row(r);
        }
    });
}

inline void run_layer_norm(const LayerNorm &a, int, int, Team &team) {
    take_rows(team, a.rows, [&](int64_t r) { layer_norm_row(a, a.x + r * a.dim, a.y + r * a.dim); });
}

inline void rms_norm_row(const RmsNorm &a, const float *x, float *y) {
    V squares = zero();
    for (int64_t i = 0; i < a.dim; i += W) {
        const V v = i + W <= a.dim ? load(x + i) : load(x + i, a.dim - i);
        squares = fma(v, v, squares);
    }
    const V inverse = broadcast(1 / (__builtin_sqrtf(sum(squares) / float(a.dim) + a.eps) + a.added));
    for (int64_t i = 0; i < a.dim; i += W) {
        alignas(64) float weight[W];
        const int64_t n = lesser(W, a.dim - i);
        load_vector(a.weight, i, n, weight, 1);
        if (n == W) {
            store(y + i, load(x + i) * inverse * load(weight));
        } else {
            store(y + i, load(x + i, n) * inverse * load(weight, n), n);
        }
    }
}

inline void run_rms_norm(const RmsNorm &a, int, int, Team &team) {
    take_rows(team, a.rows, [&](int64_t r) { rms_norm_row(a, a.x + r * a.dim, a.y + r * a.dim); });
}

inline void run_modulate(const Modulate &a, int, int, Team &team) {
    take_rows(team, a.n * a.rows, [&](int64_t r) {
        const float *x = a.x + r * a.dim;
        const float *scale = a.scale + r / a.rows * a.dim, *shift = a.shift + r / a.rows * a.dim;
        float *y = a.y + r * a.dim;
        int64_t i = 0;
        for (; i + W <= a.dim; i += W) {
            store(y + i, fma(load(x + i), broadcast(1) + load(scale + i), load(shift + i)));
        }
        if (const int64_t n = a.dim - i; n > 0) {
            store(y + i, fma(load(x + i, n), broadcast(1) + load(scale + i, n), load(shift + i, n)), n);
        }
    });
}

inline void run_gate(const Gate &a, int, int, Team &team) {
    take_rows(team, a.n * a.rows, [&](int64_t r) {
        const float *x = a.x + r * a.dim, *residual = a.residual + r * a.dim;
        const float *gate = a.gate + r / a.rows * a.dim;
        float *y = a.y + r * a.dim;
        int64_t i = 0;
        for (; i + W <= a.dim; i += W) {
            store(y + i, fma(load(x + i), load(gate + i), load(residual + i)));
        }
        if (const int64_t n = a.dim - i; n > 0) {
            store(y + i, fma(load(x + i, n), load(gate + i, n), load(residual + i, n)), n);
        }
    });
}

constexpr int64_t kElementsPerTask = 16384;

inline void run_elementwise(const Elementwise &a, int, int, Team &team) {
    take_tasks(team, ceil_div(a.size, kElementsPerTask), [&](int64_t task) {
        const int64_t end = lesser(a.size, (task + 1) * kElementsPerTask);
        int64_t i = task * kElementsPerTask;
        for (; i + W <= end; i += W) {
            const V x = load(a.a + i);
            store(a.y + i, activate(a.b ? x + load(a.b + i) : x, a.act));
        }
        if (i < end) {
            const V x = load(a.a + i, end - i);
            store(a.y + i, activate(a.b ? x + load(a.b + i, end - i) : x, a.act), end - i);
        }
    });
}

} // namespace sdgo::kernels::SDGO_ISA
