#include "ops/ops.h"

#include "core/context.h"

namespace sdgo {

namespace {

// Tensors that are made, at most, from one weight to the next.
constexpr size_t kMargin = 64;

} // namespace

void Ops::expect_room() const {
    const size_t made = Context::tensors(ctx_);
    if (made - placeholders_ + kMargin > kMaxNodes) {
        invalid("the net is too large: more than %zu operators", kMaxNodes - kMargin);
    }
    if (capacity_ > 0 && made + kMargin > capacity_) {
        throw Full();
    }
}

Tensor Ops::weight(const std::string &name, const Shape &shape) {
    expect_room();
    const size_t index = weights_.require(name, shape);
    if (Tensor bound = weights_.sealed() ? weights_.tensor(index) : nullptr) {
        return bound;
    }
    // The declaring pass, and an estimate before weights are bound, take a
    // placeholder of the right shape.
    const Folded f = fold(shape);
    // Vectors are float32 whatever a file says (weights.cpp).
    Tensor t = ggml_new_tensor(ctx_, shape.size() == 1 ? GGML_TYPE_F32 : unbound_, f.n_dims, f.ne);
    t->data = weights_.sealed() ? kUnallocated : nullptr;
    placeholders_++;
    return t;
}

void Ops::check_groups(const std::string &name, const GroupNorm &g, int64_t channels) {
    if (g.groups < 1 || channels % g.groups != 0) {
        invalid("%s: %lld channels do not divide into %d groups", name.c_str(), (long long)channels,
                g.groups);
    }
}

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

Tensor Ops::silu(Tensor x) {
    return ggml_silu(ctx_, x);
}

Tensor Ops::add(Tensor a, Tensor b) {
    return ggml_add(ctx_, a, b);
}

Tensor Ops::scale(Tensor x, float factor) {
    return ggml_scale(ctx_, x, factor);
}

Tensor Ops::leaky_relu(Tensor x, float slope) {
    return ggml_leaky_relu(ctx_, x, slope, false);
}

Tensor Ops::embedding(Tensor ids, const std::string &name, int64_t rows, int64_t width) {
    const int64_t length = ids->ne[0], batch = ids->ne[1];
    Tensor table = weight(name, {rows, width});
    Tensor flat = ggml_get_rows(ctx_, table, ggml_reshape_2d(ctx_, ids, length * batch, 1));
    return ggml_reshape_3d(ctx_, flat, width, length, batch);
}

Tensor Ops::positions(Tensor x, const std::string &name, int64_t length) {
    Tensor table = weight(name, {length, x->ne[0]});
    if (table->type != GGML_TYPE_F32) {
        table = ggml_cast(ctx_, table, GGML_TYPE_F32);
    }
    table =
        ggml_view_3d(ctx_, table, x->ne[0], x->ne[1], 1, table->nb[1], table->nb[1] * size_t(x->ne[1]), 0);
    return ggml_add(ctx_, x, table);
}

Tensor Ops::timestep_embedding(Tensor t, int64_t dim) {
    return ggml_timestep_embedding(ctx_, t, int(dim), 10000);
}

} // namespace sdgo
