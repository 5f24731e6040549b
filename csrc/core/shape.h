// Shapes of tensors, and how those of five dimensions fit into ggml's four.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sdgo {

// The most dimensions of inputs, outputs and weights, and of ggml's tensors.
constexpr int kMaxDims = 5, kTensorDims = 4;

// A shape in PyTorch's order, slowest dimension first.
using Shape = std::vector<int64_t>;

// The sizes of a ggml tensor, fastest dimension first.
//
// A shape of five dimensions is folded: its two slowest become one. A batch of
// videos [N, C, T, H, W] has ne = [W, H, T, N·C], a weight [out, in, T, H, W] has
// [W, H, T, out·in], which is what ggml's convolutions in three dimensions take.
// The elements' order in memory is the same, so folding moves nothing.
struct Folded {
    int n_dims = 0;
    int64_t ne[kTensorDims] = {1, 1, 1, 1};
};
Folded fold(const Shape &shape);

// The shape of `n_dims` dimensions that sizes `ne` stand for, a tensor's own; the
// slowest of five, which they don't tell, is `slowest`.
Shape unfold(const int64_t *ne, int n_dims, int64_t slowest = 1);

// A shape for messages: "[1, 4, 8, 8]".
std::string text(const Shape &shape);

} // namespace sdgo
