// T5's text encoder (Raffel et al. 2020, arXiv:1910.10683; version 1.1 with gated GELU, Shazeer
// 2020), and umT5's, as transformers' T5EncoderModel and UMT5EncoderModel compute them. Names of
// weights are those of their files.
//
// Hyperparameters: vocabulary, width, heads, head_channels (heads · head_channels need not be the
// width), layers, ffn, buckets (of distances), bias_layers (1, or as many as layers in umT5:
// which have a table of distances), eps.
// Inputs: tokens [N, L]; buckets [L, L]: for each position and each that it attends to, the
// number of their distance's bucket; perhaps mask [L]: what is added to all products with a
// token, 0 or a number so low that none attends to it.
// Outputs: hidden, after the final norm, [N, L, width].
#include "nets/architecture.h"

namespace sdgo {

namespace {

class T5Encoder : public Architecture {
  public:
    explicit T5Encoder(const Params &p)
        : vocabulary_(p.integer("vocabulary", 1, 1 << 22)), width_(p.integer("width", 1, 1 << 14)),
          heads_(p.integer("heads", 1, 1 << 10)), head_(p.integer("head_channels", 1, 1 << 10)),
          layers_(p.integer("layers", 1, 256)), ffn_(p.integer("ffn", 1, 1 << 17)),
          buckets_(p.integer("buckets", 2, 1 << 12)), bias_layers_(p.integer("bias_layers", 1, 256)),
          eps_(p.real("eps", 0, 1)) {
        if (bias_layers_ != 1 && bias_layers_ != layers_) {
            invalid("t5_encoder: bias_layers must be 1 or layers (%d), got %d", layers_, bias_layers_);
        }
    }

    Shapes nominal_inputs() const override { return {{"tokens", {1, 8}}, {"buckets", {8, 8}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"hidden"}; }
    bool is_integer(const std::string &input) const override { return input != "mask"; }
    int64_t vocabulary(const std::string &input) const override {
        return input == "tokens" ? vocabulary_ : buckets_;
    }
    Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const override {
        return unfold(ne, 3);
    }

    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_inputs("t5_encoder", inputs, {{"tokens", "buckets"}, {"mask"}});
        const Shape &tokens = inputs.at("tokens");
        expect_shape("t5_encoder", "tokens", tokens, {"N", "L"});
        expect_shape("t5_encoder", "buckets", inputs.at("buckets"), {tokens[1], tokens[1]});
        if (inputs.count("mask")) {
            expect_shape("t5_encoder", "mask", inputs.at("mask"), {tokens[1]});
        }
        for (const std::string &name : outputs) {
            if (name != "hidden") {
                invalid("t5_encoder: no output %s; there is hidden", name.c_str());
            }
        }
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Tensor x = ops.embedding(inputs.at("tokens"), "shared.weight", vocabulary_, width_);
        Tensor bias = nullptr;
        for (int i = 0; i < layers_; i++) {
            const std::string name = "encoder.block." + std::to_string(i) + ".layer.";
            if (i < bias_layers_) {
                bias = ops.position_bias(inputs.at("buckets"),
                                         name + "0.SelfAttention.relative_attention_bias.weight", buckets_,
                                         heads_);
                if (inputs.count("mask")) {
                    bias = ops.add(bias, inputs.at("mask"));
                }
            }
            x = attention(ops, x, bias, name + "0.");
            x = feed_forward(ops, x, name + "1.");
        }
        return {{"hidden", ops.rms_norm(x, "encoder.final_layer_norm", eps_, 1)}};
    }

  private:
    Tensor attention(Ops &ops, Tensor x, Tensor bias, const std::string &name) const {
        const Tensor h = ops.rms_norm(x, name + "layer_norm", eps_, 1);
        const auto part = [&](const char *which) {
            return ops.linear(h, name + "SelfAttention." + which, {int64_t(heads_) * head_, false});
        };
        const Tensor y = ops.biased_attention(part("q"), part("k"), part("v"), bias, heads_);
        return ops.linear(y, name + "SelfAttention.o", {width_, false, Act::none, x});
    }

    Tensor feed_forward(Ops &ops, Tensor x, const std::string &name) const {
        const Tensor h = ops.rms_norm(x, name + "layer_norm", eps_, 1);
        const Tensor gate = ops.linear(h, name + "DenseReluDense.wi_0", {ffn_, false, Act::gelu_tanh});
        const Tensor value = ops.linear(h, name + "DenseReluDense.wi_1", {ffn_, false});
        return ops.linear(ops.multiply(gate, value), name + "DenseReluDense.wo",
                          {width_, false, Act::none, x});
    }

    int vocabulary_;
    int64_t width_;
    int heads_, head_, layers_;
    int64_t ffn_;
    int buckets_, bias_layers_;
    float eps_;
};

} // namespace

std::unique_ptr<Architecture> t5_encoder(const Params &p) {
    return std::make_unique<T5Encoder>(p);
}

} // namespace sdgo
