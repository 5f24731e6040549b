// The compact upscaler of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833; SRVGGNetCompact
// in its code): convolutions one after another at the small size, whose last channels
// become pixels; what they give is added to the picture enlarged by its nearest pixels.
//
// Hyperparameters: channels (of the picture), features, layers (convolutions between the
// first and the last), scale.
// Input: image [N, channels, H, W], 0 to 1.
// Output: image [N, channels, H·scale, W·scale].
#include "nets/architecture.h"

namespace sdgo {

namespace {

class Srvgg : public Architecture {
  public:
    explicit Srvgg(const Params &p)
        : channels_(p.integer("channels", 1, 64)), features_(p.integer("features", 1, 1 << 10)),
          layers_(p.integer("layers", 0, 256)), scale_(p.integer("scale", 1, 8)) {}

    Shapes nominal_inputs() const override { return {{"image", {1, channels_, 2, 2}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"image"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "srvgg", "image", channels_, 1, "image");
    }

    // The layers of body are counted with the activations, whose slopes are weights.
    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor image = inputs.at("image");
        Tensor h = ops.image_in(image);
        for (int i = 0; i <= layers_; i++) {
            h = ops.conv2d(h, "body." + std::to_string(2 * i), {features_});
            h = ops.prelu(h, "body." + std::to_string(2 * i + 1));
        }
        h = ops.conv2d(h, "body." + std::to_string(2 * layers_ + 2), {channels_ * scale_ * scale_});
        h = ops.pixel_shuffle(ops.image_out(h), scale_);
        return {{"image", ops.add(h, ops.nearest(image, scale_))}};
    }

  private:
    int channels_;
    int64_t features_;
    int layers_, scale_;
};

} // namespace

std::unique_ptr<Architecture> srvgg(const Params &p) {
    return std::make_unique<Srvgg>(p);
}

} // namespace sdgo
