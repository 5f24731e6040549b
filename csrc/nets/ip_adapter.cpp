// IP-Adapter (Ye et al. 2023, arXiv:2308.06721): keys and values of a picture, of which CLIP's
// image encoder has made an embedding or states, for the layers of a UNet that attend to
// the text, the inputs picture_key.k and picture_value.k of unet.cpp.
//
// Hyperparameters: kind: 0, tokens of a picture's embedding by one layer; 1 ("Plus"), a resampler of
// states (Alayrac et al. 2022); 2 ("full face"), two layers for each state; 3 ("FaceID"), tokens of a
// face's vector by two layers; 4 ("FaceID Plus"), a resampler of states that begins with those. clip_width,
// of embedding or states, of all but kind 3; face and face_inner, of a face's vector and between its two
// layers; context_dim, of tokens; tokens, of all but kind 2; of kinds 1 and 4 width, depth, inner, heads,
// ffn; shortcut, of kind 4: 1 adds the face's tokens to what the resampler makes of them ("v2").
// run_channels and run_lengths: the channels of so many layers one after another.
// Inputs: embedding, [N, clip_width], of kind 0; hidden, [N, L, clip_width], of kinds 1, 2 and 4; face,
// [N, face], of kinds 3 and 4.
// Outputs: key.k and value.k, [N, T, channels of layer k].
#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "ip_adapter";
constexpr float kEps = 1e-5f;

enum Kind { kBasic, kPlus, kFull, kFace, kFacePlus };

class IPAdapter : public Architecture {
  public:
    explicit IPAdapter(const Params &p)
        : kind_(Kind(p.integer("kind", kBasic, kFacePlus))), clip_(p.integer_or(0, "clip_width", 0, 1 << 14)),
          face_(p.integer_or(0, "face", 0, 1 << 14)), face_inner_(p.integer_or(0, "face_inner", 0, 1 << 16)),
          shortcut_(p.integer_or(0, "shortcut", 0, 1) == 1), context_(p.integer("context_dim", 1, 1 << 14)),
          tokens_(p.integer_or(1, "tokens", 1, 1 << 10)), width_(p.integer_or(0, "width", 0, 1 << 14)),
          depth_(p.integer_or(0, "depth", 0, 64)), heads_(p.integer_or(1, "heads", 1, 1 << 10)),
          inner_(p.integer_or(0, "inner", 0, 1 << 14)), ffn_(p.integer_or(0, "ffn", 0, 1 << 16)) {
        const std::vector<int> channels = p.integers("run_channels", 1, 1 << 13);
        const std::vector<int> lengths = p.integers("run_lengths", 1, 256);
        if (channels.size() != lengths.size()) {
            invalid("%s: run_channels and run_lengths must have one number for each run", kNet);
        }
        for (size_t i = 0; i < channels.size(); i++) {
            layers_.insert(layers_.end(), size_t(lengths[i]), channels[i]);
        }
        if (resamples() && (width_ < 1 || inner_ < 1 || inner_ % heads_ != 0 || ffn_ < 1)) {
            invalid("%s: a resampler must have a width, heads that divide inner, and ffn", kNet);
        }
        if (kind_ == kFacePlus && width_ != context_) {
            invalid("%s: the width of a resampler of faces must be context_dim, %d, got %d", kNet, context_,
                    width_);
        }
        if ((kind_ != kFace) != (clip_ > 0) || faces() != (face_ > 0) || faces() != (face_inner_ > 0)) {
            invalid("%s: clip_width is of what sees pictures, face and face_inner of what sees faces", kNet);
        }
    }

    Shapes nominal_inputs() const override {
        if (kind_ == kBasic) {
            return {{"embedding", {1, clip_}}};
        }
        Shapes all;
        if (kind_ != kFace) {
            all["hidden"] = {1, tokens_ + 1, clip_};
        }
        if (faces()) {
            all["face"] = {1, face_};
        }
        return all;
    }

    std::vector<std::string> nominal_outputs() const override {
        std::vector<std::string> all;
        for (size_t k = 0; k < layers_.size(); k++) {
            all.push_back("key." + std::to_string(k));
            all.push_back("value." + std::to_string(k));
        }
        return all;
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        check_inputs(inputs);
        const std::vector<std::string> known = nominal_outputs();
        for (const std::string &name : outputs) {
            if (std::find(known.begin(), known.end(), name) == known.end()) {
                invalid("%s: no output %s; there are key.0 to key.%zu and value.0 to value.%zu", kNet,
                        name.c_str(), layers_.size() - 1, layers_.size() - 1);
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        Tensor tokens = seen(ops, inputs);
        Tensors all;
        for (size_t k = 0; k < layers_.size(); k++) {
            const std::string n = std::to_string(k), layer = "ip_adapter." + std::to_string(2 * k + 1);
            for (const auto &[name, weight] :
                 {std::make_pair("key." + n, ".to_k_ip"), {"value." + n, ".to_v_ip"}}) {
                if (std::find(outputs.begin(), outputs.end(), name) != outputs.end()) {
                    all[name] = ops.linear(tokens, layer + weight, {layers_[k], false});
                }
            }
        }
        return all;
    }

    Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, 3);
    }

  private:
    bool faces() const { return kind_ == kFace || kind_ == kFacePlus; }
    bool resamples() const { return kind_ == kPlus || kind_ == kFacePlus; }

    void check_inputs(const Shapes &inputs) const {
        if (kind_ == kBasic) {
            expect_inputs(kNet, inputs, {{"embedding"}});
            expect_shape(kNet, "embedding", inputs.at("embedding"), {"N", clip_});
            return;
        }
        InputNames names;
        if (kind_ != kFace) {
            names.required.push_back("hidden");
        }
        if (faces()) {
            names.required.push_back("face");
        }
        expect_inputs(kNet, inputs, names);
        if (kind_ != kFace) {
            const Shape &s = inputs.at("hidden");
            expect_shape(kNet, "hidden", s, {"N", "L", clip_});
            if (kind_ == kPlus && s[1] < tokens_) {
                invalid("%s: hidden must have at least %d tokens, got %lld", kNet, tokens_, (long long)s[1]);
            }
        }
        if (faces()) {
            expect_shape(kNet, "face", inputs.at("face"), {"N", face_});
        }
    }

    // The tokens of a picture or a face.
    Tensor seen(Ops &ops, const Tensors &inputs) const {
        switch (kind_) {
        case kBasic:
            return project(ops, inputs.at("embedding"));
        case kPlus:
            return resample(ops, "image_proj.", inputs.at("hidden"), nullptr);
        case kFull:
            return each(ops, inputs.at("hidden"));
        case kFace:
            return face(ops, inputs.at("face"));
        case kFacePlus:
            break;
        }
        Tensor tokens = face(ops, inputs.at("face"));
        Tensor h = resample(ops, "image_proj.perceiver_resampler.", inputs.at("hidden"), tokens);
        return shortcut_ ? ops.add(tokens, h) : h;
    }

    // One vector becomes all tokens.
    Tensor project(Ops &ops, Tensor embedding) const {
        Tensor x = ops.linear(embedding, "image_proj.proj",
                              {int64_t(tokens_) * context_, true, Act::none, nullptr, true});
        return ops.layer_norm(ops.split_tokens(x, tokens_), "image_proj.norm", kEps);
    }

    Tensor face(Ops &ops, Tensor x) const {
        x = ops.linear(x, "image_proj.proj.0", {face_inner_, true, Act::gelu, nullptr, true});
        x = ops.linear(x, "image_proj.proj.2", {int64_t(tokens_) * context_, true, Act::none, nullptr, true});
        return ops.layer_norm(ops.split_tokens(x, tokens_), "image_proj.norm", kEps);
    }

    Tensor each(Ops &ops, Tensor x) const {
        x = ops.linear(x, "image_proj.proj.0", {clip_, true, Act::gelu});
        x = ops.linear(x, "image_proj.proj.2", {context_});
        return ops.layer_norm(x, "image_proj.proj.3", kEps);
    }

    // Queries, which are learned or a face's tokens, attend to the states and to each other.
    Tensor resample(Ops &ops, const std::string &at, Tensor x, Tensor queries) const {
        x = ops.linear(x, at + "proj_in", {width_});
        Tensor h = queries;
        if (kind_ == kPlus) {
            h = ops.times(ops.slice_tokens(x, 0, tokens_), 0);
            h = ops.positions(h, at + "latents", tokens_);
        }
        for (int i = 0; i < depth_; i++) {
            const std::string name = at + "layers." + std::to_string(i);
            Tensor q = ops.layer_norm(h, name + ".0.norm2", kEps);
            Tensor all = ops.concat_tokens(ops.layer_norm(x, name + ".0.norm1", kEps), q);
            q = ops.linear(q, name + ".0.to_q", {inner_, false});
            Tensor kv = ops.linear(all, name + ".0.to_kv", {2 * int64_t(inner_), false});
            Tensor a = ops.attention(q, ops.chunk(kv, 0, 2), ops.chunk(kv, 1, 2), heads_, false);
            h = ops.linear(a, name + ".0.to_out", {width_, false, Act::none, h});
            Tensor f =
                ops.linear(ops.layer_norm(h, name + ".1.0", kEps), name + ".1.1", {ffn_, false, Act::gelu});
            h = ops.linear(f, name + ".1.3", {width_, false, Act::none, h});
        }
        return ops.layer_norm(ops.linear(h, at + "proj_out", {context_}), at + "norm_out", kEps);
    }

    Kind kind_;
    int clip_, face_, face_inner_;
    bool shortcut_;
    int context_, tokens_, width_, depth_, heads_, inner_, ffn_;
    std::vector<int64_t> layers_; // channels
};

} // namespace

std::unique_ptr<Architecture> ip_adapter(const Params &p) {
    return std::make_unique<IPAdapter>(p);
}

} // namespace sdgo
