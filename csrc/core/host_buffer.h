// The CPU's buffers for activations: ggml's, but for where their memory is from.
#pragma once

#include "core/ggml_abi.h"

namespace sdgo {

// A type of buffers on the CPU whose memory is pages of the system's own (see
// kernels/pages.h).
ggml_backend_buffer_type_t host_buffers();

} // namespace sdgo
