// The UNet of latent diffusion (unet.cpp) that attends to a class in place of a text: one
// row of a table (Rombach et al. 2022, the class-conditional models).
//
// Hyperparameters: context_rows, the rows of the table, and those of unet.
// Inputs: x, the scaled noisy latent [N, in_channels, H, W]; timesteps [N], fractions
// allowed; class, a row number [N, 1].
// Outputs: sample [N, out_channels, H, W].
#include "nets/architecture.h"

namespace sdgo {

namespace {

class ClassUNet : public Architecture {
  public:
    explicit ClassUNet(const Params &p)
        : inner_(unet(p)), rows_(p.integer("context_rows", 1, 1 << 20)),
          width_(p.integer("context_dim", 1, 1 << 14)) {
        for (const auto &input : inner_->nominal_inputs()) {
            if (input.first != "x" && input.first != "t" && input.first != "context") {
                invalid("class_unet: the UNet must not take %s beside a class", input.first.c_str());
            }
        }
    }

    Shapes nominal_inputs() const override {
        return {{"x", inner_->nominal_inputs().at("x")}, {"timesteps", {1}}, {"class", {1, 1}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"sample"}; }
    bool is_integer(const std::string &input) const override { return input == "class"; }
    int64_t vocabulary(const std::string &) const override { return rows_; }

    // The keys and values of its row are, too.
    bool is_constant_across_steps(const std::string &input) const override { return input == "class"; }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("class_unet", inputs, {{"x", "timesteps", "class"}});
        const Shape &x = inputs.at("x");
        expect_shape("class_unet", "x", x, {"N", inner_->nominal_inputs().at("x")[1], "H", "W"});
        expect_shape("class_unet", "timesteps", inputs.at("timesteps"), {x[0]});
        expect_shape("class_unet", "class", inputs.at("class"), {x[0], 1});
        for (const std::string &name : outputs) {
            if (name != "sample") {
                invalid("class_unet: no output %s; there is sample", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        const Tensor context = ops.embedding(inputs.at("class"), "class_context.weight", rows_, width_);
        Tensors out = inner_->forward(
            ops, {{"x", inputs.at("x")}, {"t", inputs.at("timesteps")}, {"context", context}}, {"out"});
        return {{"sample", out.at("out")}};
    }

  private:
    std::unique_ptr<Architecture> inner_;
    int rows_, width_;
};

} // namespace

std::unique_ptr<Architecture> class_unet(const Params &p) {
    return std::make_unique<ClassUNet>(p);
}

} // namespace sdgo
