// IP-Adapter (Ye et al. 2023, arXiv:2308.06721): keys and values of a picture, of which CLIP's
// image encoder has made an embedding or states, for the layers of a UNet that attend to
// the text, the inputs picture_key.k and picture_value.k of unet.cpp.
//
// Hyperparameters: kind: 0, tokens of a picture's embedding by one layer; 1 ("Plus"), a resampler of
// states (Alayrac et al. 2022); 2 ("full face"), two layers for each state. clip_width, of embedding or
// states; context_dim, of tokens; tokens, of kinds 0 and 1; of kind 1 width, depth, inner, heads,
// ffn. run_channels and run_lengths: the channels of so many layers one after another.
// Inputs: embedding, [N, clip_width], of kind 0; hidden, [N, L, clip_width], of the others.
// Outputs: key.k and value.k, [N, T, channels of layer k].
#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "ip_adapter";
constexpr float kEps = 1e-5f;

class IPAdapter : public Architecture {
  public:
    explicit IPAdapter(const Params &p)
        : kind_(p.integer("kind", 0, 2)), clip_(p.integer("clip_width", 1, 1 << 14)),
          context_(p.integer("context_dim", 1, 1 << 14)), tokens_(p.integer_or(1, "tokens", 1, 1 << 10)),
          width_(p.integer_or(0, "width", 0, 1 << 14)), depth_(p.integer_or(0, "depth", 0, 64)),
          heads_(p.integer_or(1, "heads", 1, 1 << 10)), inner_(p.integer_or(0, "inner", 0, 1 << 14)),
          ffn_(p.integer_or(0, "ffn", 0, 1 << 16)) {
        const std::vector<int> channels = p.integers("run_channels", 1, 1 << 13);
        const std::vector<int> lengths = p.integers("run_lengths", 1, 256);
        if (channels.size() != lengths.size()) {
            invalid("%s: run_channels and run_lengths must have one number for each run", kNet);
        }
        for (size_t i = 0; i < channels.size(); i++) {
            layers_.insert(layers_.end(), size_t(lengths[i]), channels[i]);
        }
        if (kind_ == 1 && (width_ < 1 || inner_ < 1 || inner_ % heads_ != 0 || ffn_ < 1)) {
            invalid("%s: a resampler must have a width, heads that divide inner, and ffn", kNet);
        }
    }

    Shapes nominal_inputs() const override {
        if (kind_ == 0) {
            return {{"embedding", {1, clip_}}};
        }
        return {{"hidden", {1, tokens_ + 1, clip_}}};
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
        const char *input = kind_ == 0 ? "embedding" : "hidden";
        expect_inputs(kNet, inputs, {{input}});
        if (kind_ == 0) {
            expect_shape(kNet, input, inputs.at(input), {"N", clip_});
        } else {
            const Shape &s = inputs.at(input);
            expect_shape(kNet, input, s, {"N", "L", clip_});
            if (kind_ == 1 && s[1] < tokens_) {
                invalid("%s: hidden must have at least %d tokens, got %lld", kNet, tokens_, (long long)s[1]);
            }
        }
        const std::vector<std::string> known = nominal_outputs();
        for (const std::string &name : outputs) {
            if (std::find(known.begin(), known.end(), name) == known.end()) {
                invalid("%s: no output %s; there are key.0 to key.%zu and value.0 to value.%zu", kNet,
                        name.c_str(), layers_.size() - 1, layers_.size() - 1);
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        Tensor tokens = kind_ == 0   ? project(ops, inputs.at("embedding"))
                        : kind_ == 1 ? resample(ops, inputs.at("hidden"))
                                     : each(ops, inputs.at("hidden"));
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
    // One vector becomes all tokens.
    Tensor project(Ops &ops, Tensor embedding) const {
        Tensor x = ops.linear(embedding, "image_proj.proj",
                              {int64_t(tokens_) * context_, true, Act::none, nullptr, true});
        return ops.layer_norm(ops.split_tokens(x, tokens_), "image_proj.norm", kEps);
    }

    Tensor each(Ops &ops, Tensor x) const {
        x = ops.linear(x, "image_proj.proj.0", {clip_, true, Act::gelu});
        x = ops.linear(x, "image_proj.proj.2", {context_});
        return ops.layer_norm(x, "image_proj.proj.3", kEps);
    }

    // Learned queries attend to the states and to each other.
    Tensor resample(Ops &ops, Tensor x) const {
        x = ops.linear(x, "image_proj.proj_in", {width_});
        Tensor h = ops.times(ops.slice_tokens(x, 0, tokens_), 0);
        h = ops.positions(h, "image_proj.latents", tokens_);
        for (int i = 0; i < depth_; i++) {
            const std::string name = "image_proj.layers." + std::to_string(i);
            Tensor queries = ops.layer_norm(h, name + ".0.norm2", kEps);
            Tensor all = ops.concat_tokens(ops.layer_norm(x, name + ".0.norm1", kEps), queries);
            Tensor q = ops.linear(queries, name + ".0.to_q", {inner_, false});
            Tensor kv = ops.linear(all, name + ".0.to_kv", {2 * int64_t(inner_), false});
            Tensor a = ops.attention(q, ops.chunk(kv, 0, 2), ops.chunk(kv, 1, 2), heads_, false);
            h = ops.linear(a, name + ".0.to_out", {width_, false, Act::none, h});
            Tensor f =
                ops.linear(ops.layer_norm(h, name + ".1.0", kEps), name + ".1.1", {ffn_, false, Act::gelu});
            h = ops.linear(f, name + ".1.3", {width_, false, Act::none, h});
        }
        return ops.layer_norm(ops.linear(h, "image_proj.proj_out", {context_}), "image_proj.norm_out", kEps);
    }

    int kind_, clip_, context_, tokens_, width_, depth_, heads_, inner_, ffn_;
    std::vector<int64_t> layers_; // channels
};

} // namespace

std::unique_ptr<Architecture> ip_adapter(const Params &p) {
    return std::make_unique<IPAdapter>(p);
}

} // namespace sdgo
