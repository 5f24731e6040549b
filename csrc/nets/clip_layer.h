// The layers of CLIP's encoders of text and of pictures (Radford et al. 2021), under the
// transformers library's names.
#pragma once

#include "nets/architecture.h"

namespace sdgo {

struct CLIPLayer {
    int width, heads, ffn;
    Act act;
    float eps;
    bool causal; // tokens attend to themselves and those before: of text
};

Tensor clip_layer(Ops &ops, Tensor x, const std::string &name, const CLIPLayer &l);

} // namespace sdgo
