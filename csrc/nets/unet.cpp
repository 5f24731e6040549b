// The UNet of latent diffusion (Rombach et al. 2022) with cross-attention, as
// in Stable Diffusion 1.x, 2.x and XL (Podell et al. 2023), of any width and
// depth.
//
// Hyperparameters: in_channels, out_channels, model_channels, channel_mult
// (one for each level), num_res_blocks, transformer_depth (one for each level;
// 0 where a level has no attention), middle_depth, context_dim, adm_channels (0
// but for SDXL), and either heads (the same at every level) or head_dim with
// heads = 0.
// Inputs: x, the scaled noisy latent [N, in_channels, H, W]; t, the timestep
// [N], fractions allowed; context, the text's embedding [N, L, context_dim];
// with adm_channels y, what is known of the whole picture [N, adm_channels].
// Output: out, the prediction [N, out_channels, H, W]; deep, what the last
// output block gets from the blocks below it [N, model_channels · channel_mult[0], H, W].
// With deep as a further input only the first input block and the last output
// block are computed: DeepCache (Ma et al. 2024, arXiv:2312.00858), whose authors
// found that deep changes little from step to step.
#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr float kResBlockEps = 1e-5f, kTransformerEps = 1e-6f, kLayerNormEps = 1e-5f;

class UNet : public Architecture {
  public:
    explicit UNet(const Params &p)
        : in_(p.integer("in_channels", 1, 256)), out_(p.integer("out_channels", 1, 256)),
          width_(p.integer("model_channels", 32, 1 << 13)), mult_(p.integers("channel_mult", 1, 64)),
          blocks_(p.integer("num_res_blocks", 1, 16)), depth_(p.integers("transformer_depth", 0, 32)),
          middle_depth_(p.integer("middle_depth", 0, 32)), context_(p.integer("context_dim", 1, 1 << 14)),
          adm_(p.integer("adm_channels", 0, 1 << 14)), heads_(p.integer("heads", 0, 1 << 10)),
          head_dim_(p.integer("head_dim", 0, 1 << 12)) {
        if (mult_.size() > 8 || depth_.size() != mult_.size()) {
            invalid("unet: %zu levels and %zu transformer depths; as many, at most 8, are wanted",
                    mult_.size(), depth_.size());
        }
        if (width_ % 32 != 0) {
            invalid("unet: model_channels is %d, a multiple of 32 (the number of norm groups) wanted",
                    int(width_));
        }
        for (size_t level = 0; level < mult_.size(); level++) {
            const int depth =
                level + 1 == mult_.size() ? std::max(depth_[level], middle_depth_) : depth_[level];
            if (depth > 0) {
                heads_at(width_ * mult_[level]);
            }
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << mult_.size();
        Shapes s{{"x", {1, in_, side, side}}, {"t", {1}}, {"context", {1, 4, context_}}};
        if (adm_ > 0) {
            s["y"] = {1, adm_};
        }
        return s;
    }
    std::vector<std::string> nominal_outputs() const override { return {"out"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        std::vector<const char *> names = {"x", "t", "context"};
        if (adm_ > 0) {
            names.push_back("y");
        }
        if (inputs.count("deep")) {
            names.push_back("deep");
        }
        expect_inputs(inputs, names);
        const Shape &x = inputs.at("x");
        expect_shape("unet", "x", x, {"N", in_, "H", "W"});
        expect_shape("unet", "t", inputs.at("t"), {x[0]});
        expect_shape("unet", "context", inputs.at("context"), {x[0], "L", context_});
        if (adm_ > 0) {
            expect_shape("unet", "y", inputs.at("y"), {x[0], adm_});
        }
        if (inputs.count("deep")) {
            expect_shape("unet", "deep", inputs.at("deep"), {x[0], deep_channels(), x[2], x[3]});
        }
        for (const std::string &name : outputs) {
            if (name != "out" && (name != "deep" || inputs.count("deep"))) {
                invalid("unet: no output %s; out exists, and without an input deep, deep", name.c_str());
            }
        }
    }

    // The text stays the same for all steps of a picture.
    bool is_constant_across_steps(const std::string &input) const override { return input == "context"; }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        const auto wanted = [&](const char *name) {
            return std::find(outputs.begin(), outputs.end(), name) != outputs.end();
        };
        const Tensor y = adm_ > 0 ? inputs.at("y") : nullptr;
        Pass p{ops, time_embedding(ops, inputs.at("t"), y), inputs.at("context")};
        const Tensor first = ops.conv2d(ops.image_in(inputs.at("x")), "input_blocks.0.0", {width_});
        const Tensor deep = inputs.count("deep") ? ops.image_in(inputs.at("deep")) : inner_blocks(p, first);
        Tensors all;
        if (wanted("deep")) {
            all["deep"] = ops.image_out(deep);
        }
        if (wanted("out")) {
            const int last = int(mult_.size()) * (blocks_ + 1) - 1;
            Tensor h = stage(p, ops.concat(deep, first), "output_blocks." + std::to_string(last), 0);
            h = ops.group_norm(h, "out.0", kResBlockEps, true);
            all["out"] = ops.image_out(ops.conv2d(h, "out.2", {out_}));
        }
        return all;
    }

  private:
    // What every block of one forward pass sees.
    struct Pass {
        Ops &ops;
        Tensor time;    // SiLU of the time embedding, [4*model_channels, N]
        Tensor context; // [context_dim, L, N]
    };

    // A layer for what is known of each image, not of its pixels.
    static Linear vectors(int64_t out, Act act = Act::none, Tensor add = nullptr) {
        return {out, true, act, add, true};
    }

    // Every residual block begins with the SiLU of the embedding, which this is.
    Tensor time_embedding(Ops &ops, Tensor t, Tensor y) const {
        Tensor e = ops.timestep_embedding(t, width_);
        e = ops.linear(e, "time_embed.0", vectors(4 * width_, Act::silu));
        if (y == nullptr) {
            return ops.linear(e, "time_embed.2", vectors(4 * width_, Act::silu));
        }
        Tensor label = ops.linear(y, "label_emb.0.0", vectors(4 * width_, Act::silu));
        label = ops.linear(label, "label_emb.0.2", vectors(4 * width_));
        return ops.silu(ops.linear(e, "time_embed.2", vectors(4 * width_, Act::none, label)));
    }

    // Channels of what inner_blocks returns. The constructor sees to it that
    // there is a block of the first level in it (num_res_blocks is at least 1).
    int64_t deep_channels() const { return width_ * mult_[0]; }

    // All blocks but the first input block, whose result this begins with, and
    // the last output block.
    Tensor inner_blocks(const Pass &p, Tensor h) const {
        Ops &ops = p.ops;
        const int levels = int(mult_.size());
        std::vector<Tensor> skips = {h};
        int n = 1; // input_blocks.n
        for (int level = 0; level < levels; level++) {
            for (int block = 0; block < blocks_; block++, n++) {
                h = stage(p, h, "input_blocks." + std::to_string(n), level);
                skips.push_back(h);
            }
            if (level + 1 < levels) {
                Conv down{ops.channels(h)};
                down.stride = 2;
                h = ops.conv2d(h, "input_blocks." + std::to_string(n++) + ".0.op", down);
                skips.push_back(h);
            }
        }

        const int64_t deepest = width_ * mult_.back();
        h = res_block(p, h, "middle_block.0", deepest);
        h = middle_depth_ > 0 ? transformer(p, h, "middle_block.1", middle_depth_) : h;
        h = res_block(p, h, middle_depth_ > 0 ? "middle_block.2" : "middle_block.1", deepest);

        n = 0; // output_blocks.n
        for (int level = levels - 1; level >= 0; level--) {
            for (int block = 0; block < blocks_ + (level > 0 ? 1 : 0); block++, n++) {
                const std::string name = "output_blocks." + std::to_string(n);
                h = ops.concat(h, skips.back());
                skips.pop_back();
                h = stage(p, h, name, level);
                if (level > 0 && block == blocks_) {
                    // The size to return to is the skip's: halving rounds odd sides up.
                    Conv up{ops.channels(h)};
                    up.up_width = ops.width(skips.back());
                    up.up_height = ops.height(skips.back());
                    h = ops.conv2d(h, name + (depth_[size_t(level)] > 0 ? ".2.conv" : ".1.conv"), up);
                }
            }
        }
        return h;
    }

    // A residual block and, where the level has attention, its transformer.
    Tensor stage(const Pass &p, Tensor h, const std::string &name, int level) const {
        h = res_block(p, h, name + ".0", width_ * mult_[size_t(level)]);
        const int depth = depth_[size_t(level)];
        return depth > 0 ? transformer(p, h, name + ".1", depth) : h;
    }

    Tensor res_block(const Pass &p, Tensor x, const std::string &name, int64_t out) const {
        Ops &ops = p.ops;
        Tensor h = ops.group_norm(x, name + ".in_layers.0", kResBlockEps, true);
        Conv first{out};
        first.add_channels = ops.linear(p.time, name + ".emb_layers.1", vectors(out));
        h = ops.conv2d(h, name + ".in_layers.2", first);
        h = ops.group_norm(h, name + ".out_layers.0", kResBlockEps, true);
        Conv second{out};
        second.add = ops.channels(x) == out ? x : ops.conv2d(x, name + ".skip_connection", {out, 1});
        return ops.conv2d(h, name + ".out_layers.3", second);
    }

    Tensor transformer(const Pass &p, Tensor x, const std::string &name, int depth) const {
        Ops &ops = p.ops;
        const int64_t c = ops.channels(x), width = ops.width(x), height = ops.height(x);
        Tensor h = ops.tokens(ops.group_norm(x, name + ".norm", kTransformerEps, false));
        h = ops.linear(h, name + ".proj_in", {c}); // a 1x1 convolution in SD 1, the same numbers
        for (int i = 0; i < depth; i++) {
            h = transformer_block(p, h, name + ".transformer_blocks." + std::to_string(i), heads_at(int(c)));
        }
        h = ops.linear(h, name + ".proj_out", {c, true, Act::none, ops.tokens(x)});
        return ops.image(h, width, height);
    }

    Tensor transformer_block(const Pass &p, Tensor x, const std::string &name, int heads) const {
        Ops &ops = p.ops;
        const int64_t c = x->ne[0];
        Tensor h = ops.layer_norm(x, name + ".norm1", kLayerNormEps);
        x = attention(ops, h, nullptr, x, name + ".attn1", heads);
        h = ops.layer_norm(x, name + ".norm2", kLayerNormEps);
        x = attention(ops, h, p.context, x, name + ".attn2", heads);
        h = ops.layer_norm(x, name + ".norm3", kLayerNormEps);
        h = ops.geglu(h, name + ".ff.net.0.proj", 4 * c);
        return ops.linear(h, name + ".ff.net.2", {c, true, Act::none, x});
    }

    // Of tokens to each other, or to the text: then keys and values last as long
    // as the text.
    Tensor attention(Ops &ops, Tensor x, Tensor context, Tensor residual, const std::string &name,
                     int heads) const {
        const int64_t c = x->ne[0];
        const auto project = [&](const char *to) {
            const auto make = [&] { return ops.linear(context ? context : x, name + to, {c, false}); };
            return context ? ops.cache(make) : make();
        };
        Tensor q = ops.linear(x, name + ".to_q", {c, false});
        Tensor k = project(".to_k"), v = project(".to_v");
        Tensor h = ops.attention(q, k, v, heads, false);
        return ops.linear(h, name + ".to_out.0", {c, true, Act::none, residual});
    }

    int heads_at(int channels) const {
        const int heads = heads_ > 0 ? heads_ : head_dim_ > 0 ? channels / head_dim_ : 0;
        if (heads < 1 || channels % heads != 0) {
            invalid("unet: %d channels do not divide into heads (heads %d, head_dim %d)", channels, heads_,
                    head_dim_);
        }
        return heads;
    }

    int in_, out_;
    int64_t width_;
    std::vector<int> mult_;
    int blocks_;
    std::vector<int> depth_;
    int middle_depth_, context_, adm_, heads_, head_dim_;
};

} // namespace

std::unique_ptr<Architecture> unet(const Params &p) {
    return std::make_unique<UNet>(p);
}

} // namespace sdgo
