// The kernels for AVX2, whatever the compiler's default target is. Library
// headers come first: what they define must not be compiled for it.
#if defined(__x86_64__)
#define SDGO_ISA avx2

#include "kernel_table.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "kernel_avx2.h"

#include "kernel_set.h"

#include "kernel_fixed_attention.h"
#include "kernel_fixed_gemm.h"
#include "kernel_fixed_winograd.h"

namespace sdgo::kernels::SDGO_ISA {

// Products in fixed point where they are wanted, else what there is for every
// instruction set.
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

} // namespace sdgo::kernels::SDGO_ISA

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

const Table &avx2_table() {
    static const Table table = [] {
        Table t = avx2::table();
        t.linear = avx2::FixedOrGeneral<Linear, &Table::linear>::kernel();
        t.conv2d = avx2::FixedOrGeneral<Conv2d, &Table::conv2d>::kernel();
        t.attention.scratch = avx2::attention_scratch_either;
        t.attention.run = avx2::run_attention_either;
        return t;
    }();
    return table;
}

} // namespace sdgo::kernels

#endif
