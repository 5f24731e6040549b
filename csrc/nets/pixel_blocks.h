// The blocks of UNets without text: those that draw pixels, or latents, by class or
// freely. One structure covers the DDPM (Ho et al. 2020, arXiv:2006.11239), improved and
// guided diffusion (Nichol and Dhariwal 2021, arXiv:2102.09672, 2105.05233), consistency
// models (Song et al. 2023, arXiv:2303.01469), latent diffusion's unconditional models
// (Rombach et al. 2022), the score-based NCSN++ and DDPM++ (Song et al. 2021,
// arXiv:2011.13456) and EDM's networks (Karras et al. 2022, arXiv:2206.00364); they differ
// in the hyperparameters below. Names of weights are guided diffusion's; two more,
// input_pyramid.L and output_pyramid.L, are those that NCSN++ has at level L.
#pragma once

#include "nets/pixel_text.h"

namespace sdgo {

class PixelBlocks {
  public:
    // Reads the hyperparameters that the networks share; `net` is whose, for errors:
    //
    //   channels              of each level
    //   first_channels        of the first convolution; those of the first level if left out
    //   num_res_blocks        of each level on the way down: one number, or one for each
    //   attention             for each level: 1 after each residual block, 0 none
    //   middle_attention      1 or 0; 1 if left out
    //   heads, head_dim       heads at every level, or with heads = 0 the width of one
    //   qkv_by_head           1: the rows of a fused layer are the queries, keys and values of
    //                         a head, then those of the next; 0: all queries, keys, values
    //   time_channels         sinusoids of the time
    //   embed_channels        width of what is made of them
    //   time_fourier          1: learned frequencies; 0, if left out: sinusoids
    //   time_sines_first, time_shift      Sinusoids (ops/ops.h), each 0 if left out
    //   time_mlp              layers after the sinusoids: 2 if left out, else 1 or 2
    //   classes               rows of the table of classes; 0: there is none
    //   class_values          1: a class is a number, which goes through two layers
    //   class_first           1: the class is added to the sinusoids, not to the result
    //   scale_shift           1: the embedding scales and shifts; 0: it is added
    //   resample_blocks       1: residual blocks change the size; 0: convolutions
    //   fir                   1: sizes change by the filter [1, 3, 3, 1]; 0, if left out: 2x2
    //   resample_skip         1: blocks that change the size have a 1x1 convolution in their
    //                         skip; 0 if left out
    //   pad_end               1: convolutions that halve pad on the right and bottom alone; 0
    //                         if left out
    //   skip_scale            of a residual block's and attention's sum; 1 if left out
    //   norm_groups           32 if left out, and at least norm_min_channels (1) in each
    //   norm_eps, attention_norm_eps      of group normalisations; 1e-5 if left out
    //   gelu                  1: GELU in place of SiLU; 0 if left out
    //   noise_level           1: how much noise a small picture has is embedded like the time
    //                         and added to it; 0 if left out
    //   text_only             for each level: 1 if attention sees the text alone; 0 if left
    //                         out. middle_text_only is the middle's
    //
    // and those of pixel_text.h.
    PixelBlocks(const Params &p, const char *net);

    // The embedding of an image's time and class, after the activation, [embed_channels, N].
    struct Pass {
        Ops &ops;
        Tensor embedding;
        PixelText::States text{};
    };

    // Whether there is an input `class`, and of which shape for N images; is_table says
    // that it holds whole numbers.
    bool has_class() const { return classes_ > 0 || class_values_; }
    bool is_table() const { return classes_ > 0; }
    int classes() const { return classes_; }

    Tensor embedding(Ops &ops, const Tensors &inputs) const;

    // Blocks of the way down, of the middle, and one of the way up.
    std::string input(int n) const { return "input_blocks." + std::to_string(n); }
    Tensor stage(Pass &p, Tensor h, const std::string &name, int level, bool attention) const;
    Tensor halve(Pass &p, Tensor h, const std::string &name) const;
    Tensor middle(Pass &p, Tensor h) const;
    Tensor enlarge(Pass &p, Tensor h, const std::string &name) const;

    // A norm with the activation after it, or without.
    Tensor norm(Ops &ops, Tensor x, const std::string &name, float eps, bool activated,
                Tensor modulation = nullptr) const;
    Tensor residual(Pass &p, Tensor x, const std::string &name, int64_t out, Sampling how) const;
    Tensor attend(Pass &p, Tensor x, const std::string &name, bool text_only) const;

    // Fails unless sides halve as often as there are levels.
    void check_sides(const Shape &x) const;

    int levels() const { return int(channels_.size()); }
    int blocks(int level) const { return blocks_[size_t(level)]; }
    int64_t channels(int level) const { return channels_[size_t(level)]; }
    int64_t first_channels() const { return first_; }
    bool attention(int level) const { return attention_[size_t(level)] > 0; }
    Sampling down() const { return fir_ ? Sampling::fir_down : Sampling::mean_down; }
    Sampling up() const { return fir_ ? Sampling::fir_up : Sampling::nearest_up; }
    float eps() const { return eps_; }
    float skip_scale() const { return skip_scale_; }
    const char *net() const { return net_; }
    bool has_noise_level() const { return noise_level_; }
    const PixelText &text() const { return text_; }

  private:
    int heads_at(int64_t channels) const;
    Tensor scaled(Ops &ops, Tensor x) const;
    Tensor activated(Ops &ops, Tensor x) const { return gelu_ ? ops.gelu(x) : ops.silu(x); }

    const char *net_;
    std::vector<int> channels_, attention_;
    int64_t first_;
    std::vector<int> blocks_; // of each level
    bool middle_attention_;
    int heads_, head_dim_;
    Fused order_;
    int time_, embed_;
    bool fourier_, sines_first_;
    int time_shift_, time_mlp_, classes_;
    bool class_values_, class_first_, scale_shift_, resample_blocks_, fir_, resample_skip_, pad_end_;
    float skip_scale_;
    int groups_, min_channels_;
    float eps_, attention_eps_;
    bool gelu_, noise_level_;
    std::vector<int> text_only_;
    bool middle_text_only_;
    PixelText text_;
};

} // namespace sdgo
