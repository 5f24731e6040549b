// Quantizing to ggml's k-quants, many blocks at a time: the bytes are those of ggml's own
// functions for weights without importances, which try some twenty scales for each block.
#pragma once

#include "kernels/kernels.h"

namespace sdgo::kernels {

enum class KQuant { q2, q3, q4, q5, q6 };

constexpr int64_t kKQuantBlock = 256; // numbers of a block
constexpr size_t k_quant_bytes(KQuant type) {
    constexpr size_t bytes[] = {84, 110, 144, 176, 210};
    return bytes[size_t(type)];
}

// Whether this machine and this build have what quantize_k needs.
bool quantizes_k();

// Quantizes `blocks` blocks of x, of which the numbers are finite and at most 65504 in size.
// made[i] says whether block i was written; one of which a part's scale is zero is not, and is
// left to ggml's function.
void quantize_k(KQuant type, const float *x, int64_t blocks, uint8_t *to, bool *made, Isa isa = Isa::best);

} // namespace sdgo::kernels
