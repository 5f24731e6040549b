// Networks of one operator each, for the tests of operators and of the C interface.
#include "testnet/testnet.h"

#include "core/ggml_abi.h"
#include "nets/architecture.h"
#include "ops/ops.h"
#include "session.h"

#include <functional>

using namespace sdgo;

namespace {

struct Operator {
    const char *name;
    Shapes nominal;  // of its inputs
    int output_dims; // of its output
    std::function<Tensor(Ops &, const Tensors &)> apply;
};

// A convolution of each frame of video [N, 3, T, H, W] gives [N, 5, T, H, W]. Like
// other networks this one knows N by t [N], the timesteps.
Tensor video(Ops &ops, const Tensors &in) {
    const int64_t n = in.at("t")->ne[0];
    return ops.frames_out(ops.conv2d(ops.frames_in(in.at("video"), n), "conv", {5}), n);
}

// Of image [N, C, H, W]: the same shape, [N, C/4, 2H, 2W] and [N, C, 3H, 3W].
Tensor prelu(Ops &ops, const Tensors &in) {
    return ops.image_out(ops.prelu(ops.image_in(in.at("image")), "prelu"));
}

Tensor pixel_shuffle(Ops &ops, const Tensors &in) {
    return ops.pixel_shuffle(in.at("image"), 2);
}

Tensor nearest(Ops &ops, const Tensors &in) {
    return ops.nearest(in.at("image"), 3);
}

constexpr int kHeads = 2;

Tensor rope(Ops &ops, const Tensors &in, Pairs pairs) {
    return ops.rope(in.at("x"), in.at("cos"), in.at("sin"), kHeads, pairs);
}

// Shapes of tokens, of what is known of each image, and of angles.
const Shape kTokens = {1, 3, 24}, kVectors = {1, 24}, kAngles = {3, 6};

const Shapes kImage = {{"x", {1, 3, 4, 6}}};

// An image of another size, halved in brightness.
template <Sampling how> Tensor sampled(Ops &ops, const Tensors &in) {
    return ops.image_out(ops.resample(ops.image_in(in.at("x")), how, 0.5f));
}

// Convolutions with all that is fused into them; sides of 5 and 7 are odd.
template <int kernel, int stride, bool pad_end, int up> Tensor conv(Ops &ops, const Tensors &in) {
    Conv c{6, kernel, stride};
    c.pad_end = pad_end;
    const Tensor x = ops.image_in(in.at("x"));
    c.up_width = up ? 2 * ops.width(x) - 1 : 0, c.up_height = up ? 2 * ops.height(x) : 0;
    c.add_channels = ops.linear(in.at("scale"), "vectors", {6, true, Act::silu, nullptr, true});
    const Tensor y = ops.conv2d(x, "conv", c);
    c.add = y;
    return ops.image_out(ops.conv2d(x, "conv", c));
}

const Shapes kConv = {{"x", {1, 3, 4, 6}}, {"scale", {1, 6}}};

template <Act act> Tensor layer(Ops &ops, const Tensors &in) {
    return ops.linear(in.at("x"), "linear", {24, true, act, in.at("x")});
}

template <bool causal> Tensor attention(Ops &ops, const Tensors &in) {
    return ops.attention(in.at("x"), in.at("z"), ops.linear(in.at("z"), "v", {24, false}), kHeads, causal);
}

// Layers one after another, with a skip connection: what a UNet is made of.
Tensor chain(Ops &ops, const Tensors &in) {
    const Tensor x = ops.image_in(in.at("x"));
    Tensor h = ops.conv2d(x, "first", {8});
    const Tensor skip = h;
    h = ops.group_norm(h, "norm1", {4, 1e-3f, true});
    Conv down{8};
    down.stride = 2;
    h = ops.conv2d(h, "down", down);
    const int64_t width = ops.width(h), height = ops.height(h);
    const Tensor before = ops.tokens(h);
    Tensor t = ops.layer_norm(ops.tokens(ops.group_norm(h, "norm2", {2, 1e-3f})), "norm3", 1e-3f);
    const Tensor q = ops.linear(t, "q", {8, false}), k = ops.linear(t, "k", {8, false});
    t = ops.attention(q, k, ops.linear(t, "v", {8}), kHeads, false);
    t = ops.linear(ops.geglu(t, "ff", 16), "out", {8, true, Act::none, before});
    Conv up{8};
    up.up_width = ops.width(x), up.up_height = ops.height(x);
    h = ops.concat(ops.conv2d(ops.image(t, width, height), "up", up), skip);
    h = ops.group_norm(h, "norm4", {4, 1e-3f, true});
    Conv last{3};
    last.add = x;
    return ops.image_out(ops.conv2d(h, "last", last));
}

const Operator kOperators[] = {
    {"conv 3x3", kConv, 4, conv<3, 1, false, 0>},
    {"conv 1x1", kConv, 4, conv<1, 1, false, 0>},
    {"conv down", kConv, 4, conv<3, 2, false, 0>},
    {"conv down end", kConv, 4, conv<3, 2, true, 0>},
    {"conv up", kConv, 4, conv<3, 1, false, 1>},
    {"linear", {{"x", kTokens}}, 3, layer<Act::none>},
    {"linear silu", {{"x", kTokens}}, 3, layer<Act::silu>},
    {"linear gelu", {{"x", kTokens}}, 3, layer<Act::gelu>},
    {"linear gelu_tanh", {{"x", kTokens}}, 3, layer<Act::gelu_tanh>},
    {"linear quick_gelu", {{"x", kTokens}}, 3, layer<Act::quick_gelu>},
    {"geglu",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.geglu(in.at("x"), "linear", 5); }},
    {"attention", {{"x", kTokens}, {"z", kTokens}}, 3, attention<false>},
    {"attention causal", {{"x", kTokens}, {"z", kTokens}}, 3, attention<true>},
    {"layer_norm",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.layer_norm(in.at("x"), "norm", 1e-3f); }},
    {"layer_norm plain",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.layer_norm(in.at("x"), "", 1e-3f); }},
    {"group_norm silu",
     {{"x", {1, 24, 4, 6}}},
     4,
     [](Ops &ops, const Tensors &in) {
         return ops.image_out(ops.group_norm(ops.image_in(in.at("x")), "norm", {6, 1e-3f, true}));
     }},
    {"embedding",
     {{"ids", {1, 3}}},
     3,
     [](Ops &ops, const Tensors &in) {
         return ops.positions(ops.embedding(in.at("ids"), "table", 7, 24), "positions", 9);
     }},
    {"sums",
     {{"x", kTokens}, {"z", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) {
         const Tensor a = ops.leaky_relu(ops.add(in.at("x"), ops.scale(in.at("z"), 3)), 0.2f);
         return ops.silu(ops.fixed_positions(a, "table"));
     }},
    {"chain", {{"x", {1, 3, 8, 8}}}, 4, chain},
    {"rms_norm",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.rms_norm(in.at("x"), "norm", 1e-3f, kHeads); }},
    {"modulate",
     {{"x", kTokens}, {"scale", kVectors}, {"shift", kVectors}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.modulate(in.at("x"), in.at("scale"), in.at("shift")); }},
    {"rope interleaved",
     {{"x", kTokens}, {"cos", kAngles}, {"sin", kAngles}},
     3,
     [](Ops &ops, const Tensors &in) { return rope(ops, in, Pairs::interleaved); }},
    {"rope halves",
     {{"x", kTokens}, {"cos", kAngles}, {"sin", kAngles}},
     3,
     [](Ops &ops, const Tensors &in) { return rope(ops, in, Pairs::halves); }},
    {"gelu_tanh",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) {
         return ops.linear(in.at("x"), "linear", {5, true, Act::gelu_tanh});
     }},
    {"concat_tokens",
     {{"x", kTokens}, {"z", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.concat_tokens(in.at("x"), in.at("z")); }},
    {"slice_tokens",
     {{"x", kTokens}},
     3, // 2 from number 1 on
     [](Ops &ops, const Tensors &in) { return ops.slice_tokens(in.at("x"), 1, 2); }},
    {"chunk",
     {{"x", kTokens}},
     3, // the last of 4
     [](Ops &ops, const Tensors &in) { return ops.chunk(in.at("x"), 3, 4); }},
    {"gated",
     {{"x", kTokens}, {"z", kTokens}, {"scale", kVectors}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.gated(in.at("x"), in.at("z"), in.at("scale")); }},
    {"patches",
     {{"x", {1, 3, 4, 6}}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.patches_in(in.at("x"), 2); }},
    {"pixels",
     {{"x", {1, 6, 12}}},
     4,
     [](Ops &ops, const Tensors &in) { return ops.patches_out(in.at("x"), 2, 3, 2); }},
    {"sinusoids",
     {{"t", {1}}},
     2,
     [](Ops &ops, const Tensors &in) {
         return ops.sinusoids(in.at("t"), {10, false, 1});
     }},
    {"fourier_features",
     {{"t", {1}}},
     2,
     [](Ops &ops, const Tensors &in) { return ops.fourier_features(in.at("t"), "w", 5, true); }},
    {"self_attention whole",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.self_attention(in.at("x"), kHeads, Fused::whole); }},
    {"self_attention by_head",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.self_attention(in.at("x"), kHeads, Fused::by_head); }},
    {"unit_norm",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.unit_norm(in.at("x"), kHeads); }},
    {"clamped",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.times(ops.clamped(in.at("x"), 0.5f), 3); }},
    {"ones", {{"x", {1, 3, 4, 6}}}, 4, [](Ops &ops, const Tensors &in) { return ops.ones(in.at("x")); }},
    {"cosine_features",
     {{"t", {1}}},
     2,
     [](Ops &ops, const Tensors &in) { return ops.cosine_features(in.at("t"), "f", 5); }},
    {"mean_token",
     {{"x", kTokens}},
     3,
     [](Ops &ops, const Tensors &in) { return ops.position_columns(ops.mean_token(in.at("x")), "columns"); }},
    {"group_norm modulated",
     {{"x", {1, 24, 4, 6}}, {"scale", {1, 48}}},
     4,
     [](Ops &ops, const Tensors &in) {
         const Tensor h = ops.group_norm(ops.image_in(in.at("x")), "norm", {6, 1e-3f, false, in.at("scale")});
         return ops.image_out(h);
     }},
    {"mean_down", kImage, 4, sampled<Sampling::mean_down>},
    {"nearest_up", kImage, 4, sampled<Sampling::nearest_up>},
    {"fir_down", kImage, 4, sampled<Sampling::fir_down>},
    {"fir_up", kImage, 4, sampled<Sampling::fir_up>},
    {"fir_blur", kImage, 4, sampled<Sampling::fir_blur>},
    {"prelu", {{"image", {1, 8, 2, 2}}}, 4, prelu},
    {"pixel_shuffle", {{"image", {1, 8, 2, 2}}}, 4, pixel_shuffle},
    {"nearest", {{"image", {1, 4, 2, 2}}}, 4, nearest},
    {"video", {{"video", {1, 3, 1, 2, 2}}, {"t", {1}}}, 5, video},
};

class TestNet : public Architecture {
  public:
    explicit TestNet(const Operator &op) : op_(op) {}

    Shapes nominal_inputs() const override { return op_.nominal; }
    std::vector<std::string> nominal_outputs() const override { return {"out"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &) const override {
        InputNames names;
        for (const auto &[name, shape] : op_.nominal) {
            names.required.push_back(name);
        }
        expect_inputs(op_.name, inputs, names);
        for (const auto &[name, shape] : op_.nominal) {
            if (inputs.at(name).size() != shape.size()) {
                invalid("%s must have %zu dimensions, got %s", name.c_str(), shape.size(),
                        text(inputs.at(name)).c_str());
            }
        }
    }
    bool is_integer(const std::string &name) const override { return name == "ids"; }
    int64_t vocabulary(const std::string &) const override { return 7; }
    Shape output_shape(const std::string &, const Shapes &inputs, const int64_t *ne) const override {
        return unfold(ne, op_.output_dims, inputs.begin()->second[0]);
    }
    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        return {{"out", op_.apply(ops, inputs)}};
    }

  private:
    const Operator &op_;
};

} // namespace

sdgo_net *sdgo_testnet_new(const char *op, int threads, const char *kernels, char *error, size_t size) {
    try {
        for (const Operator &o : kOperators) {
            if (std::string(o.name) == op) {
                return new sdgo_net(std::make_unique<TestNet>(o), 0, threads, kernels);
            }
        }
        invalid("no operator %s", op);
    } catch (const std::exception &e) {
        snprintf(error, size, "%s", e.what());
        return nullptr;
    }
}

void sdgo_testnet_quantize(int type, const float *src, void *dst, int64_t rows, int64_t row_length) {
    ggml_quantize_chunk(ggml_type(type), src, dst, 0, rows, row_length, nullptr);
}
