#include "kernels/quantize.h"

namespace sdgo::kernels {

#if defined(__x86_64__)
void quantize_k_avx2(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made);
void quantize_k_avx512(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made);

// A compiler that may fuse products with additions everywhere does so in ggml, too, and its
// bytes are others.
bool quantizes_k() {
#if defined(__FMA__)
    return false;
#else
    return isa_available(Isa::avx2);
#endif
}

void quantize_k(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made, Isa isa) {
    isa = isa == Isa::best ? best_isa() : isa;
    const bool wide = isa == Isa::avx512 || isa == Isa::avx512_vnni || isa == Isa::amx;
    (wide ? quantize_k_avx512 : quantize_k_avx2)(type, x, blocks, to, made);
}
#else
bool quantizes_k() {
    return false;
}

void quantize_k(KQuant, const float *, int64_t blocks, uint8_t *, bool *made, Isa) {
    for (int64_t i = 0; i < blocks; i++) {
        made[i] = false;
    }
}
#endif

} // namespace sdgo::kernels
