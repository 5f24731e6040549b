// The blocks of latent diffusion's UNet (Rombach et al. 2022), for every network
// that is such a UNet or a part of one: a ControlNet is its way down and its middle.
// Names of weights are those of the original checkpoints.
#pragma once

#include "nets/architecture.h"

#include <functional>
#include <map>
#include <utility>

namespace sdgo {

class UNetBlocks {
  public:
    // Reads the hyperparameters that all such networks have; `net` is whose, for
    // errors:
    //
    //   model_channels      of the first level; a multiple of norm_groups
    //   channel_mult        for each level, times model_channels
    //   num_res_blocks      of each level on the way down
    //   transformer_depth   for each level; 0: it has no attention
    //   input_depth         for each residual block of the way down, in its order; if left
    //                       out, that of its level
    //   output_depth        the same for the way up
    //   middle_depth        the same for the middle: a transformer between two residual
    //                       blocks; 0: two residual blocks; -1: one; -2: no middle
    //   context_dim         width of the text's embedding
    //   adm_channels        width of y; 0: there is no y
    //   guidance_dim        width of the embedding of the guidance scale (Meng et al. 2023,
    //                       arXiv:2210.03142; LCM); 0, or left out: there is none
    //   self_attention      for each level: 1; 0: the first attention of a transformer is to
    //                       the text, too (the x4 upscaler); all 1 if left out
    //   classes             rows of a table, of which one is added to the time's embedding
    //                       (the x4 upscaler's level of noise); 0 if left out: there is none
    //   heads, head_dim     heads at every level, or with heads = 0 the width of one
    //   norm_groups         of group normalisations; 32 if left out
    //   norm_eps            of residual blocks and the output; 1e-5 if left out
    //   attention_norm_eps  of the group normalisation before a transformer; 1e-6 if
    //                       left out
    UNetBlocks(const Params &p, const char *net);

    // What every block of one forward pass receives.
    struct Pass {
        Ops &ops;
        Tensor time;    // SiLU of the time embedding, [4·model_channels, N]
        Tensor context; // [context_dim, L, N]

        // Keys and values of the context by layer: one pass may compute a layer
        // twice, and caches these.
        std::map<std::string, std::pair<Tensor, Tensor>> of_context{};

        // Keys and values of a picture by layer, to which it attends beside the text.
        std::map<std::string, std::pair<Tensor, Tensor>> of_picture{};

        // As many numbers as self-attention merges tokens of each image of the first level
        // that attends; none: it merges none (Ops::merge_plan).
        Tensor merged = nullptr;
    };

    // The layers that attend to the text, in the diffusers library's order: way down, way up,
    // middle.
    struct Attending {
        std::string name;
        int64_t channels;
        bool last; // of the last output block
    };
    std::vector<Attending> attending() const;

    // Every residual block begins with the SiLU of the embedding, which this is.
    // y, the row's number and guidance are null where there are none.
    // `more`, which may be none, is added before it.
    Tensor time_embedding(Ops &ops, Tensor t, Tensor y, Tensor row, Tensor guidance,
                          Tensor more = nullptr) const;

    // What all input blocks return, of which the first has returned `first`: what
    // the output blocks get as skips. The last is what the middle begins with. `change`, if
    // there is one, gets each level's last image: that of its last residual block where
    // the level has attention or is the last, elsewhere that which was halved.
    using Change = std::function<Tensor(int level, Tensor h)>;
    std::vector<Tensor> down(Pass &p, Tensor first, const Change &change = nullptr) const;

    // The middle block, in two parts: with `perturbed` its transformer's tokens
    // attend to themselves alone (see unet.cpp).
    Tensor middle_begin(Pass &p, Tensor h) const;
    Tensor middle_end(Pass &p, Tensor h, bool perturbed = false) const;

    // A residual block and, where its depth is not 0, its transformer.
    Tensor stage(Pass &p, Tensor h, const std::string &name, int level, int depth) const;
    Tensor res_block(Pass &p, Tensor x, const std::string &name, int64_t out) const;
    Tensor transformer(Pass &p, Tensor x, const std::string &name, int level, int depth, bool to_itself,
                       bool perturbed = false) const;

    GroupNorm norm() const { return {groups_, eps_, true}; } // with SiLU

    int levels() const { return int(mult_.size()); }
    int blocks() const { return blocks_; }
    int input_depth(int block) const { return input_depth_[size_t(block)]; } // of the way down
    int output_depth(int block) const { return output_depth_[size_t(block)]; }
    int middle_depth() const { return middle_depth_; }
    int context_dim() const { return context_; }
    int adm_channels() const { return adm_; }
    int guidance_dim() const { return guidance_; }
    int classes() const { return classes_; }
    int64_t width() const { return width_; }
    int64_t channels(int level) const { return width_ * mult_[size_t(level)]; }

    // The first level with self-attention on the way down; levels() if there is none. Its
    // tokens are those that are merged.
    int merging_level() const;

    // Whether any residual block of a level on the way down has a transformer.
    bool attends(int level) const;

    // The shapes [N, C, H, W] of the images that `change` of `down` gets for N images of H by
    // W, then the middle's.
    std::vector<Shape> level_shapes(int64_t n, int64_t h, int64_t w) const;

    // The shapes [N, C, H, W] of what `down` returns for N images of H by W, then the
    // middle's.
    std::vector<Shape> skip_shapes(int64_t n, int64_t h, int64_t w) const;

  private:
    // How the tokens of a transformer's image attend to each other.
    struct Own {
        bool attends, perturbed; // without: to the text, too; to themselves alone
        int64_t width, height;
        Tensor merged; // none: all tokens for themselves
    };
    Tensor transformer_block(Pass &p, Tensor x, const std::string &name, int heads, const Own &own) const;
    Tensor merged_attention(Ops &ops, Tensor h, Tensor x, const std::string &name, int heads,
                            const Own &own) const;
    Tensor self_attention(Ops &ops, Tensor x, Tensor residual, const std::string &name, int heads) const;
    Tensor cross_attention(Pass &p, Tensor x, Tensor residual, const std::string &name, int heads) const;
    int heads_at(int64_t channels) const;
    void check_heads() const;

    const char *net_;
    int64_t width_;
    std::vector<int> mult_;
    int blocks_;
    std::vector<int> input_depth_, output_depth_, self_attention_;
    int middle_depth_, context_, adm_, guidance_, classes_, heads_, head_dim_, groups_;
    float eps_, attention_eps_;
};

} // namespace sdgo
