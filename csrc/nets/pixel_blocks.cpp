#include "nets/pixel_blocks.h"

#include <algorithm>

namespace sdgo {

namespace {

// A layer for what is known of each image, not of its pixels.
Linear vectors(int64_t out, Act act = Act::none, Tensor add = nullptr) {
    return {out, true, act, add, true};
}

bool flag(const Params &p, const char *name, int otherwise = 0) {
    return p.integer_or(otherwise, name, 0, 1) == 1;
}

constexpr int kMaxLevels = 8;

} // namespace

PixelBlocks::PixelBlocks(const Params &p, const char *net)
    : net_(net), channels_(p.integers("channels", 1, 1 << 13)), attention_(p.integers("attention", 0, 1)),
      first_(p.integer_or(channels_[0], "first_channels", 1, 1 << 13)),
      blocks_(p.integers("num_res_blocks", 1, 16)), middle_attention_(flag(p, "middle_attention", 1)),
      heads_(p.integer("heads", 0, 1 << 10)), head_dim_(p.integer("head_dim", 0, 1 << 13)),
      order_(flag(p, "qkv_by_head") ? Fused::by_head : Fused::whole),
      time_(p.integer("time_channels", 4, 1 << 13)), embed_(p.integer("embed_channels", 1, 1 << 15)),
      fourier_(flag(p, "time_fourier")), sines_first_(flag(p, "time_sines_first")),
      time_shift_(p.integer_or(0, "time_shift", 0, 1)), time_mlp_(p.integer_or(2, "time_mlp", 1, 2)),
      classes_(p.integer_or(0, "classes", 0, 1 << 20)), class_values_(flag(p, "class_values")),
      class_first_(flag(p, "class_first")), scale_shift_(flag(p, "scale_shift")),
      resample_blocks_(flag(p, "resample_blocks")), fir_(flag(p, "fir")),
      resample_skip_(flag(p, "resample_skip")), pad_end_(flag(p, "pad_end")),
      skip_scale_(p.real_or(1, "skip_scale", 1e-3, 1)), groups_(p.integer_or(32, "norm_groups", 1, 1 << 10)),
      min_channels_(p.integer_or(1, "norm_min_channels", 1, 1 << 10)),
      eps_(p.real_or(1e-5f, "norm_eps", 1e-12, 1)),
      attention_eps_(p.real_or(1e-5f, "attention_norm_eps", 1e-12, 1)), gelu_(flag(p, "gelu")),
      noise_level_(flag(p, "noise_level")), middle_text_only_(flag(p, "middle_text_only")), text_(p, net) {
    if (levels() > kMaxLevels || attention_.size() != channels_.size()) {
        invalid("%s: channels and attention must have the same number of levels, 1 to %d, got %zu and %zu",
                net, kMaxLevels, channels_.size(), attention_.size());
    }
    if (blocks_.size() == 1) {
        blocks_.resize(channels_.size(), blocks_[0]);
    }
    text_only_ = text_.width() > 0 ? p.integers("text_only", 0, 1) : std::vector<int>(channels_.size(), 0);
    if (blocks_.size() != channels_.size() || text_only_.size() != channels_.size()) {
        invalid("%s: num_res_blocks and text_only must be for each of %d levels, got %zu and %zu", net,
                levels(), blocks_.size(), text_only_.size());
    }
    if (time_ % 2 != 0) {
        invalid("%s: time_channels must be even, got %d", net, time_);
    }
    if (classes_ > 0 && class_values_) {
        invalid("%s: classes are rows of a table or numbers, not both", net);
    }
    for (int level = 0; level < levels(); level++) {
        if (attention(level) || (middle_attention_ && level + 1 == levels())) {
            heads_at(channels(level));
        }
    }
}

int PixelBlocks::heads_at(int64_t channels) const {
    const int64_t heads = heads_ > 0 ? heads_ : head_dim_ > 0 ? channels / head_dim_ : 0;
    if (heads < 1 || channels % heads != 0) {
        invalid("%s: %lld channels do not divide into heads (heads %d, head_dim %d)", net_,
                (long long)channels, heads_, head_dim_);
    }
    return int(heads);
}

void PixelBlocks::check_sides(const Shape &x) const {
    const int64_t multiple = int64_t(1) << (levels() - 1);
    if (x[2] % multiple != 0 || x[3] % multiple != 0) {
        invalid("%s: the sides of x must be multiples of %lld, got %lldx%lld", net_, (long long)multiple,
                (long long)x[3], (long long)x[2]);
    }
}

Tensor PixelBlocks::embedding(Ops &ops, const Tensors &inputs) const {
    const Tensor t = inputs.at("timesteps");
    Tensor e = fourier_ ? ops.fourier_features(t, "time_embed.frequencies", time_ / 2, !sines_first_)
                        : ops.sinusoids(t, {time_, !sines_first_, time_shift_});
    Tensor label = nullptr;
    const int64_t width = class_first_ ? time_ : embed_;
    if (classes_ > 0) {
        label = ops.vectors(ops.embedding(inputs.at("class"), "label_emb.weight", classes_, width));
    } else if (class_values_) {
        label = ops.linear(inputs.at("class"), "label_emb.0", vectors(width, Act::silu));
        label = ops.linear(label, "label_emb.2", vectors(width));
    }
    if (label && class_first_) {
        e = ops.add(e, label);
        label = nullptr;
    }
    if (time_mlp_ == 1) {
        return activated(ops, ops.linear(e, "time_embed.0", vectors(embed_, Act::none, label)));
    }
    const Act act = gelu_ ? Act::gelu : Act::silu;
    e = ops.linear(e, "time_embed.0", vectors(embed_, act));
    e = ops.linear(e, "time_embed.2", vectors(embed_, Act::none, label));
    if (text_.width() > 0) {
        e = ops.add(e, text_.vector(ops, inputs.at("context"), embed_));
    }
    if (noise_level_) {
        Tensor level = ops.sinusoids(inputs.at("noise_level"), {time_, !sines_first_, time_shift_});
        level = ops.linear(level, "aug_proj.0", vectors(embed_, act));
        e = ops.linear(level, "aug_proj.2", vectors(embed_, Act::none, e));
    }
    return activated(ops, e);
}

Tensor PixelBlocks::norm(Ops &ops, Tensor x, const std::string &name, float eps, bool activate,
                         Tensor modulation) const {
    const int groups = int(std::min<int64_t>(groups_, std::max<int64_t>(1, ops.channels(x) / min_channels_)));
    x = ops.group_norm(x, name, {groups, eps, activate && !gelu_, modulation});
    return activate && gelu_ ? ops.gelu(x) : x;
}

Tensor PixelBlocks::scaled(Ops &ops, Tensor x) const {
    return skip_scale_ == 1 ? x : ops.resample(x, Sampling::same, skip_scale_);
}

Tensor PixelBlocks::residual(Pass &p, Tensor x, const std::string &name, int64_t out, Sampling how) const {
    Ops &ops = p.ops;
    const bool resampled = how != Sampling::same;
    Tensor h = norm(ops, x, name + ".in_layers.0", eps_, true);
    Conv first{out};
    if (how == Sampling::nearest_up) { // which a convolution does while it reads
        first.up_width = 2 * ops.width(x), first.up_height = 2 * ops.height(x);
    } else if (resampled) {
        h = ops.resample(h, how);
    }
    Tensor e = ops.linear(p.embedding, name + ".emb_layers.1", vectors(scale_shift_ ? 2 * out : out));
    if (!scale_shift_) {
        first.add_channels = e;
    }
    h = ops.conv2d(h, name + ".in_layers.2", first);
    h = norm(ops, h, name + ".out_layers.0", eps_, true, scale_shift_ ? e : nullptr);
    const bool skip = ops.channels(x) != out || (resampled && resample_skip_);
    if (resampled) {
        x = ops.resample(x, how);
    }
    Conv second{out};
    second.add = skip ? ops.conv2d(x, name + ".skip_connection", {out, 1}) : x;
    return scaled(ops, ops.conv2d(h, name + ".out_layers.3", second));
}

Tensor PixelBlocks::attend(Pass &p, Tensor x, const std::string &name, bool text_only) const {
    Ops &ops = p.ops;
    const int64_t c = ops.channels(x), width = ops.width(x), height = ops.height(x);
    const int heads = heads_at(c);
    Tensor h = ops.tokens(norm(ops, x, name + ".norm", attention_eps_, false));
    Tensor qkv = ops.linear(h, name + ".qkv", {text_only ? c : 3 * c});
    if (!p.text.states) {
        h = ops.self_attention(qkv, heads, order_);
    } else {
        PixelText::Pair seen = text_.pair(ops, p.text, name, c, heads, order_);
        Tensor q = qkv;
        if (!text_only) {
            q = ops.fused_part(qkv, heads, order_, 0, 3);
            seen.keys = ops.concat_tokens(seen.keys, ops.fused_part(qkv, heads, order_, 1, 3));
            seen.values = ops.concat_tokens(seen.values, ops.fused_part(qkv, heads, order_, 2, 3));
        }
        h = ops.attention(q, seen.keys, seen.values, heads, false);
    }
    h = ops.linear(h, name + ".proj_out", {c, true, Act::none, ops.tokens(x)});
    h = ops.image(h, width, height);
    return p.text.states ? h : scaled(ops, h); // deep-floyd/IF scales sums of residual blocks alone
}

Tensor PixelBlocks::stage(Pass &p, Tensor h, const std::string &name, int level, bool attention) const {
    h = residual(p, h, name + ".0", channels(level), Sampling::same);
    return attention ? attend(p, h, name + ".1", text_only_[size_t(level)] > 0) : h;
}

Tensor PixelBlocks::halve(Pass &p, Tensor h, const std::string &name) const {
    const int64_t c = p.ops.channels(h);
    if (resample_blocks_) {
        return residual(p, h, name + ".0", c, down());
    }
    Conv conv{c};
    conv.stride = 2;
    conv.pad_end = pad_end_;
    return p.ops.conv2d(h, name + ".0.op", conv);
}

Tensor PixelBlocks::middle(Pass &p, Tensor h) const {
    const int64_t c = channels(levels() - 1);
    h = residual(p, h, "middle_block.0", c, Sampling::same);
    if (middle_attention_) {
        h = attend(p, h, "middle_block.1", middle_text_only_);
    }
    return residual(p, h, middle_attention_ ? "middle_block.2" : "middle_block.1", c, Sampling::same);
}

Tensor PixelBlocks::enlarge(Pass &p, Tensor h, const std::string &name) const {
    const int64_t c = p.ops.channels(h);
    if (resample_blocks_) {
        return residual(p, h, name, c, up());
    }
    Conv conv{c};
    conv.up_width = 2 * p.ops.width(h);
    conv.up_height = 2 * p.ops.height(h);
    return p.ops.conv2d(h, name + ".conv", conv);
}

} // namespace sdgo
