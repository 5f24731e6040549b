#include "graph.h"

#include <algorithm>

namespace sdgo {

namespace {

// Nodes of the largest net that the architectures' limits allow, with room.
constexpr size_t kMaxNodes = 1 << 14;

// Nodes that a GPU is given at once: enough that waiting for it costs nothing
// that can be measured, few enough that cancelling seems immediate.
constexpr size_t kPiece = 64;

// What a view is one of.
Tensor origin(Tensor t) {
    while (t->view_src) {
        t = t->view_src;
    }
    return t;
}

} // namespace

Graph::Graph(const Architecture &arch, Weights &weights, const GraphKey &key, Cpu *cpu, Profile &profile,
             const Ways &ways)
    : key_(key) {
    const size_t size = kMaxNodes * ggml_tensor_overhead() + 2 * ggml_graph_overhead_custom(kMaxNodes, false);
    ctx_ = ggml_init({size, nullptr, true});
    if (!ctx_) {
        no_memory("a graph", size);
    }
    try {
        for (const auto &[name, shape] : key.inputs) {
            int64_t ne[SDGO_MAX_DIMS];
            for (size_t d = 0; d < shape.size(); d++) {
                ne[d] = shape[shape.size() - 1 - d];
            }
            const ggml_type type = arch.is_integer(name) ? GGML_TYPE_I32 : GGML_TYPE_F32;
            Tensor t = ggml_new_tensor(ctx_, type, int(shape.size()), ne);
            ggml_set_input(t);
            if (arch.is_lasting(name)) {
                ggml_set_output(t); // its memory must last, too
            }
            inputs_[name] = t;
        }
        ops_ = cpu ? cpu_ops(ctx_, weights, *cpu, profile) : ggml_ops(ctx_, weights, ways);
        outputs_ = arch.forward(*ops_, inputs_, key.outputs);
        if (!ops_->kept().empty()) {
            kept_ = ggml_new_graph_custom(ctx_, kMaxNodes, false);
            for (const Ops::Kept &k : ops_->kept()) {
                ggml_set_output(k.computed);
                ggml_build_forward_expand(kept_, k.computed);
            }
        }
        graph_ = ggml_new_graph_custom(ctx_, kMaxNodes, false);
        for (auto &[name, t] : outputs_) {
            ggml_set_output(t);
            ggml_build_forward_expand(graph_, t);
        }
    } catch (...) {
        ggml_free(ctx_);
        throw;
    }
}

Graph::~Graph() {
    for (ggml_gallocr_t memory : {memory_, kept_memory_}) {
        if (memory) {
            quietly([&] { ggml_gallocr_free(memory); });
        }
    }
    ggml_free(pieces_ctx_);
    ggml_free(ctx_);
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
    const size_t size = pieces_.size() * ggml_graph_overhead_custom(kPiece, false);
    pieces_ctx_ = ggml_init({size, nullptr, true});
    if (!pieces_ctx_) {
        no_memory("a graph", size);
    }
    for (Piece &p : pieces_) {
        p.graph = ggml_new_graph_custom(pieces_ctx_, kPiece, false);
        for (Tensor node : p.nodes) {
            ggml_graph_add_node(p.graph, node);
        }
    }
}

double Graph::compute(Device &device, Stream *stream, const int32_t *cancel) {
    const double every_run = ops_->flop() - ops_->kept_flop();
    if (device.is_cpu()) {
        const bool stale = kept_ && !fresh_;
        if (stale) {
            device.compute(kept_, cancel);
            fresh_ = true;
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
            stream->need(group);
            for (size_t k = 1; k < pieces_.size();
                 k++) { // behind the last piece the next run's first follows
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
    for (ggml_cgraph *graph : {graph_, kept_}) {
        if (graph) {
            ggml_gallocr_t measure = ggml_gallocr_new(ggml_backend_get_default_buffer_type(device.backend()));
            size_t bytes = 0;
            ggml_gallocr_reserve_n_size(measure, graph, nullptr, nullptr, &bytes);
            ggml_gallocr_free(measure);
            total += bytes;
        }
    }
    return total;
}

void Graph::allocate(const Device &device) {
    if (Tensor node = unsupported(device)) {
        invalid("%s does not compute %s of these shapes and types", device.name(), ggml_op_desc(node));
    }
    const uint64_t wanted = size(device);
    const auto allocate = [&](ggml_cgraph *graph, ggml_gallocr_t &memory) {
        memory = ggml_gallocr_new(ggml_backend_get_default_buffer_type(device.backend()));
        if (!ggml_gallocr_reserve(memory, graph) || !ggml_gallocr_alloc_graph(memory, graph)) {
            no_memory("activations", wanted);
        }
    };
    if (kept_) {
        allocate(kept_, kept_memory_);
        for (const Ops::Kept &k : ops_->kept()) {
            k.leaf->data = k.computed->data;
            k.leaf->buffer = k.computed->buffer;
        }
    }
    allocate(graph_, memory_);
    if (!ops_->allocate_scratch()) {
        no_memory("activations", wanted);
    }
}

} // namespace sdgo
