// Operators that move numbers to other places, or choose among them, the same in every
// implementation.
#include "ops/ops.h"

namespace sdgo {

Tensor Ops::frames_in(Tensor video, int64_t n) {
    const int64_t w = video->ne[0], h = video->ne[1], t = video->ne[2], c = video->ne[3] / n;
    Tensor x = ggml_reshape_4d(ctx_, video, w * h, t, c, n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [W·H, C, T, N]
    return image_in(ggml_reshape_4d(ctx_, x, w, h, c, t * n));
}

Tensor Ops::frames_out(Tensor frames, int64_t n) {
    Tensor x = image_out(frames);
    const int64_t w = x->ne[0], h = x->ne[1], c = x->ne[2], t = x->ne[3] / n;
    x = ggml_reshape_4d(ctx_, x, w * h, c, t, n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [W·H, T, C, N]
    return ggml_reshape_4d(ctx_, x, w, h, t, c * n);
}

Tensor Ops::patches_in(Tensor x, int64_t p) {
    const int64_t w = x->ne[0] / p, h = x->ne[1] / p, c = x->ne[2], n = x->ne[3];
    x = ggml_reshape_4d(ctx_, x, p, w, p, h * c * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [p, p, w, h·c·n]
    x = ggml_reshape_4d(ctx_, x, p * p, w * h, c, n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [p·p, c, w·h, n]
    return ggml_reshape_3d(ctx_, x, p * p * c, w * h, n);
}

Tensor Ops::patches_out(Tensor x, int64_t p, int64_t width, int64_t height) {
    const int64_t c = x->ne[0] / (p * p), n = x->ne[2];
    x = ggml_reshape_4d(ctx_, x, c * p, p, width, height * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [c·p, width, p, height·n]
    x = ggml_reshape_4d(ctx_, x, c, p * width, p * height, n);
    return ggml_cont(ctx_, ggml_permute(ctx_, x, 2, 0, 1, 3)); // [W, H, C, N]
}

Tensor Ops::pixels_in(Tensor x, int64_t p) {
    const int64_t width = x->ne[0] / p, height = x->ne[1] / p, c = x->ne[2], n = x->ne[3];
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 1, 2, 0, 3)); // [C, W, H, N]
    x = ggml_reshape_4d(ctx_, x, c * p, width, p, height * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [c·p, p, width, height·n]
    return ggml_reshape_3d(ctx_, x, c * p * p, width * height, n);
}

// The columns of each row first, then the rows: ggml's tensors have four dimensions.
Tensor Ops::pixel_shuffle(Tensor x, int side) {
    const int64_t w = x->ne[0], h = x->ne[1], c = x->ne[2], n = x->ne[3];
    if (side < 1 || c % (int64_t(side) * side) != 0) {
        invalid("%lld channels do not divide into squares of %d x %d", (long long)c, side, side);
    }
    const int64_t out = c / side / side;
    x = ggml_reshape_4d(ctx_, x, w, h, side, side * out * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 1, 2, 0, 3)); // [side, W, H, side·C·N]
    x = ggml_reshape_4d(ctx_, x, side * w, h, side, out * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [W·side, side, H, C·N]
    return ggml_reshape_4d(ctx_, x, side * w, side * h, out, n);
}

Tensor Ops::nearest(Tensor x, int factor) {
    return factor == 1 ? x : ggml_upscale(ctx_, x, factor, GGML_SCALE_MODE_NEAREST);
}

// A side that is odd gets its last pixels twice.
Tensor Ops::max_pool(Tensor image) {
    Tensor x = image_out(image);
    if (x->ne[0] % 2 != 0) {
        Tensor last = ggml_view_4d(ctx_, x, 1, x->ne[1], x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3],
                                   size_t(x->ne[0] - 1) * x->nb[0]);
        x = ggml_concat(ctx_, x, ggml_cont(ctx_, last), 0);
    }
    if (x->ne[1] % 2 != 0) {
        Tensor last = ggml_view_4d(ctx_, x, x->ne[0], 1, x->ne[2], x->ne[3], x->nb[1], x->nb[2], x->nb[3],
                                   size_t(x->ne[1] - 1) * x->nb[1]);
        x = ggml_concat(ctx_, x, ggml_cont(ctx_, last), 1);
    }
    return image_in(ggml_pool_2d(ctx_, x, GGML_OP_POOL_MAX, 2, 2, 2, 2, 0, 0));
}

Tensor Ops::minus_channels(Tensor x, const std::string &name) {
    Tensor numbers = weight(name, {x->ne[2]});
    return ggml_sub(ctx_, x, ggml_reshape_4d(ctx_, numbers, 1, 1, x->ne[2], 1));
}

Tensor Ops::number_embeddings(Tensor numbers, int64_t dim) {
    const int64_t k = numbers->ne[0], n = ggml_nelements(numbers) / k;
    return ggml_reshape_2d(ctx_, timestep_embedding(ggml_reshape_2d(ctx_, numbers, k * n, 1), dim), dim * k,
                           n);
}

} // namespace sdgo
