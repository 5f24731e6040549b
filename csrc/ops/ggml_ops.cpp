// Nets' operators in terms of ggml's own, for every device; on the CPU they are the
// slow and simple reference that the kernels are compared with.
// Images are channels-first, ne = [W, H, C, N].
#include "ops/ops.h"

#include <cmath>

namespace sdgo {

namespace {

class GgmlOps : public Ops {
  public:
    GgmlOps(ggml_context *ctx, Weights &weights, const OpChoice &choice, size_t capacity, ggml_type unbound)
        : Ops(ctx, weights, capacity, unbound), choice_(choice) {}

    Tensor image_in(Tensor nchw) override { return nchw; }
    Tensor image_out(Tensor image) override { return image; }
    int64_t width(Tensor image) const override { return image->ne[0]; }
    int64_t height(Tensor image) const override { return image->ne[1]; }
    int64_t channels(Tensor image) const override { return image->ne[2]; }

    Tensor convolution(Tensor x, const Layer &layer, const Conv &c) override {
        Tensor w = layer.weight, b = layer.bias;
        if (w->type != GGML_TYPE_F32 && w->type != GGML_TYPE_F16) {
            w = ggml_cast(ctx_, w, GGML_TYPE_F32); // the operator takes these two types
        }
        if (c.up_width > 0) {
            x = upsample(x, c.up_width, c.up_height);
        }
        int pad = c.kernel / 2;
        if (c.pad_end) {
            x = ggml_pad(ctx_, x, pad, pad, 0, 0);
            pad = 0;
        }
        const int64_t in = x->ne[2];
        x = choice_.direct_conv ? ggml_conv_2d_direct(ctx_, w, x, c.stride, c.stride, pad, pad, 1, 1)
                                : convolve(w, x, c.stride, pad);
        count(2.0 * double(ggml_nelements(x)) * double(in * c.kernel * c.kernel));
        if (b) {
            x = ggml_add(ctx_, x, ggml_reshape_4d(ctx_, b, 1, 1, c.out, 1));
        }
        if (c.add_channels) {
            x = ggml_add(ctx_, x, ggml_reshape_4d(ctx_, c.add_channels, 1, 1, c.out, c.add_channels->ne[1]));
        }
        return c.add ? ggml_add(ctx_, x, c.add) : x;
    }

    Tensor group_norm(Tensor x, const std::string &name, const GroupNorm &g) override {
        const int64_t n = x->ne[2];
        check_groups(name, g, n, x->ne[3]);
        Tensor w = weight(name + ".weight", {n}), b = weight(name + ".bias", {n});
        x = ggml_group_norm(ctx_, x, g.groups, g.eps);
        x = ggml_mul(ctx_, x, ggml_reshape_4d(ctx_, w, 1, 1, n, 1));
        x = ggml_add(ctx_, x, ggml_reshape_4d(ctx_, b, 1, 1, n, 1));
        if (g.modulation) {
            Tensor scale = ggml_reshape_4d(ctx_, chunk(g.modulation, 0, 2), 1, 1, n, x->ne[3]);
            Tensor shift = ggml_reshape_4d(ctx_, chunk(g.modulation, 1, 2), 1, 1, n, x->ne[3]);
            x = ggml_add(ctx_, ggml_add(ctx_, x, ggml_mul(ctx_, x, scale)), shift);
        }
        return g.silu ? ggml_silu(ctx_, x) : x;
    }

    Tensor concat(Tensor a, Tensor b) override { return ggml_concat(ctx_, a, b, 2); }

    // [1, 3, 3, 1] / 8 is [1, 2, 1] / 4 and the mean of two.
    Tensor resample(Tensor x, Sampling how, float gain) override {
        switch (how) {
        case Sampling::same:
            break;
        case Sampling::mean_down:
            x = ggml_pool_2d(ctx_, x, GGML_OP_POOL_AVG, 2, 2, 2, 2, 0, 0);
            break;
        case Sampling::nearest_up:
            x = ggml_upscale(ctx_, x, 2, GGML_SCALE_MODE_NEAREST);
            break;
        case Sampling::fir_down:
            x = ggml_pool_2d(ctx_, filter(x, 3), GGML_OP_POOL_AVG, 2, 2, 2, 2, 0, 0);
            break;
        case Sampling::fir_up:
            x = filter(ggml_upscale(ctx_, x, 2, GGML_SCALE_MODE_NEAREST), 3);
            break;
        case Sampling::fir_blur:
            x = filter(x, 4);
            break;
        }
        return gain == 1 ? x : ggml_scale(ctx_, x, gain);
    }

    Tensor prelu(Tensor x, const std::string &name) override {
        const int64_t c = x->ne[2];
        return prelu_with(x, ggml_reshape_3d(ctx_, weight(name + ".weight", {c}), 1, 1, c));
    }

    Tensor tokens(Tensor x) override {
        const int64_t w = x->ne[0], h = x->ne[1], c = x->ne[2], n = x->ne[3];
        x = ggml_cont(ctx_, ggml_permute(ctx_, x, 1, 2, 0, 3)); // [C, W, H, N]
        return ggml_reshape_3d(ctx_, x, c, w * h, n);
    }

    Tensor image(Tensor x, int64_t width, int64_t height) override {
        x = ggml_reshape_4d(ctx_, x, x->ne[0], width, height, x->ne[2]);
        return ggml_cont(ctx_, ggml_permute(ctx_, x, 2, 0, 1, 3)); // [W, H, C, N]
    }

    Tensor product(Tensor x, const Layer &layer, const Linear &l, Tensor before) override {
        const int64_t in = x->ne[0];
        const bool matrix = layer.weight->ne[0] == in; // and not a convolution's
        x = multiply(matrix ? layer.weight : ggml_reshape_2d(ctx_, layer.weight, in, l.out), x);
        count(2.0 * double(ggml_nelements(x)) * double(in));
        if (layer.bias) {
            x = ggml_add(ctx_, x, layer.bias);
        }
        if (before) {
            x = ggml_add(ctx_, x, before);
        }
        x = activate(x, l.act);
        return l.add ? ggml_add(ctx_, x, l.add) : x;
    }

    Tensor gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) override {
        x = product(x, layer, {2 * out}, before);
        Tensor value = ggml_view_3d(ctx_, x, out, x->ne[1], x->ne[2], x->nb[1], x->nb[2], 0);
        Tensor gate =
            ggml_view_3d(ctx_, x, out, x->ne[1], x->ne[2], x->nb[1], x->nb[2], size_t(out) * x->nb[0]);
        return ggml_mul(ctx_, ggml_gelu_erf(ctx_, ggml_cont(ctx_, gate)), value);
    }

    Tensor scale_channels(Tensor x, Tensor factors) override {
        return ggml_mul(ctx_, x, ggml_reshape_4d(ctx_, factors, 1, 1, x->ne[2], 1));
    }

    Tensor layer_norm(Tensor x, const std::string &name, float eps) override {
        const int64_t n = x->ne[0];
        if (name.empty()) {
            return ggml_norm(ctx_, x, eps);
        }
        Tensor w = weight(name + ".weight", {n}), b = weight(name + ".bias", {n});
        return ggml_add(ctx_, ggml_mul(ctx_, ggml_norm(ctx_, x, eps), w), b);
    }

    Tensor rms_norm(Tensor x, const std::string &name, float eps, int heads) override {
        const int64_t dim = check_heads(x->ne[0], heads), length = x->ne[1], n = x->ne[2];
        Tensor w = weight(norm_weight(name), {dim});
        Tensor y = ggml_rms_norm(ctx_, ggml_reshape_4d(ctx_, x, dim, heads, length, n), eps);
        return ggml_reshape_3d(ctx_, ggml_mul(ctx_, y, w), dim * heads, length, n);
    }

    Tensor unit_norm(Tensor x, int heads) override {
        const int64_t dim = check_heads(x->ne[0], heads), length = x->ne[1], n = x->ne[2];
        x = ggml_reshape_4d(ctx_, x, dim, heads, length, n);
        Tensor added = ggml_arange(ctx_, kUnitEps, kUnitEps + 0.5f, 1); // one number
        Tensor root = ggml_add(ctx_, ggml_sqrt(ctx_, ggml_mean(ctx_, ggml_mul(ctx_, x, x))), added);
        return ggml_reshape_3d(ctx_, ggml_div(ctx_, x, root), dim * heads, length, n);
    }

    Tensor modulate(Tensor x, Tensor scale, Tensor shift) override {
        check_modulate(x, scale, shift);
        const int64_t c = x->ne[0], n = x->ne[2];
        Tensor y = ggml_add(ctx_, x, ggml_mul(ctx_, x, ggml_reshape_3d(ctx_, scale, c, 1, n)));
        return ggml_add(ctx_, y, ggml_reshape_3d(ctx_, shift, c, 1, n));
    }

    Tensor gated(Tensor x, Tensor y, Tensor gate) override {
        check_gate(x, y, gate);
        return ggml_add(ctx_, x, ggml_mul(ctx_, y, ggml_reshape_3d(ctx_, gate, x->ne[0], 1, x->ne[2])));
    }

    // With the numbers of a pair in two tensors, [dim/2, heads, L, N] each.
    Tensor rope(Tensor x, Tensor cos, Tensor sin, int heads, Pairs pairs) override {
        check_rope(x, cos, sin, heads);
        const int64_t c = x->ne[0], length = x->ne[1], n = x->ne[2], half = c / heads / 2;
        cos = ggml_reshape_4d(ctx_, cos, half, 1, length, 1);
        sin = ggml_reshape_4d(ctx_, sin, half, 1, length, 1);
        size_t other; // from the first number of a pair to the second
        if (pairs == Pairs::interleaved) {
            x = ggml_reshape_4d(ctx_, x, 2, c / 2, length, n);
            x = ggml_cont(ctx_, ggml_permute(ctx_, x, 3, 0, 1, 2)); // [C/2, L, N, 2]
            other = x->nb[3];
        } else {
            other = size_t(half) * x->nb[0];
        }
        const size_t head = size_t(pairs == Pairs::interleaved ? half : 2 * half) * x->nb[0];
        const auto part = [&](size_t offset) {
            return ggml_cont(ctx_,
                             ggml_view_4d(ctx_, x, half, heads, length, n, head, x->nb[1], x->nb[2], offset));
        };
        Tensor a = part(0), b = part(other);
        Tensor first = ggml_sub(ctx_, ggml_mul(ctx_, a, cos), ggml_mul(ctx_, b, sin));
        Tensor second = ggml_add(ctx_, ggml_mul(ctx_, a, sin), ggml_mul(ctx_, b, cos));
        if (pairs == Pairs::halves) {
            return ggml_reshape_3d(ctx_, ggml_concat(ctx_, first, second, 0), c, length, n);
        }
        Tensor y = ggml_concat(ctx_, ggml_reshape_3d(ctx_, first, c / 2, length, n),
                               ggml_reshape_3d(ctx_, second, c / 2, length, n), 3); // [C/2, L, N, 2]
        return ggml_reshape_3d(ctx_, ggml_cont(ctx_, ggml_permute(ctx_, y, 1, 2, 3, 0)), c, length, n);
    }

    Tensor attention(Tensor q, Tensor k, Tensor v, int heads, bool causal) override {
        const int64_t c = q->ne[0], d = c / heads, lq = q->ne[1], lk = k->ne[1], n = q->ne[2];
        count(4.0 * double(c * n) * double(lq * lk));
        q = ggml_permute(ctx_, ggml_reshape_4d(ctx_, q, d, heads, lq, n), 0, 2, 1, 3); // [D, Lq, heads, N]
        k = ggml_permute(ctx_, ggml_reshape_4d(ctx_, k, d, heads, lk, n), 0, 2, 1, 3); // [D, Lk, heads, N]
        if (choice_.flash_attention && !choice_.float32 && !causal) {
            v = ggml_permute(ctx_, ggml_reshape_4d(ctx_, v, d, heads, lk, n), 0, 2, 1, 3);
            k = ggml_cast(ctx_, k, GGML_TYPE_F16);
            v = ggml_cast(ctx_, v, GGML_TYPE_F16); // both [D, Lk, heads, N]
            Tensor y = ggml_flash_attn_ext(ctx_, q, k, v, nullptr, 1.0f / std::sqrt(float(d)), 0.0f, 0.0f);
            ggml_flash_attn_ext_set_prec(y, GGML_PREC_F32);
            return ggml_reshape_3d(ctx_, y, c, lq, n); // from [D, heads, Lq, N]
        }
        v = ggml_permute(ctx_, ggml_reshape_4d(ctx_, v, d, heads, lk, n), 1, 2, 0, 3); // [Lk, D, heads, N]
        Tensor s = multiply(ggml_cont(ctx_, k), ggml_cont(ctx_, q));                   // [Lk, Lq, heads, N]
        if (causal) {
            s = ggml_diag_mask_inf(ctx_, s, 0);
        }
        s = ggml_soft_max_ext(ctx_, s, nullptr, 1.0f / std::sqrt(float(d)), 0.0f);
        Tensor y = multiply(ggml_cont(ctx_, v), s);             // [D, Lq, heads, N]
        y = ggml_cont(ctx_, ggml_permute(ctx_, y, 0, 2, 1, 3)); // [D, heads, Lq, N]
        return ggml_reshape_3d(ctx_, y, c, lq, n);
    }

    Tensor self_attention(Tensor qkv, int heads, Fused order) override {
        check_fused(qkv, heads);
        const Fusion parts = fused_parts(ctx_, qkv, heads, order);
        return attention(parts.q, parts.k, parts.v, heads, false);
    }

  private:
    // Each channel filtered by [1, 2, 1] / 4 (taps = 3) or [1, 3, 3, 1] / 8 (4) in both
    // directions, with zeros around it. The taps are 1 + i·(taps - 1 - i).
    Tensor filter(Tensor x, int taps) {
        Tensor i = ggml_arange(ctx_, 0, float(taps), 1);
        Tensor one = ggml_exp(ctx_, ggml_scale(ctx_, i, 0));
        Tensor k =
            ggml_add(ctx_, one, ggml_sub(ctx_, ggml_scale(ctx_, i, float(taps - 1)), ggml_mul(ctx_, i, i)));
        k = ggml_scale(ctx_, k, taps == 3 ? 0.25f : 0.125f);
        k = ggml_mul_mat(ctx_, ggml_reshape_2d(ctx_, k, 1, taps), ggml_reshape_2d(ctx_, k, 1, taps));
        k = ggml_reshape_4d(ctx_, k, taps, taps, 1, 1);
        const int64_t w = x->ne[0], h = x->ne[1], c = x->ne[2], n = x->ne[3];
        x = ggml_reshape_4d(ctx_, x, w, h, 1, c * n);
        const int pad = taps / 2;
        x = choice_.direct_conv ? ggml_conv_2d_direct(ctx_, k, x, 1, 1, pad, pad, 1, 1)
                                : convolve(k, x, 1, pad);
        return ggml_reshape_4d(ctx_, x, x->ne[0], x->ne[1], c, n);
    }

    Tensor multiply(Tensor a, Tensor b) {
        Tensor y = ggml_mul_mat(ctx_, a, b);
        if (choice_.float32) {
            ggml_mul_mat_set_prec(y, GGML_PREC_F32);
        }
        return y;
    }

    // A convolution as a matrix product: a column of im2col holds what one output pixel
    // depends on. Columns are float16 if the kernel is, unless float32 is asked for.
    Tensor convolve(Tensor w, Tensor x, int stride, int pad) {
        const ggml_type columns = choice_.float32 ? GGML_TYPE_F32 : w->type;
        Tensor y = ggml_im2col(ctx_, w, x, stride, stride, pad, pad, 1, 1, true, columns); // [K, OW, OH, N]
        const int64_t k = y->ne[0], width = y->ne[1], height = y->ne[2], n = y->ne[3], out = w->ne[3];
        if (w->type != columns) {
            w = ggml_cast(ctx_, w, columns);
        }
        y = multiply(ggml_reshape_2d(ctx_, y, k, width * height * n), ggml_reshape_2d(ctx_, w, k, out));
        y = ggml_reshape_4d(ctx_, y, width, height, n, out);
        return ggml_cont(ctx_, ggml_permute(ctx_, y, 0, 1, 3, 2)); // [OW, OH, out, N]
    }

    Tensor upsample(Tensor x, int64_t width, int64_t height) {
        x = ggml_upscale(ctx_, x, 2, GGML_SCALE_MODE_NEAREST);
        if (width == x->ne[0] && height == x->ne[1]) {
            return x;
        }
        x = ggml_view_4d(ctx_, x, width, height, x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3], 0);
        return ggml_cont(ctx_, x);
    }

    OpChoice choice_;
};

} // namespace

Fusion fused_parts(ggml_context *ctx, Tensor qkv, int heads, Fused order) {
    const int64_t c = qkv->ne[0] / 3, dim = c / heads, l = qkv->ne[1], n = qkv->ne[2];
    const size_t size = qkv->nb[0], head = size_t(order == Fused::whole ? dim : 3 * dim) * size;
    const size_t other = size_t(order == Fused::whole ? c : dim) * size;
    const auto part = [&](size_t i) {
        Tensor x = ggml_view_4d(ctx, qkv, dim, heads, l, n, head, qkv->nb[1], qkv->nb[2], i * other);
        return ggml_reshape_3d(ctx, ggml_cont(ctx, x), c, l, n);
    };
    return {part(0), part(1), part(2)};
}

std::unique_ptr<Ops> ggml_ops(ggml_context *ctx, Weights &weights, const OpChoice &choice, size_t capacity,
                              ggml_type unbound) {
    return std::make_unique<GgmlOps>(ctx, weights, choice, capacity, unbound);
}

} // namespace sdgo
