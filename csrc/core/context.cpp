#include "core/context.h"

#include "core/error.h"

#include <new>

namespace sdgo {

namespace {

// The alignment that ggml requires of a context's memory (GGML_MEM_ALIGN), and a
// margin for its own alignments.
constexpr size_t kAlign = 16, kMore = 256;

} // namespace

size_t Context::size(size_t tensors, size_t graphs, size_t nodes) {
    return tensors * ggml_tensor_overhead() + graphs * ggml_graph_overhead_custom(nodes, false) + kMore;
}

size_t Context::tensors(const ggml_context *ctx) {
    return ggml_used_mem(ctx) / ggml_tensor_overhead();
}

Context::Context(size_t size, const char *what) {
    memory_.reset(new (std::nothrow) uint8_t[size + kAlign]);
    if (!memory_) {
        no_memory(what, size);
    }
    uint8_t *at = memory_.get();
    at += (kAlign - reinterpret_cast<uintptr_t>(at) % kAlign) % kAlign;
    ctx_ = ggml_init({size, at, true});
}

} // namespace sdgo
