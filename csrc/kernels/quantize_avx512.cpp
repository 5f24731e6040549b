// quantize_k for AVX-512, whatever the compiler's default target is.
#if defined(__x86_64__)
#define SDGO_ISA avx512

#include "kernels/quantize.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c"))),    \
                             apply_to = function)
#else
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized" // in GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")
#endif

#include "kernels/avx512.h"

namespace sdgo::kernels::SDGO_ISA {

using Mask = __mmask16;

inline Mask less(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
inline Mask equal(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
inline Mask unequal(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
inline Mask both(Mask a, Mask b) {
    return Mask(a & b);
}
inline V pick(Mask m, V yes, V no) {
    return _mm512_mask_blend_ps(m, no, yes);
}
inline Mask less_or_equal(V a, V b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
inline Mask either(Mask a, Mask b) {
    return Mask(a | b);
}

} // namespace sdgo::kernels::SDGO_ISA

#include "kernels/quantize_k.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

void quantize_k_avx512(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made) {
    avx512::quantize_blocks(type, x, blocks, to, made);
}

} // namespace sdgo::kernels

#endif
