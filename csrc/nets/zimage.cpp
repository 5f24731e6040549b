// Z-Image's transformer (arXiv:2511.22699), which attends to caption and picture in one
// sequence, as the diffusers library's ZImageTransformer2DModel computes it. Names of weights are
// those of ComfyUI's files.
//
// Hyperparameters: channels (of the latent), patch (latent pixels along a token's side), width,
// heads, layers, refiners, ffn, text (channels of the caption's states), time and time_inner (widths of the
// time's embedding, at its end and before). Inputs: x, the noisy latent [N, channels, H, W]; timesteps [N], 0
// for noise to 1000 for the picture; context [N, L, text], the caption's states. Both sequences are filled up
// with learned tokens to multiples of 32; rotary tables cos and sin [picture + caption, width/heads/2] are
// for the whole sequence, context.cos and context.sin for the caption alone.
// Outputs: sample [N, channels, H, W]: the velocity, noise - x0. The weights predict its negative.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-5f, kFinalEps = 1e-6f;
constexpr int64_t kMultiple = 32; // of tokens
constexpr int64_t kSinusoids = 256;

class ZImage : public Architecture {
  public:
    explicit ZImage(const Params &p)
        : channels_(p.integer("channels", 1, 256)), patch_(p.integer("patch", 1, 16)),
          width_(p.integer("width", 2, 1 << 14)), heads_(p.integer("heads", 1, 1 << 10)),
          layers_(p.integer("layers", 1, 256)), refiners_(p.integer("refiners", 1, 64)),
          ffn_(p.integer("ffn", 1, 1 << 17)), text_(p.integer("text", 1, 1 << 14)),
          time_(p.integer("time", 1, 1 << 14)), time_inner_(p.integer("time_inner", 1, 1 << 14)) {
        if (width_ % heads_ != 0 || width_ / heads_ % 2 != 0) {
            invalid("zimage: width must divide into heads of an even width, got %lld and %d",
                    (long long)width_, heads_);
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t half = width_ / heads_ / 2;
        return {{"x", {1, channels_, 4 * patch_, 4 * patch_}},
                {"timesteps", {1}},
                {"context", {1, 8, text_}},
                {"cos", {2 * kMultiple, half}},
                {"sin", {2 * kMultiple, half}},
                {"context.cos", {kMultiple, half}},
                {"context.sin", {kMultiple, half}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_constant_across_steps(const std::string &input) const override {
        return input.compare(0, 7, "context") == 0;
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("zimage", inputs,
                      {{"x", "timesteps", "context", "cos", "sin", "context.cos", "context.sin"}});
        const Shape &x = inputs.at("x"), &context = inputs.at("context");
        expect_shape("zimage", "x", x, {"N", channels_, "H", "W"});
        if (x[2] % patch_ != 0 || x[3] % patch_ != 0) {
            invalid("zimage: the sides of x must be multiples of %d, got %lldx%lld", patch_, (long long)x[3],
                    (long long)x[2]);
        }
        expect_shape("zimage", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("zimage", "context", context, {x[0], "L", text_});
        const int64_t caption = filled(context[1]), half = width_ / heads_ / 2;
        const int64_t all = caption + filled(x[2] / patch_ * (x[3] / patch_));
        for (const char *name : {"cos", "sin"}) {
            expect_shape("zimage", name, inputs.at(name), {all, half});
            const std::string own = std::string("context.") + name;
            expect_shape("zimage", own, inputs.at(own), {caption, half});
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("zimage: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor x = inputs.at("x");
        const int64_t w = x->ne[0] / patch_, h = x->ne[1] / patch_;
        const Tensor condition = embedding(ops, inputs.at("timesteps"));
        const Tensor caption = ops.cache([&] { return refined(ops, inputs); });

        Tensor picture = ops.linear(ops.pixels_in(x, patch_), "x_embedder", {width_});
        picture = ops.pad_tokens(picture, "x_pad_token", kMultiple);
        const int64_t length = picture->ne[1];
        Rope all{inputs.at("cos"), inputs.at("sin")};
        const Rope own{ops.table_rows(all.cos, length), ops.table_rows(all.sin, length)};
        for (int i = 0; i < refiners_; i++) {
            picture = block(ops, picture, condition, own, "noise_refiner." + std::to_string(i) + ".");
        }
        Tensor both = ops.concat_tokens(picture, caption);
        for (int i = 0; i < layers_; i++) {
            both = block(ops, both, condition, all, "layers." + std::to_string(i) + ".");
        }
        picture = ops.slice_tokens(both, 0, w * h);
        Linear scale{width_};
        scale.vectors = true;
        picture = ops.scale_by(ops.layer_norm(picture, "", kFinalEps),
                               ops.linear(ops.silu(condition), "final_layer.adaLN_modulation.1", scale));
        picture = ops.linear(picture, "final_layer.linear", {int64_t(patch_) * patch_ * channels_});
        return {{"sample", ops.scale(ops.patches_out(picture, patch_, w, h), -1)}};
    }

  private:
    struct Rope {
        Tensor cos, sin;
    };

    static int64_t filled(int64_t tokens) { return (tokens + kMultiple - 1) / kMultiple * kMultiple; }

    Tensor embedding(Ops &ops, Tensor timesteps) const {
        Linear first{time_inner_, true, Act::silu}, second{time_};
        first.vectors = second.vectors = true;
        Tensor t = ops.linear(ops.timestep_embedding(timesteps, kSinusoids), "t_embedder.mlp.0", first);
        return ops.linear(t, "t_embedder.mlp.2", second);
    }

    // The caption's tokens before they meet the picture's.
    Tensor refined(Ops &ops, const Tensors &inputs) const {
        Tensor x = ops.rms_norm(inputs.at("context"), "cap_embedder.0", kEps, 1);
        x = ops.pad_tokens(ops.linear(x, "cap_embedder.1", {width_}), "cap_pad_token", kMultiple);
        const Rope rope{inputs.at("context.cos"), inputs.at("context.sin")};
        for (int i = 0; i < refiners_; i++) {
            x = block(ops, x, nullptr, rope, "context_refiner." + std::to_string(i) + ".");
        }
        return x;
    }

    // Without a condition nothing is modulated.
    Tensor block(Ops &ops, Tensor x, Tensor condition, const Rope &rope, const std::string &name) const {
        Tensor scale[2] = {}, gate[2] = {};
        if (condition) {
            Linear l{4 * width_};
            l.vectors = true;
            const Tensor m = ops.linear(condition, name + "adaLN_modulation.0", l);
            for (int i = 0; i < 2; i++) {
                scale[i] = ops.chunk(m, 2 * i, 4);
                gate[i] = ops.tanh(ops.chunk(m, 2 * i + 1, 4));
            }
        }
        const auto scaled = [&](Tensor y, int i) { return scale[i] ? ops.scale_by(y, scale[i]) : y; };
        const auto added = [&](Tensor y, int i) {
            return gate[i] ? ops.gated(x, y, gate[i]) : ops.add(x, y);
        };
        Tensor h = scaled(ops.rms_norm(x, name + "attention_norm1", kEps, 1), 0);
        x = added(
            ops.rms_norm(attention(ops, h, rope, name + "attention."), name + "attention_norm2", kEps, 1), 0);
        h = scaled(ops.rms_norm(x, name + "ffn_norm1", kEps, 1), 1);
        return added(ops.rms_norm(feed_forward(ops, h, name + "feed_forward."), name + "ffn_norm2", kEps, 1),
                     1);
    }

    Tensor attention(Ops &ops, Tensor x, const Rope &rope, const std::string &name) const {
        const Tensor qkv = ops.linear(x, name + "qkv", {3 * width_, false});
        const auto turned = [&](int part, const char *norm) {
            Tensor y = ops.rms_norm(ops.chunk(qkv, part, 3), name + norm, kEps, heads_);
            return ops.rope(y, rope.cos, rope.sin, heads_, Pairs::interleaved);
        };
        const Tensor y =
            ops.attention(turned(0, "q_norm"), turned(1, "k_norm"), ops.chunk(qkv, 2, 3), heads_, false);
        return ops.linear(y, name + "out", {width_, false});
    }

    Tensor feed_forward(Ops &ops, Tensor x, const std::string &name) const {
        const Tensor gate = ops.linear(x, name + "w1", {ffn_, false, Act::silu});
        return ops.linear(ops.multiply(gate, ops.linear(x, name + "w3", {ffn_, false})), name + "w2",
                          {width_, false});
    }

    int channels_, patch_;
    int64_t width_;
    int heads_, layers_, refiners_;
    int64_t ffn_, text_, time_, time_inner_;
};

} // namespace

std::unique_ptr<Architecture> zimage(const Params &p) {
    return std::make_unique<ZImage>(p);
}

} // namespace sdgo
