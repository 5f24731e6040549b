// All kernels of an instruction set whose integers are faster than its floats,
// as a table: products in fixed point where they are wanted, else what there is
// for every instruction set.
#pragma once

#include "kernels/int16_attention.h"
#include "kernels/int16_gemm.h"
#include "kernels/int16_winograd.h"
#include "kernels/set.h"

namespace sdgo::kernels::SDGO_ISA {

template <class Args, Kernel<Args> Table::*general> struct FixedOrGeneral {
    static int phases(const Args &args) {
        const Plan p = plan(args);
        return use_fixed(p)            ? int(2 * fixed_plan(p, 1).bands)
               : use_fixed_winograd(p) ? int(2 * fixed_winograd_plan(p).winograd.bands)
                                       : (table().*general).phases(args);
    }
    static size_t scratch(const Args &args, int threads) {
        const Plan p = plan(args);
        return use_fixed(p)            ? fixed_scratch(fixed_plan(p, threads), threads)
               : use_fixed_winograd(p) ? fixed_winograd_scratch(fixed_winograd_plan(p), threads)
                                       : (table().*general).scratch(args, threads);
    }
    static void run(const Args &args, int phase, int thread, Team &team) {
        const Plan p = plan(args);
        if (use_fixed(p)) {
            run_fixed(fixed_plan(p, team.threads), phase, thread, team);
        } else if (use_fixed_winograd(p)) {
            run_fixed_winograd(fixed_winograd_plan(p), phase, thread, team);
        } else {
            (table().*general).run(args, phase, thread, team);
        }
    }
    static constexpr Kernel<Args> kernel() { return {phases, scratch, run}; }
};

inline size_t attention_scratch_either(const Attention &a, int threads) {
    return use_fixed(a) ? fixed_attention_scratch(a, threads) : attention_scratch(a, threads);
}
inline void run_attention_either(const Attention &a, int phase, int thread, Team &team) {
    use_fixed(a) ? run_fixed_attention(a, phase, thread, team) : run_attention(a, phase, thread, team);
}

inline const Table &fixed_table() {
    static const Table all = [] {
        Table t = table();
        t.linear = FixedOrGeneral<Linear, &Table::linear>::kernel();
        t.conv2d = FixedOrGeneral<Conv2d, &Table::conv2d>::kernel();
        t.attention.scratch = attention_scratch_either;
        t.attention.run = run_attention_either;
        return t;
    }();
    return all;
}

} // namespace sdgo::kernels::SDGO_ISA
