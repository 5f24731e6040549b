// A graph built for one set of input shapes and outputs, with its memory.
#pragma once

#include "core/device.h"
#include "core/stream.h"
#include "grad/tape.h"
#include "nets/architecture.h"
#include "ops/ops.h"

namespace sdgo {

// What a graph is built for, and found by.
struct GraphKey {
    Shapes inputs;
    std::vector<std::string> outputs;
    Adapters adapters{}; // in their order; their strengths are no part of a graph

    bool operator==(const GraphKey &o) const {
        return inputs == o.inputs && outputs == o.outputs && adapters == o.adapters;
    }
};

// How the gradient of an output comes about (see sdgo_net_run).
enum class Seed {
    given,       // it is the input d_OUTPUT
    squares,     // of a weighted sum of squared differences from the input mse_OUTPUT
    probability, // of a weighted cross-entropy with the input entropy_OUTPUT
};

// The part of a key that is about gradients (see sdgo_net_run): inputs that say what the
// gradients of outputs are, and outputs d:INPUT, d:weight:NAME and d:adapter:NAME.FACTOR.
struct Derivatives {
    std::map<std::string, Seed> seeds; // of outputs that have a gradient
    std::vector<std::string> inputs;   // whose gradients are asked for
    std::vector<std::string> weights;  // the same
    std::vector<std::string> adapters; // the same: a weight's name and "down", "mid" or "up"

    bool any() const { return !seeds.empty() || !inputs.empty() || !weights.empty() || !adapters.empty(); }
};

// A factor of the low-rank change of a weight that the first of some adapters makes which
// changes it. Throws Code::invalid if there is none of that name, WEIGHT.FACTOR.
struct Factor {
    std::string weight;
    Tensor tensor;
};
Factor find_factor(const Adapters &adapters, const std::string &name);

// Splits a key in what the network itself is asked for and what is about gradients.
// Throws Code::invalid if the gradients can't be.
Derivatives split(const Architecture &arch, const GraphKey &key, Shapes &inputs,
                  std::vector<std::string> &outputs);

// Whether an input is about gradients, and whether one holds whole numbers: none of
// gradients do.
bool is_of_gradients(const std::string &input);
bool is_integer(const Architecture &arch, const std::string &input);

class Graph {
  public:
    // Builds the graph without memory for its tensors, and declares its weights unless
    // they are sealed. Without `cpu` the operators are ggml's own. The kernels' calls
    // are added to a profile.
    Graph(const Architecture &arch, Weights &weights, const GraphKey &key, Cpu *cpu, Profile &profile,
          const OpChoice &choice);
    ~Graph();
    Graph(const Graph &) = delete;
    Graph &operator=(const Graph &) = delete;

    // Whether it has memory for its tensors.
    bool allocated() const { return allocated_; }

    // The bytes that allocate would take; a little more where there is a cache.
    uint64_t size(const Device &device) const;
    void allocate(const Device &device);

    // The first node whose operator the device does not support; null if it supports all.
    Tensor unsupported(const Device &device) const;

    // Whether it caches what depends on constant inputs alone (Ops::cache), and
    // to be called when one of these changes.
    bool has_cache() const { return cache_graph_ != nullptr; }
    void invalidate_cache() { cache_valid_ = false; }

    // The bytes of weights that the next run would keep in kernels' own forms (Ops::unkept).
    // The first run keeps none: it may be the only one.
    uint64_t unkept() const { return computed_ ? ops_->unkept() : 0; }

    // The weights that it uses, in the order of their first use.
    std::vector<Tensor> weights(const Weights &all) const;

    // Computes the graph, except for what is cached and still valid. `cancel` is polled
    // every few nodes where the device doesn't poll it; weights may come from a stream
    // (null: they are on the device). Returns the arithmetic, in floating-point
    // operations.
    double compute(Device &device, Stream *stream, const int32_t *cancel);

    // The strengths of the adapters in the run that follows. What is cached depends on them.
    void set_strengths(const std::vector<float> &strengths) {
        if (strengths != strengths_) {
            invalidate_cache();
        }
        strengths_ = strengths;
    }

    const GraphKey &key() const { return key_; }
    Tensor input(const std::string &name) const { return inputs_.at(name); }
    Tensor output(const std::string &name) const { return outputs_.at(name); }

  private:
    // Nodes that a device is given at once. They use one group of a stream's weights, or
    // none (-1).
    struct Piece {
        std::vector<Tensor> nodes;
        int group;
        ggml_cgraph *graph;
    };

    void build(const Architecture &arch, Weights &weights, Cpu *cpu, Profile &profile, const OpChoice &choice,
               size_t capacity);
    void differentiate(const Architecture &arch, Weights &weights, const Derivatives &d,
                       const std::vector<std::string> &outputs, int segments, size_t capacity);
    Tensor seed(const Architecture &arch, const std::string &name, Seed how, Tensor output);
    Tensor like(const Architecture &arch, const std::string &input, const std::string &name, Tensor output);
    void expand_in_order();
    void cut(const Stream *stream);

    GraphKey key_;
    Context ctx_;        // of the tensors
    Context graphs_ctx_; // of the graphs of them
    ggml_cgraph *graph_ = nullptr;
    Context pieces_ctx_;
    std::vector<Piece> pieces_; // the graph's nodes, in their order
    ggml_gallocr_t memory_ = nullptr;
    ggml_cgraph *cache_graph_ = nullptr; // computes what is cached; null: nothing is
    ggml_gallocr_t cache_memory_ = nullptr;
    bool cache_valid_ = false; // it was computed from the inputs as they are
    bool allocated_ = false;
    bool computed_ = false; // at least once
    bool in_order_ = false; // its nodes are in the order in which they were made
    std::vector<float> strengths_;
    std::unique_ptr<Ops> ops_; // owns what the custom operators point to
    Tensors inputs_, outputs_;
};

} // namespace sdgo
