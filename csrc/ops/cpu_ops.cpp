// Nets' operators in terms of the CPU kernels, as ggml custom operators.
// Images are channels-last, ne = [C, W, H, N], so an image's tokens are a view.
#include "ops/cpu_backward.h"

#include <cmath>

namespace sdgo {

namespace {

class CpuOps : public Ops, private CpuBackward::Owner {
  public:
    CpuOps(ggml_context *ctx, Weights &weights, Cpu &cpu, Profile &profile, size_t capacity)
        : Ops(ctx, weights, capacity), nodes_(ctx, cpu, profile), backward_(ctx, nodes_, *this) {}

    uint64_t scratch_size() const override { return nodes_.scratch_size(); }
    bool allocate_scratch() override { return nodes_.allocate_scratch(); }
    uint64_t unkept() const override { return nodes_.unkept(); }
    Backward *backward() override { return &backward_; }
    Joined joined_parts(Tensor x) const override {
        const Source from = joined(x);
        return {from.x, from.x2};
    }
    void count_backward(double flop) override { count(flop); }

    Tensor image_in(Tensor nchw) override {
        return ggml_cont(ctx_, ggml_permute(ctx_, nchw, 1, 2, 0, 3)); // [C, W, H, N]
    }
    Tensor image_out(Tensor image) override {
        return ggml_cont(ctx_, ggml_permute(ctx_, image, 2, 0, 1, 3)); // [W, H, C, N]
    }
    int64_t width(Tensor image) const override { return image->ne[1]; }
    int64_t height(Tensor image) const override { return image->ne[2]; }
    int64_t channels(Tensor image) const override { return image->ne[0]; }

    Tensor convolution(Tensor x, const Layer &layer, const Conv &c) override {
        const int64_t in = x->ne[0];
        const Source from = source(x);
        const void *factors = packed(layer, conv(x, from, layer, c, nullptr, nullptr), in);
        const auto arguments = [=](Tensor dst) { return conv(x, from, layer, c, dst, factors); };
        const kernels::Conv2d shape = arguments(nullptr);
        const int64_t width = kernels::out_width(shape), height = kernels::out_height(shape);
        const double rows = double(width * height * x->ne[3]);
        const double flop =
            2.0 * rows * double(c.out) * double(in * c.kernel * c.kernel) + low_flop(layer, rows, in, c.out);
        return node_keeping(c.kernel == 1 ? "conv 1x1" : "conv 3x3", flop, {c.out, width, height, x->ne[3]},
                            {from.x, from.x2, from.stats, layer.weight, layer.bias, c.add_channels, c.add},
                            arguments, &kernels::Conv2d::weight, layer.weight);
    }
    bool takes_low_rank(Tensor x, const Layer &layer, const Conv &c) const override {
        return takes_low_rank(layer, conv(x, source(x), layer, c, nullptr, nullptr));
    }
    bool takes_low_rank(Tensor x, const Layer &layer, const Linear &l, bool geglu) const override {
        return takes_low_rank(layer, linear(x, source(x), layer, l, geglu, nullptr, nullptr, nullptr));
    }

    Tensor group_norm(Tensor x, const std::string &name, const GroupNorm &g) override {
        const int64_t c = x->ne[0], n = x->ne[3];
        check_groups(name, g, c, n);
        Tensor w = weight(name + ".weight", {c}), b = weight(name + ".bias", {c});
        Source from = joined(x);
        const Source plain = from;
        // Scales, then shifts: [C, N] each.
        const Tensor modulation = g.modulation;
        from.stats =
            node("group_norm", 0, {c, n, 2, 1}, {from.x, from.x2, w, b, modulation}, [=](Tensor dst) {
                kernels::GroupNormStats k;
                k.x = data(plain.x), k.c1 = plain.x->ne[0];
                k.x2 = plain.x2 ? data(plain.x2) : nullptr, k.c2 = plain.x2 ? plain.x2->ne[0] : 0;
                k.n = n, k.rows = x->ne[1] * x->ne[2], k.groups = g.groups, k.eps = g.eps;
                k.weight = vector(w), k.bias = vector(b);
                k.modulation = modulation ? data(modulation) : nullptr;
                k.scale = dst ? data(dst) : nullptr;
                k.shift = dst ? data(dst) + c * n : nullptr;
                return k;
            });
        from.silu = g.silu;
        Tensor y =
            node("group_norm", 0, {c, x->ne[1], x->ne[2], n}, {from.x, from.x2, from.stats}, [=](Tensor dst) {
                kernels::Normalize k;
                k.x = data(from.x), k.c1 = from.x->ne[0];
                k.x2 = from.x2 ? data(from.x2) : nullptr, k.c2 = from.x2 ? from.x2->ne[0] : 0;
                k.n = n, k.rows = x->ne[1] * x->ne[2];
                k.norm = norm(from);
                k.y = dst ? data(dst) : nullptr;
                return k;
            });
        normalized_[y] = from;
        return y;
    }

    Tensor concat(Tensor a, Tensor b) override {
        Tensor y = ggml_concat(ctx_, a, b, 0);
        joined_[y] = {a, b};
        return y;
    }

    Tensor resample(Tensor x, Sampling how, float gain) override {
        const auto sampling = kernels::Sampling(how);
        const int64_t w = kernels::sampled_size(sampling, x->ne[1]),
                      h = kernels::sampled_size(sampling, x->ne[2]);
        return node("resample", 0, {x->ne[0], w, h, x->ne[3]}, {x}, [=](Tensor dst) {
            kernels::Resample k;
            k.x = data(x), k.c = x->ne[0], k.w = x->ne[1], k.h = x->ne[2], k.n = x->ne[3];
            k.how = sampling, k.gain = gain;
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor prelu(Tensor x, const std::string &name) override {
        return prelu_with(x, weight(name + ".weight", {x->ne[0]}));
    }

    Tensor tokens(Tensor x) override {
        Tensor y = ggml_reshape_3d(ctx_, x, x->ne[0], x->ne[1] * x->ne[2], x->ne[3]);
        const auto n = normalized_.find(x);
        if (n != normalized_.end() && !n->second.x2) {
            normalized_[y] = n->second;
        }
        return y;
    }
    Tensor image(Tensor x, int64_t width, int64_t height) override {
        return ggml_reshape_4d(ctx_, x, x->ne[0], width, height, x->ne[2]);
    }

    Tensor product(Tensor x, const Layer &layer, const Linear &l, Tensor before) override {
        return gemm(x, layer, l, false, before);
    }
    Tensor gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) override {
        return gemm(x, layer, {out}, true, before);
    }
    Tensor scale_channels(Tensor x, Tensor factors) override { return ggml_mul(ctx_, x, factors); }

    Tensor layer_norm(Tensor x, const std::string &name, float eps) override {
        Tensor w = name.empty() ? nullptr : weight(name + ".weight", {x->ne[0]});
        Tensor b = name.empty() ? nullptr : weight(name + ".bias", {x->ne[0]});
        return node("layer_norm", 0, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x, w, b}, [=](Tensor dst) {
            kernels::LayerNorm k;
            k.x = data(x), k.dim = x->ne[0], k.rows = x->ne[1] * x->ne[2] * x->ne[3], k.eps = eps;
            k.weight = vector(w), k.bias = vector(b);
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor rms_norm(Tensor x, const std::string &name, float eps, int heads) override {
        const int64_t dim = check_heads(x->ne[0], heads);
        Tensor w = weight(norm_weight(name), {dim});
        return node("rms_norm", 0, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x, w}, [=](Tensor dst) {
            kernels::RmsNorm k;
            k.x = data(x), k.dim = dim, k.rows = ggml_nelements(x) / dim, k.eps = eps;
            k.weight = vector(w);
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor unit_norm(Tensor x, int heads) override {
        const int64_t dim = check_heads(x->ne[0], heads);
        return node("unit_norm", 0, {x->ne[0], x->ne[1], x->ne[2], x->ne[3]}, {x}, [=](Tensor dst) {
            kernels::RmsNorm k;
            k.x = data(x), k.dim = dim, k.rows = ggml_nelements(x) / dim, k.eps = 0, k.added = kUnitEps;
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor modulate(Tensor x, Tensor scale, Tensor shift) override {
        check_modulate(x, scale, shift);
        return node("modulate", 0, {x->ne[0], x->ne[1], x->ne[2], 1}, {x, scale, shift}, [=](Tensor dst) {
            kernels::Modulate k;
            k.x = data(x), k.dim = x->ne[0], k.rows = x->ne[1], k.n = x->ne[2];
            k.scale = data(scale), k.shift = data(shift);
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor gated(Tensor x, Tensor y, Tensor gate) override {
        check_gate(x, y, gate);
        return node("gate", 0, {x->ne[0], x->ne[1], x->ne[2], 1}, {x, y, gate}, [=](Tensor dst) {
            kernels::Gate k;
            k.x = data(y), k.residual = data(x), k.gate = data(gate);
            k.dim = x->ne[0], k.rows = x->ne[1], k.n = x->ne[2];
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor rope(Tensor x, Tensor cos, Tensor sin, int heads, Pairs pairs) override {
        check_rope(x, cos, sin, heads);
        return node("rope", 0, {x->ne[0], x->ne[1], x->ne[2], 1}, {x, cos, sin}, [=](Tensor dst) {
            kernels::Rope k;
            k.x = data(x), k.heads = heads, k.dim = x->ne[0] / heads, k.length = x->ne[1], k.n = x->ne[2];
            k.cos = data(cos), k.sin = data(sin), k.interleaved = pairs == Pairs::interleaved;
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor merge_plan(Tensor x, int64_t width, int64_t height, Tensor merged) override {
        const int64_t length = x->ne[1], kept = length - merged->ne[0], n = x->ne[2];
        const double flop = 2.0 * double(x->ne[0] * n) * double(most_merged(width, height)) *
                            double(width / 2 * (height / 2));
        return node("merge_plan", flop, {2 * length + kept + 1, n, 1, 1}, {x, merged}, [=](Tensor dst) {
            kernels::MergePlan k;
            k.x = data(x), k.c = x->ne[0], k.n = n, k.width = width, k.height = height;
            k.merged = merged->ne[0];
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }
    Tensor merge(Tensor x, Tensor plan, Tensor merged) override {
        const int64_t length = x->ne[1], less = merged->ne[0];
        return node("merge", 0, {x->ne[0], length - less, x->ne[2], 1}, {x, plan}, [=](Tensor dst) {
            kernels::MergeTokens k;
            k.x = data(x), k.c = x->ne[0], k.n = x->ne[2], k.length = length, k.merged = less;
            k.plan = data(plan);
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }
    Tensor unmerge(Tensor x, Tensor plan, Tensor add) override {
        const int64_t length = add->ne[1], merged = length - x->ne[1];
        return node("unmerge", 0, {x->ne[0], length, x->ne[2], 1}, {x, plan, add}, [=](Tensor dst) {
            kernels::UnmergeTokens k;
            k.x = data(x), k.c = x->ne[0], k.n = x->ne[2], k.length = length, k.merged = merged;
            k.plan = data(plan), k.add = data(add);
            k.y = dst ? data(dst) : nullptr;
            return k;
        });
    }

    Tensor attention(Tensor q, Tensor k, Tensor v, int heads, bool causal) override {
        const int64_t c = q->ne[0], dim = c / heads, lq = q->ne[1], lk = k->ne[1], n = q->ne[2];
        const double flop = 4.0 * double(c * n) * double(lq * lk);
        const bool exact = weights_.exact();
        return node("attention", flop, {c, lq, n, 1}, {q, k, v}, [=](Tensor dst) {
            kernels::Attention a = attend(n, heads, dim, lq, lk, exact);
            a.q = {data(q), lq * c, c, dim};
            a.k = {data(k), lk * c, c, dim};
            a.v = {data(v), lk * c, c, dim};
            a.causal = causal;
            a.y = dst ? data(dst) : nullptr;
            return a;
        });
    }

    Tensor self_attention(Tensor qkv, int heads, Fused order) override {
        const int64_t c = check_fused(qkv, heads), dim = c / heads, l = qkv->ne[1], n = qkv->ne[2];
        const int64_t head = order == Fused::whole ? dim : 3 * dim, other = order == Fused::whole ? c : dim;
        const bool exact = weights_.exact();
        return node("attention", 4.0 * double(c * n) * double(l * l), {c, l, n, 1}, {qkv}, [=](Tensor dst) {
            kernels::Attention a = attend(n, heads, dim, l, l, exact);
            const float *x = data(qkv);
            a.q = {x, l * 3 * c, 3 * c, head};
            a.k = {x ? x + other : x, l * 3 * c, 3 * c, head};
            a.v = {x ? x + 2 * other : x, l * 3 * c, 3 * c, head};
            a.y = dst ? data(dst) : nullptr;
            return a;
        });
    }

    Tensor cache(const std::function<Tensor()> &make) override {
        const double before = flop();
        const bool outer = caching_;
        caching_ = true;
        Tensor computed = make();
        caching_ = outer;
        cached_flop_ += flop() - before;
        Tensor leaf = ggml_new_tensor(ctx_, computed->type, 4, computed->ne);
        cached_.push_back({computed, leaf});
        return leaf;
    }

  private:
    // Where a kernel finds its input. concat and group_norm remember their operands
    // here, and a kernel that can join and normalise while it reads takes these; the
    // tensors that concat and group_norm returned are then never computed.
    struct Source {
        Tensor x = nullptr, x2 = nullptr; // further channels
        Tensor stats = nullptr;           // group_norm's scales and shifts
        bool silu = false;
    };

    Source joined(Tensor x) const {
        const auto found = joined_.find(x);
        return found == joined_.end() ? Source{x} : found->second;
    }
    Source source(Tensor x) const {
        const auto found = normalized_.find(x);
        return found == normalized_.end() ? joined(x) : found->second;
    }
    static kernels::Attention attend(int64_t n, int64_t heads, int64_t dim, int64_t queries, int64_t keys,
                                     bool exact) {
        kernels::Attention a;
        a.n = n, a.heads = heads, a.dim = dim, a.q_length = queries, a.k_length = keys;
        a.scale = 1 / std::sqrt(float(dim));
        a.exact = exact;
        return a;
    }
    static kernels::InputNorm norm(const Source &from) {
        kernels::InputNorm n;
        if (from.stats) {
            n.scale = data(from.stats);
            n.shift = from.stats->data ? data(from.stats) + from.stats->ne[0] * from.stats->ne[1] : nullptr;
            n.silu = from.silu;
        }
        return n;
    }

    template <class F>
    Tensor node(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                F arguments) {
        count(flop);
        return nodes_.node(op, flop, std::move(ne), std::move(sources), arguments);
    }

    // The same for a kernel with a matrix of weights. Those of an adapter are not kept: it
    // may go before the net does; nor those of what is computed once for many runs.
    template <class Args, class F>
    Tensor node_keeping(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                        F arguments, kernels::Matrix Args::*member, Tensor w) {
        if (caching_ || !weights_.has(w)) {
            return node(op, flop, std::move(ne), std::move(sources), arguments);
        }
        count(flop);
        return nodes_.node_keeping(op, flop, std::move(ne), std::move(sources), arguments, member, w);
    }

    Tensor gemm(Tensor x, const Layer &layer, const Linear &l, bool geglu, Tensor before) {
        const int64_t in = x->ne[0], sums = geglu ? 2 * l.out : l.out;
        const double rows = double(x->ne[1] * x->ne[2] * x->ne[3]);
        const Source from = source(x);
        const void *factors = packed(layer, linear(x, from, layer, l, geglu, before, nullptr, nullptr), in);
        const auto arguments = [=](Tensor dst) {
            return linear(x, from, layer, l, geglu, before, dst, factors);
        };
        const double flop = 2.0 * rows * double(in * sums) + low_flop(layer, rows, in, sums);
        return node_keeping("linear", flop, {l.out, x->ne[1], x->ne[2], x->ne[3]},
                            {from.x, from.stats, layer.weight, layer.bias, l.add, before}, arguments,
                            &kernels::Linear::w, layer.weight);
    }

    // The kernels' arguments; without dst and what has no memory yet their sizes.
    kernels::Conv2d conv(Tensor x, const Source &from, const Layer &layer, const Conv &c, Tensor dst,
                         const void *factors) const {
        kernels::Conv2d k;
        k.x = data(from.x), k.c1 = from.x->ne[0];
        k.x2 = from.x2 ? data(from.x2) : nullptr, k.c2 = from.x2 ? from.x2->ne[0] : 0;
        k.n = x->ne[3], k.h = x->ne[2], k.w = x->ne[1], k.out = c.out;
        k.norm = norm(from);
        k.kernel = c.kernel, k.stride = c.stride, k.pad_end = c.pad_end;
        k.upsample = c.up_width > 0, k.up_w = c.up_width, k.up_h = c.up_height;
        k.weight = matrix(layer.weight, x->ne[0] * c.kernel * c.kernel);
        k.low = low(layer, factors);
        k.bias = vector(layer.bias);
        k.channel_add = c.add_channels ? data(c.add_channels) : nullptr;
        k.residual = c.add ? data(c.add) : nullptr;
        k.y = dst ? data(dst) : nullptr;
        // Not those that the residual connections' own numbers pass through.
        k.fast = nodes_.fast() && c.kernel == 3 && c.stride == 1 && c.up_width == 0;
        return k;
    }
    kernels::Linear linear(Tensor x, const Source &from, const Layer &layer, const Linear &l, bool geglu,
                           Tensor before, Tensor dst, const void *factors) const {
        kernels::Linear k;
        k.x = data(from.x), k.rows = x->ne[1] * x->ne[2] * x->ne[3], k.in = x->ne[0], k.out = l.out;
        k.norm = norm(from);
        k.rows_per_image = l.vectors ? 1 : x->ne[1];
        k.w = matrix(layer.weight, k.in);
        k.low = low(layer, factors);
        k.bias = vector(layer.bias);
        k.act = act_of(l.act);
        k.geglu = geglu;
        k.before = before ? data(before) : nullptr;
        k.residual = l.add ? data(l.add) : nullptr;
        k.y = dst ? data(dst) : nullptr;
        k.fast = nodes_.fast();
        return k;
    }

    // Factors of float32 are promised its arithmetic, as weights are. The type of weights that
    // are not loaded may change.
    template <class Args> bool takes_low_rank(const Layer &layer, Args arguments) const {
        arguments.isa = nodes_.isa();
        return !layer.low->mid && layer.low->down->type == GGML_TYPE_F16 && weights_.loaded() &&
               kernels::low_rank_bytes(arguments) > 0;
    }
    static kernels::LowRank low(const Layer &layer, const void *factors) {
        kernels::LowRank k;
        if (layer.low) {
            k.rank = layer.low->rank(), k.scale = data(layer.low->scale), k.packed = factors;
        }
        return k;
    }
    static double low_flop(const Layer &layer, double rows, int64_t in, int64_t out) {
        return layer.low ? 2.0 * rows * double(layer.low->rank()) * double(in + out) : 0;
    }
    // The layer's low-rank change in the form of the kernel that these arguments call; null
    // for none.
    template <class Args> const void *packed(const Layer &layer, Args args, int64_t in) const {
        if (!layer.low) {
            return nullptr;
        }
        args.isa = nodes_.isa();
        const kernels::Matrix down = matrix(layer.low->down, in),
                              up = matrix(layer.low->up, layer.low->rank());
        return layer.low->packed->get(kernels::low_rank_bytes(args),
                                      [=](void *to) { kernels::pack_low_rank(args, down, up, to); });
    }

    CpuNodes nodes_;
    CpuBackward backward_;
    bool caching_ = false; // in the function that cache was given
    std::unordered_map<Tensor, Source> joined_, normalized_;
};

} // namespace

kernels::Act act_of(Act act) {
    switch (act) {
    case Act::none:
        return kernels::Act::none;
    case Act::silu:
        return kernels::Act::silu;
    case Act::gelu:
        return kernels::Act::gelu;
    case Act::gelu_tanh:
        return kernels::Act::gelu_tanh;
    case Act::quick_gelu:
        return kernels::Act::quick_gelu;
    }
    return kernels::Act::none;
}

kernels::Matrix matrix(Tensor w, int64_t in) {
    kernels::Matrix m;
    m.data = w->data;
    switch (w->type) {
    case GGML_TYPE_F32:
        m.type = kernels::Type::f32;
        break;
    case GGML_TYPE_F16:
        m.type = kernels::Type::f16;
        break;
    case GGML_TYPE_BF16:
        m.type = kernels::Type::bf16;
        break;
    default: {
        const ggml_type_traits *t = ggml_get_type_traits(w->type);
        m.type = kernels::Type::block;
        m.to_float = t->to_float;
        m.block_length = t->blck_size;
        m.block_bytes = t->type_size;
    }
    }
    m.row_bytes = ggml_row_size(w->type, in);
    return m;
}

std::unique_ptr<Ops> cpu_ops(ggml_context *ctx, Weights &weights, Cpu &cpu, Profile &profile,
                             size_t capacity) {
    return std::make_unique<CpuOps>(ctx, weights, cpu, profile, capacity);
}

} // namespace sdgo
