// The KL autoencoder of latent diffusion (Rombach et al. 2022), its two halves
// as two nets.
//
// Hyperparameters of both: channels (at full resolution), channel_mult (one
// for each level), num_res_blocks, z_channels, embed_dim, image_channels,
// quant_conv (1 where the file has the 1x1 convolutions around the latent); and,
// where they differ from these, norm_groups (32), norm_eps (1e-6) and variational (1; 0 of
// an autoencoder with a codebook, whose encoder has one latent). pixel_norm is 1 of the autoencoder
// of Wan 2.1 and Qwen-Image for one frame, as the diffusers library's AutoencoderKLQwenImage computes
// it: each pixel's channels are divided by their root mean square, without groups, and the convolutions
// that enlarge halve the channels.
// vae_decoder: z [N, embed_dim, h, w] → image [N, image_channels, H, W].
// vae_encoder: image [N, image_channels, H, W] → moments [N, 2*embed_dim, h, w],
// the mean followed by the logarithm of the variance, or [N, embed_dim, h, w] if it is not
// variational.
// Latents are not scaled here: scale and shift are left to the caller.
#include "nets/architecture.h"

namespace sdgo {

namespace {

// Keeps a pixel of zeros from being divided by 0 (torch's normalize: a norm of at least 1e-12).
constexpr float kNoEps = 1e-24f;

class Autoencoder : public Architecture {
  public:
    explicit Autoencoder(const Params &p)
        : width_(p.integer("channels", 1, 1 << 12)), mult_(p.integers("channel_mult", 1, 64)),
          blocks_(p.integer("num_res_blocks", 0, 16)), z_(p.integer("z_channels", 1, 256)),
          embed_(p.integer("embed_dim", 1, 256)), image_(p.integer("image_channels", 1, 64)),
          quant_(p.integer("quant_conv", 0, 1) == 1), moments_(1 + p.integer_or(1, "variational", 0, 1)),
          pixel_norm_(p.integer_or(0, "pixel_norm", 0, 1) == 1) {
        norm_.groups = p.integer_or(32, "norm_groups", 1, 1 << 10);
        norm_.eps = p.real_or(1e-6f, "norm_eps", 1e-12, 1);
        if (mult_.size() > 8) {
            invalid("autoencoder: channel_mult must have 1 to 8 levels, got %zu", mult_.size());
        }
        if (!pixel_norm_ && width_ % norm_.groups != 0) {
            invalid("autoencoder: channels must be a multiple of norm_groups (%d), got %lld", norm_.groups,
                    (long long)width_);
        }
        if (pixel_norm_ && width_ * mult_.back() % 2 != 0) {
            invalid("autoencoder: with pixel_norm channels must be even, got %lld", (long long)width_);
        }
        if (!quant_ && embed_ != z_) {
            invalid("autoencoder: without quant_conv embed_dim must be z_channels (%d), got %d", z_, embed_);
        }
    }

  protected:
    // A normalisation, with SiLU or not.
    Tensor norm(Ops &ops, Tensor x, const std::string &name, bool silu) const {
        if (pixel_norm_) {
            const int64_t width = ops.width(x), height = ops.height(x);
            Tensor h = ops.rms_norm(ops.tokens(x), name, kNoEps, 1);
            return ops.image(silu ? ops.silu(h) : h, width, height);
        }
        GroupNorm g = norm_;
        g.silu = silu;
        return ops.group_norm(x, name, g);
    }

    Tensor res_block(Ops &ops, Tensor x, const std::string &name, int64_t out) const {
        Tensor h = ops.conv2d(norm(ops, x, name + ".norm1", true), name + ".conv1", {out});
        Conv second{out};
        second.add = ops.channels(x) == out ? x : ops.conv2d(x, name + ".nin_shortcut", {out, 1});
        return ops.conv2d(norm(ops, h, name + ".norm2", true), name + ".conv2", second);
    }

    // Self-attention with one head over all positions.
    Tensor attention(Ops &ops, Tensor x, const std::string &name) const {
        const int64_t c = ops.channels(x), width = ops.width(x), height = ops.height(x);
        Tensor h = ops.tokens(norm(ops, x, name + ".norm", false));
        Tensor q = ops.linear(h, name + ".q", {c});
        Tensor k = ops.linear(h, name + ".k", {c});
        Tensor v = ops.linear(h, name + ".v", {c});
        h = ops.attention(q, k, v, 1, false);
        h = ops.linear(h, name + ".proj_out", {c, true, Act::none, ops.tokens(x)});
        return ops.image(h, width, height);
    }

    Tensor middle(Ops &ops, Tensor h, const std::string &name) const {
        const int64_t c = width_ * mult_.back();
        h = res_block(ops, h, name + ".block_1", c);
        h = attention(ops, h, name + ".attn_1");
        return res_block(ops, h, name + ".block_2", c);
    }

    int64_t width_;
    std::vector<int> mult_;
    int blocks_, z_, embed_, image_;
    bool quant_;
    int moments_; // numbers of the encoder for each of the latent
    bool pixel_norm_;
    GroupNorm norm_;
};

class Decoder : public Autoencoder {
  public:
    using Autoencoder::Autoencoder;

    Shapes nominal_inputs() const override { return {{"z", {1, embed_, 2, 2}}}; }
    std::vector<std::string> nominal_outputs() const override { return {"image"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "vae_decoder", "z", embed_, 1, "image");
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Tensor h = ops.image_in(inputs.at("z"));
        if (quant_) {
            h = ops.conv2d(h, "post_quant_conv", {z_, 1});
        }
        h = ops.conv2d(h, "decoder.conv_in", {width_ * mult_.back()});
        h = middle(ops, h, "decoder.mid");
        for (int level = int(mult_.size()) - 1; level >= 0; level--) {
            const std::string name = "decoder.up." + std::to_string(level);
            for (int block = 0; block <= blocks_; block++) {
                h = res_block(ops, h, name + ".block." + std::to_string(block),
                              width_ * mult_[size_t(level)]);
            }
            if (level > 0) {
                Conv up{pixel_norm_ ? ops.channels(h) / 2 : ops.channels(h)};
                up.up_width = 2 * ops.width(h);
                up.up_height = 2 * ops.height(h);
                h = ops.conv2d(h, name + ".upsample.conv", up);
            }
        }
        h = norm(ops, h, "decoder.norm_out", true);
        return {{"image", ops.image_out(ops.conv2d(h, "decoder.conv_out", {image_}))}};
    }
};

class Encoder : public Autoencoder {
  public:
    using Autoencoder::Autoencoder;

    Shapes nominal_inputs() const override {
        const int64_t side = int64_t(1) << mult_.size();
        return {{"image", {1, image_, side, side}}};
    }
    std::vector<std::string> nominal_outputs() const override { return {"moments"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &outputs) const override {
        expect_image(inputs, outputs, "vae_encoder", "image", image_, int64_t(1) << (mult_.size() - 1),
                     "moments");
    }

    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        Tensor h = ops.conv2d(ops.image_in(inputs.at("image")), "encoder.conv_in", {width_});
        for (size_t level = 0; level < mult_.size(); level++) {
            const std::string name = "encoder.down." + std::to_string(level);
            for (int block = 0; block < blocks_; block++) {
                h = res_block(ops, h, name + ".block." + std::to_string(block), width_ * mult_[level]);
            }
            if (level + 1 < mult_.size()) {
                Conv down{ops.channels(h)};
                down.stride = 2;
                down.pad_end = true;
                h = ops.conv2d(h, name + ".downsample.conv", down);
            }
        }
        h = middle(ops, h, "encoder.mid");
        h = norm(ops, h, "encoder.norm_out", true);
        h = ops.conv2d(h, "encoder.conv_out", {moments_ * z_});
        if (quant_) {
            h = ops.conv2d(h, "quant_conv", {moments_ * embed_, 1});
        }
        return {{"moments", ops.image_out(h)}};
    }
};

} // namespace

std::unique_ptr<Architecture> vae_decoder(const Params &p) {
    return std::make_unique<Decoder>(p);
}
std::unique_ptr<Architecture> vae_encoder(const Params &p) {
    return std::make_unique<Encoder>(p);
}

} // namespace sdgo
