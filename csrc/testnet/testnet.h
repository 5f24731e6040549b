// Networks of one operator each, for tests.
#pragma once

#include "sdgo.h"

#ifdef __cplusplus
extern "C" {
#endif

// A net on the CPU whose output "out" is what the operator `op` makes of the inputs.
sdgo_net *sdgo_testnet_new(const char *op, int threads, const char *kernels, char *error, size_t size);

#ifdef __cplusplus
}
#endif
