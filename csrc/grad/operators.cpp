// The recorded operators and their derivatives.
//
// y is an operator's result and dy the gradient of y; W is a weight. Images keep the layout
// of the operators that compute them: what must know it goes by way of tokens,
// [C, L, N], or of [W, H, C, N].
#include "grad/expressions.h"

#include <algorithm>
#include <cmath>

namespace sdgo {

namespace {

// Inputs: x, the weight, the bias, what is added before and after the activation.
void derive_linear(Tape &t, const Linear &l, const Recorded &r, const Inputs &in, Tensor dy) {
    const int64_t width = in[0]->ne[0], out = dy->ne[0];
    Backward *kernels = t.backward();
    if (t.wants(r.inputs[0])) {
        const auto expression = [&] {
            return times(t, dy, swapped(t, shaped(t, t.float32(in[1]), width, out)));
        };
        t.give(r.inputs[0], kernels ? kernels->product_by_x(dy, in[1], width, l.vectors) : expression());
    }
    if (t.wants(r.inputs[1])) {
        t.give(r.inputs[1], kernels ? kernels->product_by_weight(in[0], dy) : matrix_gradient(t, in[0], dy));
    }
    if (t.wants(r.inputs[2])) {
        t.give(r.inputs[2], sum_rows(t, dy));
    }
    t.give(r.inputs[3], dy);
    t.give(r.inputs[4], dy);
}

// The derivative of layer, group and RMS normalisation by what comes in, for rows of x
// along the first dimension: g is the gradient of the normalised x̂.
//   dx = (g - mean(g) - x̂·mean(g·x̂)) / σ, without mean(g) for RMS
struct Normalised {
    Tensor x; // x̂
    Tensor sigma;
};

Normalised normalise(Tape &t, Tensor x, float eps, bool centred) {
    ggml_context *ctx = t.context();
    Tensor c = centred ? sub(t, x, ggml_mean(ctx, x)) : x;
    Tensor variance = ggml_mean(ctx, mul(t, c, c));
    Tensor sigma = ggml_sqrt(ctx, ggml_scale_bias(ctx, variance, 1, eps));
    return {ggml_div(ctx, c, sigma), sigma};
}

Tensor derive_normalised(Tape &t, const Normalised &n, Tensor g, bool centred) {
    ggml_context *ctx = t.context();
    Tensor along = mul(t, n.x, ggml_mean(ctx, mul(t, g, n.x)));
    Tensor dx = sub(t, centred ? sub(t, g, ggml_mean(ctx, g)) : g, along);
    return ggml_div(ctx, dx, n.sigma);
}

// Of layer and RMS normalisation, without weights if the name is empty.
void derive_rows(Tape &t, const std::string &name, const Backward::Rows &how, const Recorded &r,
                 const Inputs &in, Tensor dy) {
    const int64_t dim = how.dim;
    Tensor w = name.empty() ? nullptr : t.weight32(name + ".weight", {dim});
    Tensor dx, along, total; // the sums are computed only where they are used
    if (Backward *kernels = t.backward()) {
        const Backward::Norm n = kernels->row_norm(in[0], dy, w, how);
        dx = n.x, along = n.along, total = n.total;
    } else {
        const int64_t count = ggml_nelements(dy) / dim;
        const Normalised n = normalise(t, shaped(t, in[0], dim, count), how.eps, how.centred);
        dy = shaped(t, dy, dim, count);
        along = sum_rows(t, mul(t, dy, n.x)), total = sum_rows(t, dy);
        dx = derive_normalised(t, n, w ? mul(t, dy, w) : dy, how.centred);
    }
    if (!name.empty()) {
        t.give(name + ".weight", along);
        t.give(name + ".bias", total);
    }
    t.give(r.inputs[0], dx);
}

void derive_group_norm(Tape &t, const std::string &name, const GroupNorm &g, const Recorded &r,
                       const Inputs &in, Tensor dy) {
    Ops &ops = t.ops();
    Tensor x = ops.image_out(in[0]);
    const int64_t width = x->ne[0], height = x->ne[1], c = x->ne[2], n = x->ne[3], size = width * height;
    dy = shaped(t, ops.image_out(dy), size, c, n);
    const auto grouped = [&](Tensor a) { return shaped(t, a, size * (c / g.groups), g.groups, n); };
    const Normalised norm = normalise(t, grouped(x), g.eps, true);
    if (t.wants(name + ".weight")) {
        t.give(name + ".weight", sums(t, mul(t, dy, shaped(t, norm.x, size, c, n)), 1, c));
    }
    if (t.wants(name + ".bias")) {
        t.give(name + ".bias", sums(t, dy, 1, c));
    }
    if (t.wants(r.inputs[0])) {
        Tensor w = shaped(t, t.weight32(name + ".weight", {c}), 1, c);
        Tensor dx = derive_normalised(t, norm, grouped(mul(t, dy, w)), true);
        t.give(r.inputs[0], ops.image_in(shaped(t, dx, width, height, c, n)));
    }
}

// Weight, bias and modulation of a group normalisation, from what kernels sum for each image.
void derive_group_norm_weights(Tape &t, const std::string &name, const Recorded &r, Tensor modulation,
                               const Backward::Norm &n) {
    const int64_t c = n.total->ne[0];
    Tensor along = n.along, total = n.total; // [C, N]
    if (modulation) {
        const auto chunk = [&](int64_t from) { // [C, N]
            return ggml_cont(t.context(),
                             ggml_view_3d(t.context(), modulation, c, total->ne[1], 1, modulation->nb[1],
                                          modulation->nb[2], size_t(from) * modulation->nb[0]));
        };
        Tensor factor = ggml_scale_bias(t.context(), chunk(0), 1, 1);
        if (t.wants(r.inputs[1])) {
            Tensor w = t.weight32(name + ".weight", {c}), b = t.weight32(name + ".bias", {c});
            Tensor scales = add(t, mul(t, along, w), mul(t, total, b));
            t.give(r.inputs[1], ggml_concat(t.context(), scales, total, 0));
        }
        along = mul(t, along, factor), total = mul(t, total, factor);
    }
    if (t.wants(name + ".weight")) {
        t.give(name + ".weight", sum_rows(t, along));
    }
    if (t.wants(name + ".bias")) {
        t.give(name + ".bias", sum_rows(t, total));
    }
}

// Attention: with P = softmax(s·Q·Kᵀ) and O = P·V of each head,
//   dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP - Σ P∘dP), dQ = s·dS·K, dK = s·dSᵀ·Q
using Heads = Backward::Attention;

Heads derive_attention(Tape &t, const Heads &in, Tensor dy, int heads, bool causal) {
    if (Backward *kernels = t.backward()) {
        return kernels->attention(in, dy, heads, causal);
    }
    ggml_context *ctx = t.context();
    const int64_t c = in.q->ne[0], dim = c / heads, n = in.q->ne[2];
    const float s = 1 / std::sqrt(float(dim));
    const auto split = [&](Tensor x) { // [C, L, N] → [dim, L, heads, N]
        x = ggml_reshape_4d(ctx, x, dim, heads, x->ne[1], n);
        return ggml_cont(ctx, ggml_permute(ctx, x, 0, 2, 1, 3));
    };
    const auto join = [&](Tensor x) {
        const int64_t length = x->ne[1];
        return ggml_reshape_3d(ctx, ggml_cont(ctx, ggml_permute(ctx, x, 0, 2, 1, 3)), c, length, n);
    };
    const auto multiply = [&](Tensor a, Tensor b) {
        Tensor y = ggml_mul_mat(ctx, a, b);
        ggml_mul_mat_set_prec(y, GGML_PREC_F32);
        return y;
    };
    Tensor q = split(in.q), k = split(in.k), v = split(in.v), d = split(dy);
    Tensor p = multiply(k, q); // [Lk, Lq, heads, N]
    p = ggml_soft_max_ext(ctx, causal ? ggml_diag_mask_inf(ctx, p, 0) : p, nullptr, s, 0);
    Tensor dp = multiply(v, d);
    Tensor ds = mul(t, p, sub(t, dp, ggml_sum_rows(ctx, mul(t, p, dp))));
    ds = scale(t, ds, s);
    return {join(multiply(swapped(t, k), ds)), join(multiply(swapped(t, q), swapped(t, ds))),
            join(multiply(swapped(t, d), swapped(t, p)))};
}

// Queries, keys and values beside each other, as in a fused layer.
Tensor fuse(Tape &t, const Heads &h, int heads, Fused order) {
    ggml_context *ctx = t.context();
    const int64_t c = h.q->ne[0], length = h.q->ne[1], n = h.q->ne[2];
    const int64_t width = order == Fused::whole ? c : c / heads;
    const auto part = [&](Tensor x) { return shaped(t, x, width, c / width, length, n); };
    Tensor all = ggml_concat(ctx, ggml_concat(ctx, part(h.q), part(h.k), 0), part(h.v), 0);
    return ggml_reshape_3d(ctx, all, 3 * c, length, n);
}

} // namespace

// With kernels, of all of it.
Tensor Tape::whole_group_norm(Tensor x, const std::string &name, const GroupNorm &g) {
    const auto with = [=](Tensor modulation) {
        GroupNorm how = g;
        how.modulation = modulation;
        return how;
    };
    return record({{x, g.modulation},
                   {name + ".weight", name + ".bias"},
                   [=](Ops &ops, const Inputs &in) { return ops.group_norm(in[0], name, with(in[1])); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       const int64_t c = t.channels(in[0]);
                       const Layer layer{t.weight(name + ".weight", {c}), t.weight(name + ".bias", {c})};
                       const Backward::Norm n = t.backward()->group_norm(in[0], dy, layer, with(in[1]));
                       t.give(r.inputs[0], n.x);
                       derive_group_norm_weights(t, name, r, in[1], n);
                   }});
}

// Without, in its parts, whose derivatives are simple: the normalisation, the modulation,
// SiLU.
Tensor Tape::group_norm(Tensor x, const std::string &name, const GroupNorm &g) {
    if (backward()) {
        return whole_group_norm(x, name, g);
    }
    GroupNorm plain = g;
    plain.silu = false, plain.modulation = nullptr;
    Tensor y = record({{x},
                       {name + ".weight", name + ".bias"},
                       [=](Ops &ops, const Inputs &in) { return ops.group_norm(in[0], name, plain); },
                       [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                           derive_group_norm(t, name, plain, r, in, dy);
                       }});
    if (g.modulation) {
        check_groups(name, g, channels(x), ggml_nelements(g.modulation) / (2 * channels(x)));
        y = image(modulate(tokens(y), chunk(g.modulation, 0, 2), chunk(g.modulation, 1, 2)), width(y),
                  height(y));
    }
    return g.silu ? silu(y) : y;
}

// The product by itself, then the activation, then the sum.
Tensor Tape::product(Tensor x, const Layer &layer, const Linear &l, Tensor before) {
    Linear plain = l;
    plain.act = Act::none;
    plain.add = l.act == Act::none ? l.add : nullptr;
    Tensor y = record({{x, layer.weight, layer.bias, before, plain.add},
                       {},
                       [=](Ops &ops, const Inputs &in) {
                           Linear k = plain;
                           k.add = in[4];
                           return ops.product(in[0], {in[1], in[2]}, k, in[3]);
                       },
                       [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                           derive_linear(t, plain, r, in, dy);
                       }});
    y = activated(y, l.act);
    return l.add && !plain.add ? add(y, l.add) : y;
}

Tensor Tape::activated(Tensor x, Act act) {
    if (!backward() || act == Act::none) {
        return activate(x, act);
    }
    return record({{x},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.backward()->activation(in[0], act); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       t.give(r.inputs[0], t.backward()->activation_by_x(in[0], dy, act));
                   }});
}

Tensor Tape::gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) {
    Tensor y = product(x, layer, {2 * out}, before);
    if (backward()) {
        return record({{y},
                       {},
                       [](Ops &ops, const Inputs &in) { return ops.backward()->geglu(in[0]); },
                       [](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                           t.give(r.inputs[0], t.backward()->geglu_by_x(in[0], dy));
                       }});
    }
    return ggml_mul(ctx_, activate(chunk(y, 1, 2), Act::gelu), chunk(y, 0, 2));
}

Tensor Tape::layer_norm(Tensor x, const std::string &name, float eps) {
    return record({{x},
                   {name + ".weight", name + ".bias"},
                   [=](Ops &ops, const Inputs &in) { return ops.layer_norm(in[0], name, eps); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       derive_rows(t, name, {dy->ne[0], true, eps, 0}, r, in, dy);
                   }});
}

Tensor Tape::rms_norm(Tensor x, const std::string &name, float eps, int heads) {
    return record({{x},
                   {name + ".weight"},
                   [=](Ops &ops, const Inputs &in) { return ops.rms_norm(in[0], name, eps, heads); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       derive_rows(t, name, {dy->ne[0] / heads, false, eps, 0}, r, in, dy);
                   }});
}

// y = x / s with s = r + ε and r² = mean(x²): dx = (dy - x·mean(dy·x) / (s·r)) / s
Tensor Tape::unit_norm(Tensor x, int heads) {
    const auto derive = [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
        if (t.backward()) {
            return derive_rows(t, "", {dy->ne[0] / heads, false, 0, kUnitEps}, r, in, dy);
        }
        ggml_context *ctx = t.context();
        const int64_t dim = dy->ne[0] / heads, count = ggml_nelements(dy) / dim;
        Tensor x = shaped(t, in[0], dim, count);
        dy = shaped(t, dy, dim, count);
        Tensor root = ggml_scale_bias(ctx, ggml_sqrt(ctx, ggml_mean(ctx, mul(t, x, x))), 1, 1e-20f);
        Tensor s = ggml_scale_bias(ctx, root, 1, kUnitEps);
        Tensor along = ggml_div(ctx, ggml_mean(ctx, mul(t, dy, x)), mul(t, s, root));
        t.give(r.inputs[0], ggml_div(ctx, sub(t, dy, mul(t, x, along)), s));
    };
    return record({{x}, {}, [=](Ops &ops, const Inputs &in) { return ops.unit_norm(in[0], heads); }, derive});
}

Tensor Tape::modulate(Tensor x, Tensor scale, Tensor shift) {
    return record({{x, scale, shift},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.modulate(in[0], in[1], in[2]); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       const int64_t c = dy->ne[0], n = dy->ne[2];
                       t.give(r.inputs[0], sdgo::add(t, dy, mul(t, dy, shaped(t, in[1], c, 1, n))));
                       if (t.wants(r.inputs[1])) {
                           t.give(r.inputs[1], sum_tokens(t, mul(t, dy, in[0])));
                       }
                       if (t.wants(r.inputs[2])) {
                           t.give(r.inputs[2], sum_tokens(t, dy));
                       }
                   }});
}

Tensor Tape::gated(Tensor x, Tensor y, Tensor gate) {
    return record({{x, y, gate},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.gated(in[0], in[1], in[2]); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       t.give(r.inputs[0], dy);
                       t.give(r.inputs[1], mul(t, dy, shaped(t, in[2], dy->ne[0], 1, dy->ne[2])));
                       if (t.wants(r.inputs[2])) {
                           t.give(r.inputs[2], sum_tokens(t, mul(t, dy, in[1])));
                       }
                   }});
}

// Angles have no gradient: turning back by them is all.
Tensor Tape::rope(Tensor x, Tensor cos, Tensor sin, int heads, Pairs pairs) {
    return record({{x, cos, sin},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.rope(in[0], in[1], in[2], heads, pairs); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       t.give(r.inputs[0], t.ops().rope(dy, in[1], sdgo::scale(t, in[2], -1), heads, pairs));
                   }});
}

Tensor Tape::attention(Tensor q, Tensor k, Tensor v, int heads, bool causal) {
    return record(
        {{q, k, v},
         {},
         [=](Ops &ops, const Inputs &in) { return ops.attention(in[0], in[1], in[2], heads, causal); },
         [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
             const Heads d = derive_attention(t, {in[0], in[1], in[2]}, dy, heads, causal);
             t.give(r.inputs[0], d.q);
             t.give(r.inputs[1], d.k);
             t.give(r.inputs[2], d.v);
         }});
}

Tensor Tape::self_attention(Tensor qkv, int heads, Fused order) {
    return record({{qkv},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.self_attention(in[0], heads, order); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       if (Backward *kernels = t.backward()) {
                           t.give(r.inputs[0], kernels->self_attention(in[0], dy, heads, order));
                           return;
                       }
                       const Fusion parts = fused_parts(t.context(), in[0], heads, order);
                       const Heads d = derive_attention(t, {parts.q, parts.k, parts.v}, dy, heads, false);
                       t.give(r.inputs[0], fuse(t, d, heads, order));
                   }});
}

// Each part is a view of the gradient.
Tensor Tape::concat(Tensor a, Tensor b) {
    return record({{a, b},
                   {},
                   [](Ops &ops, const Inputs &in) { return ops.concat(in[0], in[1]); },
                   [](Tape &t, const Recorded &r, const Inputs &, Tensor, Tensor dy) {
                       size_t offset = 0;
                       for (Tensor x : r.inputs) {
                           if (t.wants(x)) {
                               t.give(x,
                                      ggml_cont(t.context(), ggml_view_4d(t.context(), dy, x->ne[0], x->ne[1],
                                                                          x->ne[2], x->ne[3], dy->nb[1],
                                                                          dy->nb[2], dy->nb[3], offset)));
                           }
                           int dim = 0; // along which they are joined
                           while (dim < kTensorDims - 1 && x->ne[dim] == dy->ne[dim]) {
                               dim++;
                           }
                           offset += size_t(x->ne[dim]) * dy->nb[dim];
                       }
                   }});
}

} // namespace sdgo
