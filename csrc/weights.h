// A net's weights: what it wants, and what the caller bound to it.
#pragma once

#include "error.h"
#include "ggml_abi.h"

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace sdgo {

using Tensor = ggml_tensor *;

// A shape in PyTorch's order.
using Shape = std::vector<int64_t>;

struct Weight {
    std::string name;
    Shape shape;
    Tensor tensor = nullptr;            // set by bind
    const void *data = nullptr;         // the caller's bytes
    std::unique_ptr<uint8_t[]> owned{}; // a converted or realigned copy
};

// Weights come into being by being asked for: the first, dry pass of a net's
// forward function declares them, so that the names and shapes a net wants are
// written down once, where they are used.
class Weights {
  public:
    ~Weights();

    // Returns the index of a weight, declaring it if `declaring`.
    size_t want(const std::string &name, const Shape &shape);

    // Ends the declaring pass and makes room for the tensors.
    void seal();
    bool sealed() const { return ctx_ != nullptr; }

    void bind(size_t index, ggml_type type, const void *data, size_t size);

    // Checks that all are bound; uploads them unless they are used in place.
    void load(ggml_backend_t backend, bool in_place);
    bool loaded() const { return loaded_; }

    const std::deque<Weight> &all() const { return all_; }
    Tensor tensor(size_t index) const { return all_[index].tensor; }

  private:
    void to_f32(Weight &w, ggml_type type, const void *data, int64_t n);

    std::deque<Weight> all_;
    std::unordered_map<std::string, size_t> index_;
    ggml_context *ctx_ = nullptr;
    ggml_backend_buffer_t buffer_ = nullptr;
    bool loaded_ = false;
};

} // namespace sdgo
