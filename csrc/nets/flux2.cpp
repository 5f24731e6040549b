// FLUX.2's transformer, as the diffusers library's Flux2Transformer2DModel computes it: text and picture in
// two streams that attend to each other, then in one, with one modulation for all blocks of a kind. Names of
// weights are those of the original files, but for the norms of queries and keys, which are called
// NORM.weight.
//
// Hyperparameters: channels (of the packed latent), width, heads, double_blocks, single_blocks, ffn
// (channels between the feed-forward layers, a multiple of the width), text (channels of the prompt's
// states). Inputs: x, the noisy latent [N, channels, H, W]; timesteps [N], 1000·sigma; context [N, L, text],
// the prompt's states; reference, which is optional, [N, R, channels]: tokens of pictures to look at; rotary
// tables cos and sin [L + H·W + R, width/heads/2], of text, picture and reference in this order. Outputs:
// sample [N, channels, H, W]: the velocity, noise - x0.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-6f;
constexpr int64_t kSinusoids = 256;

class Flux2 : public Architecture {
  public:
    explicit Flux2(const Params &p)
        : channels_(p.integer("channels", 1, 1 << 12)), width_(p.integer("width", 2, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), double_(p.integer("double_blocks", 1, 256)),
          single_(p.integer("single_blocks", 1, 256)), ffn_(p.integer("ffn", 1, 1 << 17)),
          text_(p.integer("text", 1, 1 << 17)) {
        if (width_ % heads_ != 0 || width_ / heads_ % 2 != 0 || ffn_ % width_ != 0) {
            invalid(
                "flux2: width must divide into heads of an even width and ffn be a multiple of it, got %lld, "
                "%d and %lld",
                (long long)width_, heads_, (long long)ffn_);
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t half = width_ / heads_ / 2;
        return {{"x", {1, channels_, 4, 4}},
                {"timesteps", {1}},
                {"context", {1, 8, text_}},
                {"cos", {24, half}},
                {"sin", {24, half}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("flux2", inputs, {{"x", "timesteps", "context", "cos", "sin"}, {"reference"}});
        const Shape &x = inputs.at("x"), &context = inputs.at("context");
        expect_shape("flux2", "x", x, {"N", channels_, "H", "W"});
        expect_shape("flux2", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("flux2", "context", context, {x[0], "L", text_});
        int64_t all = context[1] + x[2] * x[3];
        if (inputs.count("reference") != 0) {
            expect_shape("flux2", "reference", inputs.at("reference"), {x[0], "R", channels_});
            all += inputs.at("reference")[1];
        }
        for (const char *name : {"cos", "sin"}) {
            expect_shape("flux2", name, inputs.at(name), {all, width_ / heads_ / 2});
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("flux2: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor x = inputs.at("x");
        const int64_t w = x->ne[0], h = x->ne[1];
        Linear first{width_, false, Act::silu}, second{width_, false};
        first.vectors = second.vectors = true;
        Tensor time =
            ops.linear(ops.timestep_embedding(inputs.at("timesteps"), kSinusoids), "time_in.in_layer", first);
        time = ops.silu(ops.linear(time, "time_in.out_layer", second));

        Tensor image = ops.pixels_in(x, 1);
        if (inputs.count("reference") != 0) {
            image = ops.concat_tokens(image, inputs.at("reference"));
        }
        image = ops.linear(image, "img_in", {width_, false});
        Tensor text = ops.linear(inputs.at("context"), "txt_in", {width_, false});
        const int64_t length = text->ne[1];
        const Rope rope{inputs.at("cos"), inputs.at("sin")};
        const auto of_image = modulation(ops, time, "double_stream_modulation_img.lin", 6);
        const auto of_text = modulation(ops, time, "double_stream_modulation_txt.lin", 6);
        for (int i = 0; i < double_; i++) {
            const std::string name = "double_blocks." + std::to_string(i) + ".";
            const Parts a = parts(ops, modulated(ops, text, of_text, 0), name + "txt_attn.");
            const Parts b = parts(ops, modulated(ops, image, of_image, 0), name + "img_attn.");
            const Tensor y = attention(
                ops, {ops.concat_tokens(a.q, b.q), ops.concat_tokens(a.k, b.k), ops.concat_tokens(a.v, b.v)},
                rope);
            text = added(ops, text, ops.slice_tokens(y, 0, length), of_text, of_text[2], name + "txt_");
            image = added(ops, image, ops.slice_tokens(y, length, image->ne[1]), of_image, of_image[2],
                          name + "img_");
        }
        Tensor both = ops.concat_tokens(text, image);
        const auto single = modulation(ops, time, "single_stream_modulation.lin", 3);
        for (int i = 0; i < single_; i++) {
            both = one_stream(ops, both, single, rope, "single_blocks." + std::to_string(i) + ".");
        }
        image = ops.slice_tokens(both, length, w * h);
        const auto last = modulation(ops, time, "final_layer.adaLN_modulation.1", 2);
        image = ops.linear(modulated(ops, image, last, 0), "final_layer.linear", {channels_, false});
        return {{"sample", ops.patches_out(image, 1, w, h)}};
    }

  private:
    struct Rope {
        Tensor cos, sin;
    };
    struct Parts {
        Tensor q, k, v;
    };

    // Shift, scale and gate, once or twice.
    std::vector<Tensor> modulation(Ops &ops, Tensor time, const std::string &name, int count) const {
        Linear l{count * width_, false};
        l.vectors = true;
        const Tensor all = ops.linear(time, name, l);
        std::vector<Tensor> parts;
        for (int i = 0; i < count; i++) {
            parts.push_back(ops.chunk(all, i, count));
        }
        return parts;
    }

    Tensor modulated(Ops &ops, Tensor x, const std::vector<Tensor> &m, int first) const {
        return ops.modulate(ops.layer_norm(x, "", kEps), m[first + 1], m[first]);
    }

    // Queries and keys are normalised.
    Parts parts(Ops &ops, Tensor x, const std::string &name) const {
        const Tensor qkv = ops.linear(x, name + "qkv", {3 * width_, false});
        return {ops.rms_norm(ops.chunk(qkv, 0, 3), name + "norm.query_norm", kEps, heads_),
                ops.rms_norm(ops.chunk(qkv, 1, 3), name + "norm.key_norm", kEps, heads_),
                ops.chunk(qkv, 2, 3)};
    }

    Tensor attention(Ops &ops, const Parts &p, const Rope &rope) const {
        const auto turned = [&](Tensor y) {
            return ops.rope(y, rope.cos, rope.sin, heads_, Pairs::interleaved);
        };
        return ops.attention(turned(p.q), turned(p.k), p.v, heads_, false);
    }

    // The rest of a block of two streams, for one of them.
    Tensor added(Ops &ops, Tensor x, Tensor y, const std::vector<Tensor> &m, Tensor gate,
                 const std::string &name) const {
        x = ops.gated(x, ops.linear(y, name + "attn.proj", {width_, false}), gate);
        const Tensor both = ops.linear(modulated(ops, x, m, 3), name + "mlp.0", {2 * ffn_, false});
        y = ops.multiply(ops.silu(ops.chunk(both, 0, 2)), ops.chunk(both, 1, 2));
        return ops.gated(x, ops.linear(y, name + "mlp.2", {width_, false}), m[5]);
    }

    Tensor one_stream(Ops &ops, Tensor x, const std::vector<Tensor> &m, const Rope &rope,
                      const std::string &name) const {
        const int64_t ratio = ffn_ / width_, all = 3 + 2 * ratio; // in widths
        const Tensor first = ops.linear(modulated(ops, x, m, 0), name + "linear1", {all * width_, false});
        const Parts p{ops.rms_norm(ops.chunk(first, 0, all), name + "norm.query_norm", kEps, heads_),
                      ops.rms_norm(ops.chunk(first, 1, all), name + "norm.key_norm", kEps, heads_),
                      ops.chunk(first, 2, all)};
        Tensor y = attention(ops, p, rope);
        for (int64_t i = 0; i < ratio; i++) { // as pieces of the width, which is where the parts begin
            const Tensor gate = ops.silu(ops.chunk(first, 3 + i, all));
            y = joined(ops, y, ops.multiply(gate, ops.chunk(first, 3 + ratio + i, all)));
        }
        return ops.gated(x, ops.linear(y, name + "linear2", {width_, false}), m[2]);
    }

    // The channels of two, one after the other.
    static Tensor joined(Ops &ops, Tensor a, Tensor b) {
        const int64_t length = a->ne[1];
        return ops.tokens(ops.concat(ops.image(a, length, 1), ops.image(b, length, 1)));
    }

    int64_t channels_, width_;
    int heads_, double_, single_;
    int64_t ffn_, text_;
};

} // namespace

std::unique_ptr<Architecture> flux2(const Params &p) {
    return std::make_unique<Flux2>(p);
}

} // namespace sdgo
