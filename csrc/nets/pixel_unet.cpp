// The UNet of models that draw pixels, or latents without text; pixel_blocks.h says whose.
//
// Hyperparameters: in_channels, out_channels, low_channels (of a small picture, enlarged,
// beside x; 0 if left out), attention_last (1: on the way up only a level's last block has
// attention; 0 if left out), input_pyramid (what joins the way down at each level but the
// first: 0 nothing, if left out; 1 the filtered input through a 1x1 convolution; 2 the
// input that strided 3x3 convolutions make smaller, and the sum is what goes on),
// output_pyramid (1: the output is the sum of what each level gives), and those of
// pixel_blocks.h. The pyramids are NCSN++'s input_skip, residual and output_skip.
// Inputs: x, the scaled noisy image [N, in_channels, H, W]; timesteps [N], what the
// network's sinusoids are taken of, fractions allowed; with low_channels low, [N,
// low_channels, H, W]; with classes class, a row number [N, 1]; with class_values class,
// the number [N, 1]; with text_width context, the states of the text's tokens [N, L,
// text_width]; with noise_level noise_level, of which sinusoids are taken as of the time [N].
// Outputs: sample [N, out_channels, H, W].
#include "nets/pixel_blocks.h"

#include <cmath>

namespace sdgo {

namespace {

constexpr float kHalfRoot = 0.70710678f; // √½

class PixelUNet : public Architecture {
  public:
    explicit PixelUNet(const Params &p)
        : blocks_(p, "pixel_unet"), in_(p.integer("in_channels", 1, 256)),
          out_(p.integer("out_channels", 1, 512)), low_(p.integer_or(0, "low_channels", 0, 256)),
          attention_last_(p.integer_or(0, "attention_last", 0, 1) == 1),
          input_pyramid_(p.integer_or(0, "input_pyramid", 0, 2)),
          output_pyramid_(p.integer_or(0, "output_pyramid", 0, 1) == 1) {}

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << blocks_.levels();
        Shapes s{{"x", {1, in_, side, side}}, {"timesteps", {1}}};
        if (low_ > 0) {
            s["low"] = {1, low_, side, side};
        }
        if (blocks_.has_class()) {
            s["class"] = {1, 1};
        }
        if (blocks_.text().width() > 0) {
            s["context"] = {1, 4, blocks_.text().width()};
        }
        if (blocks_.has_noise_level()) {
            s["noise_level"] = {1};
        }
        return s;
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }

    bool is_integer(const std::string &input) const override {
        return input == "class" && blocks_.is_table();
    }
    int64_t vocabulary(const std::string &) const override { return blocks_.classes(); }

    // What attention sees of the text is cached.
    bool is_constant_across_steps(const std::string &input) const override { return input == "context"; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        InputNames names{{"x", "timesteps"}};
        if (low_ > 0) {
            names.required.push_back("low");
        }
        if (blocks_.has_class()) {
            names.required.push_back("class");
        }
        if (blocks_.text().width() > 0) {
            names.required.push_back("context");
        }
        if (blocks_.has_noise_level()) {
            names.required.push_back("noise_level");
        }
        const char *net = blocks_.net();
        expect_inputs(net, inputs, names);
        const Shape &x = inputs.at("x");
        expect_shape(net, "x", x, {"N", in_, "H", "W"});
        blocks_.check_sides(x);
        expect_shape(net, "timesteps", inputs.at("timesteps"), {x[0]});
        if (low_ > 0) {
            expect_shape(net, "low", inputs.at("low"), {x[0], low_, x[2], x[3]});
        }
        if (blocks_.has_class()) {
            expect_shape(net, "class", inputs.at("class"), {x[0], 1});
        }
        if (const int width = blocks_.text().width()) {
            expect_shape(net, "context", inputs.at("context"), {x[0], "L", width});
        }
        if (blocks_.has_noise_level()) {
            expect_shape(net, "noise_level", inputs.at("noise_level"), {x[0]});
        }
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("%s: no output %s; there is sample", net, name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        PixelBlocks::Pass p{ops, blocks_.embedding(ops, inputs)};
        if (blocks_.text().width() > 0) {
            p.text.states = inputs.at("context");
        }
        Tensor x = ops.image_in(inputs.at("x"));
        if (low_ > 0) {
            x = ops.concat(x, ops.image_in(inputs.at("low")));
        }
        std::vector<Tensor> skips = down(p, x);
        Tensor h = blocks_.middle(p, skips.back());
        return {{"sample", ops.image_out(up(p, h, skips))}};
    }

  private:
    // What each block of the way down returns.
    std::vector<Tensor> down(PixelBlocks::Pass &p, Tensor x) const {
        Tensor h = p.ops.conv2d(x, "input_blocks.0.0", {blocks_.first_channels()});
        std::vector<Tensor> skips = {h};
        Tensor pyramid = x;
        int n = 1; // input_blocks.n
        for (int level = 0; level < blocks_.levels(); level++) {
            for (int block = 0; block < blocks_.blocks(level); block++, n++) {
                h = blocks_.stage(p, h, blocks_.input(n), level, blocks_.attention(level));
                skips.push_back(h);
            }
            if (level + 1 < blocks_.levels()) {
                h = blocks_.halve(p, h, blocks_.input(n++));
                h = join(p.ops, h, pyramid, "input_pyramid." + std::to_string(level + 1));
                skips.push_back(h);
            }
        }
        return skips;
    }

    // Joins the input, made as small, with what a level begins with.
    Tensor join(Ops &ops, Tensor h, Tensor &pyramid, const std::string &name) const {
        const int64_t c = ops.channels(h);
        if (input_pyramid_ == 1) {
            pyramid = ops.resample(pyramid, blocks_.down());
            Conv conv{c, 1};
            conv.add = h;
            return ops.conv2d(pyramid, name, conv);
        }
        if (input_pyramid_ == 2) {
            Conv conv{c};
            conv.stride = 2;
            if (blocks_.down() == Sampling::fir_down) { // filtered with a border, which is all the padding
                pyramid = ops.resample(pyramid, Sampling::fir_blur);
                conv.pad_end = true;
            }
            conv.add = h;
            pyramid = ops.resample(ops.conv2d(pyramid, name, conv), Sampling::same, kHalfRoot);
            return pyramid;
        }
        return h;
    }

    Tensor up(PixelBlocks::Pass &p, Tensor h, std::vector<Tensor> &skips) const {
        Ops &ops = p.ops;
        Tensor sum = nullptr;
        int n = 0; // output_blocks.n
        for (int level = blocks_.levels() - 1; level >= 0; level--) {
            bool attention = false;
            for (int block = 0; block <= blocks_.blocks(level); block++, n++) {
                attention = blocks_.attention(level) && (!attention_last_ || block == blocks_.blocks(level));
                h = ops.concat(h, skips.back());
                skips.pop_back();
                h = blocks_.stage(p, h, output(n), level, attention);
            }
            if (output_pyramid_) {
                sum = contribution(p, h, sum, "output_pyramid." + std::to_string(level));
            }
            if (level > 0) {
                h = blocks_.enlarge(p, h, output(n - 1) + (attention ? ".2" : ".1"));
            }
        }
        return output_pyramid_ ? sum : result(p, h, "out.0", "out.2", nullptr);
    }

    static std::string output(int n) { return "output_blocks." + std::to_string(n); }

    Tensor contribution(PixelBlocks::Pass &p, Tensor h, Tensor sum, const std::string &name) const {
        if (sum) {
            sum = p.ops.resample(sum, blocks_.up());
        }
        return result(p, h, name + ".0", name + ".2", sum);
    }

    Tensor result(PixelBlocks::Pass &p, Tensor h, const std::string &norm, const std::string &conv,
                  Tensor add) const {
        Conv last{out_};
        last.add = add;
        return p.ops.conv2d(blocks_.norm(p.ops, h, norm, blocks_.eps(), true), conv, last);
    }

    PixelBlocks blocks_;
    int in_, out_, low_;
    bool attention_last_;
    int input_pyramid_;
    bool output_pyramid_;
};

} // namespace

std::unique_ptr<Architecture> pixel_unet(const Params &p) {
    return std::make_unique<PixelUNet>(p);
}

} // namespace sdgo
