// CLIP's text encoder (Radford et al. 2021), as transformers' CLIPTextModel
// computes it: both OpenAI's ViT-L/14 (quick GELU) and OpenCLIP's (GELU).
//
// Hyperparameters: vocabulary, width, heads, layers, ffn, context_length,
// activation (0 quick GELU, 1 GELU), eps.
// Input: tokens, whole numbers [N, context_length]. With the optional inputs keep, [N,
// context_length], and vectors, [N, context_length, width], a token's embedding is
// multiplied by its number of keep, 1 or 0, and its row of vectors is added: textual
// inversion (Gal et al. 2022, arXiv:2208.01618).
// Outputs: hidden.K for K = 1 … layers, the state after K layers, through the
// final layer norm, [N, context_length, width]. "Clip skip s" is hidden.(layers+1-s).
// state.K is the same without the norm, as SDXL takes it.
#include "nets/clip_layer.h"

#include <cstdlib>

namespace sdgo {

namespace {

class ClipText : public Architecture {
  public:
    explicit ClipText(const Params &p)
        : vocabulary_(p.integer("vocabulary", 1, 1 << 22)), width_(p.integer("width", 1, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), layers_(p.integer("layers", 1, 128)),
          ffn_(p.integer("ffn", 1, 1 << 16)), length_(p.integer("context_length", 2, 4096)),
          act_(p.integer("activation", 0, 1) == 0 ? Act::quick_gelu : Act::gelu), eps_(p.real("eps", 0, 1)) {
        if (width_ % heads_ != 0) {
            invalid("clip_text: width must be a multiple of heads (%d), got %d", heads_, width_);
        }
    }

    Shapes nominal_inputs() const override { return {{"tokens", {1, length_}}}; }
    std::vector<std::string> nominal_outputs() const override {
        return {"hidden." + std::to_string(layers_)};
    }
    bool is_integer(const std::string &input) const override { return input == "tokens"; }
    Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, 3);
    }
    int64_t vocabulary(const std::string &) const override { return vocabulary_; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("clip_text", inputs, {{"tokens"}, {"keep", "vectors"}});
        const Shape &tokens = inputs.at("tokens");
        expect_shape("clip_text", "tokens", tokens, {"N", length_});
        if (inputs.count("keep") != inputs.count("vectors")) {
            invalid("clip_text: keep and vectors go together");
        }
        if (inputs.count("keep")) {
            expect_shape("clip_text", "keep", inputs.at("keep"), {tokens[0], length_});
            expect_shape("clip_text", "vectors", inputs.at("vectors"), {tokens[0], length_, width_});
        }
        for (const std::string &name : outputs) {
            depth(name);
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        Tensor x = ops.embedding(inputs.at("tokens"), "text_model.embeddings.token_embedding.weight",
                                 vocabulary_, width_);
        if (inputs.count("keep")) {
            x = ops.add(ops.scale_tokens(x, inputs.at("keep")), inputs.at("vectors"));
        }
        x = ops.positions(x, "text_model.embeddings.position_embedding.weight", length_);

        int deepest = 0;
        for (const std::string &name : outputs) {
            deepest = std::max(deepest, depth(name));
        }
        const CLIPLayer shape{width_, heads_, ffn_, act_, eps_, true};
        Tensors out;
        for (int i = 0; i < deepest; i++) {
            x = clip_layer(ops, x, "text_model.encoder.layers." + std::to_string(i), shape);
            for (const std::string &name : outputs) {
                if (depth(name) == i + 1) {
                    out[name] = is_state(name) ? x : ops.layer_norm(x, "text_model.final_layer_norm", eps_);
                }
            }
        }
        return out;
    }

  private:
    static bool is_state(const std::string &output) { return output.compare(0, 6, "state.") == 0; }

    // The K of "hidden.K" and "state.K".
    int depth(const std::string &output) const {
        const size_t prefix = is_state(output) ? 6 : output.compare(0, 7, "hidden.") == 0 ? 7 : 0;
        const int k = prefix > 0 ? atoi(output.c_str() + prefix) : 0;
        if (k < 1 || k > layers_) {
            invalid("clip_text: no output %s; there are hidden.1 to hidden.%d and state.1 to state.%d",
                    output.c_str(), layers_, layers_);
        }
        return k;
    }

    int vocabulary_, width_, heads_, layers_, ffn_, length_;
    Act act_;
    float eps_;
};

} // namespace

std::unique_ptr<Architecture> clip_text(const Params &p) {
    return std::make_unique<ClipText>(p);
}

} // namespace sdgo
