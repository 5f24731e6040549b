// ControlNet (Zhang et al. 2023, arXiv:2302.05543), the encoder half of a UNet of latent
// diffusion that also sees a picture, such as edges or a pose, and returns what is added
// to the UNet's skips and middle: inputs control.0 … control.middle of unet.cpp.
//
// Hyperparameters: in_channels; picture_channels; hint_widths, the channels of the four
// sizes of the network that encodes the picture; those of unet_blocks.h.
// types, of a ControlNet Union (xinsir's ControlNet++), which takes pictures of several kinds: how
// many; 0 if left out: it takes one. type_layers, of the transformer in which a picture's kind meets it.
// global_pool, 1 if outputs are their means over the picture, as of the network for shuffled
// pictures; 0 if left out.
// Inputs: x, t, context and y as the UNet's (context only where there is attention); hint,
// the encoded picture [N, model_channels · channel_mult[0], H, W], or picture, the picture
// itself [N, picture_channels, 8H, 8W], 0 to 1. Optionally scale [N, K + 1], factors of the
// outputs control.0 … control.(K - 1) and control.middle for each image; and inputs of the
// outputs' names, what other ControlNets returned, to which this one's is added.
// With types, also flags [N, types], 1 for the picture's kind, else 0; and with picture its number, type,
// a whole number [N, 1].
// Outputs: control.0 … control.(K - 1), control.middle; hint, which needs picture, and type, alone.
#include "nets/unet_blocks.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr const char *kNet = "controlnet";

class ControlNet : public Architecture {
  public:
    explicit ControlNet(const Params &p)
        : blocks_(p, kNet), in_(p.integer("in_channels", 1, 256)),
          picture_(p.integer_or(3, "picture_channels", 1, 256)),
          hint_widths_(p.integers("hint_widths", 1, 1 << 13)),
          pools_(p.integer_or(0, "global_pool", 0, 1) == 1), types_(p.integer_or(0, "types", 0, 64)),
          type_layers_(p.integer_or(1, "type_layers", 1, 16)),
          flag_width_(p.integer_or(256, "flag_width", 2, 1 << 12)) {
        if (hint_widths_.size() != kSizes) {
            invalid("%s: hint_widths must have %zu numbers, got %zu", kNet, kSizes, hint_widths_.size());
        }
        attends_ = blocks_.middle_depth() > 0;
        for (int i = 0; i < blocks_.levels() * blocks_.blocks(); i++) {
            attends_ = attends_ || blocks_.input_depth(i) > 0;
        }
    }

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << blocks_.levels();
        Shapes s{{"x", {1, in_, side, side}},
                 {"t", {1}},
                 {"picture", {1, picture_, kFactor * side, kFactor * side}}};
        if (attends_) {
            s["context"] = {1, 4, blocks_.context_dim()};
        }
        if (blocks_.adm_channels() > 0) {
            s["y"] = {1, blocks_.adm_channels()};
        }
        if (types_ > 0) {
            s["type"] = {1, 1};
            s["flags"] = {1, types_};
        }
        return s;
    }

    std::vector<std::string> nominal_outputs() const override {
        std::vector<std::string> all;
        for (int k = 0; k <= skips(); k++) {
            all.push_back(control(k));
        }
        return all;
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        const std::vector<std::string> controls = nominal_outputs();
        bool encodes = true;
        for (const std::string &name : outputs) {
            encodes = encodes && name == "hint";
            if (name != "hint" && std::find(controls.begin(), controls.end(), name) == controls.end()) {
                invalid("%s: no output %s; there are hint, control.0 to control.%d, control.middle", kNet,
                        name.c_str(), skips() - 1);
            }
        }
        if (encodes) {
            InputNames names{{"picture"}};
            if (types_ > 0) {
                names.required.push_back("type");
            }
            expect_inputs(kNet, inputs, names);
            check_picture(inputs.at("picture"));
            if (types_ > 0) {
                expect_shape(kNet, "type", inputs.at("type"), {inputs.at("picture")[0], 1});
            }
            return;
        }
        const bool encoded = inputs.count("hint") > 0;
        InputNames names{
            {"x", "t", encoded ? "hint" : "picture"}, {"scale"}, {{"control", skips(), "middle"}}};
        if (attends_) {
            names.required.push_back("context");
        }
        if (blocks_.adm_channels() > 0) {
            names.required.push_back("y");
        }
        if (types_ > 0) {
            names.required.push_back("flags");
            if (!encoded) {
                names.required.push_back("type");
            }
        }
        expect_inputs(kNet, inputs, names);
        check_shapes(inputs, encoded);
    }

    bool is_integer(const std::string &input) const override { return input == "type"; }
    int64_t vocabulary(const std::string &) const override { return types_; }

    // The text stays the same for all steps of a picture.
    bool is_constant_across_steps(const std::string &input) const override { return input == "context"; }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        const auto asked = [&](const std::string &name) {
            return std::find(outputs.begin(), outputs.end(), name) != outputs.end();
        };
        Tensors all;
        const Tensor hint = inputs.count("hint") ? ops.image_in(inputs.at("hint")) : encode(ops, inputs);
        if (asked("hint")) {
            all["hint"] = ops.image_out(hint);
        }
        if (!inputs.count("x")) {
            return all;
        }
        const Tensor y = blocks_.adm_channels() > 0 ? inputs.at("y") : nullptr;
        UNetBlocks::Pass p{
            ops, blocks_.time_embedding(ops, inputs.at("t"), y, nullptr, nullptr, kind(ops, inputs)),
            attends_ ? inputs.at("context") : nullptr};
        Conv first{blocks_.width()};
        first.add = hint;
        const std::vector<Tensor> skips =
            blocks_.down(p, ops.conv2d(ops.image_in(inputs.at("x")), "input_blocks.0.0", first));
        const auto give = [&](int k, Tensor h, const std::string &layer) {
            if (asked(control(k))) {
                h = ops.conv2d(h, layer, {ops.channels(h), 1});
                h = pools_ ? pooled(ops, h) : h;
                all[control(k)] = ops.image_out(scaled(ops, h, inputs, k));
            }
        };
        for (size_t k = 0; k < skips.size(); k++) {
            give(int(k), skips[k], "zero_convs." + std::to_string(k) + ".0");
        }
        if (asked("control.middle")) {
            const Tensor middle = blocks_.middle_end(p, blocks_.middle_begin(p, skips.back()));
            give(int(skips.size()), middle, "middle_block_out.0");
        }
        return all;
    }

  private:
    static constexpr size_t kSizes = 4;   // of the picture while it is encoded, each half the one before
    static constexpr int64_t kFactor = 8; // of the first by the last
    static constexpr float kEps = 1e-5f;

    int skips() const { return int(blocks_.skip_shapes(1, 1, 1).size()) - 1; }
    std::string control(int k) const {
        return k < skips() ? "control." + std::to_string(k) : "control.middle";
    }

    void check_picture(const Shape &picture) const {
        expect_shape(kNet, "picture", picture, {"N", picture_, "8H", "8W"});
        if (picture[2] % kFactor != 0 || picture[3] % kFactor != 0) {
            invalid("%s: the sides of picture must be multiples of %lld, got %lldx%lld", kNet,
                    (long long)kFactor, (long long)picture[3], (long long)picture[2]);
        }
    }

    void check_shapes(const Shapes &inputs, bool encoded) const {
        const Shape &x = inputs.at("x");
        expect_shape(kNet, "x", x, {"N", in_, "H", "W"});
        expect_shape(kNet, "t", inputs.at("t"), {x[0]});
        if (attends_) {
            expect_shape(kNet, "context", inputs.at("context"), {x[0], "L", blocks_.context_dim()});
        }
        if (blocks_.adm_channels() > 0) {
            expect_shape(kNet, "y", inputs.at("y"), {x[0], blocks_.adm_channels()});
        }
        if (types_ > 0) {
            expect_shape(kNet, "flags", inputs.at("flags"), {x[0], types_});
            if (!encoded) {
                expect_shape(kNet, "type", inputs.at("type"), {x[0], 1});
            }
        }
        if (encoded) {
            expect_shape(kNet, "hint", inputs.at("hint"), {x[0], blocks_.width(), x[2], x[3]});
        } else {
            expect_shape(kNet, "picture", inputs.at("picture"),
                         {x[0], picture_, kFactor * x[2], kFactor * x[3]});
        }
        if (inputs.count("scale")) {
            expect_shape(kNet, "scale", inputs.at("scale"), {x[0], skips() + 1});
        }
        const std::vector<Shape> shapes = blocks_.skip_shapes(x[0], x[2], x[3]);
        for (int k = 0; k <= skips(); k++) {
            const Shape &s = shapes[size_t(k)];
            if (inputs.count(control(k))) {
                expect_shape(kNet, control(k), inputs.at(control(k)), {s[0], s[1], s[2], s[3]});
            }
        }
    }

    // The picture as it is added to the latent's first features. A picture's kind adds a vector
    // everywhere, which depends on both.
    Tensor encode(Ops &ops, const Tensors &inputs) const {
        Tensor h = convolutions(ops, ops.image_in(inputs.at("picture")));
        if (types_ == 0) {
            return h;
        }
        const int64_t width = blocks_.width();
        Tensor x = ops.mean_token(ops.tokens(h)); // [C, 1, N]
        x = ops.add(x, ops.embedding(inputs.at("type"), "task_embedding", types_, width));
        for (int i = 0; i < type_layers_; i++) {
            x = type_layer(ops, x, "transformer_layes." + std::to_string(i));
        }
        x = ops.linear(x, "spatial_ch_projs", {width});
        return ops.image(ops.add(ops.tokens(h), x), ops.width(h), ops.height(h));
    }

    // A layer of a transformer. In the authors' code, and in the diffusers library, tokens attend
    // to those of the same place in the other pictures of the batch, not to the picture's other
    // ones, since the batch is where PyTorch expects the sequence. All pictures of a batch being the same,
    // each token attends to itself: what comes of it are its values.
    Tensor type_layer(Ops &ops, Tensor x, const std::string &name) const {
        const int64_t width = blocks_.width();
        Tensor h = ops.linear(ops.layer_norm(x, name + ".ln_1", kEps), name + ".attn.in_proj", {3 * width});
        x = ops.linear(ops.chunk(h, 2, 3), name + ".attn.out_proj", {width, true, Act::none, x});
        h = ops.linear(ops.layer_norm(x, name + ".ln_2", kEps), name + ".mlp.c_fc",
                       {4 * width, true, Act::quick_gelu});
        return ops.linear(h, name + ".mlp.c_proj", {width, true, Act::none, x});
    }

    // What a picture's kind adds to the time's embedding; null where there are no kinds.
    Tensor kind(Ops &ops, const Tensors &inputs) const {
        if (types_ == 0) {
            return nullptr;
        }
        const int64_t width = 4 * blocks_.width();
        Tensor e = ops.number_embeddings(inputs.at("flags"), flag_width_);
        e = ops.linear(e, "control_add_embedding.linear_1", {width, true, Act::silu, nullptr, true});
        return ops.linear(e, "control_add_embedding.linear_2", {width, true, Act::none, nullptr, true});
    }

    // Eight convolutions with SiLU between them, of which three halve the sides.
    Tensor convolutions(Ops &ops, Tensor h) const {
        int layer = 0;
        const auto conv = [&](int64_t out, int stride) {
            Conv c{out};
            c.stride = stride;
            h = ops.conv2d(h, "input_hint_block." + std::to_string(layer), c);
            layer += 2; // SiLU is a layer, too
        };
        conv(hint_widths_[0], 1);
        for (size_t i = 0; i + 1 < hint_widths_.size(); i++) {
            h = ops.silu(h);
            conv(hint_widths_[i], 1);
            h = ops.silu(h);
            conv(hint_widths_[i + 1], 2);
        }
        h = ops.silu(h);
        conv(blocks_.width(), 1);
        return h;
    }

    // The mean of an image everywhere.
    static Tensor pooled(Ops &ops, Tensor h) {
        const Tensor tokens = ops.tokens(h);
        return ops.image(ops.add(ops.times(tokens, 0), ops.mean_token(tokens)), ops.width(h), ops.height(h));
    }

    // An output times its factors, and what other ControlNets returned.
    Tensor scaled(Ops &ops, Tensor h, const Tensors &inputs, int k) const {
        const auto scale = inputs.find("scale");
        if (scale != inputs.end()) {
            h = ops.scale_images(h, ops.chunk(scale->second, k, skips() + 1));
        }
        const auto before = inputs.find(control(k));
        return before == inputs.end() ? h : ops.add(h, ops.image_in(before->second));
    }

    UNetBlocks blocks_;
    int in_, picture_;
    std::vector<int> hint_widths_;
    bool pools_, attends_ = false;
    int types_, type_layers_, flag_width_;
};

} // namespace

std::unique_ptr<Architecture> controlnet(const Params &p) {
    return std::make_unique<ControlNet>(p);
}

} // namespace sdgo
