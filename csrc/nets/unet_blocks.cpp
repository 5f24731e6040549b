#include "nets/unet_blocks.h"

#include <algorithm>

namespace sdgo {

namespace {

constexpr float kLayerNormEps = 1e-5f;

// A layer for what is known of each image, not of its pixels.
Linear vectors(int64_t out, Act act = Act::none, Tensor add = nullptr) {
    return {out, true, act, add, true};
}

// The most transformer blocks one after another.
constexpr int kMaxDepth = 32;

// The depth of each residual block of a way down or up whose levels have `blocks` each:
// the level's, or the list of that name.
std::vector<int> depths(const Params &p, const char *net, const char *name, std::vector<int> levels,
                        int blocks) {
    std::vector<int> each;
    for (int depth : levels) {
        each.insert(each.end(), size_t(blocks), depth);
    }
    std::vector<int> all = p.integers_or(each, name, 0, kMaxDepth);
    if (all.size() != each.size()) {
        invalid("%s: %s must have a number for each of %zu blocks, got %zu", net, name, each.size(),
                all.size());
    }
    return all;
}

} // namespace

UNetBlocks::UNetBlocks(const Params &p, const char *net)
    : net_(net), width_(p.integer("model_channels", 1, 1 << 13)), mult_(p.integers("channel_mult", 1, 64)),
      blocks_(p.integer("num_res_blocks", 1, 16)), middle_depth_(p.integer("middle_depth", -2, kMaxDepth)),
      context_(p.integer("context_dim", 1, 1 << 14)), adm_(p.integer("adm_channels", 0, 1 << 14)),
      guidance_(p.integer_or(0, "guidance_dim", 0, 1 << 14)),
      classes_(p.integer_or(0, "classes", 0, 1 << 20)), heads_(p.integer("heads", 0, 1 << 10)),
      head_dim_(p.integer("head_dim", 0, 1 << 12)), groups_(p.integer_or(32, "norm_groups", 1, 1 << 10)),
      eps_(p.real_or(1e-5f, "norm_eps", 1e-12, 1)),
      attention_eps_(p.real_or(1e-6f, "attention_norm_eps", 1e-12, 1)) {
    if (mult_.size() > 8) {
        invalid("%s: channel_mult must have 1 to 8 levels, got %zu", net, mult_.size());
    }
    std::vector<int> levels_depth = p.integers("transformer_depth", 0, kMaxDepth);
    if (levels_depth.size() != mult_.size()) {
        invalid("%s: transformer_depth must have %zu levels, as channel_mult has, got %zu", net, mult_.size(),
                levels_depth.size());
    }
    self_attention_ = p.integers_or(std::vector<int>(mult_.size(), 1), "self_attention", 0, 1);
    if (self_attention_.size() != mult_.size()) {
        invalid("%s: self_attention must have %zu levels, as channel_mult has, got %zu", net, mult_.size(),
                self_attention_.size());
    }
    if (adm_ > 0 && classes_ > 0) {
        invalid("%s: what is added to the time's embedding is y or a row of a table, not both", net);
    }
    input_depth_ = depths(p, net, "input_depth", levels_depth, blocks_);
    std::reverse(levels_depth.begin(), levels_depth.end());
    output_depth_ = depths(p, net, "output_depth", levels_depth, blocks_ + 1);
    if (width_ % groups_ != 0 || width_ % 2 != 0) { // halves of the time embedding are cosines and sines
        invalid("%s: model_channels must be even and a multiple of norm_groups (%d), got %lld", net, groups_,
                (long long)width_);
    }
    check_heads();
}

// Fails unless all channels that attention sees divide into heads.
void UNetBlocks::check_heads() const {
    const auto check = [&](int level, int depth) {
        if (depth > 0) {
            heads_at(channels(level));
        }
    };
    for (int i = 0; i < levels() * blocks_; i++) {
        check(i / blocks_, input_depth(i));
    }
    check(levels() - 1, middle_depth_);
    for (int i = 0; i < levels() * (blocks_ + 1); i++) {
        check(levels() - 1 - i / (blocks_ + 1), output_depth(i));
    }
}

int UNetBlocks::heads_at(int64_t channels) const {
    const int64_t heads = heads_ > 0 ? heads_ : head_dim_ > 0 ? channels / head_dim_ : 0;
    if (heads < 1 || channels % heads != 0) {
        invalid("%s: %lld channels do not divide into heads (heads %d, head_dim %d)", net_,
                (long long)channels, heads_, head_dim_);
    }
    return int(heads);
}

std::vector<Shape> UNetBlocks::skip_shapes(int64_t n, int64_t h, int64_t w) const {
    std::vector<Shape> all = {{n, width_, h, w}};
    for (int level = 0; level < levels(); level++) {
        all.insert(all.end(), size_t(blocks_), {n, channels(level), h, w});
        if (level + 1 < levels()) {
            h = (h + 1) / 2, w = (w + 1) / 2; // halving rounds odd sides up
            all.push_back({n, channels(level), h, w});
        }
    }
    all.push_back(all.back());
    return all;
}

Tensor UNetBlocks::time_embedding(Ops &ops, Tensor t, Tensor y, Tensor row, Tensor guidance,
                                  Tensor more) const {
    Tensor e = ops.timestep_embedding(t, width_);
    if (guidance != nullptr) {
        e = ops.linear(guidance, "time_embed.cond_proj", {width_, false, Act::none, e, true});
    }
    e = ops.linear(e, "time_embed.0", vectors(4 * width_, Act::silu));
    if (row != nullptr) {
        Tensor label = ops.vectors(ops.embedding(row, "label_emb.weight", classes_, 4 * width_));
        return ops.silu(ops.linear(e, "time_embed.2", vectors(4 * width_, Act::none, label)));
    }
    if (y == nullptr && more == nullptr) {
        return ops.linear(e, "time_embed.2", vectors(4 * width_, Act::silu));
    }
    Tensor label = more;
    if (y != nullptr) {
        label = ops.linear(y, "label_emb.0.0", vectors(4 * width_, Act::silu));
        label = ops.linear(label, "label_emb.0.2", vectors(4 * width_, Act::none, more));
    }
    return ops.silu(ops.linear(e, "time_embed.2", vectors(4 * width_, Act::none, label)));
}

std::vector<Tensor> UNetBlocks::down(Pass &p, Tensor first, const Change &change) const {
    std::vector<Tensor> skips = {first};
    Tensor h = first;
    int n = 1; // input_blocks.n
    for (int level = 0; level < levels(); level++) {
        const bool halves = level + 1 < levels(), early = attends(level) || !halves;
        for (int block = 0; block < blocks_; block++, n++) {
            h = stage(p, h, "input_blocks." + std::to_string(n), level, input_depth(level * blocks_ + block));
            h = change && early && block + 1 == blocks_ ? change(level, h) : h;
            skips.push_back(h);
        }
        if (halves) {
            Conv down{p.ops.channels(h)};
            down.stride = 2;
            h = p.ops.conv2d(h, "input_blocks." + std::to_string(n++) + ".0.op", down);
            h = change && !early ? change(level, h) : h;
            skips.push_back(h);
        }
    }
    return skips;
}

std::vector<UNetBlocks::Attending> UNetBlocks::attending() const {
    std::vector<Attending> all;
    const auto add = [&](const std::string &block, int level, int depth, bool last) {
        for (int i = 0; i < depth; i++) {
            all.push_back(
                {block + ".transformer_blocks." + std::to_string(i) + ".attn2", channels(level), last});
        }
    };
    for (int level = 0; level < levels(); level++) {
        for (int block = 0; block < blocks_; block++) {
            const int n = 1 + level * (blocks_ + 1) + block; // input_blocks.n
            add("input_blocks." + std::to_string(n) + ".1", level, input_depth(level * blocks_ + block),
                false);
        }
    }
    const int count = levels() * (blocks_ + 1);
    for (int n = 0; n < count; n++) {
        add("output_blocks." + std::to_string(n) + ".1", levels() - 1 - n / (blocks_ + 1), output_depth(n),
            n + 1 == count);
    }
    add("middle_block.1", levels() - 1, middle_depth(), false);
    return all;
}

int UNetBlocks::merging_level() const {
    int level = 0;
    while (level < levels() && (!attends(level) || self_attention_[size_t(level)] == 0)) {
        level++;
    }
    return level;
}

bool UNetBlocks::attends(int level) const {
    for (int block = 0; block < blocks_; block++) {
        if (input_depth(level * blocks_ + block) > 0) {
            return true;
        }
    }
    return false;
}

std::vector<Shape> UNetBlocks::level_shapes(int64_t n, int64_t h, int64_t w) const {
    std::vector<Shape> all;
    for (int level = 0; level < levels(); level++) {
        const bool halves = level + 1 < levels();
        const int64_t h2 = halves ? (h + 1) / 2 : h, w2 = halves ? (w + 1) / 2 : w;
        const bool early = attends(level) || !halves;
        all.push_back({n, channels(level), early ? h : h2, early ? w : w2});
        h = h2, w = w2;
    }
    all.push_back({n, channels(levels() - 1), h, w});
    return all;
}

Tensor UNetBlocks::middle_begin(Pass &p, Tensor h) const {
    return middle_depth_ < -1 ? h : res_block(p, h, "middle_block.0", channels(levels() - 1));
}

Tensor UNetBlocks::middle_end(Pass &p, Tensor h, bool perturbed) const {
    if (middle_depth_ < 0) {
        return h;
    }
    if (middle_depth_ > 0) {
        h = transformer(p, h, "middle_block.1", levels() - 1, middle_depth_, true, perturbed);
    }
    return res_block(p, h, "middle_block.2", channels(levels() - 1)); // 2 without attention, too
}

Tensor UNetBlocks::stage(Pass &p, Tensor h, const std::string &name, int level, int depth) const {
    h = res_block(p, h, name + ".0", channels(level));
    return depth > 0 ? transformer(p, h, name + ".1", level, depth, self_attention_[size_t(level)] == 1) : h;
}

Tensor UNetBlocks::res_block(Pass &p, Tensor x, const std::string &name, int64_t out) const {
    Ops &ops = p.ops;
    Tensor h = ops.group_norm(x, name + ".in_layers.0", norm());
    Conv first{out};
    first.add_channels = ops.linear(p.time, name + ".emb_layers.1", vectors(out));
    h = ops.conv2d(h, name + ".in_layers.2", first);
    h = ops.group_norm(h, name + ".out_layers.0", norm());
    Conv second{out};
    second.add = ops.channels(x) == out ? x : ops.conv2d(x, name + ".skip_connection", {out, 1});
    return ops.conv2d(h, name + ".out_layers.3", second);
}

Tensor UNetBlocks::transformer(Pass &p, Tensor x, const std::string &name, int level, int depth,
                               bool to_itself, bool perturbed) const {
    Ops &ops = p.ops;
    const int64_t c = ops.channels(x), width = ops.width(x), height = ops.height(x);
    const Own own = {to_itself, perturbed, width, height, level == merging_level() ? p.merged : nullptr};
    Tensor h = ops.tokens(ops.group_norm(x, name + ".norm", {groups_, attention_eps_, false}));
    h = ops.linear(h, name + ".proj_in", {c}); // a 1x1 convolution in SD 1, the same numbers
    for (int i = 0; i < depth; i++) {
        h = transformer_block(p, h, name + ".transformer_blocks." + std::to_string(i), heads_at(c), own);
    }
    h = ops.linear(h, name + ".proj_out", {c, true, Act::none, ops.tokens(x)});
    return ops.image(h, width, height);
}

Tensor UNetBlocks::transformer_block(Pass &p, Tensor x, const std::string &name, int heads,
                                     const Own &own) const {
    Ops &ops = p.ops;
    const int64_t c = x->ne[0];
    Tensor h = ops.layer_norm(x, name + ".norm1", kLayerNormEps);
    if (!own.attends) {
        x = cross_attention(p, h, x, name + ".attn1", heads);
    } else if (own.merged != nullptr && !own.perturbed) {
        x = merged_attention(ops, h, x, name + ".attn1", heads, own);
    } else {
        x = self_attention(ops, h, x, name + ".attn1", own.perturbed ? 0 : heads);
    }
    h = ops.layer_norm(x, name + ".norm2", kLayerNormEps);
    x = cross_attention(p, h, x, name + ".attn2", heads);
    h = ops.layer_norm(x, name + ".norm3", kLayerNormEps);
    h = ops.geglu(h, name + ".ff.net.0.proj", 4 * c);
    return ops.linear(h, name + ".ff.net.2", {c, true, Act::none, x});
}

// Of averages of tokens to each other. Which tokens are alike is seen before their norm.
Tensor UNetBlocks::merged_attention(Ops &ops, Tensor h, Tensor x, const std::string &name, int heads,
                                    const Own &own) const {
    const Tensor plan = ops.merge_plan(x, own.width, own.height, own.merged);
    h = self_attention(ops, ops.merge(h, plan, own.merged), nullptr, name, heads);
    return ops.unmerge(h, plan, x);
}

// Of tokens to each other. With heads = 0 the attention map is the identity: each
// token's value goes through to_out.
Tensor UNetBlocks::self_attention(Ops &ops, Tensor x, Tensor residual, const std::string &name,
                                  int heads) const {
    const int64_t c = x->ne[0];
    Tensor h;
    if (heads > 0) {
        Tensor q = ops.linear(x, name + ".to_q", {c, false});
        Tensor k = ops.linear(x, name + ".to_k", {c, false});
        Tensor v = ops.linear(x, name + ".to_v", {c, false});
        h = ops.attention(q, k, v, heads, false);
    } else {
        h = ops.linear(x, name + ".to_v", {c, false});
    }
    return ops.linear(h, name + ".to_out.0", {c, true, Act::none, residual});
}

// To the text, whose keys and values are the same for all steps.
Tensor UNetBlocks::cross_attention(Pass &p, Tensor x, Tensor residual, const std::string &name,
                                   int heads) const {
    Ops &ops = p.ops;
    const int64_t c = x->ne[0];
    const auto project = [&](const char *to) {
        return ops.cache([&] { return ops.linear(p.context, name + to, {c, false}); });
    };
    Tensor q = ops.linear(x, name + ".to_q", {c, false});
    auto found = p.of_context.find(name);
    if (found == p.of_context.end()) {
        Tensor k = project(".to_k"), v = project(".to_v");
        found = p.of_context.emplace(name, std::make_pair(k, v)).first;
    }
    Tensor h = ops.attention(q, found->second.first, found->second.second, heads, false);
    const auto picture = p.of_picture.find(name);
    if (picture != p.of_picture.end()) { // Ye et al. 2023, arXiv:2308.06721, decoupled cross-attention
        h = ops.add(h, ops.attention(q, picture->second.first, picture->second.second, heads, false));
    }
    return ops.linear(h, name + ".to_out.0", {c, true, Act::none, residual});
}

} // namespace sdgo
