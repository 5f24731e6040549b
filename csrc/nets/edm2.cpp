// The UNet of EDM2 (Karras et al. 2024, arXiv:2312.02696, figure 21), whose layers preserve
// magnitudes: no normalisation has weights, no layer a bias, and every weight's row is
// scaled, with the layer's gain, before it comes here.
//
// Hyperparameters: in_channels (and out), channels (of each level), num_blocks (of each
// level on the way down; one more on the way up), attention (for each level: 1 after each
// block), head_dim, noise_channels (cosines of the noise level), embed_channels, classes (rows
// of the table of classes; 0: there is none), res_balance, attn_balance, label_balance,
// concat_balance (0.3, 0.3, 0.5 and 0.5 if left out: the shares of the second in a sum) and
// clip (256 if left out: bound of a block's result).
// Inputs: x, the scaled noisy picture [N, in_channels, H, W]; timesteps [N], ln(σ)/4; with
// classes class, a row number [N, 1].
// Outputs: sample [N, in_channels, H, W].
#include "nets/architecture.h"

#include <cmath>

namespace sdgo {

namespace {

constexpr float kSiluGain = 1 / 0.596f; // SiLU of a unit normal has this root mean square

class EDM2 : public Architecture {
  public:
    explicit EDM2(const Params &p)
        : in_(p.integer("in_channels", 1, 256)), channels_(p.integers("channels", 1, 1 << 13)),
          blocks_(p.integer("num_blocks", 1, 16)), attention_(p.integers("attention", 0, 1)),
          head_dim_(p.integer("head_dim", 1, 1 << 12)), noise_(p.integer("noise_channels", 1, 1 << 13)),
          embed_(p.integer("embed_channels", 1, 1 << 15)), classes_(p.integer_or(0, "classes", 0, 1 << 20)),
          res_(p.real_or(0.3f, "res_balance", 0, 1)), attn_(p.real_or(0.3f, "attn_balance", 0, 1)),
          label_(p.real_or(0.5f, "label_balance", 0, 1)), concat_(p.real_or(0.5f, "concat_balance", 0, 1)),
          clip_(p.real_or(256, "clip", 1, 1e6)) {
        if (levels() > 8 || attention_.size() != channels_.size()) {
            invalid(
                "edm2: channels and attention must have the same number of levels, 1 to 8, got %zu and %zu",
                channels_.size(), attention_.size());
        }
        for (int level = 0; level < levels(); level++) {
            const int c = channels_[size_t(level)];
            if ((attention_[size_t(level)] > 0 || level + 1 == levels()) && c % head_dim_ != 0) {
                invalid("edm2: %d channels do not divide into heads of %d", c, head_dim_);
            }
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << levels();
        Shapes s{{"x", {1, in_, side, side}}, {"timesteps", {1}}};
        if (classes_ > 0) {
            s["class"] = {1, 1};
        }
        return s;
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_integer(const std::string &input) const override { return input == "class"; }
    int64_t vocabulary(const std::string &) const override { return classes_; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        InputNames names{{"x", "timesteps"}};
        if (classes_ > 0) {
            names.required.push_back("class");
        }
        expect_inputs("edm2", inputs, names);
        const Shape &x = inputs.at("x");
        expect_shape("edm2", "x", x, {"N", in_, "H", "W"});
        const int64_t multiple = int64_t(1) << (levels() - 1);
        if (x[2] % multiple != 0 || x[3] % multiple != 0) {
            invalid("edm2: the sides of x must be multiples of %lld, got %lldx%lld", (long long)multiple,
                    (long long)x[3], (long long)x[2]);
        }
        expect_shape("edm2", "timesteps", inputs.at("timesteps"), {x[0]});
        if (classes_ > 0) {
            expect_shape("edm2", "class", inputs.at("class"), {x[0], 1});
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("edm2: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor e = embedding(ops, inputs);
        const Tensor x = inputs.at("x");
        Tensor h = ops.concat(ops.image_in(x), ops.image_in(ops.ones(x)));
        h = ops.conv2d(h, "conv_in", plain(channels_[0]));
        std::vector<Tensor> skips = {h};
        for (int level = 0; level < levels(); level++) {
            const std::string name = "enc." + std::to_string(level) + ".";
            if (level > 0) {
                h = encode(ops, h, e, name + "down", channels_[size_t(level - 1)], Sampling::mean_down,
                           false);
                skips.push_back(h);
            }
            for (int i = 0; i < blocks_; i++) {
                h = encode(ops, h, e, name + "block" + std::to_string(i), channels_[size_t(level)],
                           Sampling::same, attention_[size_t(level)] > 0);
                skips.push_back(h);
            }
        }
        for (int level = levels() - 1; level >= 0; level--) {
            const std::string name = "dec." + std::to_string(level) + ".";
            if (level + 1 == levels()) {
                h = decode(ops, h, e, name + "in0", channels_.back(), Sampling::same, true);
                h = decode(ops, h, e, name + "in1", channels_.back(), Sampling::same, false);
            } else {
                h = decode(ops, h, e, name + "up", channels_[size_t(level + 1)], Sampling::nearest_up, false);
            }
            for (int i = 0; i <= blocks_; i++) {
                h = decode(ops, joined(ops, h, skips.back()), e, name + "block" + std::to_string(i),
                           channels_[size_t(level)], Sampling::same, attention_[size_t(level)] > 0);
                skips.pop_back();
            }
        }
        return {{"sample", ops.image_out(ops.conv2d(h, "out_conv", plain(in_)))}};
    }

  private:
    int levels() const { return int(channels_.size()); }

    static Conv plain(int64_t out, int kernel = 3) {
        Conv c{out, kernel};
        c.bias = false;
        return c;
    }

    static Tensor silu(Ops &ops, Tensor x) { return ops.times(ops.silu(x), kSiluGain); }

    // (1 - t)·a + t·b, of the magnitude of a and b if these are independent.
    static Tensor sum(Ops &ops, Tensor a, Tensor b, float t) {
        const float norm = std::sqrt((1 - t) * (1 - t) + t * t);
        return ops.add(ops.times(a, (1 - t) / norm), ops.times(b, t / norm));
    }

    // Channels of both, weighted for their numbers.
    Tensor joined(Ops &ops, Tensor a, Tensor b) const {
        const float na = float(ops.channels(a)), nb = float(ops.channels(b)), t = concat_;
        const float c = std::sqrt((na + nb) / ((1 - t) * (1 - t) + t * t));
        return ops.concat(ops.times(a, c / std::sqrt(na) * (1 - t)), ops.times(b, c / std::sqrt(nb) * t));
    }

    Tensor embedding(Ops &ops, const Tensors &inputs) const {
        Tensor e = ops.cosine_features(inputs.at("timesteps"), "emb_fourier", noise_);
        e = ops.linear(e, "emb_noise", {embed_, false, Act::none, nullptr, true});
        if (classes_ > 0) {
            Tensor row = ops.vectors(ops.embedding(inputs.at("class"), "label_emb.weight", classes_, embed_));
            e = sum(ops, e, row, label_);
        }
        return silu(ops, e);
    }

    Tensor pixel_norm(Ops &ops, Tensor x) const {
        const int64_t width = ops.width(x), height = ops.height(x);
        return ops.image(ops.unit_norm(ops.tokens(x), 1), width, height);
    }

    static Tensor resampled(Ops &ops, Tensor x, Sampling how) {
        return how == Sampling::same ? x : ops.resample(x, how);
    }

    Tensor encode(Ops &ops, Tensor x, Tensor e, const std::string &name, int64_t out, Sampling how,
                  bool attends) const {
        x = resampled(ops, x, how);
        if (ops.channels(x) != out) {
            x = ops.conv2d(x, name + ".conv_skip", plain(out, 1));
        }
        x = pixel_norm(ops, x);
        return end(ops, x, branch(ops, x, e, name, out), name, attends);
    }

    Tensor decode(Ops &ops, Tensor x, Tensor e, const std::string &name, int64_t out, Sampling how,
                  bool attends) const {
        x = resampled(ops, x, how);
        Tensor y = branch(ops, x, e, name, out);
        if (ops.channels(x) != out) {
            x = ops.conv2d(x, name + ".conv_skip", plain(out, 1));
        }
        return end(ops, x, y, name, attends);
    }

    // The residual branch: the embedding scales each channel between two convolutions.
    Tensor branch(Ops &ops, Tensor x, Tensor e, const std::string &name, int64_t out) const {
        const int64_t width = ops.width(x), height = ops.height(x);
        Tensor y = ops.tokens(ops.conv2d(silu(ops, x), name + ".conv_res0", plain(out)));
        Tensor scale = ops.linear(e, name + ".emb_linear", {out, false, Act::none, nullptr, true});
        y = silu(ops, ops.gated(y, y, scale)); // y·(1 + scale)
        return ops.conv2d(ops.image(y, width, height), name + ".conv_res1", plain(out));
    }

    Tensor end(Ops &ops, Tensor x, Tensor y, const std::string &name, bool attends) const {
        x = sum(ops, x, y, res_);
        if (attends) {
            x = sum(ops, x, attended(ops, x, name), attn_);
        }
        return ops.clamped(x, clip_);
    }

    Tensor attended(Ops &ops, Tensor x, const std::string &name) const {
        const int64_t c = ops.channels(x), width = ops.width(x), height = ops.height(x);
        const int heads = int(c / head_dim_);
        Tensor h = ops.linear(ops.tokens(x), name + ".attn_qkv", {3 * c, false});
        h = ops.self_attention(ops.unit_norm(h, 3 * heads), heads, Fused::whole);
        return ops.image(ops.linear(h, name + ".attn_proj", {c, false}), width, height);
    }

    int in_;
    std::vector<int> channels_;
    int blocks_;
    std::vector<int> attention_;
    int head_dim_, noise_, embed_, classes_;
    float res_, attn_, label_, concat_, clip_;
};

} // namespace

std::unique_ptr<Architecture> edm2(const Params &p) {
    return std::make_unique<EDM2>(p);
}

} // namespace sdgo
