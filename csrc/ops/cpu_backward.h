// Derivatives in terms of the CPU kernels.
#pragma once

#include "ops/backward.h"
#include "ops/cpu_nodes.h"

namespace sdgo {

class CpuBackward : public Backward {
  public:
    // The operators that these are derivatives of.
    class Owner {
      public:
        virtual ~Owner() = default;
        // What a tensor is joined from; the second may be none.
        struct Joined {
            Tensor x, x2;
        };
        virtual Joined joined_parts(Tensor x) const = 0;
        virtual void count_backward(double flop) = 0;
    };

    CpuBackward(ggml_context *ctx, CpuNodes &nodes, Owner &owner) : ctx_(ctx), nodes_(nodes), owner_(owner) {}

    Tensor product_by_x(Tensor dy, Tensor weight, int64_t in, bool vectors) override;
    Tensor product_by_weight(Tensor x, Tensor dy) override;
    Tensor convolution_by_x(Tensor x, Tensor dy, Tensor weight, const Conv &c) override;
    Tensor convolution_by_weight(Tensor x, Tensor dy, const Conv &c) override;
    Attention attention(const Attention &in, Tensor dy, int heads, bool causal) override;
    Tensor self_attention(Tensor qkv, Tensor dy, int heads, Fused order) override;
    Norm group_norm(Tensor x, Tensor dy, const Ops::Layer &layer, const GroupNorm &g) override;
    Norm row_norm(Tensor x, Tensor dy, Tensor weight, const Rows &rows) override;
    Tensor activation(Tensor x, Act act) override;
    Tensor activation_by_x(Tensor x, Tensor dy, Act act) override;
    Tensor geglu(Tensor x) override;
    Tensor geglu_by_x(Tensor x, Tensor dy) override;
    Tensor sum_tokens(Tensor x) override;

  private:
    template <class F>
    Tensor node(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                F arguments) {
        owner_.count_backward(flop);
        return nodes_.node(op, flop, std::move(ne), std::move(sources), arguments);
    }

    // Numbers [from, …) of a flat tensor, as one of another shape.
    Tensor part(Tensor flat, int64_t from, int64_t a, int64_t b = 1, int64_t c = 1, int64_t d = 1);

    ggml_context *ctx_;
    CpuNodes &nodes_;
    Owner &owner_;
};

} // namespace sdgo
