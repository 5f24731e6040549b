// CLIP's image encoder (Radford et al. 2021), as transformers' CLIPVisionModelWithProjection
// computes it: OpenAI's (quick GELU) and OpenCLIP's (GELU).
//
// Hyperparameters: side, of the picture, patch, of its squares, which divides it, width, heads,
// layers, ffn, projection, activation (0 quick GELU, 1 GELU), eps.
// Input: picture, normalised, [N, 3, side, side].
// Outputs: embedding, the picture's projected embedding [N, projection]; hidden, the states
// after all layers but the last, [N, 1 + (side / patch)², width].
#include "nets/clip_layer.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "clip_vision";

class ClipVision : public Architecture {
  public:
    explicit ClipVision(const Params &p)
        : side_(p.integer("side", 1, 4096)), patch_(p.integer("patch", 1, 256)),
          width_(p.integer("width", 1, 1 << 14)), heads_(p.integer("heads", 1, 1 << 10)),
          layers_(p.integer("layers", 2, 128)), ffn_(p.integer("ffn", 1, 1 << 16)),
          projection_(p.integer("projection", 1, 1 << 14)),
          act_(p.integer("activation", 0, 1) == 0 ? Act::quick_gelu : Act::gelu), eps_(p.real("eps", 0, 1)) {
        if (width_ % heads_ != 0 || side_ % patch_ != 0) {
            invalid("%s: width must be a multiple of heads and side of patch, got %d and %d, %d and %d", kNet,
                    width_, heads_, side_, patch_);
        }
    }

    Shapes nominal_inputs() const override { return {{"picture", {1, 3, side_, side_}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"embedding"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs(kNet, inputs, {{"picture"}});
        expect_shape(kNet, "picture", inputs.at("picture"), {"N", 3, side_, side_});
        for (const std::string &name : outputs) {
            if (name != "embedding" && name != "hidden") {
                invalid("%s: no output %s; there are embedding and hidden", kNet, name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        const int64_t squares = int64_t(side_ / patch_) * (side_ / patch_);
        const std::string embeddings = "embeddings.";
        Linear embed{width_, false};
        embed.shape = {width_, 3, patch_, patch_}; // a convolution in files
        Tensor x =
            ops.linear(ops.patches_in(inputs.at("picture"), patch_), embeddings + "patch_embedding", embed);
        // The first token is learned: zeros and one row.
        Tensor first = ops.times(ops.slice_tokens(x, 0, 1), 0);
        first = ops.positions(first, embeddings + "class_embedding", 1);
        x = ops.positions(ops.concat_tokens(first, x), embeddings + "position_embedding.weight", squares + 1);
        x = ops.layer_norm(x, "pre_layrnorm", eps_);
        const CLIPLayer shape{width_, heads_, ffn_, act_, eps_, false};
        Tensors all;
        for (int i = 0; i < layers_; i++) {
            if (i + 1 == layers_) {
                all["hidden"] = x;
            }
            x = clip_layer(ops, x, "encoder.layers." + std::to_string(i), shape);
        }
        Tensor pooled = ops.vectors(ops.layer_norm(ops.slice_tokens(x, 0, 1), "post_layernorm", eps_));
        all["embedding"] =
            ops.linear(pooled, "visual_projection", {projection_, false, Act::none, nullptr, true});
        for (const char *name : {"hidden", "embedding"}) {
            if (std::find(outputs.begin(), outputs.end(), name) == outputs.end()) {
                all.erase(name);
            }
        }
        return all;
    }

    Shape output_shape(const std::string &name, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, name == "hidden" ? 3 : 2);
    }

  private:
    int side_, patch_, width_, heads_, layers_, ffn_, projection_;
    Act act_;
    float eps_;
};

} // namespace

std::unique_ptr<Architecture> clip_vision(const Params &p) {
    return std::make_unique<ClipVision>(p);
}

} // namespace sdgo
