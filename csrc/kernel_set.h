// All kernels of one instruction set, as a table.
#pragma once

#include "kernel_attention.h"
#include "kernel_norm.h"
#include "kernel_table.h"

namespace sdgo::kernels::SDGO_ISA {

template <class Args> int one_phase(const Args &) {
    return 1;
}
template <class Args> size_t no_scratch(const Args &, int) {
    return 0;
}
template <class Args> int matrix_phases(const Args &a) {
    return plan_phases(plan(a));
}
template <class Args> size_t matrix_scratch(const Args &a, int threads) {
    return plan_scratch(plan(a), threads);
}
template <class Args> void run_matrix(const Args &a, int phase, int thread, Team &team) {
    run_plan(plan(a), phase, thread, team);
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
        {matrix_phases<Linear>, matrix_scratch<Linear>, run_matrix<Linear>},
        {matrix_phases<Conv2d>, matrix_scratch<Conv2d>, run_matrix<Conv2d>},
        {two_phases<Attention>, attention_scratch, run_attention},
        {two_phases<GroupNormStats>, stats_scratch, run_stats},
        {one_phase<Normalize>, no_scratch<Normalize>, run_normalize},
        {one_phase<LayerNorm>, no_scratch<LayerNorm>, run_layer_norm},
        {one_phase<Elementwise>, no_scratch<Elementwise>, run_elementwise},
    };
    return all;
}

} // namespace sdgo::kernels::SDGO_ISA
