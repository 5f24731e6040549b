// The table of all kernels of an instruction set whose integers are faster than its
// floats: products in fixed point (int16) where they pay, else the kernels that every
// instruction set has.
#pragma once

#include "kernels/fixed_gemm.h"
#include "kernels/int16_attention.h"
#include "kernels/int16_winograd.h"
#include "kernels/set.h"

namespace sdgo::kernels::SDGO_ISA {

// Layers of the fast tier: not those whose output or input is small, such as a network's
// first and last.
constexpr int64_t kFastChannels = 64;

template <class Args> bool is_fast(const Args &args, const Plan &p) {
    return args.fast && use_fixed(p) && p.gemm.depth > kFastChannels && p.gemm.out > kFastChannels;
}

// Calls f with the form of a layer's fixed point, Sixteen or Eight.
template <class Args, class Call>
auto with_form([[maybe_unused]] const Args &args, [[maybe_unused]] const Plan &p, Call f) {
#if defined(SDGO_INT8)
    if (is_fast(args, p)) {
        return f(Eight());
    }
#endif
    return f(Sixteen());
}

// Whether Winograd's algorithm is in 16 bits: the fast tier's products of 8 bits are faster
// for a few tiles, whose filters are as much work as their products.
template <class Args> bool use_filters([[maybe_unused]] const Args &args, const Plan &p) {
#if defined(SDGO_INT8)
    if (is_fast(args, p) && tiles_of_image(p) < kFastFewTiles) {
        return false;
    }
#endif
    return use_int16_winograd(p);
}

template <class Args, Kernel<Args> Table::*general> struct FixedOrGeneral {
    static int phases(const Args &args) {
        const Plan p = plan(args);
        return use_filters(args, p) ? winograd_phases(p, int16_winograd_plan(p).winograd.bands)
               : use_fixed(p)       ? with_form(args, p,
                                                [&](auto form) {
                                              using F = decltype(form);
                                              return fixed_phases<F>(fixed_plan<F>(p, 1));
                                          })
                                    : (table().*general).phases(args);
    }
    static size_t scratch(const Args &args, int threads) {
        const Plan p = plan(args);
        return use_filters(args, p) ? int16_winograd_scratch(int16_winograd_plan(p), threads)
               : use_fixed(p)       ? with_form(args, p,
                                                [&](auto form) {
                                              using F = decltype(form);
                                              return fixed_scratch<F>(fixed_plan<F>(p, threads), threads);
                                          })
                                    : (table().*general).scratch(args, threads);
    }
    static void run(const Args &args, int phase, int thread, Team &team) {
        const Plan p = plan(args);
        if (use_filters(args, p)) {
            run_int16_winograd(int16_winograd_plan(p), phase, thread, team);
        } else if (use_fixed(p)) {
            with_form(args, p, [&](auto form) {
                using F = decltype(form);
                run_fixed<F>(fixed_plan<F>(p, team.threads), phase, thread, team);
            });
        } else {
            (table().*general).run(args, phase, thread, team);
        }
    }
    static Keep keep(const Args &args) {
        const Plan p = plan(args);
        return use_filters(args, p) ? keep_taps(p)
               : use_fixed(p)       ? with_form(args, p,
                                                [&](auto form) {
                                              using F = decltype(form);
                                              return Keep{F::form, fixed_kept_bytes<F>(p)};
                                          })
                                    : (table().*general).keep(args);
    }
    static constexpr Kernel<Args> kernel() { return {phases, scratch, run, keep}; }
};

// Low-rank changes, where the product is in fixed point of 16 bits and not a convolution of
// several taps.
template <class Args> Int16LowRank low_rank(const Args &args) {
    const Plan p = plan(args);
    return use_fixed(p) && !use_filters(args, p) ? with_form(args, p,
                                                             [&](auto form) {
                                                                 using F = decltype(form);
                                                                 return fixed_weights_plan<F>(p).low;
                                                             })
                                                 : Int16LowRank();
}
template <class Args> size_t int16_low_rank_bytes(const Args &args) {
    const Int16LowRank l = low_rank(args);
    return l.rank > 0 ? low_rank_bytes(l) : 0;
}
template <class Args>
void pack_int16_low_rank(const Args &args, const Matrix &down, const Matrix &up, void *to) {
    pack_low_rank(low_rank(args), down, up, to);
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
        t.linear = FixedOrGeneral<Linear, &Table::linear>::kernel();
        t.conv2d = FixedOrGeneral<Conv2d, &Table::conv2d>::kernel();
        t.low_rank_linear = {int16_low_rank_bytes<Linear>, pack_int16_low_rank<Linear>};
        t.low_rank_conv2d = {int16_low_rank_bytes<Conv2d>, pack_int16_low_rank<Conv2d>};
        t.attention.scratch = attention_scratch_either;
        t.attention.run = run_attention_either;
        return t;
    }();
    return all;
}

} // namespace sdgo::kernels::SDGO_ISA
