// The kernels for processors with AMX: its own matrix products, and else the kernels
// for AVX-512 with VNNI, which these processors have, too.
// Library headers come first: inline functions of theirs must not be compiled for it.
#if defined(__x86_64__)
#define SDGO_ISA amx

#include "kernels/table.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(                                                                                \
    __attribute__((                                                                                          \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c,amx-tile,amx-bf16"))),           \
    apply_to = function)
#else
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // in GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma,f16c,amx-tile,amx-bf16")
#endif

#include "kernels/avx512.h"

#include "kernels/amx.h"

namespace sdgo::kernels::SDGO_ISA {

inline const Kernel<Linear> &vnni_kernel(const Linear &) {
    return avx512_vnni_table().linear;
}
inline const Kernel<Conv2d> &vnni_kernel(const Conv2d &) {
    return avx512_vnni_table().conv2d;
}

template <class Args> int phases(const Args &args) {
    const Plan p = plan(args);
    return use_amx(p) ? int(2 * amx_plan(p, 1).bands) : vnni_kernel(args).phases(args);
}

template <class Args> size_t scratch(const Args &args, int threads) {
    const Plan p = plan(args);
    return use_amx(p) ? amx_scratch(amx_plan(p, threads), threads) : vnni_kernel(args).scratch(args, threads);
}

template <class Args> void run(const Args &args, int phase, int thread, Team &team) {
    const Plan p = plan(args);
    if (use_amx(p)) {
        run_amx(amx_plan(p, team.threads), phase, thread, team);
    } else {
        vnni_kernel(args).run(args, phase, thread, team);
    }
}

// Its own products take no low-rank changes: what is beside them is products, too.
inline const LowRankKernel<Linear> &vnni_low_rank(const Linear &) {
    return avx512_vnni_table().low_rank_linear;
}
inline const LowRankKernel<Conv2d> &vnni_low_rank(const Conv2d &) {
    return avx512_vnni_table().low_rank_conv2d;
}
template <class Args> size_t low_rank_bytes(const Args &args) {
    return use_amx(plan(args)) ? 0 : vnni_low_rank(args).bytes(args);
}
template <class Args> Keep keep(const Args &args) {
    return use_amx(plan(args)) ? Keep{} : vnni_kernel(args).keep(args);
}

} // namespace sdgo::kernels::SDGO_ISA

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

const Table &amx_table() {
    static const Table table = [] {
        Table t = avx512_vnni_table();
        t.linear = {amx::phases<Linear>, amx::scratch<Linear>, amx::run<Linear>, amx::keep<Linear>};
        t.conv2d = {amx::phases<Conv2d>, amx::scratch<Conv2d>, amx::run<Conv2d>, amx::keep<Conv2d>};
        t.low_rank_linear.bytes = amx::low_rank_bytes<Linear>;
        t.low_rank_conv2d.bytes = amx::low_rank_bytes<Conv2d>;
        return t;
    }();
    return table;
}

} // namespace sdgo::kernels

#endif
