// The kernels for AVX2 with AVX-VNNI, whatever the compiler's default target
// is. Library headers come first: inline functions of theirs must not be
// compiled for it.
#if defined(__x86_64__)
#define SDGO_ISA avx_vnni
#define SDGO_AVX_VNNI // multiplies 16-bit integers and adds in one instruction

#include "kernels/table.h"
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

#include "kernels/avx2.h"

#include "kernels/int16_set.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

const Table &avx_vnni_table() {
    return avx_vnni::int16_table();
}

} // namespace sdgo::kernels

#endif
