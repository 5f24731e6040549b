// The generator of ESRGAN (Wang et al. 2018, arXiv:1809.00219), RRDBNet, as
// Real-ESRGAN and BSRGAN use it, too: residual-in-residual dense blocks, then
// nearest-neighbour enlargements.
//
// Hyperparameters: in_channels, out_channels, features, growth (channels that
// each convolution of a dense block adds), blocks, doublings (how often the
// sides are doubled at the end).
// Input: image [N, in_channels, H, W], 0 to 1. Some networks enlarge by less than their
// doublings: their input has squares of pixels folded into channels (pixel unshuffle),
// which is left to the caller.
// Output: image [N, out_channels, H·2^doublings, W·2^doublings].
#include "nets/architecture.h"

namespace sdgo {

namespace {

constexpr float kSlope = 0.2f, kResidual = 0.2f;

class Esrgan : public Architecture {
  public:
    explicit Esrgan(const Params &p)
        : in_(p.integer("in_channels", 1, 256)), out_(p.integer("out_channels", 1, 64)),
          features_(p.integer("features", 1, 1 << 10)), growth_(p.integer("growth", 1, 1 << 10)),
          blocks_(p.integer("blocks", 1, 256)), doublings_(p.integer("doublings", 0, 4)) {}

    Shapes nominal_inputs() const override { return {{"image", {1, in_, 2, 2}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"image"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "esrgan", "image", in_, 1, "image");
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor first = ops.conv2d(ops.image_in(inputs.at("image")), "conv_first", {features_});
        Tensor h = first;
        for (int i = 0; i < blocks_; i++) {
            Tensor inner = h;
            for (const char *dense : {".rdb1", ".rdb2", ".rdb3"}) {
                inner = dense_block(ops, inner, "body." + std::to_string(i) + dense);
            }
            h = ops.add(ops.scale(inner, kResidual), h);
        }
        Conv body{features_};
        body.add = first;
        h = ops.conv2d(h, "conv_body", body);
        for (int i = 1; i <= doublings_; i++) {
            Conv up{features_};
            up.up_width = 2 * ops.width(h);
            up.up_height = 2 * ops.height(h);
            h = ops.leaky_relu(ops.conv2d(h, "conv_up" + std::to_string(i), up), kSlope);
        }
        h = ops.leaky_relu(ops.conv2d(h, "conv_hr", {features_}), kSlope);
        return {{"image", ops.image_out(ops.conv2d(h, "conv_last", {out_}))}};
    }

  private:
    // Five convolutions, each of which gets the results of all before it.
    Tensor dense_block(Ops &ops, Tensor x, const std::string &name) const {
        Tensor seen = x;
        for (int i = 1; i <= 4; i++) {
            Tensor h = ops.conv2d(seen, name + ".conv" + std::to_string(i), {growth_});
            seen = ops.concat(seen, ops.leaky_relu(h, kSlope));
        }
        Tensor h = ops.conv2d(seen, name + ".conv5", {features_});
        return ops.add(ops.scale(h, kResidual), x);
    }

    int in_, out_;
    int64_t features_, growth_;
    int blocks_, doublings_;
};

} // namespace

std::unique_ptr<Architecture> esrgan(const Params &p) {
    return std::make_unique<Esrgan>(p);
}

} // namespace sdgo
