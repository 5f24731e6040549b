// Gradients of networks: reverse-mode differentiation over Ops.
//
// A Tape is an Ops that passes each call on to another and remembers the operators that
// ggml has no plain counterpart of, with their inputs. `backward` then walks over the
// graph's tensors from the last to the first and adds to the same graph what computes
// the gradients: of recorded operators by the table in operators.cpp, of everything else,
// which is made of ggml's elementary operators, by the table in elementary.cpp.
//
// What is computed is a vector-Jacobian product: for each output that has a seed, the
// tensor dL/d(output), of some scalar L that need not be known here, come dL/d(input) and
// dL/d(weight).
//
// With segments, the tensors within one are not kept until their gradients are computed,
// but computed a second time from those at its border (Chen et al. 2016,
// arXiv:1604.06174): less memory, a third more arithmetic.
#pragma once

#include "ops/backward.h"

#include <map>
#include <set>
#include <unordered_set>

namespace sdgo {

class Tape;

// A recorded operator.
struct Recorded {
    std::vector<Tensor> inputs; // null where an optional one is missing
    std::vector<std::string> weights;
    // Computes it from other inputs.
    std::function<Tensor(Ops &, const std::vector<Tensor> &)> make;
    // Gives the inputs' and weights' gradients to the tape. `in` and `y` are what to read
    // the values of the inputs and of the result from, dy is the result's gradient.
    std::function<void(Tape &, const Recorded &, const std::vector<Tensor> &in, Tensor y, Tensor dy)> derive;
};

class Tape : public Ops {
  public:
    // Gradients that are asked for: of inputs and adapters, by tensor, and of weights, by
    // name.
    struct Targets {
        std::map<std::string, Tensor> inputs;
        std::set<std::string> weights;
        std::map<std::string, Tensor> adapters; // factors of low-rank changes, by any name
        bool of_constant = false;               // one of the inputs is constant across steps
    };

    // `segments` is the number of parts whose tensors are computed twice; 1: none are.
    Tape(Ops &ops, ggml_context *ctx, Weights &weights, size_t capacity, Targets targets, int segments);

    // Adds the gradients to the graph; seeds are pairs of an output and its gradient.
    void backward(const std::vector<std::pair<Tensor, Tensor>> &seeds);

    // After backward: a contiguous float32 tensor of the target's shape.
    Tensor gradient_of_input(const std::string &name);
    Tensor gradient_of_weight(const std::string &name, const Shape &shape);
    Tensor gradient_of_adapter(const std::string &name);

    // For derivatives.

    ggml_context *context() const { return ctx_; }
    Ops &ops() { return ops_; } // to add operators to the graph
    // Operators for derivatives; null: they are made of others.
    Backward *backward() override { return ops_.backward(); }
    // Whether the gradient of a tensor, which may be null, or of a weight is of any use.
    bool wants(Tensor t) const { return t && dependent_.count(t) > 0; }
    bool wants(const std::string &weight) const { return targets_.weights.count(weight) > 0; }
    // Adds to the gradient of a tensor or weight; g has as many elements in the same order.
    void give(Tensor t, Tensor g);
    void give(const std::string &weight, Tensor g);
    // A weight, converted to float32 where it is another type.
    Tensor weight32(const std::string &name, const Shape &shape);
    Tensor float32(Tensor w);
    // What to read the value of a tensor of the forward pass from.
    Tensor value(Tensor t);

    // Ops.
    Tensor image_in(Tensor nchw) override { return ops_.image_in(nchw); }
    Tensor image_out(Tensor image) override { return ops_.image_out(image); }
    int64_t width(Tensor image) const override { return ops_.width(image); }
    int64_t height(Tensor image) const override { return ops_.height(image); }
    int64_t channels(Tensor image) const override { return ops_.channels(image); }
    Tensor convolution(Tensor image, const Layer &layer, const Conv &c) override;
    Tensor product(Tensor x, const Layer &layer, const Linear &l, Tensor before) override;
    Tensor gated_product(Tensor x, const Layer &layer, int64_t out, Tensor before) override;
    Tensor scale_channels(Tensor x, Tensor factors) override { return ops_.scale_channels(x, factors); }
    Tensor group_norm(Tensor image, const std::string &name, const GroupNorm &g) override;
    Tensor concat(Tensor a, Tensor b) override;
    Tensor resample(Tensor image, Sampling how, float gain) override;
    Tensor tokens(Tensor image) override { return ops_.tokens(image); }
    Tensor prelu(Tensor image, const std::string &name) override { return ops_.prelu(image, name); }
    Tensor image(Tensor tokens, int64_t w, int64_t h) override { return ops_.image(tokens, w, h); }
    Tensor layer_norm(Tensor x, const std::string &name, float eps) override;
    Tensor rms_norm(Tensor x, const std::string &name, float eps, int heads) override;
    Tensor unit_norm(Tensor x, int heads) override;
    Tensor modulate(Tensor x, Tensor scale, Tensor shift) override;
    Tensor gated(Tensor x, Tensor y, Tensor gate) override;
    Tensor rope(Tensor x, Tensor cos, Tensor sin, int heads, Pairs pairs) override;
    Tensor attention(Tensor q, Tensor k, Tensor v, int heads, bool causal) override;
    Tensor self_attention(Tensor qkv, int heads, Fused order) override;
    Tensor cache(const std::function<Tensor()> &make) override;

  private:
    Tensor record(Recorded r);
    Tensor whole_group_norm(Tensor image, const std::string &name, const GroupNorm &g);
    Tensor activated(Tensor x, Act act);
    void find_dependent();
    bool depends(Tensor t) const;
    void begin_segment(size_t i);
    void elementary(Tensor t, Tensor dy);
    Tensor copy(Tensor t);
    Tensor sum(Tensor a, Tensor b);

    Ops &ops_;
    Targets targets_;
    int segments_;
    std::unordered_map<Tensor, Recorded> records_;
    std::vector<Tensor> tensors_; // of the forward pass, in the order in which they were made
    std::unordered_map<Tensor, size_t> order_;
    std::unordered_set<Tensor> dependent_; // on a target
    std::unordered_map<Tensor, Tensor> gradients_;
    std::map<std::string, Tensor> weight_gradients_;
    size_t from_ = 0;                           // the first tensor of the segment
    bool again_ = false;                        // the segment is computed again
    std::unordered_map<Tensor, Tensor> copies_; // of tensors of the segment
};

// The derivative of one of ggml's operators; throws Code::invalid if none is known.
void derive_elementary(Tape &tape, Tensor t, Tensor dy);

// Sums of x over the dimensions in which `shape` has one element.
Tensor sum_to(ggml_context *ctx, Tensor x, const int64_t *shape);

} // namespace sdgo
