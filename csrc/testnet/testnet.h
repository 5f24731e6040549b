// Networks of one operator each, and functions of ggml to compare with, for tests.
#pragma once

#include "sdgo.h"

#ifdef __cplusplus
extern "C" {
#endif

// A net on the CPU whose output "out" is what the operator `op` makes of the inputs.
sdgo_net *sdgo_testnet_new(const char *op, int threads, const char *kernels, char *error, size_t size);

// Quantizes numbers, whole rows of them, by ggml's own function.
void sdgo_testnet_quantize(int type, const float *src, void *dst, int64_t rows, int64_t row_length);

#ifdef __cplusplus
}
#endif
