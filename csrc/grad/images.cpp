// Derivatives of the operators that change an image's size or see a pixel's neighbours.
#include "grad/expressions.h"

#include <algorithm>

namespace sdgo {

namespace {

// Zeros between the pixels of dy [W, H, C, N], and before (`first`) or after each:
// [2W, 2H, C, N], cut or padded to a width and height.
Tensor spread(Tape &t, Tensor dy, bool first, int64_t width, int64_t height) {
    ggml_context *ctx = t.context();
    const int64_t w = dy->ne[0], h = dy->ne[1], c = dy->ne[2], n = dy->ne[3];
    const auto doubled = [&](Tensor x, int dim) {
        Tensor zeros = scale(t, x, 0);
        return first ? ggml_concat(ctx, zeros, x, dim) : ggml_concat(ctx, x, zeros, dim);
    };
    Tensor x = shaped(t, doubled(shaped(t, dy, 1, w, h, c * n), 0), 2 * w, 1, h, c * n);
    x = shaped(t, doubled(x, 1), 2 * w, 2 * h, c, n);
    if (width > x->ne[0] || height > x->ne[1]) {
        x = ggml_pad(ctx, x, int(std::max<int64_t>(width - x->ne[0], 0)),
                     int(std::max<int64_t>(height - x->ne[1], 0)), 0, 0);
    }
    return ggml_cont(ctx, ggml_view_4d(ctx, x, width, height, c, n, x->nb[1], x->nb[2], x->nb[3], 0));
}

// A convolution's kernels, [K, K, in, out], turned by 180° and with channels in and out
// swapped: those of its derivative by the image.
Tensor turned(Tape &t, Tensor w) {
    ggml_context *ctx = t.context();
    const int64_t k = w->ne[0], in = w->ne[2], out = w->ne[3];
    w = ggml_cont(ctx, ggml_permute(ctx, w, 0, 1, 3, 2)); // [K, K, out, in]
    if (k == 1) {
        return w;
    }
    // Taps as the slowest dimension, in the opposite order.
    Tensor taps = swapped(t, shaped(t, w, k * k, out * in)); // [out·in, K·K]
    std::vector<Tensor> parts;
    for (int64_t i = k * k; i-- > 0;) {
        parts.push_back(
            ggml_view_3d(ctx, taps, out * in, 1, 1, taps->nb[1], taps->nb[2], size_t(i) * taps->nb[1]));
    }
    while (parts.size() > 1) {
        std::vector<Tensor> pairs;
        for (size_t i = 0; i < parts.size(); i += 2) {
            pairs.push_back(i + 1 < parts.size() ? ggml_concat(ctx, parts[i], parts[i + 1], 1) : parts[i]);
        }
        parts = pairs;
    }
    return shaped(t, swapped(t, parts[0]), k, k, out, in);
}

// The derivative of upsampling by 2 and cutting, [W', H', C, N] → [W, H, C, N].
Tensor derive_upsampled(Tape &t, Tensor dx, int64_t width, int64_t height) {
    ggml_context *ctx = t.context();
    if (dx->ne[0] < 2 * width || dx->ne[1] < 2 * height) {
        dx = ggml_pad(ctx, dx, int(2 * width - dx->ne[0]), int(2 * height - dx->ne[1]), 0, 0);
    }
    return scale(t, ggml_pool_2d(ctx, dx, GGML_OP_POOL_AVG, 2, 2, 2, 2, 0, 0), 4);
}

Tensor upsampled(Tape &t, Tensor nchw, const Conv &c) {
    if (c.up_width == 0) {
        return nchw;
    }
    ggml_context *ctx = t.context();
    Tensor x = ggml_upscale(ctx, nchw, 2, GGML_SCALE_MODE_NEAREST);
    return ggml_cont(ctx, ggml_view_4d(ctx, x, c.up_width, c.up_height, x->ne[2], x->ne[3], x->nb[1],
                                       x->nb[2], x->nb[3], 0));
}

// dW of a convolution as a matrix product of the columns of im2col.
Tensor kernel_gradient(Tape &t, Tensor w, Tensor x, Tensor dy, const Conv &c) {
    ggml_context *ctx = t.context();
    int pad = c.kernel / 2;
    if (c.pad_end) {
        x = ggml_pad(ctx, x, pad, pad, 0, 0);
        pad = 0;
    }
    Tensor columns = ggml_im2col(ctx, w, x, c.stride, c.stride, pad, pad, 1, 1, true, GGML_TYPE_F32);
    return matrix_gradient(t, columns, dy);
}

// Inputs: the image, what is added to channels and to the image, the weight, the bias.
void derive_conv(Tape &t, const Conv &c, const Recorded &r, const Inputs &in, Tensor dy) {
    Ops &ops = t.ops();
    Backward *kernels = t.backward();
    Tensor tokens = ops.tokens(dy), input = r.inputs[0], x = in[0];
    t.give(r.inputs[2], dy);
    if (t.wants(r.inputs[1])) {
        t.give(r.inputs[1], sum_tokens(t, tokens));
    }
    if (t.wants(r.inputs[4])) {
        t.give(r.inputs[4], sum_rows(t, tokens));
    }
    if (kernels) {
        if (t.wants(r.inputs[3])) {
            t.give(r.inputs[3], kernels->convolution_by_weight(x, dy, c));
        }
        if (t.wants(input)) {
            t.give(input, kernels->convolution_by_x(x, dy, in[3], c));
        }
        return;
    }
    if (!t.wants(r.inputs[3]) && !t.wants(input)) {
        return;
    }
    Tensor w = t.float32(in[3]);
    if (t.wants(r.inputs[3])) {
        t.give(r.inputs[3], kernel_gradient(t, w, upsampled(t, ops.image_out(x), c), tokens, c));
    }
    if (!t.wants(input)) {
        return;
    }
    if (c.stride > 1) {
        const int64_t width = ops.width(x), height = ops.height(x);
        dy = ops.image_in(spread(t, ops.image_out(dy), c.pad_end, width, height));
    }
    Tensor dx = ops.convolution(dy, {turned(t, w), nullptr}, {ops.channels(x), c.kernel, 1, false});
    if (c.up_width > 0) {
        dx = ops.image_in(derive_upsampled(t, ops.image_out(dx), ops.width(x), ops.height(x)));
    }
    t.give(input, dx);
}

// The adjoint of a resampling: filters are symmetric, so that it is the opposite one.
Tensor derive_resample(Tape &t, Sampling how, float gain, Tensor x, Tensor dy) {
    Ops &ops = t.ops();
    ggml_context *ctx = t.context();
    const int64_t width = ops.width(x), height = ops.height(x);
    switch (how) {
    case Sampling::same:
        return ops.resample(dy, how, gain);
    case Sampling::mean_down:
    case Sampling::fir_down: {
        const Sampling up = how == Sampling::mean_down ? Sampling::nearest_up : Sampling::fir_up;
        Tensor d = ops.image_out(ops.resample(dy, up, gain / 4));
        if (d->ne[0] < width || d->ne[1] < height) { // an odd side's last pixel is left out
            d = ggml_pad(ctx, d, int(width - d->ne[0]), int(height - d->ne[1]), 0, 0);
        }
        return ops.image_in(d);
    }
    case Sampling::nearest_up:
        return ops.resample(dy, Sampling::mean_down, 4 * gain);
    case Sampling::fir_up:
        return ops.resample(dy, Sampling::fir_down, 4 * gain);
    case Sampling::fir_blur: {
        Tensor d = ops.image_out(ops.resample(dy, how, gain)); // one pixel more on each side
        return ops.image_in(ggml_cont(ctx, ggml_view_4d(ctx, d, width, height, d->ne[2], d->ne[3], d->nb[1],
                                                        d->nb[2], d->nb[3], d->nb[0] + d->nb[1])));
    }
    }
    return dy;
}

} // namespace

Tensor Tape::convolution(Tensor x, const Layer &layer, const Conv &c) {
    return record({{x, c.add_channels, c.add, layer.weight, layer.bias},
                   {},
                   [=](Ops &ops, const Inputs &in) {
                       Conv k = c;
                       k.add_channels = in[1], k.add = in[2];
                       return ops.convolution(in[0], {in[3], in[4]}, k);
                   },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       derive_conv(t, c, r, in, dy);
                   }});
}

Tensor Tape::resample(Tensor x, Sampling how, float gain) {
    return record({{x},
                   {},
                   [=](Ops &ops, const Inputs &in) { return ops.resample(in[0], how, gain); },
                   [=](Tape &t, const Recorded &r, const Inputs &in, Tensor, Tensor dy) {
                       if (t.wants(r.inputs[0])) {
                           t.give(r.inputs[0], derive_resample(t, how, gain, in[0], dy));
                       }
                   }});
}

} // namespace sdgo
