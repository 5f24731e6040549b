// The kernels for AVX-512, whatever the compiler's default target is. Library
// headers come first: inline functions of theirs must not be compiled for it.
#if defined(__x86_64__)
#define SDGO_ISA avx512

#include "kernels/table.h"
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

#include "kernels/set.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace sdgo::kernels {

const Table &avx512_table() {
    return avx512::table();
}

} // namespace sdgo::kernels

#endif
