// TAESD, a tiny autoencoder for the latents of Stable Diffusion (Bohan 2023,
// github.com/madebyollin/taesd; AutoencoderTiny in the diffusers library), its
// two halves as two nets. Layers are counted as the diffusers library does:
// activations and enlargements count, too.
//
// Hyperparameters of both: channels, latent_channels, image_channels, blocks
// (a number for each level, from the input to the output); pool: 1 adds to what enters a block of the
// latent's own level a mixture of its channels that is normalised over the whole latent (TAEF2, of FLUX.2).
// taesd_decoder: z [N, latent_channels, h, w], already clamped by the caller with
// 3·tanh(z/3) → image [N, image_channels, H, W], 0 to 1.
// taesd_encoder: image [N, image_channels, H, W], 0 to 1 → z [N,
// latent_channels, h, w].
#include "nets/architecture.h"

namespace sdgo {

namespace {

class Taesd : public Architecture {
  public:
    explicit Taesd(const Params &p)
        : width_(p.integer("channels", 1, 1 << 12)), latent_(p.integer("latent_channels", 1, 256)),
          image_(p.integer("image_channels", 1, 64)), blocks_(p.integers("blocks", 0, 64)),
          pool_(p.integer_or(0, "pool", 0, 1) == 1) {
        if (blocks_.empty() || blocks_.size() > 8) {
            invalid("taesd: blocks must have 1 to 8 levels, got %zu", blocks_.size());
        }
    }

  protected:
    static Tensor relu(Ops &ops, Tensor x) { return ops.leaky_relu(x, 0); }

    // Counts the layers of a half and names the next one.
    struct Layers {
        std::string prefix;
        int next = 0;
        std::string name() { return prefix + std::to_string(next++); }
    };

    Tensor pooled(Ops &ops, Tensor x, const std::string &name) const {
        constexpr int kGroups = 4;
        Conv wide{kGroups * width_, 1}, narrow{width_, 1};
        wide.bias = narrow.bias = false;
        narrow.add = x;
        Tensor h = ops.conv2d(x, name + ".pool.0", wide);
        h = relu(ops, ops.group_norm(h, name + ".pool.1", {kGroups, 1e-5f}));
        return ops.conv2d(h, name + ".pool.3", narrow);
    }

    Tensor block(Ops &ops, Tensor x, const std::string &name) const {
        Tensor h = relu(ops, ops.conv2d(x, name + ".conv.0", {width_}));
        h = relu(ops, ops.conv2d(h, name + ".conv.2", {width_}));
        Conv last{width_};
        last.add = x;
        return relu(ops, ops.conv2d(h, name + ".conv.4", last));
    }

    // `latent` says that it is the level of the latent's size.
    Tensor level(Ops &ops, Tensor h, int blocks, Layers &layers, bool latent) const {
        for (int i = 0; i < blocks; i++) {
            const std::string name = layers.name();
            h = block(ops, latent && pool_ ? pooled(ops, h, name) : h, name);
        }
        return h;
    }

    int64_t width_;
    int latent_, image_;
    std::vector<int> blocks_;
    bool pool_;
};

class Decoder : public Taesd {
  public:
    using Taesd::Taesd;

    Shapes nominal_inputs() const override { return {{"z", {1, latent_, 2, 2}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"image"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "taesd_decoder", "z", latent_, 1, "image");
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Layers layers{"decoder.layers."};
        Tensor h = ops.conv2d(ops.image_in(inputs.at("z")), layers.name(), {width_});
        h = relu(ops, h);
        layers.next++;
        for (size_t i = 0; i + 1 < blocks_.size(); i++) {
            h = level(ops, h, blocks_[i], layers, i == 0);
            Conv up{width_};
            up.bias = false;
            up.up_width = 2 * ops.width(h);
            up.up_height = 2 * ops.height(h);
            layers.next++; // the enlargement
            h = ops.conv2d(h, layers.name(), up);
        }
        h = level(ops, h, blocks_.back(), layers, blocks_.size() == 1);
        return {{"image", ops.image_out(ops.conv2d(h, layers.name(), {image_}))}};
    }
};

class Encoder : public Taesd {
  public:
    using Taesd::Taesd;

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << blocks_.size();
        return {{"image", {1, image_, side, side}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"z"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "taesd_encoder", "image", image_, int64_t(1) << (blocks_.size() - 1),
                     "z");
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Layers layers{"encoder.layers."};
        Tensor h = ops.conv2d(ops.image_in(inputs.at("image")), layers.name(), {width_});
        for (size_t i = 0; i < blocks_.size(); i++) {
            if (i > 0) {
                Conv down{width_};
                down.bias = false;
                down.stride = 2;
                h = ops.conv2d(h, layers.name(), down);
            }
            h = level(ops, h, blocks_[i], layers, i + 1 == blocks_.size());
        }
        return {{"z", ops.image_out(ops.conv2d(h, layers.name(), {latent_}))}};
    }
};

} // namespace

std::unique_ptr<Architecture> taesd_decoder(const Params &p) {
    return std::make_unique<Decoder>(p);
}
std::unique_ptr<Architecture> taesd_encoder(const Params &p) {
    return std::make_unique<Encoder>(p);
}

} // namespace sdgo
