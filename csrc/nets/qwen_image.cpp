// Qwen-Image's transformer (arXiv:2508.02324), as the diffusers library's QwenImageTransformer2DModel
// computes it: blocks of two streams, text and picture, that attend to each other. Names of weights are
// those of its files.
//
// Hyperparameters: channels (of the latent), patch (latent pixels along a token's side), width, heads,
// blocks, ffn (channels between the feed-forward layers), text (channels of the prompt's states), and
// still_reference (1: tokens of the reference are modulated as at time 0, which Qwen-Image-Edit-2511 calls
// zero_cond_t).
// Inputs: x, the noisy latent [N, channels, H, W]; timesteps [N], 1000·sigma; context [N, L, text], the
// prompt's states; reference, which is optional, [N, R, channels·patch²]: tokens of pictures to look at;
// rotary tables cos and sin [L + tokens of x + R, width/heads/2], of text, picture and reference in this
// order. Outputs: sample [N, channels, H, W]: the velocity, noise - x0.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-6f;
constexpr int64_t kSinusoids = 256;

class QwenImage : public Architecture {
  public:
    explicit QwenImage(const Params &p)
        : channels_(p.integer("channels", 1, 1 << 10)), patch_(p.integer("patch", 1, 16)),
          width_(p.integer("width", 2, 1 << 14)), heads_(p.integer("heads", 1, 1 << 10)),
          blocks_(p.integer("blocks", 1, 256)), ffn_(p.integer("ffn", 1, 1 << 17)),
          text_(p.integer("text", 1, 1 << 14)), still_(p.integer_or(0, "still_reference", 0, 1) == 1) {
        if (width_ % heads_ != 0 || width_ / heads_ % 2 != 0) {
            invalid("qwen_image: width must divide into heads of an even width, got %lld and %d",
                    (long long)width_, heads_);
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t half = width_ / heads_ / 2;
        return {{"x", {1, channels_, 2 * patch_, 2 * patch_}},
                {"timesteps", {1}},
                {"context", {1, 4, text_}},
                {"cos", {8, half}},
                {"sin", {8, half}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_constant_across_steps(const std::string &input) const override { return input == "context"; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("qwen_image", inputs, {{"x", "timesteps", "context", "cos", "sin"}, {"reference"}});
        const Shape &x = inputs.at("x"), &context = inputs.at("context");
        expect_shape("qwen_image", "x", x, {"N", channels_, "H", "W"});
        if (x[2] % patch_ != 0 || x[3] % patch_ != 0) {
            invalid("qwen_image: the sides of x must be multiples of %lld, got %lldx%lld", (long long)patch_,
                    (long long)x[3], (long long)x[2]);
        }
        expect_shape("qwen_image", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("qwen_image", "context", context, {x[0], "L", text_});
        int64_t all = context[1] + x[2] / patch_ * (x[3] / patch_);
        if (inputs.count("reference") != 0) {
            expect_shape("qwen_image", "reference", inputs.at("reference"), {x[0], "R", token()});
            all += inputs.at("reference")[1];
        }
        for (const char *name : {"cos", "sin"}) {
            expect_shape("qwen_image", name, inputs.at(name), {all, width_ / heads_ / 2});
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("qwen_image: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor x = inputs.at("x"), t = inputs.at("timesteps");
        const int64_t w = x->ne[0] / patch_, h = x->ne[1] / patch_;
        const bool looks = inputs.count("reference") != 0;
        const Times times{time(ops, t), looks && still_ ? time(ops, ops.times(t, 0)) : nullptr, w * h};
        const Rope rope{inputs.at("cos"), inputs.at("sin")};
        Tensor text = ops.cache([&] {
            return ops.linear(ops.rms_norm(inputs.at("context"), "txt_norm", kEps, 1), "txt_in", {width_});
        });
        Tensor tokens = ops.patches_in(x, patch_);
        if (looks) {
            tokens = ops.concat_tokens(tokens, inputs.at("reference"));
        }
        Tensor picture = ops.linear(tokens, "img_in", {width_});
        for (int i = 0; i < blocks_; i++) {
            block(ops, text, picture, times, rope, "transformer_blocks." + std::to_string(i) + ".");
        }
        picture = looks ? ops.slice_tokens(picture, 0, w * h) : picture;
        Linear l{2 * width_};
        l.vectors = true;
        const Tensor m = ops.linear(times.now, "norm_out.linear", l); // the scale comes first
        picture = ops.modulate(ops.layer_norm(picture, "", kEps), ops.chunk(m, 0, 2), ops.chunk(m, 1, 2));
        return {{"sample", ops.patches_back(ops.linear(picture, "proj_out", {token()}), patch_, w, h)}};
    }

  private:
    struct Rope {
        Tensor cos, sin;
    };
    // SiLU of the embeddings of the noisy tokens' time and, unless it is null, of the time of those after
    // them, which are the reference's.
    struct Times {
        Tensor now, still;
        int64_t noisy;
    };
    // A stream's shift, scale and gate, twice, and those of the tokens from number `noisy` on, which may be
    // none.
    struct Modulation {
        std::vector<Tensor> now, still;
        int64_t noisy;
    };
    struct Parts {
        Tensor q, k, v;
    };

    int64_t token() const { return channels_ * patch_ * patch_; }

    Tensor time(Ops &ops, Tensor t) const {
        const std::string name = "time_text_embed.timestep_embedder.linear_";
        Linear first{width_, true, Act::silu}, second{width_};
        first.vectors = second.vectors = true;
        return ops.silu(ops.linear(ops.linear(ops.timestep_embedding(t, kSinusoids), name + "1", first),
                                   name + "2", second));
    }

    Modulation modulation(Ops &ops, const Times &times, bool picture, const std::string &name) const {
        const auto parts = [&](Tensor of) {
            std::vector<Tensor> all;
            if (of != nullptr) {
                Linear l{6 * width_};
                l.vectors = true;
                const Tensor m = ops.linear(of, name, l);
                for (int i = 0; i < 6; i++) {
                    all.push_back(ops.chunk(m, i, 6));
                }
            }
            return all;
        };
        return {parts(times.now), parts(picture ? times.still : nullptr), times.noisy};
    }

    // of(x, m) for the tokens of each time.
    template <class F> static Tensor each(Ops &ops, Tensor x, const Modulation &m, F of) {
        if (m.still.empty()) {
            return of(x, 0, x->ne[1], m.now);
        }
        return ops.concat_tokens(
            of(ops.slice_tokens(x, 0, m.noisy), 0, m.noisy, m.now),
            of(ops.slice_tokens(x, m.noisy, x->ne[1] - m.noisy), m.noisy, x->ne[1] - m.noisy, m.still));
    }

    Tensor modulated(Ops &ops, Tensor x, const Modulation &m, size_t first) const {
        return each(ops, ops.layer_norm(x, "", kEps), m,
                    [&](Tensor part, int64_t, int64_t, const std::vector<Tensor> &p) {
                        return ops.modulate(part, p[first + 1], p[first]);
                    });
    }

    Tensor gated(Ops &ops, Tensor x, Tensor y, const Modulation &m, size_t gate) const {
        return each(ops, x, m, [&](Tensor part, int64_t from, int64_t length, const std::vector<Tensor> &p) {
            const bool whole = length == y->ne[1];
            return ops.gated(part, whole ? y : ops.slice_tokens(y, from, length), p[gate]);
        });
    }

    void block(Ops &ops, Tensor &text, Tensor &picture, const Times &times, const Rope &rope,
               const std::string &name) const {
        const std::string attn = name + "attn.";
        const Modulation of_picture = modulation(ops, times, true, name + "img_mod.1");
        const Modulation of_text = modulation(ops, times, false, name + "txt_mod.1");
        const auto parts = [&](Tensor x, const Modulation &m, const char *const layers[3],
                               const char *const norms[2]) -> Parts {
            const Tensor h = modulated(ops, x, m, 0);
            const auto layer = [&](int i) { return ops.linear(h, attn + layers[i], {width_}); };
            return {ops.rms_norm(layer(0), attn + norms[0], kEps, heads_),
                    ops.rms_norm(layer(1), attn + norms[1], kEps, heads_), layer(2)};
        };
        const char *const added[] = {"add_q_proj", "add_k_proj", "add_v_proj"};
        const char *const added_norms[] = {"norm_added_q", "norm_added_k"};
        const char *const own[] = {"to_q", "to_k", "to_v"}, *const norms[] = {"norm_q", "norm_k"};
        const Parts a = parts(text, of_text, added, added_norms), b = parts(picture, of_picture, own, norms);
        const auto turned = [&](Tensor y) {
            return ops.rope(y, rope.cos, rope.sin, heads_, Pairs::interleaved);
        };
        const Tensor y =
            ops.attention(turned(ops.concat_tokens(a.q, b.q)), turned(ops.concat_tokens(a.k, b.k)),
                          ops.concat_tokens(a.v, b.v), heads_, false);
        const int64_t length = text->ne[1];
        const auto written = [&](Tensor x, Tensor from, const Modulation &m, const std::string &out,
                                 const std::string &mlp) {
            x = gated(ops, x, ops.linear(from, out, {width_}), m, 2);
            const Tensor h =
                ops.linear(modulated(ops, x, m, 3), mlp + "net.0.proj", {ffn_, true, Act::gelu_tanh});
            return gated(ops, x, ops.linear(h, mlp + "net.2", {width_}), m, 5);
        };
        picture = written(picture, ops.slice_tokens(y, length, picture->ne[1]), of_picture, attn + "to_out.0",
                          name + "img_mlp.");
        text = written(text, ops.slice_tokens(y, 0, length), of_text, attn + "to_add_out", name + "txt_mlp.");
    }

    int64_t channels_, patch_, width_;
    int heads_, blocks_;
    int64_t ffn_, text_;
    bool still_;
};

} // namespace

std::unique_ptr<Architecture> qwen_image(const Params &p) {
    return std::make_unique<QwenImage>(p);
}

} // namespace sdgo
