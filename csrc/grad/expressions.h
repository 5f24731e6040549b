// What derivatives are written in: ggml's operators, with a tape's context.
#pragma once

#include "grad/tape.h"

namespace sdgo {

using Inputs = std::vector<Tensor>;

inline Tensor add(Tape &t, Tensor a, Tensor b) {
    return ggml_add(t.context(), a, b);
}

inline Tensor sub(Tape &t, Tensor a, Tensor b) {
    return ggml_sub(t.context(), a, b);
}

inline Tensor mul(Tape &t, Tensor a, Tensor b) {
    return ggml_mul(t.context(), a, b);
}

inline Tensor scale(Tape &t, Tensor a, float factor) {
    return ggml_scale(t.context(), a, factor);
}

inline Tensor shaped(Tape &t, Tensor x, int64_t a, int64_t b, int64_t c = 1, int64_t d = 1) {
    return ggml_reshape_4d(t.context(), x, a, b, c, d);
}

inline Tensor swapped(Tape &t, Tensor x) { // [a, b, …] → [b, a, …]
    return ggml_cont(t.context(), ggml_permute(t.context(), x, 1, 0, 2, 3));
}

inline Tensor sums(Tape &t, Tensor x, int64_t a, int64_t b, int64_t c = 1, int64_t d = 1) {
    const int64_t shape[] = {a, b, c, d};
    return sum_to(t.context(), x, shape);
}

// Rows [C, R] of all tokens of all images.
inline Tensor rows(Tape &t, Tensor x) {
    return shaped(t, x, x->ne[0], ggml_nelements(x) / x->ne[0]);
}

// Sums over all rows: [C]. Columns are summed in double precision.
inline Tensor sum_rows(Tape &t, Tensor x) {
    if (Backward *kernels = t.backward()) {
        return kernels->sum_tokens(rows(t, x));
    }
    return shaped(t, ggml_sum_rows(t.context(), swapped(t, rows(t, x))), x->ne[0], 1);
}

// Sums over an image's tokens: [C, L, N] → [C, N].
inline Tensor sum_tokens(Tape &t, Tensor x) {
    if (Backward *kernels = t.backward()) {
        return kernels->sum_tokens(x);
    }
    return shaped(t, ggml_sum_rows(t.context(), swapped(t, x)), x->ne[0], x->ne[2]);
}

// x·wᵀ by a matrix that is computed, [in, out].
inline Tensor times(Tape &t, Tensor x, Tensor w) {
    return t.ops().product(x, {w, nullptr}, {w->ne[1], false}, nullptr);
}

// dW of y = x·Wᵀ, [in, out], from all rows of x and dy.
inline Tensor matrix_gradient(Tape &t, Tensor x, Tensor dy) {
    return times(t, swapped(t, rows(t, dy)), swapped(t, rows(t, x)));
}

} // namespace sdgo
