// Operators on tokens that diffusion transformers with several streams are made of.
#include "ops/ops.h"

namespace sdgo {

std::string Ops::norm_weight(const std::string &name) {
    const std::string scale = ".scale"; // as FLUX.1's authors call it
    const bool whole =
        name.size() >= scale.size() && name.compare(name.size() - scale.size(), scale.size(), scale) == 0;
    return whole ? name : name + ".weight";
}

namespace {

[[noreturn]] void no_merging() {
    invalid("tokens are merged by this library's kernels alone, and without gradients");
}

} // namespace

Tensor Ops::merge_plan(Tensor, int64_t, int64_t, Tensor) {
    no_merging();
}
Tensor Ops::merge(Tensor, Tensor, Tensor) {
    no_merging();
}
Tensor Ops::unmerge(Tensor, Tensor, Tensor) {
    no_merging();
}

Tensor Ops::slice_channels(Tensor x, int64_t from, int64_t length) {
    if (from < 0 || length < 1 || from > x->ne[0] - length) {
        invalid("%lld channels have no %lld from number %lld on", (long long)x->ne[0], (long long)length,
                (long long)from);
    }
    return ggml_cont(
        ctx_, ggml_view_3d(ctx_, x, length, x->ne[1], x->ne[2], x->nb[1], x->nb[2], size_t(from) * x->nb[0]));
}

Tensor Ops::concat_channels(Tensor a, Tensor b) {
    if (a->ne[1] != b->ne[1] || a->ne[2] != b->ne[2]) {
        invalid("channels of tokens of the shapes %s and %s cannot be joined", text(unfold(a->ne, 3)).c_str(),
                text(unfold(b->ne, 3)).c_str());
    }
    return ggml_concat(ctx_, a, b, 0);
}

Tensor Ops::regrouped(Tensor x, int64_t groups) {
    const int64_t all = x->ne[1] * x->ne[2];
    if (groups < 1 || all % groups != 0) {
        invalid("%lld tokens do not divide into %lld groups", (long long)all, (long long)groups);
    }
    return ggml_reshape_3d(ctx_, x, x->ne[0], all / groups, groups);
}

Tensor Ops::joined_tokens(Tensor x, int64_t n) {
    if (n < 1 || x->ne[1] % n != 0) {
        invalid("%lld tokens do not divide into groups of %lld", (long long)x->ne[1], (long long)n);
    }
    return ggml_reshape_3d(ctx_, x, x->ne[0] * n, x->ne[1] / n, x->ne[2]);
}

Tensor Ops::gelu_tanh(Tensor x) {
    return activate(x, Act::gelu_tanh);
}

Tensor Ops::gelu(Tensor x) {
    return activate(x, Act::gelu);
}

Tensor Ops::fused_part(Tensor x, int heads, Fused order, int64_t index, int64_t parts) {
    if (order == Fused::whole) {
        return chunk(x, index, parts);
    }
    const int64_t c = x->ne[0] / parts, dim = c / heads, l = x->ne[1], n = x->ne[2];
    Tensor y = ggml_view_4d(ctx_, x, dim, heads, l, n, size_t(parts * dim) * x->nb[0], x->nb[1], x->nb[2],
                            size_t(index * dim) * x->nb[0]);
    return ggml_reshape_3d(ctx_, ggml_cont(ctx_, y), c, l, n);
}

Tensor Ops::patches_back(Tensor x, int64_t p, int64_t width, int64_t height) {
    const int64_t c = x->ne[0] / (p * p), n = x->ne[2];
    x = ggml_reshape_4d(ctx_, x, p * p, c, width * height, n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [p·p, w·h, c, n]
    x = ggml_reshape_4d(ctx_, x, p, p, width, height * c * n);
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 0, 2, 1, 3)); // [p, w, p, h·c·n]
    return ggml_reshape_4d(ctx_, x, p * width, p * height, c, n);
}

Tensor Ops::central_positions(Tensor x, const std::string &name, int64_t side, int64_t width,
                              int64_t height) {
    const int64_t c = x->ne[0];
    Tensor table = weight(name, {1, side * side, c});
    const int64_t first = (side - height) / 2 * side + (side - width) / 2;
    if (width > side || height > side || x->ne[1] != width * height) {
        invalid("%s: there are positions for %lldx%lld tokens, got %lldx%lld", name.c_str(), (long long)side,
                (long long)side, (long long)width, (long long)height);
    }
    table = ggml_view_3d(ctx_, table, c, width, height, table->nb[1], table->nb[1] * size_t(side),
                         size_t(first) * table->nb[1]);
    table = table->type == GGML_TYPE_F32 ? ggml_cont(ctx_, table) : ggml_cast(ctx_, table, GGML_TYPE_F32);
    return ggml_add(ctx_, x, ggml_reshape_3d(ctx_, table, c, width * height, 1));
}

} // namespace sdgo
