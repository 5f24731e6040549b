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
void derive_linear(Tape &t, const Recorded &r, const Inputs &in, Tensor dy) {
    const int64_t width = in[0]->ne[0], out = dy->ne[0];
    if (t.wants(r.inputs[0])) {
        Tensor w = shaped(t, t.float32(in[1]), width, out);
        t.give(r.inputs[0], times(t, dy, swapped(t, w)));
    }
    if (t.wants(r.inputs[1])) {
        t.give(r.inputs[1], matrix_gradient(t, in[0], dy));
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

// Attention: with P = softmax(s·Q·Kᵀ) and O = P·V of each head,
//   dV = Pᵀ·dO, dP = dO·Vᵀ, dS = P∘(dP - Σ P∘dP), dQ = s·dS·K, dK = s·dSᵀ·Q
struct Heads {
    Tensor q, k, v;
};

Heads derive_attention(Tape &t, const Heads &in, Tensor dy, int heads, bool causal) {
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

// Queries, keys and values of a fused layer, and back.
Heads fused_parts(Tape &t, Tensor qkv, int heads, Fused order) {
    ggml_context *ctx = t.context();
    const int64_t c = qkv->ne[0] / 3, dim = c / heads, length = qkv->ne[1], n = qkv->ne[2];
    const size_t size = qkv->nb[0], head = size_t(order == Fused::whole ? dim : 3 * dim) * size;
    const size_t other = size_t(order == Fused::whole ? c : dim) * size;
    const auto part = [&](size_t i) {
        Tensor x = ggml_view_4d(ctx, qkv, dim, heads, length, n, head, qkv->nb[1], qkv->nb[2], i * other);
        return ggml_reshape_3d(ctx, ggml_cont(ctx, x), c, length, n);
    };
    return {part(0), part(1), part(2)};
}

Tensor fuse(Tape &t, const Heads &h, int heads, Fused order) {
    ggml_context *ctx = t.context();
    const int64_t c = h.q->ne[0], length = h.q->ne[1], n = h.q->ne[2];
    const int64_t width = order == Fused::whole ? c : c / heads;
    const auto part = [&](Tensor x) { return shaped(t, x, width, c / width, length, n); };
    Tensor all = ggml_concat(ctx, ggml_concat(ctx, part(h.q), part(h.k), 0), part(h.v), 0);
    return ggml_reshape_3d(ctx, all, 3 * c, length, n);
}

} // namespace

// In its parts, whose derivatives are simple: the normalisation, the modulation, SiLU.
Tensor Tape::group_norm(Tensor x, const std::string &name, const GroupNorm &g) {
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
                       [](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                           derive_linear(t, r, in, dy);
                       }});
    y = activate(y, l.act);
    return l.add && !plain.add ? add(y, l.add) : y;
}

Tensor Tape::gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) {
    Tensor y = product(x, layer, {2 * out}, before);
    return ggml_mul(ctx_, activate(chunk(y, 1, 2), Act::gelu), chunk(y, 0, 2));
}

Tensor Tape::layer_norm(Tensor x, const std::string &name, float eps) {
    return record({{x},
                   {name + ".weight", name + ".bias"},
                   [=](Ops &ops, const Inputs &in) { return ops.layer_norm(in[0], name, eps); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       const Normalised n = normalise(t, in[0], eps, true);
                       if (!name.empty() && t.wants(name + ".weight")) {
                           t.give(name + ".weight", sum_rows(t, mul(t, dy, n.x)));
                       }
                       if (!name.empty() && t.wants(name + ".bias")) {
                           t.give(name + ".bias", sum_rows(t, dy));
                       }
                       if (t.wants(r.inputs[0])) {
                           Tensor g =
                               name.empty() ? dy : mul(t, dy, t.weight32(name + ".weight", {dy->ne[0]}));
                           t.give(r.inputs[0], derive_normalised(t, n, g, true));
                       }
                   }});
}

Tensor Tape::rms_norm(Tensor x, const std::string &name, float eps, int heads) {
    return record({{x},
                   {name + ".weight"},
                   [=](Ops &ops, const Inputs &in) { return ops.rms_norm(in[0], name, eps, heads); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       const int64_t dim = dy->ne[0] / heads, count = ggml_nelements(dy) / dim;
                       const Normalised n = normalise(t, shaped(t, in[0], dim, count), eps, false);
                       dy = shaped(t, dy, dim, count);
                       if (t.wants(name + ".weight")) {
                           t.give(name + ".weight", sum_rows(t, mul(t, dy, n.x)));
                       }
                       if (t.wants(r.inputs[0])) {
                           Tensor g = mul(t, dy, t.weight32(name + ".weight", {dim}));
                           t.give(r.inputs[0], derive_normalised(t, n, g, false));
                       }
                   }});
}

// y = x / s with s = r + ε and r² = mean(x²): dx = (dy - x·mean(dy·x) / (s·r)) / s
Tensor Tape::unit_norm(Tensor x, int heads) {
    const auto derive = [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
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
                       const Heads d =
                           derive_attention(t, fused_parts(t, in[0], heads, order), dy, heads, false);
                       t.give(r.inputs[0], fuse(t, d, heads, order));
                   }});
}

} // namespace sdgo
