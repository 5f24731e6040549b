// Changes to a net's weights that graphs apply in addition to them (LoRA and its
// relatives): the weights stay as they are bound, quantized and mapped.
#pragma once

#include "core/weights.h"
#include "kernels/pages.h"

#include <functional>
#include <map>

namespace sdgo {

// The factors of a low-rank change in the form of the kernels that add it, made when a graph
// first needs it, and again when the numbers change.
class PackedFactors {
  public:
    // `fill` writes `bytes`, which are the same for all graphs of a net.
    const void *get(size_t bytes, std::function<void(void *to)> fill);
    void refill() const;

  private:
    kernels::Memory memory_;
    std::function<void(void *to)> fill_;
};

// A product of thin matrices that is added to a layer's weight: the layer's output gets
// up(scale · mid(down(x))). Without mid, and with a convolution, down has the
// layer's kernel and up is 1x1 (LoCon); with mid, down is 1x1 and mid has the kernel
// (Tucker decomposition).
struct LowRank {
    Tensor down = nullptr;  // [in, r], or [kw, kh, in, r]; with mid [1, 1, in, r]
    Tensor mid = nullptr;   // [kw, kh, r, r], or none
    Tensor up = nullptr;    // [r, out], or [1, 1, r, out]
    Tensor scale = nullptr; // [r], with the adapter's strength
    std::shared_ptr<PackedFactors> packed{};

    int64_t rank() const { return scale->ne[0]; }
};

// A change as the caller gives it: arrays in PyTorch's order, float32 or float16.
struct Change {
    size_t weight = 0; // its index
    ggml_type type = GGML_TYPE_F32;
    const void *whole = nullptr; // in place of the weight; without it
    int64_t rank = 0;
    const void *down = nullptr, *mid = nullptr, *up = nullptr;
    const float *scale = nullptr; // [rank]
};

// The changes that one caller makes, copied to a net's device.
class Adapter {
  public:
    Adapter(const Weights &weights, const Device &device, const std::vector<Change> &changes);

    // Those of a weight, in their order; empty for most.
    const std::vector<LowRank> &low_rank(const std::string &weight) const;
    // What is in place of a weight; null for most.
    Tensor whole(const std::string &weight) const;

    // A factor of what the low-rank changes add. Only between runs.
    void set_strength(float strength) const;

    // New numbers for the same changes: as many, of the same weights, types and ranks.
    // Only between runs.
    void update(const std::vector<Change> &changes);

  private:
    struct Scale {
        Tensor tensor;
        std::vector<float> values;
    };
    // A change as it was made.
    struct Made {
        size_t weight;
        ggml_type type;
        Tensor whole;
        LowRank low;
    };
    void declare(const Weight &w, const Change &c, std::vector<std::pair<Tensor, const void *>> &data);
    static bool fits(const Made &made, const Change &c);
    void set_scales() const; // times the strength

    Context ctx_;
    Buffer buffer_;
    std::map<std::string, std::vector<LowRank>> low_rank_;
    std::map<std::string, Tensor> whole_;
    std::vector<Scale> scales_;
    std::vector<Made> made_; // in their order
    mutable float strength_ = 1;
};

using Adapters = std::vector<std::shared_ptr<const Adapter>>;

} // namespace sdgo
