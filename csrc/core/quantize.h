// ggml's quantizers, with their arguments checked first.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sdgo {

// As sdgo_quantize and sdgo_dequantize; they throw.
void quantize(int type, const float *src, void *dst, size_t size, int64_t rows, int64_t row_length,
              const float *importance);
void dequantize(int type, const void *src, size_t size, float *dst, int64_t count);

} // namespace sdgo
