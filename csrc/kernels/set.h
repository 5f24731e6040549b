// All kernels of one instruction set, as a table.
#pragma once

#include "kernels/attention_gradient.h"
#include "kernels/merge.h"
#include "kernels/norm_gradient.h"
#include "kernels/resample.h"
#include "kernels/rope.h"
#include "kernels/table.h"
#include "kernels/winograd_gradient.h"

namespace sdgo::kernels::SDGO_ISA {

template <class Args> int one_phase(const Args &) {
    return 1;
}
template <class Args> size_t no_scratch(const Args &, int) {
    return 0;
}
template <class Args> size_t no_low_rank(const Args &) {
    return 0;
}
inline int linear_phases(const Linear &l) {
    return plan_phases(plan(l));
}
inline size_t linear_scratch(const Linear &l, int threads) {
    return plan_scratch(plan(l), threads);
}
inline void run_linear(const Linear &l, int phase, int thread, Team &team) {
    run_plan(plan(l), phase, thread, team);
}

inline Keep keep_nothing(const Linear &) {
    return {};
}

inline int conv2d_phases(const Conv2d &c) {
    const Plan p = plan(c);
    return use_winograd(p) ? winograd_phases(p, winograd_plan(p).bands) : plan_phases(p);
}
inline size_t conv2d_scratch(const Conv2d &c, int threads) {
    const Plan p = plan(c);
    return use_winograd(p) ? winograd_scratch(winograd_plan(p), threads) : plan_scratch(p, threads);
}
inline void run_conv2d(const Conv2d &c, int phase, int thread, Team &team) {
    const Plan p = plan(c);
    if (use_winograd(p)) {
        run_winograd(winograd_plan(p), phase, thread, team);
    } else {
        run_plan(p, phase, thread, team);
    }
}
inline Keep keep_conv2d(const Conv2d &c) {
    const Plan p = plan(c);
    return use_winograd(p) ? keep_taps(p) : Keep{};
}

template <class Args> int two_phases(const Args &) {
    return 2;
}

inline size_t attention_scratch(const Attention &a, int threads) {
    const AttentionPlan p = plan(a);
    return size_t(a.n * a.heads * p.head_floats + threads * p.thread_floats) * sizeof(float);
}
inline size_t stats_scratch(const GroupNormStats &g, int) {
    return size_t(g.n * stats_chunks(g) * 2 * (g.c1 + g.c2)) * sizeof(float);
}

inline const Table &table() {
    static constexpr Table all = {
        {linear_phases, linear_scratch, run_linear, keep_nothing},
        {conv2d_phases, conv2d_scratch, run_conv2d, keep_conv2d},
        {two_phases<Attention>, attention_scratch, run_attention},
        {two_phases<GroupNormStats>, stats_scratch, run_stats},
        {one_phase<Normalize>, no_scratch<Normalize>, run_normalize},
        {one_phase<LayerNorm>, no_scratch<LayerNorm>, run_layer_norm},
        {one_phase<RmsNorm>, no_scratch<RmsNorm>, run_rms_norm},
        {one_phase<Modulate>, no_scratch<Modulate>, run_modulate},
        {one_phase<Gate>, no_scratch<Gate>, run_gate},
        {one_phase<Rope>, no_scratch<Rope>, run_rope},
        {merge_phases, merge_scratch, run_merge_plan},
        {one_phase<MergeTokens>, no_scratch<MergeTokens>, run_merge_tokens},
        {one_phase<UnmergeTokens>, no_scratch<UnmergeTokens>, run_unmerge_tokens},
        {one_phase<Resample>, no_scratch<Resample>, run_resample},
        {one_phase<Elementwise>, no_scratch<Elementwise>, run_elementwise},
        {attention_gradient_phases, attention_gradient_scratch, run_attention_gradient},
        {group_norm_gradient_phases, group_norm_gradient_scratch, run_group_norm_gradient},
        {two_phases<RowNormGradient>, row_norm_gradient_scratch, run_row_norm_gradient},
        {one_phase<ActivationGradient>, no_scratch<ActivationGradient>, run_activation_gradient},
        {one_phase<Geglu>, no_scratch<Geglu>, run_geglu},
        {one_phase<GegluGradient>, no_scratch<GegluGradient>, run_geglu_gradient},
        {one_phase<WeightGradient>, weight_gradient_scratch, run_weight_gradient},
        {two_phases<ColumnSums>, column_sums_scratch, run_column_sums},
        {no_low_rank<Linear>, nullptr},
        {no_low_rank<Conv2d>, nullptr},
    };
    return all;
}

} // namespace sdgo::kernels::SDGO_ISA
