// The table of all kernels of an instruction set whose integers are faster than its
// floats: products in fixed point (int16) where they pay, else the kernels that every
// instruction set has.
#pragma once

#include "kernels/int16_attention.h"
#include "kernels/int16_gemm.h"
#include "kernels/int16_winograd.h"
#include "kernels/set.h"

namespace sdgo::kernels::SDGO_ISA {

template <class Args, Kernel<Args> Table::*general> struct Int16OrGeneral {
    static int phases(const Args &args) {
        const Plan p = plan(args);
        return use_int16(p)            ? int(2 * int16_plan(p, 1).bands)
               : use_int16_winograd(p) ? int(2 * int16_winograd_plan(p).winograd.bands)
                                       : (table().*general).phases(args);
    }
    static size_t scratch(const Args &args, int threads) {
        const Plan p = plan(args);
        return use_int16(p)            ? int16_scratch(int16_plan(p, threads), threads)
               : use_int16_winograd(p) ? int16_winograd_scratch(int16_winograd_plan(p), threads)
                                       : (table().*general).scratch(args, threads);
    }
    static void run(const Args &args, int phase, int thread, Team &team) {
        const Plan p = plan(args);
        if (use_int16(p)) {
            run_int16(int16_plan(p, team.threads), phase, thread, team);
        } else if (use_int16_winograd(p)) {
            run_int16_winograd(int16_winograd_plan(p), phase, thread, team);
        } else {
            (table().*general).run(args, phase, thread, team);
        }
    }
    static constexpr Kernel<Args> kernel() { return {phases, scratch, run}; }
};

// Low-rank changes, where the product is in fixed point.
template <class Args> size_t int16_low_rank_bytes(const Args &args) {
    const Plan p = plan(args);
    return p.gemm.low.rank > 0 && use_int16(p) ? low_rank_bytes(int16_plan(p, 1).low) : 0;
}
template <class Args>
void pack_int16_low_rank(const Args &args, const Matrix &down, const Matrix &up, void *to) {
    pack_low_rank(int16_plan(plan(args), 1).low, down, up, to);
}

inline size_t attention_scratch_either(const Attention &a, int threads) {
    return use_int16(a) ? int16_attention_scratch(a, threads) : attention_scratch(a, threads);
}
inline void run_attention_either(const Attention &a, int phase, int thread, Team &team) {
    use_int16(a) ? run_int16_attention(a, phase, thread, team) : run_attention(a, phase, thread, team);
}

inline const Table &int16_table() {
    static const Table all = [] {
        Table t = table();
        t.linear = Int16OrGeneral<Linear, &Table::linear>::kernel();
        t.conv2d = Int16OrGeneral<Conv2d, &Table::conv2d>::kernel();
        t.low_rank_linear = {int16_low_rank_bytes<Linear>, pack_int16_low_rank<Linear>};
        t.low_rank_conv2d = {int16_low_rank_bytes<Conv2d>, pack_int16_low_rank<Conv2d>};
        t.attention.scratch = attention_scratch_either;
        t.attention.run = run_attention_either;
        return t;
    }();
    return all;
}

} // namespace sdgo::kernels::SDGO_ISA
