// The forms of numbers in fixed point that products can have, for fixed_gemm.h.
#pragma once

#include "kernels/int16.h"
#if defined(SDGO_AVX512_VNNI) || defined(SDGO_AVX_VNNI)
#define SDGO_INT8 // pays: elsewhere 16-bit integers are multiplied as fast
#include "kernels/int8.h"
#endif

namespace sdgo::kernels::SDGO_ISA {

// Integers of 16 bits.
struct Sixteen {
    using Activation = int16_t;
    using Weight = int16_t;
    static constexpr int64_t together = 2;   // numbers that one addition sums
    static constexpr int64_t scale_rows = 1; // of a panel's slice
    static constexpr int64_t slice = 160;    // numbers that share a scale, about
    static constexpr Form form = Form::panels16;

    template <class Load>
    static void round_columns(Load load, int64_t depth, int64_t slice, Weight *to, float *scales) {
        SDGO_ISA::round_columns<2>(load, depth, slice, to, scales);
    }
    template <bool Ahead>
    static void multiply(const Activation *a, const float *a_scales, int64_t a_stride, int64_t valid,
                         const Weight *b, const float *b_scales, int64_t depth, float *c, int64_t stride,
                         bool fresh) {
        multiply_int16_rows<2, Ahead>({a, a_scales, a_stride}, valid, b, b_scales, depth, c, stride, fresh);
    }
};

#if defined(SDGO_INT8)
// Integers of 8 bits.
struct Eight {
    using Activation = uint8_t;
    using Weight = int8_t;
    static constexpr int64_t together = 4;
    static constexpr int64_t scale_rows = 2;
    static constexpr int64_t slice = 64;
    static constexpr Form form = Form::panels8;

    template <class Load>
    static void round_columns(Load load, int64_t depth, int64_t slice, Weight *to, float *scales) {
        round_columns8<2>(load, depth, slice, to, scales);
    }
    template <bool Ahead>
    static void multiply(const Activation *a, const float *a_scales, int64_t a_stride, int64_t valid,
                         const Weight *b, const float *b_scales, int64_t depth, float *c, int64_t stride,
                         bool fresh) {
        multiply_int8_rows<Ahead>({a, a_scales, a_stride}, valid, b, b_scales, depth, c, stride, fresh);
    }
};
#endif

} // namespace sdgo::kernels::SDGO_ISA
