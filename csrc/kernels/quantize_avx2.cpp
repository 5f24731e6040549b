// quantize_k for AVX2, whatever the compiler's default target is.
#if defined(__x86_64__)
#define SDGO_ISA avx2

#include "kernels/quantize.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "kernels/avx2.h"

namespace sdgo::kernels::SDGO_ISA {

using Mask = __m256;

inline Mask less(V a, V b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
inline Mask equal(V a, V b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
inline Mask unequal(V a, V b) {
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}
inline Mask both(Mask a, Mask b) {
    return _mm256_and_ps(a, b);
}
inline V pick(Mask m, V yes, V no) {
    return _mm256_blendv_ps(no, yes, m);
}
inline Mask less_or_equal(V a, V b) {
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
inline Mask either(Mask a, Mask b) {
    return _mm256_or_ps(a, b);
}

} // namespace sdgo::kernels::SDGO_ISA

#include "kernels/quantize_k.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

void quantize_k_avx2(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made) {
    avx2::quantize_blocks(type, x, blocks, to, made);
}

} // namespace sdgo::kernels

#endif
