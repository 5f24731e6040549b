#include "graph.h"

#include <algorithm>

namespace sdgo {

namespace {

// Tensors that a context has room for at first, and the factor by which that grows where
// it is not enough.
constexpr size_t kTensors = 1 << 12, kMoreTensors = 4;

// Nodes that a GPU is given at once: enough that waiting for it costs no measurable
// time, few enough that cancelling seems immediate.
constexpr size_t kPiece = 64;

// The tensor that a view looks into.
Tensor origin(Tensor t) {
    while (t->view_src) {
        t = t->view_src;
    }
    return t;
}

} // namespace

Graph::Graph(const Architecture &arch, Weights &weights, const GraphKey &key, Cpu *cpu, Profile &profile,
             const OpChoice &choice)
    : key_(key) {
    for (size_t capacity = kTensors;; capacity *= kMoreTensors) {
        try {
            build(arch, weights, cpu, profile, choice, capacity);
            break;
        } catch (const Ops::Full &) { // again, with more room
        }
    }
    // All tensors and weights together bound the number of nodes, and of leaves.
    const size_t most = Context::tensors(ctx_.get()) + weights.all().size();
    graphs_ctx_ = Context(Context::size(0, 2, most), "a graph");
    if (!ops_->cached().empty()) {
        cache_graph_ = ggml_new_graph_custom(graphs_ctx_.get(), most, false);
        for (const Ops::Cached &c : ops_->cached()) {
            ggml_set_output(c.computed);
            ggml_build_forward_expand(cache_graph_, c.computed);
        }
    }
    graph_ = ggml_new_graph_custom(graphs_ctx_.get(), most, false);
    for (auto &[name, t] : outputs_) {
        ggml_set_output(t);
        ggml_build_forward_expand(graph_, t);
    }
}

// Makes the tensors; throws Ops::Full if they are more than `capacity`.
void Graph::build(const Architecture &arch, Weights &weights, Cpu *cpu, Profile &profile,
                  const OpChoice &choice, size_t capacity) {
    ops_.reset();
    inputs_.clear();
    ctx_ = Context(Context::size(capacity), "a graph");
    for (const auto &[name, shape] : key_.inputs) {
        const Folded f = fold(shape);
        const ggml_type type = arch.is_integer(name) ? GGML_TYPE_I32 : GGML_TYPE_F32;
        Tensor t = ggml_new_tensor(ctx_.get(), type, f.n_dims, f.ne);
        ggml_set_input(t);
        if (arch.is_constant_across_steps(name)) {
            ggml_set_output(t); // so that its memory is not reused
        }
        inputs_[name] = t;
    }
    ops_ = cpu ? cpu_ops(ctx_.get(), weights, *cpu, profile, capacity)
               : ggml_ops(ctx_.get(), weights, choice, capacity);
    ops_->adapt(key_.adapters);
    outputs_ = arch.forward(*ops_, inputs_, key_.outputs);
}

Graph::~Graph() {
    for (ggml_gallocr_t memory : {memory_, cache_memory_}) {
        if (memory) {
            quietly([&] { ggml_gallocr_free(memory); });
        }
    }
}

Tensor Graph::unsupported(const Device &device) const {
    for (int i = 0, n = ggml_graph_n_nodes(graph_); i < n; i++) {
        Tensor node = ggml_graph_node(graph_, i);
        if (!device.supports(node)) {
            return node;
        }
    }
    return nullptr;
}

std::vector<Tensor> Graph::weights(const Weights &all) const {
    std::vector<Tensor> out;
    for (int i = 0, n = ggml_graph_n_nodes(graph_); i < n; i++) {
        for (Tensor src : ggml_graph_node(graph_, i)->src) {
            if (src && all.index(origin(src)) < all.all().size() &&
                std::find(out.begin(), out.end(), origin(src)) == out.end()) {
                out.push_back(origin(src));
            }
        }
    }
    return out;
}

void Graph::cut(const Stream *stream) {
    for (int i = 0, n = ggml_graph_n_nodes(graph_); i < n; i++) {
        Tensor node = ggml_graph_node(graph_, i);
        int group = -1;
        for (Tensor src : node->src) {
            group = src && stream ? std::max(group, stream->group(origin(src))) : group;
        }
        const bool fits = !pieces_.empty() && pieces_.back().nodes.size() < kPiece &&
                          (group < 0 || pieces_.back().group < 0 || group == pieces_.back().group);
        if (!fits) {
            pieces_.push_back({{}, -1, nullptr});
        }
        pieces_.back().nodes.push_back(node);
        pieces_.back().group = std::max(pieces_.back().group, group);
    }
    pieces_ctx_ = Context(Context::size(0, pieces_.size(), kPiece), "a graph");
    for (Piece &p : pieces_) {
        p.graph = ggml_new_graph_custom(pieces_ctx_.get(), kPiece, false);
        for (Tensor node : p.nodes) {
            ggml_graph_add_node(p.graph, node);
        }
    }
}

double Graph::compute(Device &device, Stream *stream, const int32_t *cancel) {
    const double every_run = ops_->flop() - ops_->cached_flop();
    if (device.is_cpu()) {
        const bool stale = cache_graph_ && !cache_valid_;
        if (stale) {
            device.compute(cache_graph_, cancel);
            cache_valid_ = true;
        }
        device.compute(graph_, cancel);
        return stale ? ops_->flop() : every_run;
    }
    if (pieces_.empty()) {
        cut(stream);
    }
    for (size_t i = 0; i < pieces_.size(); i++) {
        const int group = pieces_[i].group;
        if (group >= 0) {
            stream->wait_for(group);
            // The first piece of the next run follows the last one.
            for (size_t k = 1; k < pieces_.size(); k++) {
                const int next = pieces_[(i + k) % pieces_.size()].group;
                if (next >= 0 && next != group) {
                    stream->prefetch(next, group);
                    break;
                }
            }
        }
        device.compute(pieces_[i].graph, cancel);
    }
    return every_run;
}

uint64_t Graph::size(const Device &device) const {
    uint64_t total = ops_->scratch_size();
    for (ggml_cgraph *graph : {graph_, cache_graph_}) {
        if (graph) {
            const std::unique_ptr<ggml_gallocr, void (*)(ggml_gallocr_t)> measure(
                ggml_gallocr_new(device.buffers()), ggml_gallocr_free);
            size_t bytes = 0;
            ggml_gallocr_reserve_n_size(measure.get(), graph, nullptr, nullptr, &bytes);
            total += bytes;
        }
    }
    return total;
}

void Graph::allocate(const Device &device) {
    if (Tensor node = unsupported(device)) {
        invalid("%s does not compute %s of these shapes and types", device.name(), ggml_op_desc(node));
    }
    const uint64_t needed = size(device);
    const auto allocate = [&](ggml_cgraph *graph, ggml_gallocr_t &memory) {
        memory = ggml_gallocr_new(device.buffers());
        if (!ggml_gallocr_reserve(memory, graph) || !ggml_gallocr_alloc_graph(memory, graph)) {
            no_memory("activations", needed);
        }
    };
    if (cache_graph_) {
        allocate(cache_graph_, cache_memory_);
        for (const Ops::Cached &c : ops_->cached()) {
            c.leaf->data = c.computed->data;
            c.leaf->buffer = c.computed->buffer;
        }
    }
    allocate(graph_, memory_);
    if (!ops_->allocate_scratch()) {
        no_memory("activations", needed);
    }
    allocated_ = true;
}

} // namespace sdgo
