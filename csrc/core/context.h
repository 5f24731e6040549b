// A ggml context for headers of tensors and graphs. ggml ends the process where it has
// no memory for one, so the memory is allocated here.
#pragma once

#include "core/ggml_abi.h"

#include <cstddef>
#include <memory>

namespace sdgo {

class Context {
  public:
    Context() = default;
    // Room for `size` bytes of headers; throws Code::no_memory, naming `what` they are
    // for.
    Context(size_t size, const char *what);
    Context(Context &&o) noexcept : memory_(std::move(o.memory_)), ctx_(o.ctx_) { o.ctx_ = nullptr; }
    Context &operator=(Context &&o) noexcept {
        std::swap(memory_, o.memory_);
        std::swap(ctx_, o.ctx_);
        return *this;
    }
    ~Context() { ggml_free(ctx_); }

    ggml_context *get() const { return ctx_; }

    // The bytes of `tensors` headers and `graphs` graphs of `nodes` nodes and as many
    // leaves.
    static size_t size(size_t tensors, size_t graphs = 0, size_t nodes = 0);

    // The number of tensors in a context that has nothing else.
    static size_t tensors(const ggml_context *ctx);

  private:
    std::unique_ptr<uint8_t[]> memory_;
    ggml_context *ctx_ = nullptr;
};

} // namespace sdgo
