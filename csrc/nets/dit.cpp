// The diffusion transformer (Peebles and Xie 2023, arXiv:2212.09748), which draws latents
// by class: adaLN-Zero blocks. Names of weights are those of its authors' files.
//
// Hyperparameters: in_channels, out_channels, patch (pixels along a token's side), width,
// blocks, heads, positions (tokens: the square of a side), classes (rows of the table),
// time_channels (sinusoids), time_shift (Sinusoids in ops/ops.h: 0, if left out, in the
// authors' code, 1 in the diffusers library's).
// Inputs: x, the noisy latent [N, in_channels, H, W], whose sides make just as many
// tokens; timesteps [N], fractions allowed; class, a row number [N, 1].
// Outputs: sample [N, out_channels, H, W].
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-6f;

class DiT : public Architecture {
  public:
    explicit DiT(const Params &p)
        : in_(p.integer("in_channels", 1, 256)), out_(p.integer("out_channels", 1, 512)),
          patch_(p.integer("patch", 1, 64)), width_(p.integer("width", 1, 1 << 14)),
          blocks_(p.integer("blocks", 1, 256)), heads_(p.integer("heads", 1, 1 << 10)),
          positions_(p.integer("positions", 1, 1 << 16)), classes_(p.integer("classes", 1, 1 << 20)),
          time_(p.integer("time_channels", 4, 1 << 13)), time_shift_(p.integer_or(0, "time_shift", 0, 1)) {
        while ((side_ + 1) * (side_ + 1) <= positions_) {
            side_++;
        }
        if (side_ * side_ != positions_) {
            invalid("dit: positions must be a square number, got %lld", (long long)positions_);
        }
        if (width_ % heads_ != 0 || time_ % 2 != 0) {
            invalid("dit: width must divide into heads, and time_channels be even, got %lld, %d and %d",
                    (long long)width_, heads_, time_);
        }
    }

    Shapes nominal_inputs() const override {
        return {{"x", {1, in_, side_ * patch_, side_ * patch_}}, {"timesteps", {1}}, {"class", {1, 1}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_integer(const std::string &input) const override { return input == "class"; }
    int64_t vocabulary(const std::string &) const override { return classes_; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("dit", inputs, {{"x", "timesteps", "class"}});
        const Shape &x = inputs.at("x");
        expect_shape("dit", "x", x, {"N", in_, side_ * patch_, side_ * patch_});
        expect_shape("dit", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("dit", "class", inputs.at("class"), {x[0], 1});
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("dit: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor condition = embedding(ops, inputs);
        Linear patches{width_};
        patches.shape = {width_, in_, patch_, patch_};
        Tensor h = ops.linear(ops.patches_in(inputs.at("x"), patch_), "x_embedder.proj", patches);
        h = ops.fixed_positions(h, "pos_embed");
        for (int i = 0; i < blocks_; i++) {
            h = block(ops, h, condition, "blocks." + std::to_string(i));
        }
        const Tensor m = modulation(ops, condition, "final_layer.adaLN_modulation.1", 2);
        h = ops.modulate(ops.layer_norm(h, "", kEps), ops.chunk(m, 1, 2), ops.chunk(m, 0, 2));
        h = ops.linear(h, "final_layer.linear", {int64_t(patch_) * patch_ * out_});
        return {{"sample", ops.patches_out(h, patch_, side_, side_)}};
    }

  private:
    // SiLU of the embedding of time and class, [width, N], of which every layer that
    // modulates begins with.
    Tensor embedding(Ops &ops, const Tensors &inputs) const {
        Linear first{width_, true, Act::silu}, second{width_};
        first.vectors = second.vectors = true;
        second.add = ops.vectors(
            ops.embedding(inputs.at("class"), "y_embedder.embedding_table.weight", classes_, width_));
        Tensor t = ops.linear(ops.sinusoids(inputs.at("timesteps"), {time_, true, time_shift_}),
                              "t_embedder.mlp.0", first);
        return ops.silu(ops.linear(t, "t_embedder.mlp.2", second));
    }

    Tensor modulation(Ops &ops, Tensor condition, const std::string &name, int64_t parts) const {
        Linear l{parts * width_};
        l.vectors = true;
        return ops.linear(condition, name, l);
    }

    // Shift, scale and gate of attention, then those of the two layers after it.
    Tensor block(Ops &ops, Tensor x, Tensor condition, const std::string &name) const {
        const Tensor m = modulation(ops, condition, name + ".adaLN_modulation.1", 6);
        const auto part = [&](int i) { return ops.chunk(m, i, 6); };
        Tensor h = ops.modulate(ops.layer_norm(x, "", kEps), part(1), part(0));
        h = ops.self_attention(ops.linear(h, name + ".attn.qkv", {3 * width_}), heads_, Fused::whole);
        x = ops.gated(x, ops.linear(h, name + ".attn.proj", {width_}), part(2));
        h = ops.modulate(ops.layer_norm(x, "", kEps), part(4), part(3));
        h = ops.linear(h, name + ".mlp.fc1", {4 * width_, true, Act::gelu_tanh});
        return ops.gated(x, ops.linear(h, name + ".mlp.fc2", {width_}), part(5));
    }

    int in_, out_, patch_;
    int64_t width_;
    int blocks_, heads_;
    int64_t positions_;
    int classes_, time_, time_shift_;
    int64_t side_ = 1; // tokens
};

} // namespace

std::unique_ptr<Architecture> dit(const Params &p) {
    return std::make_unique<DiT>(p);
}

} // namespace sdgo
