// The vision tower of Qwen2.5-VL (arXiv:2502.13923), as transformers'
// Qwen2_5_VisionTransformerPretrainedModel computes it: patches of a picture attend to those of their window,
// and in every eighth block to all; then squares of two by two patches become one token of the language
// model. Names of weights are those of its files, after "visual.".
//
// Hyperparameters: numbers (of a patch), width, heads, blocks, ffn, whole (every so-th block attends to
// all), merged (patches that become a token), out (width of the tokens).
// Inputs: windows.0 to windows.3, of which there is at least one, [n, l, numbers]: n windows of l patches
// each, a multiple of merged, those of a token next to each other. The windows at the right and at the
// bottom of a picture may be smaller, which is why there are four kinds. Rotary tables cos and sin
// [sum of n·l, width/heads/2], of all patches in this order.
// Output: tokens [1, sum of n·l / merged, out], in the order of the inputs.
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr const char *kNet = "qwen_vision";
constexpr float kEps = 1e-6f;
constexpr int kKinds = 4;

class QwenVision : public Architecture {
  public:
    explicit QwenVision(const Params &p)
        : numbers_(p.integer("numbers", 1, 1 << 16)), width_(p.integer("width", 2, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), blocks_(p.integer("blocks", 1, 256)),
          ffn_(p.integer("ffn", 1, 1 << 17)), whole_(p.integer("whole", 1, 256)),
          merged_(p.integer("merged", 1, 64)), out_(p.integer("out", 1, 1 << 14)) {
        if (width_ % heads_ != 0 || width_ / heads_ % 2 != 0) {
            invalid("%s: width must divide into heads of an even width, got %lld and %d", kNet,
                    (long long)width_, heads_);
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t half = width_ / heads_ / 2;
        return {{"windows.0", {1, merged_, numbers_}}, {"cos", {merged_, half}}, {"sin", {merged_, half}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"tokens"}; }
    Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, 3);
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs(kNet, inputs, {{"cos", "sin"}, {}, {{"windows", kKinds, ""}}});
        int64_t all = 0;
        for (int i = 0; i < kKinds; i++) {
            const auto found = inputs.find(kind(i));
            if (found == inputs.end()) {
                continue;
            }
            const Shape &s = found->second;
            expect_shape(kNet, kind(i), s, {"n", "l", numbers_});
            if (s[1] % merged_ != 0) {
                invalid("%s: the patches of a window must be a multiple of %lld, got %lld", kNet,
                        (long long)merged_, (long long)s[1]);
            }
            all += s[0] * s[1];
        }
        if (all == 0) {
            invalid("%s: there must be windows", kNet);
        }
        for (const char *name : {"cos", "sin"}) {
            expect_shape(kNet, name, inputs.at(name), {all, width_ / heads_ / 2});
        }
        for (const std::string &name : outputs) {
            if (name != "tokens") {
                invalid("%s: no output %s; there is tokens", kNet, name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        std::vector<Windows> windows;
        Tensor x = nullptr;
        for (int i = 0; i < kKinds; i++) {
            const auto found = inputs.find(kind(i));
            if (found == inputs.end()) {
                continue;
            }
            const Tensor in = found->second;
            windows.push_back({in->ne[2], in->ne[1]});
            x = after(ops, x, ops.regrouped(ops.linear(in, "patch_embed.proj", {width_, false}), 1));
        }
        for (int i = 0; i < blocks_; i++) {
            const std::string name = "blocks." + std::to_string(i) + ".";
            x = attention(ops, x, inputs.at("cos"), inputs.at("sin"), windows, (i + 1) % whole_ == 0, name);
            x = feed_forward(ops, x, name);
        }
        x = ops.joined_tokens(ops.rms_norm(x, "merger.ln_q", kEps, 1), merged_);
        x = ops.linear(x, "merger.mlp.0", {merged_ * width_, true, Act::gelu});
        return {{"tokens", ops.linear(x, "merger.mlp.2", {out_})}};
    }

  private:
    // So many windows of so many patches.
    struct Windows {
        int64_t count, length;
    };

    static std::string kind(int i) { return "windows." + std::to_string(i); }

    static Tensor after(Ops &ops, Tensor x, Tensor more) {
        return x == nullptr ? more : ops.concat_tokens(x, more);
    }

    Tensor attention(Ops &ops, Tensor x, Tensor cos, Tensor sin, const std::vector<Windows> &windows,
                     bool all, const std::string &name) const {
        const Tensor h = ops.rms_norm(x, name + "norm1", kEps, 1);
        const Tensor qkv = ops.linear(h, name + "attn.qkv", {3 * width_});
        const Tensor q = ops.rope(ops.chunk(qkv, 0, 3), cos, sin, heads_, Pairs::halves);
        const Tensor k = ops.rope(ops.chunk(qkv, 1, 3), cos, sin, heads_, Pairs::halves);
        const Tensor v = ops.chunk(qkv, 2, 3);
        Tensor y = nullptr;
        if (all) {
            y = ops.attention(q, k, v, heads_, false);
        } else {
            int64_t from = 0;
            for (const Windows &w : windows) {
                const int64_t length = w.count * w.length;
                const auto own = [&](Tensor t) {
                    return ops.regrouped(ops.slice_tokens(t, from, length), w.count);
                };
                y = after(ops, y, ops.regrouped(ops.attention(own(q), own(k), own(v), heads_, false), 1));
                from += length;
            }
        }
        return ops.linear(y, name + "attn.proj", {width_, true, Act::none, x});
    }

    Tensor feed_forward(Ops &ops, Tensor x, const std::string &name) const {
        const std::string mlp = name + "mlp.";
        const Tensor h = ops.rms_norm(x, name + "norm2", kEps, 1);
        const Tensor gate = ops.linear(h, mlp + "gate_proj", {ffn_, true, Act::silu});
        const Tensor value = ops.linear(h, mlp + "up_proj", {ffn_});
        return ops.linear(ops.multiply(gate, value), mlp + "down_proj", {width_, true, Act::none, x});
    }

    int64_t numbers_, width_;
    int heads_, blocks_;
    int64_t ffn_;
    int whole_;
    int64_t merged_, out_;
};

} // namespace

std::unique_ptr<Architecture> qwen_vision(const Params &p) {
    return std::make_unique<QwenVision>(p);
}

} // namespace sdgo
