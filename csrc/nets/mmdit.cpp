// Stable Diffusion 3's transformer (MM-DiT, Esser et al. 2024, arXiv:2403.03206) and 3.5's (MMDiT-X):
// picture and text are two streams with weights of their own, which attend to each other, as the
// diffusers library's SD3Transformer2DModel computes them. Names of weights are those of its authors' files.
//
// Hyperparameters: channels (of the latent), out_channels, patch (latent pixels along a token's
// side), width, heads, blocks, side (of the table of positions, in tokens), text (channels of
// the text's states), pooled (of the vector for the whole text), norms (1: of queries and keys, as in
// 3.5; 0: none), dual (the first blocks whose picture attends to itself once more).
// Inputs: x, the noisy latent [N, channels, H, W], of at most side x side tokens; timesteps [N], 0 to
// 1000 for noise; context [N, L, text]; y [N, pooled].
// Outputs: sample [N, out_channels, H, W]: the velocity, noise - x0.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-6f;
constexpr int64_t kSinusoids = 256;

class MMDiT : public Architecture {
  public:
    explicit MMDiT(const Params &p)
        : channels_(p.integer("channels", 1, 256)), out_(p.integer("out_channels", 1, 256)),
          patch_(p.integer("patch", 1, 16)), width_(p.integer("width", 2, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), blocks_(p.integer("blocks", 1, 256)),
          side_(p.integer("side", 1, 1 << 12)), text_(p.integer("text", 1, 1 << 14)),
          pooled_(p.integer("pooled", 1, 1 << 14)), norms_(p.integer("norms", 0, 1)),
          dual_(p.integer_or(0, "dual", 0, 256)) {
        if (width_ % heads_ != 0 || dual_ > blocks_) {
            invalid(
                "mmdit: width must divide into heads, and dual be at most blocks, got %lld, %d, %d and %d",
                (long long)width_, heads_, dual_, blocks_);
        }
    }

    Shapes nominal_inputs() const override {
        return {{"x", {1, channels_, patch_, patch_}},
                {"timesteps", {1}},
                {"context", {1, 8, text_}},
                {"y", {1, pooled_}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_constant_across_steps(const std::string &input) const override {
        return input == "context" || input == "y";
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("mmdit", inputs, {{"x", "timesteps", "context", "y"}});
        const Shape &x = inputs.at("x");
        expect_shape("mmdit", "x", x, {"N", channels_, "H", "W"});
        if (x[2] % patch_ != 0 || x[3] % patch_ != 0 || x[2] > side_ * patch_ || x[3] > side_ * patch_) {
            invalid("mmdit: the sides of x must be multiples of %d, at most %lld, got %lldx%lld", patch_,
                    (long long)side_ * patch_, (long long)x[3], (long long)x[2]);
        }
        expect_shape("mmdit", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("mmdit", "context", inputs.at("context"), {x[0], "L", text_});
        expect_shape("mmdit", "y", inputs.at("y"), {x[0], pooled_});
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("mmdit: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor x = inputs.at("x"), condition = embedding(ops, inputs);
        const int64_t w = x->ne[0] / patch_, h = x->ne[1] / patch_;
        Linear patches{width_};
        patches.shape = {width_, channels_, patch_, patch_};
        Streams s;
        s.picture = ops.linear(ops.patches_in(x, patch_), "x_embedder.proj", patches);
        s.picture = ops.central_positions(s.picture, "pos_embed", side_, w, h);
        s.text = ops.cache([&] { return ops.linear(inputs.at("context"), "context_embedder", {width_}); });
        for (int i = 0; i < blocks_; i++) {
            block(ops, s, condition, i);
        }
        const Parts m = parts(ops, condition, "final_layer.", 2);
        const Tensor y = ops.modulate(ops.layer_norm(s.picture, "", kEps), m[1], m[0]);
        return {
            {"sample", ops.patches_out(ops.linear(y, "final_layer.linear", {int64_t(patch_) * patch_ * out_}),
                                       patch_, w, h)}};
    }

  private:
    struct Streams {
        Tensor picture, text;
    };
    using Parts = std::vector<Tensor>; // of what modulates: [width, N] each

    struct Queries {
        Tensor q, k, v;
    };

    // SiLU of the embedding of time and text, which every layer that modulates begins with.
    Tensor embedding(Ops &ops, const Tensors &inputs) const {
        const auto mlp = [&](Tensor x, const std::string &name, Tensor add) {
            Linear first{width_, true, Act::silu}, second{width_};
            first.vectors = second.vectors = true;
            second.add = add;
            return ops.linear(ops.linear(x, name + ".mlp.0", first), name + ".mlp.2", second);
        };
        const Tensor text = ops.cache([&] { return mlp(inputs.at("y"), "y_embedder", nullptr); });
        return ops.silu(mlp(ops.timestep_embedding(inputs.at("timesteps"), kSinusoids), "t_embedder", text));
    }

    Parts parts(Ops &ops, Tensor condition, const std::string &name, int64_t count) const {
        Linear l{count * width_};
        l.vectors = true;
        const Tensor m = ops.linear(condition, name + "adaLN_modulation.1", l);
        Parts all;
        for (int64_t i = 0; i < count; i++) {
            all.push_back(ops.chunk(m, i, count));
        }
        return all;
    }

    Queries queries(Ops &ops, Tensor x, const std::string &name) const {
        const Tensor qkv = ops.linear(x, name + ".qkv", {3 * width_});
        Queries r{ops.chunk(qkv, 0, 3), ops.chunk(qkv, 1, 3), ops.chunk(qkv, 2, 3)};
        if (norms_) {
            r.q = ops.rms_norm(r.q, name + ".ln_q", kEps, heads_);
            r.k = ops.rms_norm(r.k, name + ".ln_k", kEps, heads_);
        }
        return r;
    }

    // Shift, scale and gate of attention, then those of the layers after it; in blocks with attention of
    // two kinds, those of the second at the end. The last block only reads its text.
    void block(Ops &ops, Streams &s, Tensor condition, int index) const {
        const std::string name = "joint_blocks." + std::to_string(index) + ".";
        const std::string picture = name + "x_block.", text = name + "context_block.";
        const bool last = index == blocks_ - 1, dual = index < dual_;
        const Parts m = parts(ops, condition, picture, dual ? 9 : 6);
        const Parts c = parts(ops, condition, text, last ? 2 : 6);
        const Tensor plain = ops.layer_norm(s.picture, "", kEps);
        const Queries a = queries(ops, ops.modulate(plain, m[1], m[0]), picture + "attn");
        const Queries b =
            queries(ops, ops.modulate(ops.layer_norm(s.text, "", kEps), c[1], c[0]), text + "attn");
        const int64_t tokens = s.picture->ne[1];
        Tensor y = ops.attention(ops.concat_tokens(a.q, b.q), ops.concat_tokens(a.k, b.k),
                                 ops.concat_tokens(a.v, b.v), heads_, false);
        s.picture = ops.gated(
            s.picture, ops.linear(ops.slice_tokens(y, 0, tokens), picture + "attn.proj", {width_}), m[2]);
        if (dual) {
            const Queries own = queries(ops, ops.modulate(plain, m[7], m[6]), picture + "attn2");
            s.picture = ops.gated(s.picture,
                                  ops.linear(ops.attention(own.q, own.k, own.v, heads_, false),
                                             picture + "attn2.proj", {width_}),
                                  m[8]);
        }
        s.picture = feed_forward(ops, s.picture, m, picture);
        if (!last) {
            y = ops.slice_tokens(y, tokens, s.text->ne[1]);
            s.text = ops.gated(s.text, ops.linear(y, text + "attn.proj", {width_}), c[2]);
            s.text = feed_forward(ops, s.text, c, text);
        }
    }

    Tensor feed_forward(Ops &ops, Tensor x, const Parts &m, const std::string &name) const {
        Tensor h = ops.modulate(ops.layer_norm(x, "", kEps), m[4], m[3]);
        h = ops.linear(h, name + "mlp.fc1", {4 * width_, true, Act::gelu_tanh});
        return ops.gated(x, ops.linear(h, name + "mlp.fc2", {width_}), m[5]);
    }

    int channels_, out_, patch_;
    int64_t width_;
    int heads_, blocks_;
    int64_t side_, text_, pooled_;
    int norms_, dual_;
};

} // namespace

std::unique_ptr<Architecture> mmdit(const Params &p) {
    return std::make_unique<MMDiT>(p);
}

} // namespace sdgo
