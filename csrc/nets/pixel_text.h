// What a UNet on pixels sees of a text (DeepFloyd IF, after Saharia et al. 2022,
// arXiv:2205.11487): the states of T5's tokens, which the image's queries attend to beside
// the image, and one vector of them all, which joins the embedding of the time. Names of
// weights are those of deep-floyd/IF.
#pragma once

#include "nets/architecture.h"

namespace sdgo {

class PixelText {
  public:
    // Reads the hyperparameters:
    //
    //   text_width         of a token's state; 0, if left out: there is no text
    //   text_channels      that attention sees of it
    //   text_projection    1: a layer makes them of the state; 0: they are the state
    //   text_pool_heads    of the attention that gathers the vector
    PixelText(const Params &p, const char *net);

    int width() const { return width_; } // 0: there is no text

    // The states of a text's tokens, [text_width, L, N].
    struct States {
        Tensor states = nullptr;
        Tensor projected = nullptr; // once a layer has asked for it
    };

    // The vector of them all, for an embedding of so many channels: [embed, N].
    Tensor vector(Ops &ops, Tensor states, int64_t embed) const;

    // What a layer of so many channels attends to, [channels, L, N] each.
    struct Pair {
        Tensor keys, values;
    };
    Pair pair(Ops &ops, States &text, const std::string &name, int64_t channels, int heads,
              Fused order) const;

  private:
    int width_, channels_;
    bool projects_;
    int pool_heads_;
};

} // namespace sdgo
