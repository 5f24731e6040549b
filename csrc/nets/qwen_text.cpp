// The text stack of Qwen's language models, which picture models have for text encoders: Qwen3
// (arXiv:2505.09388) with normalized queries and keys, Qwen2.5 and Qwen2.5-VL (arXiv:2502.13923)
// with biases, as transformers' Qwen3Model and Qwen2Model compute them. Names of weights are
// those of their files, after "model.".
//
// Hyperparameters: vocabulary, width, heads, kv_heads, head_channels, layers, ffn, qk_norm (0 or
// 1), qkv_bias (0 or 1), eps.
// Inputs: tokens [N, L]; cos and sin [L, head_channels/2]: of the rotary embedding's angles; picture.K and
// after.K for K = 0, 1, …, which are optional: a picture's tokens [N, S, width], as qwen_vision makes them,
// which follow the text so far, and the tokens of the text after it [N, A]; padding, which is optional,
// [N, P]: tokens after the others, which no token attends to. cos and sin have a row for each of all
// these, and outputs as many tokens. Outputs: state.K for K = 1 … layers, what comes out of K layers, and
// hidden, that of all of them after the final norm, [N, L, width]. transformers' hidden_states[K] is state.K,
// but the last one is hidden.
#include "nets/architecture.h"

#include <cstdlib>

namespace sdgo {

namespace {

constexpr int kPictures = 8;

class QwenText : public Architecture {
  public:
    explicit QwenText(const Params &p)
        : vocabulary_(p.integer("vocabulary", 1, 1 << 22)), width_(p.integer("width", 1, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), kv_heads_(p.integer("kv_heads", 1, 1 << 10)),
          head_(p.integer("head_channels", 2, 1 << 10)), layers_(p.integer("layers", 1, 256)),
          ffn_(p.integer("ffn", 1, 1 << 17)), qk_norm_(p.integer("qk_norm", 0, 1) == 1),
          bias_(p.integer("qkv_bias", 0, 1) == 1), eps_(p.real("eps", 0, 1)) {
        if (heads_ % kv_heads_ != 0 || head_ % 2 != 0) {
            invalid("qwen_text: heads must be a multiple of kv_heads, and head_channels be even, got %d, %d "
                    "and %d",
                    heads_, kv_heads_, head_);
        }
    }

    Shapes nominal_inputs() const override {
        return {{"tokens", {1, 8}}, {"cos", {8, head_ / 2}}, {"sin", {8, head_ / 2}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"hidden"}; }
    bool is_integer(const std::string &input) const override {
        return input == "tokens" || input == "padding" || input.compare(0, 6, "after.") == 0;
    }
    int64_t vocabulary(const std::string &) const override { return vocabulary_; }
    Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, 3);
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs(
            "qwen_text", inputs,
            {{"tokens", "cos", "sin"}, {"padding"}, {{"picture", kPictures, ""}, {"after", kPictures, ""}}});
        const Shape &tokens = inputs.at("tokens");
        expect_shape("qwen_text", "tokens", tokens, {"N", "L"});
        int64_t length = tokens[1] + check_pictures(inputs, tokens[0]);
        if (inputs.count("padding") != 0) {
            expect_shape("qwen_text", "padding", inputs.at("padding"), {tokens[0], "P"});
            length += inputs.at("padding")[1];
        }
        expect_shape("qwen_text", "cos", inputs.at("cos"), {length, head_ / 2});
        expect_shape("qwen_text", "sin", inputs.at("sin"), {length, head_ / 2});
        for (const std::string &name : outputs) {
            depth(name);
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        int deepest = 0;
        for (const std::string &name : outputs) {
            deepest = std::max(deepest, depth(name));
        }
        Tensor x = words(ops, inputs.at("tokens"));
        for (int k = 0; k < kPictures && inputs.count(numbered("picture", k)) != 0; k++) {
            x = ops.concat_tokens(x, inputs.at(numbered("picture", k)));
            x = ops.concat_tokens(x, words(ops, inputs.at(numbered("after", k))));
        }
        const int64_t own = x->ne[1]; // tokens without padding
        if (inputs.count("padding") != 0) {
            x = ops.concat_tokens(x, words(ops, inputs.at("padding")));
        }
        Tensors out;
        for (int i = 0; i < deepest; i++) {
            const std::string name = "layers." + std::to_string(i) + ".";
            x = attention(ops, x, own, inputs.at("cos"), inputs.at("sin"), name);
            x = feed_forward(ops, x, name);
            const std::string state = "state." + std::to_string(i + 1);
            for (const std::string &wanted : outputs) {
                if (wanted == state) {
                    out[wanted] = x;
                } else if (wanted == "hidden" && i + 1 == layers_) {
                    out[wanted] = ops.rms_norm(x, "norm", eps_, 1);
                }
            }
        }
        return out;
    }

  private:
    static std::string numbered(const char *prefix, int k) { return prefix + ("." + std::to_string(k)); }

    Tensor words(Ops &ops, Tensor ids) const {
        return ops.embedding(ids, "embed_tokens.weight", vocabulary_, width_);
    }

    // The number of tokens of pictures and of the texts after them, which must come in pairs.
    int64_t check_pictures(const Shapes &inputs, int64_t n) const {
        int64_t length = 0;
        bool ended = false;
        for (int k = 0; k < kPictures; k++) {
            const auto picture = inputs.find(numbered("picture", k));
            const auto after = inputs.find(numbered("after", k));
            const bool there = picture != inputs.end();
            if (there != (after != inputs.end()) || (there && ended)) {
                invalid(
                    "qwen_text: picture.K and after.K must come in pairs, without gaps, got one of number "
                    "%d",
                    k);
            }
            ended = !there;
            if (there) {
                expect_shape("qwen_text", picture->first, picture->second, {n, "S", width_});
                expect_shape("qwen_text", after->first, after->second, {n, "A"});
                length += picture->second[1] + after->second[1];
            }
        }
        return length;
    }

    Tensor attention(Ops &ops, Tensor x, int64_t own, Tensor cos, Tensor sin, const std::string &name) const {
        const std::string attn = name + "self_attn.";
        const Tensor h = ops.rms_norm(x, name + "input_layernorm", eps_, 1);
        Tensor q = ops.linear(h, attn + "q_proj", {int64_t(heads_) * head_, bias_});
        Tensor k = ops.linear(h, attn + "k_proj", {int64_t(kv_heads_) * head_, bias_});
        Tensor v = ops.linear(h, attn + "v_proj", {int64_t(kv_heads_) * head_, bias_});
        if (qk_norm_) {
            q = ops.rms_norm(q, attn + "q_norm", eps_, heads_);
            k = ops.rms_norm(k, attn + "k_norm", eps_, kv_heads_);
        }
        q = ops.rope(q, cos, sin, heads_, Pairs::halves);
        k = ops.rope(k, cos, sin, kv_heads_, Pairs::halves);
        const int times = heads_ / kv_heads_;
        if (times > 1) {
            k = ops.repeat_heads(k, kv_heads_, times);
            v = ops.repeat_heads(v, kv_heads_, times);
        }
        return ops.linear(attended(ops, q, k, v, own), attn + "o_proj", {width_, false, Act::none, x});
    }

    // Tokens attend to those before them and to themselves; padding attends to all of these.
    Tensor attended(Ops &ops, Tensor q, Tensor k, Tensor v, int64_t own) const {
        const int64_t padding = q->ne[1] - own;
        if (padding == 0) {
            return ops.attention(q, k, v, heads_, true);
        }
        k = ops.slice_tokens(k, 0, own);
        v = ops.slice_tokens(v, 0, own);
        return ops.concat_tokens(ops.attention(ops.slice_tokens(q, 0, own), k, v, heads_, true),
                                 ops.attention(ops.slice_tokens(q, own, padding), k, v, heads_, false));
    }

    Tensor feed_forward(Ops &ops, Tensor x, const std::string &name) const {
        const std::string mlp = name + "mlp.";
        const Tensor h = ops.rms_norm(x, name + "post_attention_layernorm", eps_, 1);
        const Tensor gate = ops.linear(h, mlp + "gate_proj", {ffn_, false, Act::silu});
        const Tensor value = ops.linear(h, mlp + "up_proj", {ffn_, false});
        return ops.linear(ops.multiply(gate, value), mlp + "down_proj", {width_, false, Act::none, x});
    }

    // The number of layers that an output comes out of.
    int depth(const std::string &output) const {
        if (output == "hidden") {
            return layers_;
        }
        const int k = output.compare(0, 6, "state.") == 0 ? atoi(output.c_str() + 6) : 0;
        if (k < 1 || k > layers_ || output != "state." + std::to_string(k)) {
            invalid("qwen_text: no output %s; there are state.1 to state.%d and hidden", output.c_str(),
                    layers_);
        }
        return k;
    }

    int vocabulary_;
    int64_t width_;
    int heads_, kv_heads_, head_, layers_;
    int64_t ffn_;
    bool qk_norm_, bias_;
    float eps_;
};

} // namespace

std::unique_ptr<Architecture> qwen_text(const Params &p) {
    return std::make_unique<QwenText>(p);
}

} // namespace sdgo
