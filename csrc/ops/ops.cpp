#include "ops/ops.h"

#include "core/context.h"

#include <algorithm>
#include <cmath>

namespace sdgo {

namespace {

// The most tensors that are made from one weight to the next.
constexpr size_t kMargin = 64;

} // namespace

void Ops::expect_room() const {
    const size_t made = Context::tensors(ctx_);
    if (made - placeholders_ + kMargin > max_nodes_) {
        invalid("the net is too large: more than %zu operators", max_nodes_ - kMargin);
    }
    if (capacity_ > 0 && made + kMargin > capacity_) {
        throw Full();
    }
}

Tensor Ops::weight(const std::string &name, const Shape &shape) {
    expect_room();
    const size_t index = weights_.require(name, shape);
    if (Tensor t = whole(name)) {
        return t;
    }
    if (Tensor bound = weights_.sealed() ? weights_.tensor(index) : nullptr) {
        return bound;
    }
    // In the declaring pass, and in an estimate before weights are bound, a placeholder
    // of the right shape takes the weight's place.
    const Folded f = fold(shape);
    // Vectors are float32, whatever type a file has (core/weights.cpp).
    Tensor t = ggml_new_tensor(ctx_, shape.size() == 1 ? GGML_TYPE_F32 : unbound_, f.n_dims, f.ne);
    t->data = weights_.sealed() ? kUnallocated : nullptr;
    placeholders_++;
    return t;
}

template <class F> void Ops::each_low_rank(const std::string &weight, F f) const {
    for (const auto &adapter : adapters_) {
        for (const LowRank &low : adapter->low_rank(weight)) {
            f(low);
        }
    }
}

template <class F> const LowRank *Ops::own_low_rank(const std::string &weight, Layer layer, F takes) const {
    each_low_rank(weight, [&](const LowRank &low) { layer.low = layer.low ? layer.low : &low; });
    return layer.low && takes(layer) ? layer.low : nullptr;
}

Tensor Ops::whole(const std::string &weight) const {
    Tensor found = nullptr;
    for (const auto &adapter : adapters_) {
        if (Tensor t = adapter->whole(weight)) {
            if (found) {
                invalid("two adapters replace weight %s", weight.c_str());
            }
            found = t;
        }
    }
    return found;
}

// The last factor adds to the sum what the one before has, so no sum has an operator of
// its own.
Tensor Ops::conv2d(Tensor x, const std::string &name, const Conv &c) {
    const std::string kernel = name + ".weight";
    Layer layer{weight(kernel, {c.out, channels(x), c.kernel, c.kernel}), nullptr};
    layer.bias = c.bias ? weight(name + ".bias", {c.out}) : nullptr;
    layer.low = own_low_rank(kernel, layer, [&](const Layer &l) { return takes_low_rank(x, l, c); });
    Conv last = c;
    each_low_rank(kernel, [&](const LowRank &low) {
        if (&low == layer.low) {
            return;
        }
        expect_room();
        Conv strided = c; // what has the layer's kernel
        strided.out = low.rank(), strided.bias = false;
        strided.add_channels = strided.add = nullptr;
        Tensor h = x;
        if (low.mid) {
            h = convolution(h, {low.down, nullptr}, {low.rank(), 1, 1, false});
        }
        h = convolution(h, {low.mid ? low.mid : low.down, nullptr}, strided);
        Conv up{c.out, 1, 1, false};
        up.add = last.add;
        last.add = convolution(scale_channels(h, low.scale), {low.up, nullptr}, up);
    });
    return convolution(x, layer, last);
}

Tensor Ops::low_rank(Tensor x, const std::string &name, const Linear &l, Tensor add, const LowRank *but) {
    each_low_rank(name + ".weight", [&](const LowRank &low) {
        if (&low == but) {
            return;
        }
        expect_room();
        Linear down{low.rank(), false}, up{low.up->ne[1], false};
        down.vectors = up.vectors = l.vectors;
        up.add = add;
        Tensor h = product(x, {low.down, nullptr}, down, nullptr);
        add = product(ggml_mul(ctx_, h, low.scale), {low.up, nullptr}, up, nullptr);
    });
    return add;
}

Tensor Ops::linear(Tensor x, const std::string &name, const Linear &l) {
    Layer layer{weight(name + ".weight", l.shape.empty() ? Shape{l.out, x->ne[0]} : l.shape), nullptr};
    layer.bias = l.bias ? weight(name + ".bias", {l.out}) : nullptr;
    layer.low = own_low_rank(name + ".weight", layer,
                             [&](const Layer &own) { return takes_low_rank(x, own, l, false); });
    if (l.act != Act::none) {
        return product(x, layer, l, low_rank(x, name, l, nullptr, layer.low));
    }
    Linear last = l;
    last.add = low_rank(x, name, l, l.add, layer.low);
    return product(x, layer, last, nullptr);
}

Tensor Ops::geglu(Tensor x, const std::string &name, int64_t out) {
    Layer layer{weight(name + ".weight", {2 * out, x->ne[0]}), weight(name + ".bias", {2 * out})};
    layer.low = own_low_rank(name + ".weight", layer,
                             [&](const Layer &own) { return takes_low_rank(x, own, {out}, true); });
    return gated_product(x, layer, out, low_rank(x, name, {2 * out}, nullptr, layer.low));
}

void Ops::check_groups(const std::string &name, const GroupNorm &g, int64_t channels, int64_t images) {
    if (g.groups < 1 || channels % g.groups != 0) {
        invalid("%s: %lld channels do not divide into %d groups", name.c_str(), (long long)channels,
                g.groups);
    }
    if (g.modulation &&
        (g.modulation->ne[0] != 2 * channels || ggml_nelements(g.modulation) != 2 * channels * images)) {
        invalid("%s: modulation must have the shape [%lld, %lld], got %s", name.c_str(), (long long)images,
                (long long)(2 * channels), text(unfold(g.modulation->ne, 2)).c_str());
    }
}

int64_t Ops::check_fused(Tensor qkv, int heads) {
    if (qkv->ne[0] % 3 != 0) {
        invalid("%lld channels are not queries, keys and values", (long long)qkv->ne[0]);
    }
    check_heads(qkv->ne[0] / 3, heads);
    return qkv->ne[0] / 3;
}

int64_t Ops::check_heads(int64_t channels, int heads) {
    if (heads < 1 || channels % heads != 0) {
        invalid("%lld channels do not divide into %d heads", (long long)channels, heads);
    }
    return channels / heads;
}

void Ops::check_modulate(Tensor x, Tensor scale, Tensor shift) {
    for (Tensor t : {scale, shift}) {
        if (t->ne[0] != x->ne[0] || t->ne[1] != x->ne[2] || ggml_nelements(t) != x->ne[0] * x->ne[2]) {
            invalid("modulate: scale and shift must have the shape [%lld, %lld], got %s", (long long)x->ne[2],
                    (long long)x->ne[0], text(unfold(t->ne, 2)).c_str());
        }
    }
}

void Ops::check_gate(Tensor x, Tensor y, Tensor gate) {
    check_modulate(x, gate, gate);
    if (!std::equal(x->ne, x->ne + kTensorDims, y->ne)) {
        invalid("gate: both tensors must have the same shape, got %s and %s", text(unfold(x->ne, 3)).c_str(),
                text(unfold(y->ne, 3)).c_str());
    }
}

void Ops::check_rope(Tensor x, Tensor cos, Tensor sin, int heads) {
    const int64_t dim = check_heads(x->ne[0], heads);
    if (dim % 2 != 0) {
        invalid("rope: a head must have an even number of channels, got %lld", (long long)dim);
    }
    for (Tensor t : {cos, sin}) {
        if (t->ne[0] != dim / 2 || t->ne[1] != x->ne[1] || ggml_nelements(t) != dim / 2 * x->ne[1]) {
            invalid("rope: cosines and sines must have the shape [%lld, %lld], got %s", (long long)x->ne[1],
                    (long long)dim / 2, text(unfold(t->ne, 2)).c_str());
        }
    }
}

Tensor Ops::prelu_with(Tensor x, Tensor slopes) {
    Tensor positive = ggml_leaky_relu(ctx_, x, 0, false);
    return ggml_add(ctx_, positive, ggml_mul(ctx_, ggml_sub(ctx_, x, positive), slopes));
}

Tensor Ops::times(Tensor x, float factor) {
    return ggml_scale(ctx_, x, factor);
}

Tensor Ops::clamped(Tensor x, float limit) {
    return ggml_clamp(ctx_, ggml_cont(ctx_, x), -limit, limit); // which may write to its argument
}

Tensor Ops::ones(Tensor x) {
    Tensor first = ggml_view_4d(ctx_, x, x->ne[0], x->ne[1], 1, x->ne[3], x->nb[1], x->nb[2], x->nb[3], 0);
    return ggml_exp(ctx_, ggml_scale(ctx_, ggml_cont(ctx_, first), 0));
}

Tensor Ops::cosine_features(Tensor t, const std::string &name, int64_t count) {
    Tensor f = weight(name + ".freqs", {count});
    Tensor angles = ggml_add(ctx_, outer(f, t), weight(name + ".phases", {count}));
    return ggml_scale(ctx_, ggml_cos(ctx_, angles), 1.41421356f);
}

Tensor Ops::silu(Tensor x) {
    return ggml_silu(ctx_, x);
}

Tensor Ops::activate(Tensor x, Act act) {
    switch (act) {
    case Act::none:
        return x;
    case Act::silu:
        return ggml_silu(ctx_, x);
    case Act::gelu:
        return ggml_gelu_erf(ctx_, x);
    case Act::gelu_tanh: {
        // x·σ(2·√(2/π)·(x + 0.044715·x³)): ggml's own looks values up in a table of
        // half floats.
        Tensor cube = ggml_mul(ctx_, ggml_mul(ctx_, x, x), x);
        Tensor u = ggml_add(ctx_, ggml_scale(ctx_, cube, 0.044715f), x);
        return ggml_mul(ctx_, x, ggml_sigmoid(ctx_, ggml_scale(ctx_, u, 1.5957691216f)));
    }
    case Act::quick_gelu:
        // x·σ(1.702x) by way of SiLU: ggml's own quick GELU looks values
        // up in a table of half floats.
        return ggml_scale(ctx_, ggml_silu(ctx_, ggml_scale(ctx_, x, 1.702f)), 1 / 1.702f);
    }
    return x;
}

Tensor Ops::multiply(Tensor a, Tensor b) {
    return ggml_mul(ctx_, a, b);
}

Tensor Ops::tanh(Tensor x) {
    return ggml_tanh(ctx_, x);
}

Tensor Ops::scale_by(Tensor x, Tensor factors) {
    Tensor each = ggml_reshape_3d(ctx_, factors, factors->ne[0], 1, ggml_nelements(factors) / factors->ne[0]);
    return ggml_add(ctx_, x, ggml_mul(ctx_, x, each));
}

Tensor Ops::pad_tokens(Tensor x, const std::string &name, int64_t multiple) {
    const int64_t more = (multiple - x->ne[1] % multiple) % multiple;
    Tensor token = weight(name, {1, x->ne[0]});
    if (more == 0) {
        return x;
    }
    const int64_t ne[] = {x->ne[0], more, x->ne[2]};
    Tensor shape = ggml_new_tensor(ctx_, GGML_TYPE_F32, 3, ne);
    token = ggml_cast(ctx_, token, GGML_TYPE_F32);
    return ggml_concat(ctx_, x, ggml_repeat(ctx_, token, shape), 1);
}

Tensor Ops::repeat_heads(Tensor x, int heads, int times) {
    const int64_t dim = check_heads(x->ne[0], heads), rows = x->ne[1] * x->ne[2];
    Tensor each = ggml_reshape_4d(ctx_, x, dim, 1, heads, rows);
    const int64_t ne[] = {dim, times, heads, rows};
    Tensor shape = ggml_new_tensor(ctx_, GGML_TYPE_F32, 4, ne);
    return ggml_reshape_3d(ctx_, ggml_repeat(ctx_, each, shape), dim * times * heads, x->ne[1], x->ne[2]);
}

Tensor Ops::position_bias(Tensor buckets, const std::string &name, int64_t rows, int heads) {
    const int64_t keys = buckets->ne[0], queries = buckets->ne[1];
    Tensor table = weight(name, {rows, heads});
    Tensor bias = ggml_get_rows(ctx_, table, ggml_reshape_2d(ctx_, buckets, keys * queries, 1));
    bias = ggml_reshape_3d(ctx_, bias, heads, keys, queries);
    return ggml_cont(ctx_, ggml_permute(ctx_, bias, 2, 0, 1, 3));
}

Tensor Ops::biased_attention(Tensor q, Tensor k, Tensor v, Tensor bias, int heads) {
    const int64_t dim = check_heads(q->ne[0], heads), n = q->ne[2], lq = q->ne[1], lk = k->ne[1];
    const auto by_head = [&](Tensor x, int64_t length) {
        return ggml_reshape_4d(ctx_, x, dim, heads, length, n);
    };
    count(4.0 * double(q->ne[0] * n) * double(lq * lk));
    Tensor products = ggml_mul_mat(ctx_, ggml_permute(ctx_, by_head(k, lk), 0, 2, 1, 3),
                                   ggml_permute(ctx_, by_head(q, lq), 0, 2, 1, 3)); // [Lk, Lq, heads, N]
    ggml_mul_mat_set_prec(products, GGML_PREC_F32);
    products = ggml_soft_max_ext(ctx_, products, bias, 1, 0);
    Tensor values = ggml_cont(ctx_, ggml_permute(ctx_, by_head(v, lk), 1, 2, 0, 3)); // [Lk, d, heads, N]
    Tensor y = ggml_permute(ctx_, ggml_mul_mat(ctx_, values, products), 0, 2, 1, 3);
    return ggml_reshape_3d(ctx_, ggml_cont(ctx_, y), q->ne[0], lq, n);
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

Tensor Ops::scale_tokens(Tensor x, Tensor factors) {
    return ggml_mul(ctx_, x, ggml_reshape_3d(ctx_, factors, 1, x->ne[1], x->ne[2]));
}

Tensor Ops::scale_images(Tensor x, Tensor factors) {
    return ggml_mul(ctx_, x, ggml_reshape_4d(ctx_, factors, 1, 1, 1, x->ne[3]));
}

Tensor Ops::embedding(Tensor ids, const std::string &name, int64_t rows, int64_t width) {
    const int64_t length = ids->ne[0], batch = ids->ne[1];
    Tensor table = weight(name, {rows, width});
    Tensor flat = ggml_get_rows(ctx_, table, ggml_reshape_2d(ctx_, ids, length * batch, 1));
    return ggml_reshape_3d(ctx_, flat, width, length, batch);
}

Tensor Ops::vectors(Tensor tokens) {
    return ggml_reshape_2d(ctx_, tokens, tokens->ne[0], ggml_nelements(tokens) / tokens->ne[0]);
}

Tensor Ops::split_tokens(Tensor x, int64_t n) {
    return ggml_reshape_3d(ctx_, x, x->ne[0] / n, n, ggml_nelements(x) / x->ne[0]);
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

Tensor Ops::concat_tokens(Tensor a, Tensor b) {
    if (a->ne[0] != b->ne[0] || a->ne[2] != b->ne[2]) {
        invalid("tokens of the shapes %s and %s cannot be joined", text(unfold(a->ne, 3)).c_str(),
                text(unfold(b->ne, 3)).c_str());
    }
    return ggml_concat(ctx_, a, b, 1);
}

Tensor Ops::slice_tokens(Tensor x, int64_t from, int64_t length) {
    if (from < 0 || length < 1 || from > x->ne[1] - length) {
        invalid("%lld tokens have no %lld from number %lld on", (long long)x->ne[1], (long long)length,
                (long long)from);
    }
    return ggml_cont(
        ctx_, ggml_view_3d(ctx_, x, x->ne[0], length, x->ne[2], x->nb[1], x->nb[2], size_t(from) * x->nb[1]));
}

Tensor Ops::table_rows(Tensor table, int64_t rows) {
    return ggml_cont(ctx_, ggml_view_4d(ctx_, table, table->ne[0], rows, 1, 1, table->nb[1],
                                        table->nb[1] * rows, table->nb[1] * rows, 0));
}

Tensor Ops::chunk(Tensor x, int64_t index, int64_t chunks) {
    if (chunks < 1 || x->ne[0] % chunks != 0 || index < 0 || index >= chunks) {
        invalid("%lld channels have no part %lld of %lld", (long long)x->ne[0], (long long)index,
                (long long)chunks);
    }
    const int64_t size = x->ne[0] / chunks;
    return ggml_cont(ctx_, ggml_view_3d(ctx_, x, size, x->ne[1], x->ne[2], x->nb[1], x->nb[2],
                                        size_t(index * size) * x->nb[0]));
}

Tensor Ops::fixed_positions(Tensor x, const std::string &name) {
    Tensor table = weight(name, {x->ne[0] * x->ne[1]});
    return ggml_add(ctx_, x, ggml_reshape_3d(ctx_, table, x->ne[0], x->ne[1], 1));
}

Tensor Ops::position_columns(Tensor x, const std::string &name) {
    const int64_t c = x->ne[0], length = x->ne[1];
    Tensor table = weight(name, {c, length}); // ne = [L, C]
    if (table->type != GGML_TYPE_F32) {
        table = ggml_cast(ctx_, table, GGML_TYPE_F32);
    }
    return ggml_add(ctx_, x, ggml_cont(ctx_, ggml_permute(ctx_, table, 1, 0, 2, 3)));
}

Tensor Ops::mean_token(Tensor x) {
    const int64_t c = x->ne[0], n = x->ne[2];
    x = ggml_cont(ctx_, ggml_permute(ctx_, x, 1, 0, 2, 3)); // [L, C, N]
    return ggml_reshape_3d(ctx_, ggml_mean(ctx_, x), c, 1, n);
}

// Half of the width: sines and cosines of angles [width/2, N].
Tensor waves(ggml_context *ctx, Tensor angles, bool cosines_first) {
    Tensor sines = ggml_sin(ctx, angles), cosines = ggml_cos(ctx, angles);
    return cosines_first ? ggml_concat(ctx, cosines, sines, 0) : ggml_concat(ctx, sines, cosines, 0);
}

Tensor Ops::sinusoids(Tensor t, const Sinusoids &s) {
    if (s.width < 4 || s.width % 2 != 0) {
        invalid("sinusoids: their number must be even and at least 4, got %lld", (long long)s.width);
    }
    if (s.cosines_first && s.shift == 0) {
        return timestep_embedding(t, s.width);
    }
    const int64_t half = s.width / 2;
    const float step = -std::log(10000.0f) / float(half - s.shift);
    Tensor f = ggml_exp(ctx_, ggml_scale(ctx_, ggml_arange(ctx_, 0, float(half), 1), step)); // [half]
    return waves(ctx_, outer(f, t), s.cosines_first);
}

Tensor Ops::fourier_features(Tensor t, const std::string &name, int64_t count, bool cosines_first) {
    const float circle = 6.2831853071795865f;
    return waves(ctx_, ggml_scale(ctx_, outer(weight(name, {count}), t), circle), cosines_first);
}

// Each number of a vector times each of another.
Tensor Ops::outer(Tensor a, Tensor b) {
    const int64_t n = a->ne[0], m = ggml_nelements(b);
    return ggml_mul_mat(ctx_, ggml_reshape_2d(ctx_, a, 1, n), ggml_reshape_2d(ctx_, b, 1, m)); // [n, m]
}

Tensor Ops::timestep_embedding(Tensor t, int64_t dim) {
    return ggml_timestep_embedding(ctx_, t, int(dim), 10000);
}

} // namespace sdgo
