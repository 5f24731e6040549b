// Derivatives that an implementation of Ops has operators of its own for; all others are
// made of the operators in ops.h (csrc/grad).
//
// dy is the gradient of a result, whose shape it has; "by" what is differentiated, whose
// gradient is returned, with its shape.
#pragma once

#include "ops/ops.h"

namespace sdgo {

class Backward {
  public:
    virtual ~Backward() = default;

    // Of product: by x, [in, L, N] (or vectors), and by the weight, [in, out].
    virtual Tensor product_by_x(Tensor dy, Tensor weight, int64_t in, bool vectors) = 0;
    virtual Tensor product_by_weight(Tensor x, Tensor dy) = 0;
    // Of convolution: by the image x, and by the kernels, [K, K, in, out].
    virtual Tensor convolution_by_x(Tensor x, Tensor dy, Tensor weight, const Conv &c) = 0;
    virtual Tensor convolution_by_weight(Tensor x, Tensor dy, const Conv &c) = 0;

    struct Attention {
        Tensor q, k, v;
    };
    virtual Attention attention(const Attention &in, Tensor dy, int heads, bool causal) = 0;
    virtual Tensor self_attention(Tensor qkv, Tensor dy, int heads, Fused order) = 0;

    // Of normalisations. `along` and `total` are what the gradients of weights are made of:
    // the sums over rows of g·x̂ and of g, where x̂ is the normalised x and g the gradient of
    // what it becomes by weights and modulation.
    struct Norm {
        Tensor x, along, total;
    };
    // Sums of an image each: [C, N].
    virtual Norm group_norm(Tensor x, Tensor dy, const Ops::Layer &layer, const GroupNorm &g) = 0;
    // Rows of `dim` numbers; sums over all of them, [dim]. The weight may be none.
    struct Rows {
        int64_t dim = 0;
        bool centred = true; // a mean is subtracted, as of layer_norm
        float eps = 0, added = 0;
    };
    virtual Norm row_norm(Tensor x, Tensor dy, Tensor weight, const Rows &rows) = 0;

    // An activation, x·act, and the end of gated_product, [2C, L, N] to [C, L, N].
    virtual Tensor activation(Tensor x, Act act) = 0;
    virtual Tensor activation_by_x(Tensor x, Tensor dy, Act act) = 0;
    virtual Tensor geglu(Tensor x) = 0;
    virtual Tensor geglu_by_x(Tensor x, Tensor dy) = 0;

    // Sums over tokens, [C, L, N] to [C, N].
    virtual Tensor sum_tokens(Tensor x) = 0;
};

} // namespace sdgo
