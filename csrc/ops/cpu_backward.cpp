#include "ops/cpu_backward.h"

#include <cmath>

namespace sdgo {

namespace {

std::vector<int64_t> shape(Tensor t) {
    return {t->ne[0], t->ne[1], t->ne[2], t->ne[3]};
}

// Read by columns.
kernels::Matrix transposed(Tensor w, int64_t row) {
    kernels::Matrix m = matrix(w, row);
    m.transposed = true;
    return m;
}

kernels::Heads heads_of(const float *data, int64_t length, int64_t token, int64_t head) {
    return {data, length * token, token, head};
}

kernels::HeadsOut out_of(float *data, const kernels::Heads &like) {
    return {data, like.batch, like.token, like.head};
}

float *offset(float *p, int64_t n) {
    return p ? p + n : nullptr;
}

} // namespace

Tensor CpuBackward::part(Tensor flat, int64_t from, int64_t a, int64_t b, int64_t c, int64_t d) {
    constexpr size_t size = sizeof(float);
    return ggml_view_4d(ctx_, flat, a, b, c, d, size_t(a) * size, size_t(a * b) * size,
                        size_t(a * b * c) * size, size_t(from) * size);
}

Tensor CpuBackward::product_by_x(Tensor dy, Tensor weight, int64_t in, bool vectors) {
    const int64_t out = dy->ne[0], rows = ggml_nelements(dy) / out;
    const double flop = 2.0 * double(rows * in) * double(out);
    return node("d linear", flop, {in, dy->ne[1], dy->ne[2], dy->ne[3]}, {dy, weight}, [=](Tensor dst) {
        kernels::Linear k;
        k.x = data(dy), k.rows = rows, k.in = out, k.out = in;
        k.rows_per_image = vectors ? 1 : dy->ne[1];
        k.w = transposed(weight, in);
        k.y = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::product_by_weight(Tensor x, Tensor dy) {
    const int64_t in = x->ne[0], out = dy->ne[0], rows = ggml_nelements(x) / in;
    const double flop = 2.0 * double(rows * in) * double(out);
    return node("d weight", flop, {in, out, 1, 1}, {x, dy}, [=](Tensor dst) {
        kernels::WeightGradient k;
        k.x = data(x), k.dy = data(dy);
        k.n = 1, k.h = 1, k.w = rows, k.c = in, k.out = out;
        k.dw = dst ? data(dst) : nullptr;
        return k;
    });
}

// A convolution of stride 1 by the same kernels turned, of zeros between the pixels where
// the stride was 2. Where the image was enlarged, four pixels are summed.
Tensor CpuBackward::convolution_by_x(Tensor x, Tensor dy, Tensor weight, const Conv &c) {
    const int64_t in = x->ne[0], out = dy->ne[0], taps = c.kernel * c.kernel, n = dy->ne[3];
    const bool up = c.up_width > 0;
    const int64_t width = up ? c.up_width : x->ne[1], height = up ? c.up_height : x->ne[2];
    const double flop = 2.0 * double(width * height * n * in) * double(out * taps);
    Tensor dx = node(c.kernel == 1 ? "d conv 1x1" : "d conv 3x3", flop, {in, width, height, n}, {dy, weight},
                     [=](Tensor dst) {
                         kernels::Conv2d k;
                         k.x = data(dy), k.c1 = out, k.n = n, k.h = dy->ne[2], k.w = dy->ne[1], k.out = in;
                         k.kernel = c.kernel;
                         if (c.stride > 1) {
                             k.upsample = true, k.up_w = width, k.up_h = height;
                             k.spread = c.pad_end ? kernels::Spread::last : kernels::Spread::first;
                         }
                         k.weight = transposed(weight, in * taps);
                         k.y = dst ? data(dst) : nullptr;
                         return k;
                     });
    if (!up) {
        return dx;
    }
    if (width < 2 * x->ne[1] || height < 2 * x->ne[2]) {
        dx = ggml_pad(ctx_, dx, 0, int(2 * x->ne[1] - width), int(2 * x->ne[2] - height), 0);
    }
    return node("d resample", 0, shape(x), {dx}, [=](Tensor dst) {
        kernels::Resample k;
        k.x = data(dx), k.c = in, k.w = dx->ne[1], k.h = dx->ne[2], k.n = n;
        k.how = kernels::Sampling::mean_down, k.gain = 4;
        k.y = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::convolution_by_weight(Tensor x, Tensor dy, const Conv &c) {
    const int64_t in = x->ne[0], out = dy->ne[0];
    const double flop = 2.0 * double(ggml_nelements(dy)) * double(in * c.kernel * c.kernel);
    return node("d weight", flop, {c.kernel, c.kernel, in, out}, {x, dy}, [=](Tensor dst) {
        kernels::WeightGradient k;
        k.x = data(x), k.dy = data(dy);
        k.n = x->ne[3], k.h = x->ne[2], k.w = x->ne[1], k.c = in, k.out = out;
        k.kernel = c.kernel, k.stride = c.stride, k.pad_end = c.pad_end;
        k.upsample = c.up_width > 0, k.up_w = c.up_width, k.up_h = c.up_height;
        k.dw = dst ? data(dst) : nullptr;
        return k;
    });
}

Backward::Attention CpuBackward::attention(const Attention &in, Tensor dy, int heads, bool causal) {
    const int64_t c = in.q->ne[0], dim = c / heads, lq = in.q->ne[1], lk = in.k->ne[1], n = in.q->ne[2];
    const int64_t queries = ggml_nelements(in.q), keys = ggml_nelements(in.k);
    const double flop = 14.0 * double(c * n) * double(lq * lk);
    Tensor all =
        node("d attention", flop, {queries + 2 * keys, 1, 1, 1}, {in.q, in.k, in.v, dy}, [=](Tensor dst) {
            kernels::AttentionGradient a;
            a.n = n, a.heads = heads, a.dim = dim, a.q_length = lq, a.k_length = lk;
            a.scale = 1 / std::sqrt(float(dim)), a.causal = causal;
            a.q = heads_of(data(in.q), lq, c, dim), a.dy = heads_of(data(dy), lq, c, dim);
            a.k = heads_of(data(in.k), lk, c, dim), a.v = heads_of(data(in.v), lk, c, dim);
            float *to = dst ? data(dst) : nullptr;
            a.dq = out_of(to, a.q);
            a.dk = out_of(offset(to, queries), a.k);
            a.dv = out_of(offset(to, queries + keys), a.v);
            return a;
        });
    return {part(all, 0, c, lq, n), part(all, queries, c, lk, n), part(all, queries + keys, c, lk, n)};
}

Tensor CpuBackward::self_attention(Tensor qkv, Tensor dy, int heads, Fused order) {
    const int64_t c = qkv->ne[0] / 3, dim = c / heads, l = qkv->ne[1], n = qkv->ne[2];
    const int64_t head = order == Fused::whole ? dim : 3 * dim, other = order == Fused::whole ? c : dim;
    return node("d attention", 14.0 * double(c * n) * double(l * l), shape(qkv), {qkv, dy}, [=](Tensor dst) {
        kernels::AttentionGradient a;
        a.n = n, a.heads = heads, a.dim = dim, a.q_length = a.k_length = l;
        a.scale = 1 / std::sqrt(float(dim));
        float *x = data(qkv), *to = dst ? data(dst) : nullptr;
        a.dy = heads_of(data(dy), l, c, dim);
        a.q = heads_of(x, l, 3 * c, head), a.k = heads_of(offset(x, other), l, 3 * c, head);
        a.v = heads_of(offset(x, 2 * other), l, 3 * c, head);
        a.dq = out_of(to, a.q), a.dk = out_of(offset(to, other), a.k);
        a.dv = out_of(offset(to, 2 * other), a.v);
        return a;
    });
}

Backward::Norm CpuBackward::group_norm(Tensor x, Tensor dy, const Ops::Layer &layer, const GroupNorm &g) {
    const int64_t c = x->ne[0], n = x->ne[3], size = ggml_nelements(x);
    const Owner::Joined from = owner_.joined_parts(x);
    const Tensor w = layer.weight, b = layer.bias, modulation = g.modulation;
    const GroupNorm how = g;
    Tensor all = node("d group_norm", 0, {size + 2 * c * n, 1, 1, 1}, {from.x, from.x2, dy, w, b, modulation},
                      [=](Tensor dst) {
                          kernels::GroupNormGradient k;
                          k.x = data(from.x), k.c1 = from.x->ne[0];
                          k.x2 = from.x2 ? data(from.x2) : nullptr, k.c2 = from.x2 ? from.x2->ne[0] : 0;
                          k.dy = data(dy);
                          k.n = n, k.rows = x->ne[1] * x->ne[2], k.groups = how.groups, k.eps = how.eps;
                          k.weight = vector(w), k.bias = vector(b);
                          k.modulation = modulation ? data(modulation) : nullptr, k.silu = how.silu;
                          k.dx = dst ? data(dst) : nullptr;
                          k.sums = offset(k.dx, size);
                          return k;
                      });
    const auto sums = [&](int64_t from_channel) { // [C, N] of [2C, N]
        const size_t row = size_t(2 * c) * sizeof(float);
        Tensor v = ggml_view_3d(ctx_, all, c, n, 1, row, row * size_t(n),
                                size_t(size + from_channel) * sizeof(float));
        return ggml_cont(ctx_, v);
    };
    return {part(all, 0, c, x->ne[1], x->ne[2], n), sums(0), sums(c)};
}

Backward::Norm CpuBackward::row_norm(Tensor x, Tensor dy, Tensor weight, const Rows &rows) {
    const int64_t size = ggml_nelements(x), dim = rows.dim;
    const Rows how = rows;
    Tensor all = node("d layer_norm", 0, {size + 2 * dim, 1, 1, 1}, {x, dy, weight}, [=](Tensor dst) {
        kernels::RowNormGradient k;
        k.x = data(x), k.dy = data(dy), k.rows = size / dim, k.dim = dim;
        k.centred = how.centred, k.eps = how.eps, k.added = how.added;
        k.weight = vector(weight);
        k.dx = dst ? data(dst) : nullptr;
        k.sums = offset(k.dx, size);
        return k;
    });
    return {part(all, 0, x->ne[0], x->ne[1], x->ne[2], x->ne[3]), part(all, size, dim),
            part(all, size + dim, dim)};
}

Tensor CpuBackward::activation(Tensor x, Act act) {
    return node("activation", 0, shape(x), {x}, [=](Tensor dst) {
        kernels::Elementwise k;
        k.a = data(x), k.size = ggml_nelements(x), k.act = act_of(act);
        k.y = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::activation_by_x(Tensor x, Tensor dy, Act act) {
    return node("d activation", 0, shape(x), {x, dy}, [=](Tensor dst) {
        kernels::ActivationGradient k;
        k.x = data(x), k.dy = data(dy), k.size = ggml_nelements(x), k.act = act_of(act);
        k.dx = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::geglu(Tensor x) {
    const int64_t out = x->ne[0] / 2;
    return node("geglu", 0, {out, x->ne[1], x->ne[2], x->ne[3]}, {x}, [=](Tensor dst) {
        kernels::Geglu k;
        k.x = data(x), k.rows = ggml_nelements(x) / (2 * out), k.out = out;
        k.y = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::geglu_by_x(Tensor x, Tensor dy) {
    const int64_t out = dy->ne[0];
    return node("d geglu", 0, shape(x), {x, dy}, [=](Tensor dst) {
        kernels::GegluGradient k;
        k.x = data(x), k.dy = data(dy), k.rows = ggml_nelements(dy) / out, k.out = out;
        k.dx = dst ? data(dst) : nullptr;
        return k;
    });
}

Tensor CpuBackward::sum_tokens(Tensor x) {
    return node("d bias", 0, {x->ne[0], x->ne[2], 1, 1}, {x}, [=](Tensor dst) {
        kernels::ColumnSums k;
        k.x = data(x), k.dim = x->ne[0], k.rows = x->ne[1], k.n = x->ne[2];
        k.y = dst ? data(dst) : nullptr;
        return k;
    });
}

} // namespace sdgo
