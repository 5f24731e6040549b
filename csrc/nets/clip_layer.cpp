#include "nets/clip_layer.h"

namespace sdgo {

Tensor clip_layer(Ops &ops, Tensor x, const std::string &name, const CLIPLayer &l) {
    const std::string attn = name + ".self_attn.";
    Tensor h = ops.layer_norm(x, name + ".layer_norm1", l.eps);
    Tensor q = ops.linear(h, attn + "q_proj", {l.width});
    Tensor k = ops.linear(h, attn + "k_proj", {l.width});
    Tensor v = ops.linear(h, attn + "v_proj", {l.width});
    h = ops.attention(q, k, v, l.heads, l.causal);
    x = ops.linear(h, attn + "out_proj", {l.width, true, Act::none, x});

    h = ops.layer_norm(x, name + ".layer_norm2", l.eps);
    h = ops.linear(h, name + ".mlp.fc1", {l.ffn, true, l.act});
    return ops.linear(h, name + ".mlp.fc2", {l.width, true, Act::none, x});
}

} // namespace sdgo
