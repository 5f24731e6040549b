// Derivatives of normalisations and activations. With x̂ = (x - mean) / s, s = √(variance +
// eps), and h the gradient of x̂,
//   dx = (h - mean(h) - x̂·mean(h·x̂)) / s,
// the means taken over what is normalised together.
#pragma once

#include "kernels/gradients.h"
#include "kernels/norm.h"

namespace sdgo::kernels::SDGO_ISA {

// The first n ≤ W of floats, and back.
inline V load_some(const float *p, int64_t n) {
    return n >= W ? load(p) : load(p, n);
}
inline void store_some(float *p, V x, int64_t n) {
    if (n >= W) {
        store(p, x);
    } else {
        store(p, x, n);
    }
}

// d act(x) / dx
inline V derivative(V x, Act act) {
    const V one = broadcast(1);
    switch (act) {
    case Act::none:
        return one;
    case Act::silu: {
        const V s = sigmoid(x);
        return s * fma(x, one - s, one);
    }
    case Act::gelu: { // Φ(x) + x·φ(x)
        const V density = exp(broadcast(-0.5f) * x * x) * broadcast(0.3989422804f);
        return fma(x, density, fma(broadcast(0.5f), erf(x * broadcast(0.70710678f)), broadcast(0.5f)));
    }
    case Act::gelu_tanh: {
        const V square = x * x, slope = broadcast(1.5957691216f);
        const V s = sigmoid(x * slope * fma(square, broadcast(0.044715f), one));
        return s * fma(x * slope * fma(square, broadcast(0.134145f), one), one - s, one);
    }
    case Act::quick_gelu: {
        const V u = x * broadcast(1.702f), s = sigmoid(u);
        return s * fma(u, one - s, one);
    }
    }
    return one;
}

// What GroupNormGradient knows of a channel of an image: x̂ = (x - mean)·inverse, and the
// normalised number is x̂·weight + bias, modulation included. Of its group, the means of
// h and h·x̂.
struct GroupNormPlaces {
    float *partial;                        // sums of pieces, two for each channel
    float *mean, *inverse, *weight, *bias; // [n][channels]
    float *mean_h, *mean_along;            // the same
    float *sums;                           // [n][2·channels]
};

inline GroupNormStats stats_of(const GroupNormGradient &a) {
    GroupNormStats g;
    g.x = a.x, g.x2 = a.x2, g.n = a.n, g.rows = a.rows, g.c1 = a.c1, g.c2 = a.c2;
    g.groups = a.groups, g.eps = a.eps, g.weight = a.weight, g.bias = a.bias, g.modulation = a.modulation;
    return g;
}

inline size_t group_norm_gradient_scratch(const GroupNormGradient &a, int) {
    const int64_t all = a.n * (a.c1 + a.c2);
    return size_t(2 * all * stats_chunks(stats_of(a)) + 8 * all) * sizeof(float);
}

inline GroupNormPlaces places(const GroupNormGradient &a, float *scratch) {
    const int64_t all = a.n * (a.c1 + a.c2);
    float *p = scratch + 2 * all * stats_chunks(stats_of(a));
    return {scratch, p, p + all, p + 2 * all, p + 3 * all, p + 4 * all, p + 5 * all, p + 6 * all};
}

// A group's moments, and what its channels' numbers are multiplied by.
inline void prepare_group(const GroupNormGradient &a, int64_t task, const GroupNormPlaces &p) {
    const GroupNormStats g = stats_of(a);
    const int64_t all = a.c1 + a.c2, size = all / a.groups, image = task / a.groups;
    const Moments m = group_moments(g, task, p.partial);
    for (int64_t c = task % a.groups * size; c < (task % a.groups + 1) * size; c++) {
        const int64_t i = image * all + c;
        load_vector(a.weight, c, 1, p.weight + i, 1);
        load_vector(a.bias, c, 1, p.bias + i, 0);
        if (a.modulation) {
            const float *modulation = a.modulation + image * 2 * all;
            p.weight[i] *= 1 + modulation[c];
            p.bias[i] = p.bias[i] * (1 + modulation[c]) + modulation[all + c];
        }
        p.mean[i] = float(m.mean), p.inverse[i] = float(m.inverse);
    }
}

// Channels [from, from + n), n of one of the inputs, of the rows of a piece: g into dx,
// and its sums.
inline void sum_gradients(const GroupNormGradient &a, const GroupNormPlaces &p, const float *x, int64_t c,
                          int64_t from, int64_t n, int64_t image, int64_t row, int64_t rows, float *to) {
    const int64_t all = a.c1 + a.c2;
    for (int64_t i = 0; i < n; i += W) {
        const int64_t k = image * all + from + i, count = n - i;
        const V mean = load_some(p.mean + k, count), inverse = load_some(p.inverse + k, count);
        const V weight = load_some(p.weight + k, count), bias = load_some(p.bias + k, count);
        V along = zero(), total = zero();
        for (int64_t r = row; r < row + rows; r++) {
            const int64_t at = (image * a.rows + r) * all + from + i;
            const V normal = (load_some(x + r * c + i, count) - mean) * inverse;
            V g = load_some(a.dy + at, count);
            if (a.silu) {
                g = g * derivative(fma(normal, weight, bias), Act::silu);
                store_some(a.dx + at, g, count);
            }
            along = fma(g, normal, along);
            total = total + g;
        }
        store_some(to + from + i, along, count);
        store_some(to + all + from + i, total, count);
    }
}

inline void gradient_sums_task(const GroupNormGradient &a, int64_t task, const GroupNormPlaces &p) {
    const int64_t chunks = stats_chunks(stats_of(a)), image = task / chunks, row = task % chunks * kStatsRows;
    const int64_t rows = lesser(kStatsRows, a.rows - row), all = a.c1 + a.c2;
    float *to = p.partial + task * 2 * all;
    sum_gradients(a, p, a.x + image * a.rows * a.c1, a.c1, 0, a.c1, image, row, rows, to);
    if (a.c2) {
        sum_gradients(a, p, a.x2 + image * a.rows * a.c2, a.c2, a.c1, a.c2, image, row, rows, to);
    }
}

// A group's sums of all pieces and means.
inline void combine_group(const GroupNormGradient &a, int64_t task, const GroupNormPlaces &p) {
    const int64_t all = a.c1 + a.c2, size = all / a.groups, image = task / a.groups;
    const int64_t chunks = stats_chunks(stats_of(a)), from = task % a.groups * size;
    double h = 0, along = 0;
    for (int64_t c = from; c < from + size; c++) {
        double sums[2] = {0, 0};
        for (int64_t k = 0; k < chunks; k++) {
            for (int i = 0; i < 2; i++) {
                sums[i] += double(p.partial[(image * chunks + k) * 2 * all + i * all + c]);
            }
        }
        along += double(p.weight[image * all + c]) * sums[0];
        h += double(p.weight[image * all + c]) * sums[1];
        if (a.sums) {
            a.sums[image * 2 * all + c] = float(sums[0]);
            a.sums[image * 2 * all + all + c] = float(sums[1]);
        }
    }
    const double count = double(size * a.rows);
    for (int64_t c = from; c < from + size; c++) {
        p.mean_h[image * all + c] = float(h / count);
        p.mean_along[image * all + c] = float(along / count);
    }
}

// A row of all channels.
inline void apply_row(const GroupNormGradient &a, int64_t row, const GroupNormPlaces &p) {
    const int64_t all = a.c1 + a.c2, image = row / a.rows;
    const float *g = (a.silu ? a.dx : a.dy) + row * all;
    const auto apply = [&](const float *x, int64_t from, int64_t n) {
        for (int64_t i = 0; i < n; i += W) {
            const int64_t k = image * all + from + i, count = n - i;
            const V inverse = load_some(p.inverse + k, count);
            const V normal = (load_some(x + i, count) - load_some(p.mean + k, count)) * inverse;
            const V h = load_some(g + from + i, count) * load_some(p.weight + k, count);
            const V along = normal * load_some(p.mean_along + k, count);
            store_some(a.dx + row * all + from + i, (h - load_some(p.mean_h + k, count) - along) * inverse,
                       count);
        }
    };
    apply(a.x + row * a.c1, 0, a.c1);
    if (a.c2) {
        apply(a.x2 + row * a.c2, a.c1, a.c2);
    }
}

inline int group_norm_gradient_phases(const GroupNormGradient &) {
    return 5;
}

inline void run_group_norm_gradient(const GroupNormGradient &a, int phase, int, Team &team) {
    const GroupNormPlaces p = places(a, static_cast<float *>(team.scratch));
    const GroupNormStats g = stats_of(a);
    const int64_t pieces = a.n * stats_chunks(g), groups = a.n * a.groups;
    switch (phase) {
    case 0:
        return take_tasks(team, pieces, [&](int64_t i) { stats_task(g, i, p.partial); });
    case 1:
        return take_tasks(team, groups, [&](int64_t i) { prepare_group(a, i, p); });
    case 2:
        return take_tasks(team, pieces, [&](int64_t i) { gradient_sums_task(a, i, p); });
    case 3:
        return take_tasks(team, groups, [&](int64_t i) { combine_group(a, i, p); });
    default:
        return take_rows(team, a.n * a.rows, [&](int64_t r) { apply_row(a, r, p); });
    }
}

// Rows that add up to sums of their own.
constexpr int64_t kSummedRows = 64;

inline size_t row_norm_gradient_scratch(const RowNormGradient &a, int) {
    return size_t(ceil_div(a.rows, kSummedRows) * 2 * a.dim) * sizeof(float);
}

// Calls f(index, count) for the vectors of a row.
template <class F> void each_vector(int64_t dim, F f) {
    for (int64_t i = 0; i < dim; i += W) {
        f(i, dim - i);
    }
}

// A row's gradient; dy·x̂ and dy are added to `sums`, if there are.
inline void row_gradient(const RowNormGradient &a, int64_t row, float *sums) {
    const float *x = a.x + row * a.dim, *dy = a.dy + row * a.dim;
    const float count = float(a.dim);
    V mean = zero(), squares = zero(), total = zero(), along = zero();
    if (a.centred) {
        V all = zero();
        each_vector(a.dim, [&](int64_t i, int64_t n) { all = all + load_some(x + i, n); });
        mean = broadcast(sum(all) / count);
    }
    const auto centred = [&](int64_t i, int64_t n) { // zero after the row's end
        alignas(64) float d[W] = {};
        store_some(d, load_some(x + i, n) - mean, n);
        return load(d);
    };
    const auto weighted = [&](int64_t i, int64_t n) {
        alignas(64) float w[W] = {};
        load_vector(a.weight, i, lesser(n, W), w, 1);
        return load_some(dy + i, n) * load(w);
    };
    each_vector(a.dim, [&](int64_t i, int64_t n) {
        const V d = centred(i, n), h = weighted(i, n);
        squares = fma(d, d, squares);
        along = fma(d, h, along);
        total = total + h;
    });
    const float root = __builtin_sqrtf(sum(squares) / count + a.eps), s = root + a.added;
    // The mean of h·x̂, times s / root: 1 unless something is added to the root.
    const float ratio = root > 1e-20f ? s / root : 1;
    const V mean_h = broadcast(a.centred ? sum(total) / count : 0), inverse = broadcast(1 / s);
    const V factor = broadcast(sum(along) / s / count * ratio);
    each_vector(a.dim, [&](int64_t i, int64_t n) {
        const V normal = centred(i, n) * inverse, g = load_some(dy + i, n);
        if (sums) {
            store_some(sums + i, fma(g, normal, load_some(sums + i, n)), n);
            store_some(sums + a.dim + i, load_some(sums + a.dim + i, n) + g, n);
        }
        store_some(a.dx + row * a.dim + i, (weighted(i, n) - mean_h - normal * factor) * inverse, n);
    });
}

// Sums of pieces, one after the other, into `to`.
inline void add_pieces(const float *pieces, int64_t count, int64_t stride, int64_t i, float *to) {
    double s = 0;
    for (int64_t k = 0; k < count; k++) {
        s += double(pieces[k * stride + i]);
    }
    to[i] = float(s);
}

constexpr int64_t kColumnsPerTask = 64;

template <class F> void take_columns(Team &team, int64_t columns, F column) {
    take_tasks(team, ceil_div(columns, kColumnsPerTask), [&](int64_t task) {
        for (int64_t i = task * kColumnsPerTask; i < lesser(columns, (task + 1) * kColumnsPerTask); i++) {
            column(i);
        }
    });
}

inline void run_row_norm_gradient(const RowNormGradient &a, int phase, int, Team &team) {
    float *partial = static_cast<float *>(team.scratch);
    const int64_t pieces = ceil_div(a.rows, kSummedRows);
    if (phase == 0) {
        take_tasks(team, pieces, [&](int64_t task) {
            float *sums = a.sums ? partial + task * 2 * a.dim : nullptr;
            for (int64_t i = 0; sums && i < 2 * a.dim; i++) {
                sums[i] = 0;
            }
            for (int64_t r = task * kSummedRows; r < lesser(a.rows, (task + 1) * kSummedRows); r++) {
                row_gradient(a, r, sums);
            }
        });
    } else if (a.sums) {
        take_columns(team, 2 * a.dim, [&](int64_t i) { add_pieces(partial, pieces, 2 * a.dim, i, a.sums); });
    }
}

inline int64_t column_pieces(const ColumnSums &a) {
    return ceil_div(a.rows, kStatsRows);
}

inline size_t column_sums_scratch(const ColumnSums &a, int) {
    return size_t(a.n * column_pieces(a) * a.dim) * sizeof(float);
}

inline void run_column_sums(const ColumnSums &a, int phase, int, Team &team) {
    float *partial = static_cast<float *>(team.scratch);
    const int64_t pieces = column_pieces(a);
    if (phase == 0) {
        take_tasks(team, a.n * pieces, [&](int64_t task) {
            const int64_t first = task / pieces * a.rows + task % pieces * kStatsRows;
            const int64_t rows = lesser(kStatsRows, (task / pieces + 1) * a.rows - first);
            each_vector(a.dim, [&](int64_t i, int64_t n) {
                V s = zero();
                for (int64_t r = first; r < first + rows; r++) {
                    s = s + load_some(a.x + r * a.dim + i, n);
                }
                store_some(partial + task * a.dim + i, s, n);
            });
        });
        return;
    }
    take_columns(team, a.n * a.dim, [&](int64_t i) {
        const int64_t image = i / a.dim;
        add_pieces(partial + image * pieces * a.dim, pieces, a.dim, i % a.dim, a.y + image * a.dim);
    });
}

inline void run_activation_gradient(const ActivationGradient &a, int, int, Team &team) {
    take_tasks(team, ceil_div(a.size, kElementsPerTask), [&](int64_t task) {
        const int64_t end = lesser(a.size, (task + 1) * kElementsPerTask);
        for (int64_t i = task * kElementsPerTask; i < end; i += W) {
            const V x = load_some(a.x + i, end - i);
            store_some(a.dx + i, load_some(a.dy + i, end - i) * derivative(x, a.act), end - i);
        }
    });
}

inline void run_geglu(const Geglu &a, int, int, Team &team) {
    take_rows(team, a.rows, [&](int64_t r) {
        const float *x = a.x + r * 2 * a.out;
        each_vector(a.out, [&](int64_t i, int64_t n) {
            store_some(a.y + r * a.out + i, load_some(x + i, n) * gelu(load_some(x + a.out + i, n)), n);
        });
    });
}

inline void run_geglu_gradient(const GegluGradient &a, int, int, Team &team) {
    take_rows(team, a.rows, [&](int64_t r) {
        const float *x = a.x + r * 2 * a.out, *dy = a.dy + r * a.out;
        float *dx = a.dx + r * 2 * a.out;
        each_vector(a.out, [&](int64_t i, int64_t n) {
            const V value = load_some(x + i, n), gate = load_some(x + a.out + i, n), g = load_some(dy + i, n);
            store_some(dx + i, g * gelu(gate), n);
            store_some(dx + a.out + i, g * value * derivative(gate, Act::gelu), n);
        });
    });
}

} // namespace sdgo::kernels::SDGO_ISA
