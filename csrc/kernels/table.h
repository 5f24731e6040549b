// Each instruction set's kernels, for the dispatcher.
#pragma once

#include "kernels/gradients.h"

namespace sdgo::kernels {

template <class Args> struct Kernel {
    int (*phases)(const Args &);
    size_t (*scratch)(const Args &, int threads);
    void (*run)(const Args &, int phase, int thread, Team &);
    Keep (*keep)(const Args &) = nullptr; // of linear layers and convolutions
};

// Low-rank changes that a kernel adds; bytes returns 0 where it can't.
template <class Args> struct LowRankKernel {
    size_t (*bytes)(const Args &);
    void (*pack)(const Args &, const Matrix &down, const Matrix &up, void *to);
};

struct Table {
    Kernel<Linear> linear;
    Kernel<Conv2d> conv2d;
    Kernel<Attention> attention;
    Kernel<GroupNormStats> group_norm_stats;
    Kernel<Normalize> normalize;
    Kernel<LayerNorm> layer_norm;
    Kernel<RmsNorm> rms_norm;
    Kernel<Modulate> modulate;
    Kernel<Gate> gate;
    Kernel<Rope> rope;
    Kernel<MergePlan> merge_plan;
    Kernel<MergeTokens> merge_tokens;
    Kernel<UnmergeTokens> unmerge_tokens;
    Kernel<Resample> resample;
    Kernel<Elementwise> elementwise;
    Kernel<AttentionGradient> attention_gradient;
    Kernel<GroupNormGradient> group_norm_gradient;
    Kernel<RowNormGradient> row_norm_gradient;
    Kernel<ActivationGradient> activation_gradient;
    Kernel<Geglu> geglu;
    Kernel<GegluGradient> geglu_gradient;
    Kernel<WeightGradient> weight_gradient;
    Kernel<ColumnSums> column_sums;
    LowRankKernel<Linear> low_rank_linear;
    LowRankKernel<Conv2d> low_rank_conv2d;
};

const Table &generic_table();
#if defined(__x86_64__)
const Table &avx2_table();
const Table &avx_vnni_table();
const Table &avx512_table();
const Table &avx512_vnni_table();
const Table &amx_table();
#endif

} // namespace sdgo::kernels
