// The CPU's buffers for activations: ggml's, with memory of our own.
#pragma once

#include "core/ggml_abi.h"

namespace sdgo {

// A type of buffers on the CPU whose memory comes from the system (kernels/pages.h).
ggml_backend_buffer_type_t host_buffers();

} // namespace sdgo
