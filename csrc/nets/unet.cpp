// The UNet of latent diffusion (Rombach et al. 2022) with cross-attention, as
// in Stable Diffusion 1.x, 2.x and XL (Podell et al. 2023), of any width and
// depth, also where blocks of one level differ in depth, or the middle block is reduced
// or removed: BK-SDM (Kim et al. 2023, arXiv:2305.15798), SSD-1B and Segmind Vega (Gupta et
// al. 2024, arXiv:2401.02677), KOALA (Lee et al. 2023, arXiv:2312.04005).
//
// Hyperparameters: in_channels, out_channels, and those of unet_blocks.h.
// Inputs: x, the scaled noisy latent [N, in_channels, H, W]; t, the timestep
// [N], fractions allowed; context, the text's embedding [N, L, context_dim];
// with adm_channels y, what is known of the whole picture [N, adm_channels]; with
// guidance_dim guidance, the embedding of the guidance scale [N, guidance_dim]; with
// classes class, a row number [N, 1].
// Outputs: out, the prediction [N, out_channels, H, W]; deep, what the last
// output block gets from the blocks below it [N, model_channels · channel_mult[0], H, W];
// perturbed, the prediction of the same network but for the self-attention of the
// middle block, whose map is the identity there: perturbed-attention guidance (Ahn et
// al. 2024, arXiv:2403.17377; the diffusers library's pag_applied_layers="mid").
// What comes before it is computed once where out and perturbed are both asked for;
// h, what the middle block returns, [N, C, H / 2^(levels-1), W / 2^(levels-1)]: the deepest
// features, whose space has directions of meaning (Kwon et al. 2022, arXiv:2210.10960).
//
// stem, what the first convolution returns, and first, what the first block after it does, of deep's
// shape; stem is so where channel_mult[0] is 1.
//
// With deep as a further input only the first input block and the last output
// block are computed: DeepCache (Ma et al. 2024, arXiv:2312.00858), whose authors
// found that deep changes little from step to step. With rest, of deep's shape, in place of it the first
// block is computed, too, and what it returns plus rest stands for deep: a first-block cache
// (ParaAttention), for which the outputs stem and first are there. What follows of deep holds for rest.
//
// The inputs control.0 … control.K are what a ControlNet (Zhang et al. 2023,
// arXiv:2302.05543) returns, each of them optional: control.k, of the shape of what
// input block k returns, is added to that where an output block gets it as a
// skip; control.middle, of the last one's shape, to what the middle block returns.
// The diffusers library calls them down_block_additional_residuals and
// mid_block_additional_residual. With deep there is control.0 alone.
//
// The input h_add, of h's shape, is added to what the middle block returns, before all else
// that is; the output h is without it. There is neither with deep.
//
// The inputs feature.0 … feature.(levels - 1) and feature.middle, each of them optional, are
// what a T2I-Adapter (Mou et al. 2023, arXiv:2302.08453) returns: feature.k is added to the
// last image of level k before it becomes a skip (see UNetBlocks::down), feature.middle to what the
// middle block returns. The diffusers library calls them down_intrablock_additional_residuals.
//
// The inputs picture_key.k and picture_value.k, [N, T, C] for the k-th layer that attends to the text
// (way down, way up, middle), are keys and values of a picture, which the layer attends to as
// well: what an IP-Adapter returns (ip_adapter.cpp). With deep there are those of the last output block
// alone.
//
// With the input merged, [M], whose numbers do not count, self-attention of the first level that attends
// merges M of each image's tokens (Ops::merge_plan). Not with deep.
#include "nets/unet_blocks.h"

#include <algorithm>

namespace sdgo {

namespace {

class UNet : public Architecture {
  public:
    explicit UNet(const Params &p)
        : blocks_(p, "unet"), in_(p.integer("in_channels", 1, 256)), out_(p.integer("out_channels", 1, 256)),
          attending_(blocks_.attending()) {}

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << blocks_.levels();
        Shapes s{{"x", {1, in_, side, side}}, {"t", {1}}, {"context", {1, 4, blocks_.context_dim()}}};
        if (blocks_.adm_channels() > 0) {
            s["y"] = {1, blocks_.adm_channels()};
        }
        if (blocks_.guidance_dim() > 0) {
            s["guidance"] = {1, blocks_.guidance_dim()};
        }
        if (blocks_.classes() > 0) {
            s["class"] = {1, 1};
        }
        return s;
    }
    std::vector<std::string> nominal_outputs() const override { return {"out"}; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        InputNames names{{"x", "t", "context"},
                         {"deep", "rest", "h_add", "merged"},
                         {{"control", skips(), "middle"},
                          {"feature", blocks_.levels(), "middle"},
                          {"picture_key", int(attending_.size()), ""},
                          {"picture_value", int(attending_.size()), ""}}};
        if (blocks_.adm_channels() > 0) {
            names.required.push_back("y");
        }
        if (blocks_.guidance_dim() > 0) {
            names.required.push_back("guidance");
        }
        if (blocks_.classes() > 0) {
            names.required.push_back("class");
        }
        expect_inputs("unet", inputs, names);
        const Shape &x = inputs.at("x");
        expect_shape("unet", "x", x, {"N", in_, "H", "W"});
        expect_shape("unet", "t", inputs.at("t"), {x[0]});
        expect_shape("unet", "context", inputs.at("context"), {x[0], "L", blocks_.context_dim()});
        if (blocks_.adm_channels() > 0) {
            expect_shape("unet", "y", inputs.at("y"), {x[0], blocks_.adm_channels()});
        }
        if (blocks_.guidance_dim() > 0) {
            expect_shape("unet", "guidance", inputs.at("guidance"), {x[0], blocks_.guidance_dim()});
        }
        if (blocks_.classes() > 0) {
            expect_shape("unet", "class", inputs.at("class"), {x[0], 1});
        }
        for (const char *name : {"deep", "rest"}) {
            if (inputs.count(name)) {
                expect_shape("unet", name, inputs.at(name), {x[0], blocks_.channels(0), x[2], x[3]});
            }
        }
        if (inputs.count("deep") && inputs.count("rest")) {
            invalid("unet: deep and rest stand for the same blocks: one of them is enough");
        }
        check_h(inputs);
        check_merged(inputs);
        check_controls(inputs);
        check_features(inputs);
        check_pictures(inputs);
        for (const std::string &name : outputs) {
            const bool inner = name == "deep" || name == "perturbed" || name == "h";
            const bool early = name == "stem" || name == "first";
            if (name != "out" && !(inner && !shallow(inputs)) && !(early && !inputs.count("deep"))) {
                invalid("unet: no output %s; there is out, without an input deep stem and first, and without "
                        "an input deep or rest deep, perturbed and h",
                        name.c_str());
            }
            if (name == "perturbed" && blocks_.middle_depth() < 1) {
                invalid("unet: no output perturbed: the middle block has no attention");
            }
        }
    }

    bool is_integer(const std::string &input) const override { return input == "class"; }
    int64_t vocabulary(const std::string &) const override { return blocks_.classes(); }

    // The text stays the same for all steps of a picture.
    bool is_constant_across_steps(const std::string &input) const override { return input == "context"; }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &outputs) const override {
        const auto asked = [&](const char *name) {
            return std::find(outputs.begin(), outputs.end(), name) != outputs.end();
        };
        const Tensor y = blocks_.adm_channels() > 0 ? inputs.at("y") : nullptr;
        const Tensor guidance = blocks_.guidance_dim() > 0 ? inputs.at("guidance") : nullptr;
        const Tensor row = blocks_.classes() > 0 ? inputs.at("class") : nullptr;
        UNetBlocks::Pass p{ops, blocks_.time_embedding(ops, inputs.at("t"), y, row, guidance),
                           inputs.at("context")};
        if (inputs.count("merged")) {
            p.merged = inputs.at("merged");
        }
        for (size_t k = 0; k < attending_.size(); k++) {
            const auto key = inputs.find("picture_key." + std::to_string(k));
            if (key != inputs.end()) {
                p.of_picture[attending_[k].name] = {key->second,
                                                    inputs.at("picture_value." + std::to_string(k))};
            }
        }
        const Tensor first = ops.conv2d(ops.image_in(inputs.at("x")), "input_blocks.0.0", {blocks_.width()});
        const Tensor skip = controlled(ops, first, inputs, control(0));
        if (inputs.count("deep")) {
            return {{"out", last_block(p, ops.image_in(inputs.at("deep")), skip)}};
        }
        Tensors all;
        if (asked("stem")) {
            all["stem"] = ops.image_out(first);
        }
        const auto first_block = [&] {
            return blocks_.stage(p, first, "input_blocks.1", 0, blocks_.input_depth(0));
        };
        if (inputs.count("rest")) {
            const Tensor block = first_block();
            all["first"] = ops.image_out(block);
            all["out"] = last_block(p, ops.add(block, ops.image_in(inputs.at("rest"))), skip);
            return all;
        }
        std::vector<Tensor> skips = blocks_.down(p, first, [&](int level, Tensor h) {
            return controlled(ops, h, inputs, "feature." + std::to_string(level));
        });
        if (asked("first")) {
            all["first"] = ops.image_out(inputs.count("feature.0") ? first_block() : skips[1]);
        }
        const Tensor middle = blocks_.middle_begin(p, skips.back());
        for (size_t k = 1; k < skips.size(); k++) {
            skips[k] = controlled(ops, skips[k], inputs, control(int(k)));
        }
        const auto inner_blocks = [&](bool perturbed) {
            const Tensor deepest = blocks_.middle_end(p, middle, perturbed);
            if (asked("h") && !perturbed) {
                all["h"] = ops.image_out(deepest);
            }
            const Tensor h =
                controlled(ops, controlled(ops, deepest, inputs, "h_add"), inputs, "feature.middle");
            return output_blocks(p, controlled(ops, h, inputs, "control.middle"), skips);
        };
        if (asked("out") || asked("deep")) {
            const Tensor deep = inner_blocks(false);
            if (asked("deep")) {
                all["deep"] = ops.image_out(deep);
            }
            if (asked("out")) {
                all["out"] = last_block(p, deep, skip);
            }
        }
        if (asked("h") && !all.count("h")) {
            all["h"] = ops.image_out(blocks_.middle_end(p, middle, false));
        }
        if (asked("perturbed")) {
            all["perturbed"] = last_block(p, inner_blocks(true), skip);
        }
        return all;
    }

  private:
    int skips() const { return int(blocks_.skip_shapes(1, 1, 1).size()) - 1; }
    static std::string control(int k) { return "control." + std::to_string(k); }

    // Whether the inner blocks are not computed.
    static bool shallow(const Shapes &inputs) { return inputs.count("deep") + inputs.count("rest") > 0; }

    void check_h(const Shapes &inputs) const {
        if (!inputs.count("h_add")) {
            return;
        }
        if (shallow(inputs)) {
            invalid("unet: with deep there is no input h_add: the block that it is added to is not computed");
        }
        const Shape &x = inputs.at("x");
        const Shape s = blocks_.skip_shapes(x[0], x[2], x[3]).back();
        expect_shape("unet", "h_add", inputs.at("h_add"), {s[0], s[1], s[2], s[3]});
    }

    // Merging needs an image of the first level that attends, which deep may leave out.
    void check_merged(const Shapes &inputs) const {
        if (!inputs.count("merged")) {
            return;
        }
        if (shallow(inputs) || blocks_.merging_level() == blocks_.levels()) {
            invalid("unet: there is no input merged where attention is not computed");
        }
        int64_t h = inputs.at("x")[2], w = inputs.at("x")[3];
        for (int level = 0; level < blocks_.merging_level(); level++) {
            h = (h + 1) / 2, w = (w + 1) / 2;
        }
        const Shape &merged = inputs.at("merged");
        if (merged.size() != 1 || merged[0] > Ops::most_merged(w, h)) {
            invalid("unet: merged must have one dimension of at most %lld, for %lld tokens, got %s",
                    (long long)Ops::most_merged(w, h), (long long)(w * h), text(merged).c_str());
        }
    }

    void check_controls(const Shapes &inputs) const {
        const Shape &x = inputs.at("x");
        const std::vector<Shape> shapes = blocks_.skip_shapes(x[0], x[2], x[3]);
        for (int k = 0; k <= skips(); k++) {
            const std::string name = k < skips() ? control(k) : "control.middle";
            if (!inputs.count(name)) {
                continue;
            }
            if (k > 0 && shallow(inputs)) {
                invalid("unet: with deep there is no input %s: the block that takes it is not computed",
                        name.c_str());
            }
            const Shape &s = shapes[size_t(k)];
            expect_shape("unet", name, inputs.at(name), {s[0], s[1], s[2], s[3]});
        }
    }

    void check_features(const Shapes &inputs) const {
        const Shape &x = inputs.at("x");
        const std::vector<Shape> shapes = blocks_.level_shapes(x[0], x[2], x[3]);
        for (int k = 0; k <= blocks_.levels(); k++) {
            const std::string name = k < blocks_.levels() ? "feature." + std::to_string(k) : "feature.middle";
            if (!inputs.count(name)) {
                continue;
            }
            if (shallow(inputs)) {
                invalid("unet: with deep there is no input %s: the block that takes it is not computed",
                        name.c_str());
            }
            const Shape &s = shapes[size_t(k)];
            expect_shape("unet", name, inputs.at(name), {s[0], s[1], s[2], s[3]});
        }
    }

    void check_pictures(const Shapes &inputs) const {
        for (size_t k = 0; k < attending_.size(); k++) {
            const std::string key = "picture_key." + std::to_string(k);
            const std::string value = "picture_value." + std::to_string(k);
            if (inputs.count(key) != inputs.count(value)) {
                invalid("unet: %s and %s go together", key.c_str(), value.c_str());
            }
            if (!inputs.count(key)) {
                continue;
            }
            if (shallow(inputs) && !attending_[k].last) {
                invalid("unet: with deep there is no input %s: the layer that takes it is not computed",
                        key.c_str());
            }
            const Shape &shape = inputs.at(key);
            expect_shape("unet", key, shape, {inputs.at("x")[0], "T", attending_[k].channels});
            expect_shape("unet", value, inputs.at(value), {shape[0], shape[1], shape[2]});
        }
    }

    // An image and what a ControlNet adds to it, if there is that.
    static Tensor controlled(Ops &ops, Tensor h, const Tensors &inputs, const std::string &name) {
        const auto found = inputs.find(name);
        return found == inputs.end() ? h : ops.add(h, ops.image_in(found->second));
    }

    // The output blocks but the last. There is one of the first level among them:
    // num_res_blocks is at least 1.
    Tensor output_blocks(UNetBlocks::Pass &p, Tensor h, std::vector<Tensor> skips) const {
        int n = 0; // output_blocks.n
        for (int level = blocks_.levels() - 1; level >= 0; level--) {
            for (int block = 0; block < blocks_.blocks() + (level > 0 ? 1 : 0); block++, n++) {
                const std::string name = "output_blocks." + std::to_string(n);
                h = p.ops.concat(h, skips.back());
                skips.pop_back();
                h = blocks_.stage(p, h, name, level, blocks_.output_depth(n));
                if (level > 0 && block == blocks_.blocks()) {
                    h = up(p.ops, h, skips.back(),
                           name + (blocks_.output_depth(n) > 0 ? ".2.conv" : ".1.conv"));
                }
            }
        }
        return h;
    }

    // Twice the size, or one less: that of the next skip, since halving rounds odd
    // sides up.
    static Tensor up(Ops &ops, Tensor h, Tensor skip, const std::string &name) {
        Conv c{ops.channels(h)};
        c.up_width = ops.width(skip);
        c.up_height = ops.height(skip);
        return ops.conv2d(h, name, c);
    }

    // The last output block and the output.
    Tensor last_block(UNetBlocks::Pass &p, Tensor deep, Tensor skip) const {
        const int last = blocks_.levels() * (blocks_.blocks() + 1) - 1;
        Tensor h = blocks_.stage(p, p.ops.concat(deep, skip), "output_blocks." + std::to_string(last), 0,
                                 blocks_.output_depth(last));
        h = p.ops.group_norm(h, "out.0", blocks_.norm());
        return p.ops.image_out(p.ops.conv2d(h, "out.2", {out_}));
    }

    UNetBlocks blocks_;
    int in_, out_;
    std::vector<UNetBlocks::Attending> attending_;
};

} // namespace

std::unique_ptr<Architecture> unet(const Params &p) {
    return std::make_unique<UNet>(p);
}

} // namespace sdgo
