// Holistically-nested edge detection (Xie and Tu 2015, arXiv:1504.06375) under the names of
// ControlNet's annotator (ControlNetHED_Apache2): convolutions of VGG at five sizes, and of each
// size an image of edges.
//
// Hyperparameters: widths, the channels of each size; convs, its convolutions.
// Input: picture, RGB, 0 to 255 [N, 3, H, W].
// Outputs: edge.0 to edge.(K - 1), logits [N, 1, H / 2^k, W / 2^k], rounded up.
#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "hed";

class HED : public Architecture {
  public:
    explicit HED(const Params &p)
        : widths_(p.integers("widths", 1, 1 << 12)), convs_(p.integers("convs", 1, 16)) {
        if (widths_.empty() || widths_.size() > 8 || convs_.size() != widths_.size()) {
            invalid("%s: widths and convs must have the same number of numbers, 1 to 8, got %zu and %zu",
                    kNet, widths_.size(), convs_.size());
        }
    }

    Shapes nominal_inputs() const override { return {{"picture", {1, 3, 16, 16}}}; }
    std::vector<std::string> nominal_outputs() const override {
        std::vector<std::string> all;
        for (size_t k = 0; k < widths_.size(); k++) {
            all.push_back("edge." + std::to_string(k));
        }
        return all;
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs(kNet, inputs, {{"picture"}});
        expect_shape(kNet, "picture", inputs.at("picture"), {"N", 3, "H", "W"});
        for (const std::string &name : outputs) {
            size_t k = 0;
            while (k < widths_.size() && name != "edge." + std::to_string(k)) {
                k++;
            }
            if (k == widths_.size()) {
                invalid("%s: no output %s; there are edge.0 to edge.%zu", kNet, name.c_str(),
                        widths_.size() - 1);
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        Tensor h = ops.image_in(ops.minus_channels(inputs.at("picture"), "norm"));
        Tensors all;
        for (size_t k = 0; k < widths_.size(); k++) {
            const std::string block = "block" + std::to_string(k + 1);
            if (k > 0) {
                h = ops.max_pool(h);
            }
            for (int i = 0; i < convs_[k]; i++) {
                h = ops.conv2d(h, block + ".convs." + std::to_string(i), {widths_[k]});
                h = ops.leaky_relu(h, 0);
            }
            const std::string name = "edge." + std::to_string(k);
            if (std::find(outputs.begin(), outputs.end(), name) != outputs.end()) {
                all[name] = ops.image_out(ops.conv2d(h, block + ".projection", {1, 1}));
            }
        }
        return all;
    }

  private:
    std::vector<int> widths_, convs_;
};

} // namespace

std::unique_ptr<Architecture> hed(const Params &p) {
    return std::make_unique<HED>(p);
}

} // namespace sdgo
