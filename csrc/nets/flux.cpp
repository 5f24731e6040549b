// FLUX.1's transformer (Black Forest Labs 2024) and Chroma's: blocks of two streams, text and picture,
// then blocks of one, as the diffusers library's FluxTransformer2DModel and ChromaTransformer2DModel compute
// them. Names of weights are those of the authors' files.
//
// Hyperparameters: channels (of x), out_channels, patch (latent pixels along a token's side), width,
// heads, double_blocks, single_blocks, ffn, text (channels of the text's states); pooled (of the vector for
// the whole text) and guidance (1: the strength of guidance is an input); in their place, of Chroma: rows
// (numbers of each row of the input "rows"), approximator (width of the network that makes of them what
// modulates) and its layers, approximator_layers.
// Inputs: x [N, channels, H, W]: the noisy latent, followed by what the model was trained to see with it;
// context [N, L, text]; cos and sin of the rotary embedding, [L + tokens, width/heads/2]; perhaps reference
// [N, channels, H', W'], another latent, whose tokens come last; timesteps [N], 0 to 1000 for noise, y [N,
// pooled] and guidance [N], 1000 times its strength; or of Chroma rows [N, R, rows]. Outputs: sample [N,
// out_channels, H, W]: the velocity, noise - x0.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-6f;
constexpr float kApproximatorEps = 1.1920929e-7f; // torch's default: the last bit of a float32
constexpr int64_t kSinusoids = 256;

class Flux : public Architecture {
  public:
    explicit Flux(const Params &p)
        : channels_(p.integer("channels", 1, 1024)), out_(p.integer("out_channels", 1, 1024)),
          patch_(p.integer("patch", 1, 16)), width_(p.integer("width", 2, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), double_(p.integer("double_blocks", 0, 256)),
          single_(p.integer("single_blocks", 0, 256)), ffn_(p.integer("ffn", 1, 1 << 17)),
          text_(p.integer("text", 1, 1 << 14)), pooled_(p.integer_or(0, "pooled", 0, 1 << 14)),
          guidance_(p.integer_or(0, "guidance", 0, 1)), rows_(p.integer_or(0, "rows", 0, 1 << 14)),
          approximator_(p.integer_or(0, "approximator", 0, 1 << 14)),
          layers_(p.integer_or(0, "approximator_layers", 0, 256)) {
        if (width_ % heads_ != 0 || width_ / heads_ % 2 != 0) {
            invalid("flux: width must divide into heads of an even width, got %lld and %d", (long long)width_,
                    heads_);
        }
        if ((pooled_ > 0) == (approximator_ > 0) || (rows_ > 0) != (approximator_ > 0) ||
            (guidance_ && approximator_ > 0)) {
            invalid("flux: either pooled and perhaps guidance, or rows and approximator must be given");
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t half = width_ / heads_ / 2;
        Shapes s = {{"x", {1, channels_, 2 * patch_, 2 * patch_}},
                    {"context", {1, 4, text_}},
                    {"cos", {8, half}},
                    {"sin", {8, half}}};
        if (approximator_ > 0) {
            s["rows"] = {1, modulations(), rows_};
            return s;
        }
        s["timesteps"] = {1};
        s["y"] = {1, pooled_};
        if (guidance_) {
            s["guidance"] = {1};
        }
        return s;
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_constant_across_steps(const std::string &input) const override {
        return input == "context" || input == "y" || input == "guidance";
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        InputNames names{{"x", "context", "cos", "sin"}, {"reference"}};
        for (const auto &input : nominal_inputs()) {
            names.required.push_back(input.first);
        }
        expect_inputs("flux", inputs, names);
        const Shape &x = inputs.at("x"), &context = inputs.at("context");
        expect_shape("flux", "context", context, {x[0], "L", text_});
        int64_t tokens = context[1];
        for (const char *name : {"x", "reference"}) {
            if (inputs.count(name)) {
                const Shape &s = inputs.at(name);
                expect_shape("flux", name, s, {x[0], channels_, "H", "W"});
                if (s[2] % patch_ != 0 || s[3] % patch_ != 0) {
                    invalid("flux: the sides of %s must be multiples of %d, got %lldx%lld", name, patch_,
                            (long long)s[3], (long long)s[2]);
                }
                tokens += s[2] / patch_ * (s[3] / patch_);
            }
        }
        for (const char *name : {"cos", "sin"}) {
            expect_shape("flux", name, inputs.at(name), {tokens, width_ / heads_ / 2});
        }
        if (approximator_ > 0) {
            expect_shape("flux", "rows", inputs.at("rows"), {x[0], modulations(), rows_});
        } else {
            expect_shape("flux", "timesteps", inputs.at("timesteps"), {x[0]});
            expect_shape("flux", "y", inputs.at("y"), {x[0], pooled_});
            if (guidance_) {
                expect_shape("flux", "guidance", inputs.at("guidance"), {x[0]});
            }
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("flux: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor x = inputs.at("x");
        const int64_t w = x->ne[0] / patch_, h = x->ne[1] / patch_;
        const Tensor condition =
            approximator_ > 0 ? approximated(ops, inputs.at("rows")) : embedding(ops, inputs);
        const Rope rope{inputs.at("cos"), inputs.at("sin")};
        Tensor text = ops.cache([&] { return ops.linear(inputs.at("context"), "txt_in", {width_}); });
        Tensor patches = ops.patches_in(x, patch_);
        if (inputs.count("reference")) {
            patches = ops.concat_tokens(patches, ops.patches_in(inputs.at("reference"), patch_));
        }
        Tensor picture = ops.linear(patches, "img_in", {width_});
        for (int i = 0; i < double_; i++) {
            double_block(ops, text, picture, condition, rope, i);
        }
        const int64_t length = text->ne[1];
        Tensor both = ops.concat_tokens(text, picture);
        for (int i = 0; i < single_; i++) {
            both = single_block(ops, both, condition, rope, i);
        }
        picture = ops.slice_tokens(both, length, w * h);
        const Parts m =
            parts(ops, condition, "final_layer.adaLN_modulation.1", 3 * single_ + 12 * double_, 2);
        picture = ops.modulate(ops.layer_norm(picture, "", kEps), m[1], m[0]);
        picture = ops.linear(picture, "final_layer.linear", {int64_t(patch_) * patch_ * out_});
        return {{"sample", ops.patches_back(picture, patch_, w, h)}};
    }

  private:
    struct Rope {
        Tensor cos, sin;
    };
    using Parts = std::vector<Tensor>; // of what modulates: [width, N] each

    struct Queries {
        Tensor q, k, v;
    };

    // Vectors that Chroma's approximator makes.
    int64_t modulations() const { return 3 * int64_t(single_) + 12 * int64_t(double_) + 2; }

    // SiLU of the embedding of time, guidance and text, [width, N], which every layer that modulates
    // begins with.
    Tensor embedding(Ops &ops, const Tensors &inputs) const {
        const auto mlp = [&](Tensor x, const std::string &name, Tensor add) {
            Linear first{width_, true, Act::silu}, second{width_};
            first.vectors = second.vectors = true;
            second.add = add;
            return ops.linear(ops.linear(x, name + ".in_layer", first), name + ".out_layer", second);
        };
        const Tensor constant = ops.cache([&] {
            Tensor y = mlp(inputs.at("y"), "vector_in", nullptr);
            return guidance_
                       ? mlp(ops.timestep_embedding(inputs.at("guidance"), kSinusoids), "guidance_in", y)
                       : y;
        });
        return ops.silu(mlp(ops.timestep_embedding(inputs.at("timesteps"), kSinusoids), "time_in", constant));
    }

    // Chroma's: [width, R, N], a row for each part.
    Tensor approximated(Ops &ops, Tensor rows) const {
        const std::string name = "distilled_guidance_layer.";
        Tensor x = ops.linear(rows, name + "in_proj", {approximator_});
        for (int i = 0; i < layers_; i++) {
            const std::string number = std::to_string(i);
            Tensor h = ops.rms_norm(x, name + "norms." + number + ".scale", kApproximatorEps, 1);
            h = ops.linear(h, name + "layers." + number + ".in_layer", {approximator_, true, Act::silu});
            x = ops.linear(h, name + "layers." + number + ".out_layer", {approximator_, true, Act::none, x});
        }
        return ops.linear(x, name + "out_proj", {width_});
    }

    // Of a layer of modulation, or Chroma's rows from `row` on.
    Parts parts(Ops &ops, Tensor condition, const std::string &name, int64_t row, int64_t count) const {
        Parts all;
        Tensor m = condition;
        if (approximator_ == 0) {
            Linear l{count * width_};
            l.vectors = true;
            m = ops.linear(condition, name, l);
        }
        for (int64_t i = 0; i < count; i++) {
            all.push_back(approximator_ == 0 ? ops.chunk(m, i, count)
                                             : ops.vectors(ops.slice_tokens(m, row + i, 1)));
        }
        return all;
    }

    Queries queries(Ops &ops, Tensor qkv, const std::string &norm) const {
        return {ops.rms_norm(ops.slice_channels(qkv, 0, width_), norm + "query_norm.scale", kEps, heads_),
                ops.rms_norm(ops.slice_channels(qkv, width_, width_), norm + "key_norm.scale", kEps, heads_),
                ops.slice_channels(qkv, 2 * width_, width_)};
    }

    Tensor attention(Ops &ops, const Queries &a, const Rope &rope) const {
        return ops.attention(ops.rope(a.q, rope.cos, rope.sin, heads_, Pairs::interleaved),
                             ops.rope(a.k, rope.cos, rope.sin, heads_, Pairs::interleaved), a.v, heads_,
                             false);
    }

    // Shift, scale and gate of attention, then those of the layers after it, for each stream.
    void double_block(Ops &ops, Tensor &text, Tensor &picture, Tensor condition, const Rope &rope,
                      int index) const {
        const std::string name = "double_blocks." + std::to_string(index) + ".";
        const int64_t row = 3 * int64_t(single_) + 6 * int64_t(index);
        const Parts m = parts(ops, condition, name + "img_mod.lin", row, 6);
        const Parts c = parts(ops, condition, name + "txt_mod.lin", row + 6 * int64_t(double_), 6);
        const auto read = [&](Tensor x, const Parts &p, const std::string &stream) {
            const Tensor h = ops.modulate(ops.layer_norm(x, "", kEps), p[1], p[0]);
            return queries(ops, ops.linear(h, name + stream + "_attn.qkv", {3 * width_}),
                           name + stream + "_attn.norm.");
        };
        const Queries a = read(text, c, "txt"), b = read(picture, m, "img");
        const Tensor y = attention(
            ops, {ops.concat_tokens(a.q, b.q), ops.concat_tokens(a.k, b.k), ops.concat_tokens(a.v, b.v)},
            rope);
        const int64_t length = text->ne[1];
        const auto written = [&](Tensor x, Tensor from, const Parts &p, const std::string &stream) {
            x = ops.gated(x, ops.linear(from, name + stream + "_attn.proj", {width_}), p[2]);
            Tensor h = ops.modulate(ops.layer_norm(x, "", kEps), p[4], p[3]);
            h = ops.linear(h, name + stream + "_mlp.0", {ffn_, true, Act::gelu_tanh});
            return ops.gated(x, ops.linear(h, name + stream + "_mlp.2", {width_}), p[5]);
        };
        picture = written(picture, ops.slice_tokens(y, length, picture->ne[1]), m, "img");
        text = written(text, ops.slice_tokens(y, 0, length), c, "txt");
    }

    // Attention and feed-forward layers side by side.
    Tensor single_block(Ops &ops, Tensor x, Tensor condition, const Rope &rope, int index) const {
        const std::string name = "single_blocks." + std::to_string(index) + ".";
        const Parts m = parts(ops, condition, name + "modulation.lin", 3 * int64_t(index), 3);
        const Tensor h = ops.modulate(ops.layer_norm(x, "", kEps), m[1], m[0]);
        const Tensor all = ops.linear(h, name + "linear1", {3 * width_ + ffn_});
        const Tensor y = attention(ops, queries(ops, all, name + "norm."), rope);
        const Tensor inner = ops.gelu_tanh(ops.slice_channels(all, 3 * width_, ffn_));
        return ops.gated(x, ops.linear(ops.concat_channels(y, inner), name + "linear2", {width_}), m[2]);
    }

    int channels_, out_, patch_;
    int64_t width_;
    int heads_, double_, single_;
    int64_t ffn_, text_, pooled_;
    int guidance_;
    int64_t rows_, approximator_;
    int layers_;
};

} // namespace

std::unique_ptr<Architecture> flux(const Params &p) {
    return std::make_unique<Flux>(p);
}

} // namespace sdgo
