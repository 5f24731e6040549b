// T2I-Adapter (Mou et al. 2023, arXiv:2302.08453): a small network that makes of a picture,
// such as edges or a sketch, features that are added to the levels of a UNet of latent
// diffusion, the inputs feature.0 … of unet.cpp. It runs once for a picture.
//
// Hyperparameters: in_channels, of the picture whose squares of pixels became channels;
// channels, of each feature; halves, for each feature: 1 if its sides are half those of the one
// before; res_blocks, residual blocks of each; light: 1 for those of the authors' light
// networks, which are narrower within.
// Inputs: picture [N, in_channels, H, W]; the sides can be halved so often.
// Outputs: feature.0 … feature.(n - 1).
#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "t2i_adapter";

class T2IAdapter : public Architecture {
  public:
    explicit T2IAdapter(const Params &p)
        : in_(p.integer("in_channels", 1, 1 << 14)), channels_(p.integers("channels", 1, 1 << 13)),
          halves_(p.integers("halves", 0, 1)), res_blocks_(p.integer("res_blocks", 1, 64)),
          light_(p.integer("light", 0, 1) == 1) {
        if (halves_.size() != channels_.size() || channels_.size() > 8 || halves_[0] != 0) {
            invalid("%s: halves must have a number for each of 1 to 8 channels, the first of them 0", kNet);
        }
        for (int c : channels_) {
            if (light_ && c % kNarrow != 0) {
                invalid("%s: channels must be multiples of %d, got %d", kNet, kNarrow, c);
            }
        }
    }

    Shapes nominal_inputs() const override { return {{"picture", {1, in_, multiple(), multiple()}}}; }

    std::vector<std::string> nominal_outputs() const override {
        std::vector<std::string> all;
        for (size_t i = 0; i < channels_.size(); i++) {
            all.push_back("feature." + std::to_string(i));
        }
        return all;
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        const std::vector<std::string> features = nominal_outputs();
        for (const std::string &name : outputs) {
            if (std::find(features.begin(), features.end(), name) == features.end()) {
                invalid("%s: no output %s; there are feature.0 to feature.%zu", kNet, name.c_str(),
                        features.size() - 1);
            }
        }
        expect_inputs(kNet, inputs, {{"picture"}});
        const Shape &s = inputs.at("picture");
        expect_shape(kNet, "picture", s, {"N", in_, "H", "W"});
        if (s[2] % multiple() != 0 || s[3] % multiple() != 0) {
            invalid("%s: the sides of picture must be multiples of %lld, got %lldx%lld", kNet,
                    (long long)multiple(), (long long)s[3], (long long)s[2]);
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Tensor h = ops.image_in(inputs.at("picture"));
        if (!light_) {
            h = ops.conv2d(h, "conv_in", {channels_[0]});
        }
        Tensors all;
        for (size_t i = 0; i < channels_.size(); i++) {
            h = halves_[i] ? ops.resample(h, Sampling::mean_down) : h;
            h = light_ ? light_level(ops, h, int(i)) : level(ops, h, int(i));
            all["feature." + std::to_string(i)] = ops.image_out(h);
        }
        return all;
    }

  private:
    static constexpr int kNarrow = 4; // channels within a light network's level are so many times fewer

    int64_t multiple() const { return int64_t(1) << std::count(halves_.begin(), halves_.end(), 1); }

    // The blocks of all levels have numbers one after another.
    Tensor level(Ops &ops, Tensor h, int i) const {
        const int first = i * res_blocks_;
        const int64_t c = channels_[size_t(i)];
        if (ops.channels(h) != c) {
            h = ops.conv2d(h, "body." + std::to_string(first) + ".in_conv", {c, 1});
        }
        for (int n = first; n < first + res_blocks_; n++) {
            h = residual(ops, h, "body." + std::to_string(n), 1);
        }
        return h;
    }

    Tensor light_level(Ops &ops, Tensor h, int i) const {
        const std::string name = "body." + std::to_string(i);
        const int64_t c = channels_[size_t(i)];
        h = ops.conv2d(h, name + ".in_conv", {c / kNarrow, 1});
        for (int n = 0; n < res_blocks_; n++) {
            h = residual(ops, h, name + ".body." + std::to_string(n), 3);
        }
        return ops.conv2d(h, name + ".out_conv", {c, 1});
    }

    static Tensor residual(Ops &ops, Tensor x, const std::string &name, int kernel) {
        const int64_t c = ops.channels(x);
        Conv second{c, kernel};
        second.add = x;
        return ops.conv2d(ops.leaky_relu(ops.conv2d(x, name + ".block1", {c}), 0), name + ".block2", second);
    }

    int in_;
    std::vector<int> channels_, halves_;
    int res_blocks_;
    bool light_;
};

} // namespace

std::unique_ptr<Architecture> t2i_adapter(const Params &p) {
    return std::make_unique<T2IAdapter>(p);
}

} // namespace sdgo
