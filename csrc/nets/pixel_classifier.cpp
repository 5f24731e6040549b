// The classifier of noisy pictures of guided diffusion (Dhariwal and Nichol 2021,
// arXiv:2105.05233), whose gradient guides a sampler: the way down of its UNet, and
// attention that gathers all positions into one (as CLIP's does, Radford et al. 2021).
//
// Hyperparameters: in_channels, out_channels (classes), positions (pixels where it ends),
// and those of pixel_blocks.h, without classes.
// Inputs: x [N, in_channels, H, W], of which H·W / 4^(levels - 1) must be positions;
// timesteps [N].
// Outputs: logits [N, out_channels].
#include "nets/pixel_blocks.h"

namespace sdgo {

namespace {

class PixelClassifier : public Architecture {
  public:
    explicit PixelClassifier(const Params &p)
        : blocks_(p, "pixel_classifier"), in_(p.integer("in_channels", 1, 256)),
          out_(p.integer("out_channels", 1, 1 << 20)), positions_(p.integer("positions", 1, 1 << 16)),
          pool_heads_(p.integer("pool_heads", 1, 1 << 10)) {
        if (blocks_.has_class() || blocks_.has_noise_level() || blocks_.text().width() > 0) {
            invalid("pixel_classifier: its input is a picture alone");
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << (blocks_.levels() - 1);
        return {{"x", {1, in_, side, side * positions_}}, {"timesteps", {1}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"logits"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        const char *net = blocks_.net();
        expect_inputs(net, inputs, {{"x", "timesteps"}});
        const Shape &x = inputs.at("x");
        expect_shape(net, "x", x, {"N", in_, "H", "W"});
        blocks_.check_sides(x);
        const int halvings = blocks_.levels() - 1;
        if ((x[2] >> halvings) * (x[3] >> halvings) != positions_) {
            invalid("%s: x must have %lld pixels, got %lldx%lld", net,
                    (long long)positions_ << (2 * halvings), (long long)x[3], (long long)x[2]);
        }
        expect_shape(net, "timesteps", inputs.at("timesteps"), {x[0]});
        for (const std::string &name : outputs) {
            if (name != "logits") {
                invalid("%s: no output %s; there is logits", net, name.c_str());
            }
        }
    }

    Shape output_shape(const std::string &, const Shapes &inputs, const int64_t *) const override {
        return {inputs.at("x")[0], out_};
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        PixelBlocks::Pass p{ops, blocks_.embedding(ops, inputs)};
        Tensor h = ops.conv2d(ops.image_in(inputs.at("x")), "input_blocks.0.0", {blocks_.first_channels()});
        int n = 1; // input_blocks.n
        for (int level = 0; level < blocks_.levels(); level++) {
            for (int block = 0; block < blocks_.blocks(level); block++, n++) {
                h = blocks_.stage(p, h, blocks_.input(n), level, blocks_.attention(level));
            }
            if (level + 1 < blocks_.levels()) {
                h = blocks_.halve(p, h, blocks_.input(n++));
            }
        }
        h = blocks_.middle(p, h);
        const int64_t c = ops.channels(h);
        h = ops.tokens(blocks_.norm(ops, h, "out.0", blocks_.eps(), true));
        h = ops.position_columns(ops.concat_tokens(ops.mean_token(h), h), "out.2.positional_embedding");
        h = ops.self_attention(ops.linear(h, "out.2.qkv_proj", {3 * c}), pool_heads_, Fused::whole);
        return {{"logits", ops.linear(ops.slice_tokens(h, 0, 1), "out.2.c_proj", {out_})}};
    }

  private:
    PixelBlocks blocks_;
    int in_, out_;
    int64_t positions_;
    int pool_heads_;
};

} // namespace

std::unique_ptr<Architecture> pixel_classifier(const Params &p) {
    return std::make_unique<PixelClassifier>(p);
}

} // namespace sdgo
