// Shapes of tensors.
#pragma once

#include <cstdint>
#include <vector>

namespace sdgo {

// The most dimensions that a tensor has, which is also ggml's limit.
constexpr int kMaxDims = 4;

// A shape in PyTorch's order, slowest dimension first.
using Shape = std::vector<int64_t>;

} // namespace sdgo
