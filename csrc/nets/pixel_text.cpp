#include "nets/pixel_text.h"

namespace sdgo {

namespace {

constexpr float kEps = 1e-5f; // of all norms
constexpr int kGroups = 32;   // of those of states

} // namespace

PixelText::PixelText(const Params &p, const char *net)
    : width_(p.integer_or(0, "text_width", 0, 1 << 14)),
      channels_(p.integer_or(width_, "text_channels", 0, 1 << 14)),
      projects_(p.integer_or(0, "text_projection", 0, 1) == 1),
      pool_heads_(p.integer_or(1, "text_pool_heads", 1, 1 << 10)) {
    if (width_ == 0) {
        return;
    }
    if (width_ % pool_heads_ != 0 || channels_ % kGroups != 0) {
        invalid("%s: text_pool_heads must divide the %d numbers of a token's state, and %d the %d channels "
                "that attention sees, got %d heads",
                net, width_, kGroups, channels_, pool_heads_);
    }
    if (!projects_ && channels_ != width_) {
        invalid("%s: without a projection text_channels must be text_width, %d, got %d", net, width_,
                channels_);
    }
}

Tensor PixelText::vector(Ops &ops, Tensor states, int64_t embed) const {
    return ops.cache([&] {
        const std::string name = "encoder_pooling.";
        Tensor x = ops.layer_norm(states, name + "0", kEps);
        Tensor query = ops.positions(ops.mean_token(x), name + "1.positional_embedding", 1);
        x = ops.concat_tokens(query, x);
        Tensor q = ops.linear(query, name + "1.q_proj", {width_});
        Tensor k = ops.linear(x, name + "1.k_proj", {width_});
        Tensor v = ops.linear(x, name + "1.v_proj", {width_});
        x = ops.vectors(ops.attention(q, k, v, pool_heads_, false));
        x = ops.linear(x, name + "2", {embed, true, Act::none, nullptr, true});
        return ops.layer_norm(x, name + "3", kEps);
    });
}

PixelText::Pair PixelText::pair(Ops &ops, States &text, const std::string &name, int64_t channels, int heads,
                                Fused order) const {
    Tensor both = ops.cache([&] {
        if (!text.projected) {
            text.projected = projects_ ? ops.linear(text.states, "encoder_proj", {channels_}) : text.states;
        }
        Tensor x = ops.image(text.projected, text.projected->ne[1], 1);
        x = ops.group_norm(x, name + ".norm_encoder", {kGroups, kEps});
        return ops.linear(ops.tokens(x), name + ".encoder_kv", {2 * channels});
    });
    return {ops.fused_part(both, heads, order, 0, 2), ops.fused_part(both, heads, order, 1, 2)};
}

} // namespace sdgo
