#include "graph.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

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
    }
    if (in_order_) {
        expand_in_order();
        return;
    }
    for (auto &[name, t] : outputs_) {
        ggml_build_forward_expand(graph_, t);
    }
}

// Adds what the outputs depend on to the graph in the order in which it was made: a
// weight's gradient follows what it is made of, which then need not be kept, and ggml's
// recursion stays shallow.
void Graph::expand_in_order() {
    std::unordered_set<Tensor> needed;
    std::vector<Tensor> stack;
    for (auto &[name, t] : outputs_) {
        stack.push_back(t);
    }
    while (!stack.empty()) {
        Tensor t = stack.back();
        stack.pop_back();
        if (!t || !needed.insert(t).second) {
            continue;
        }
        stack.insert(stack.end(), std::begin(t->src), std::end(t->src));
        stack.push_back(t->view_src);
    }
    for (Tensor t = ggml_get_first_tensor(ctx_.get()); t; t = ggml_get_next_tensor(ctx_.get(), t)) {
        if (needed.count(t)) {
            ggml_build_forward_expand(graph_, t);
        }
    }
}

namespace {

// What inputs are called that say what the gradient of an output is, before its name.
constexpr std::pair<const char *, Seed> kSeeds[] = {
    {"d_", Seed::given}, {"mse_", Seed::squares}, {"entropy_", Seed::probability}};
constexpr const char *kFactor = "factor_"; // of the losses, for each element

bool begins(const std::string &name, const std::string &with) {
    return name.compare(0, with.size(), with) == 0;
}

const char *prefix_of(Seed how) {
    return std::find_if(std::begin(kSeeds), std::end(kSeeds), [&](auto &s) { return s.second == how; })
        ->first;
}

// Throws Code::invalid unless each loss has its factors, and only losses have.
void check_factors(const GraphKey &key, const Derivatives &d) {
    for (const auto &[name, how] : d.seeds) {
        if (how != Seed::given && !key.inputs.count(kFactor + name)) {
            invalid("input %s%s: there must be an input %s%s", prefix_of(how), name.c_str(), kFactor,
                    name.c_str());
        }
    }
    for (const auto &[name, shape] : key.inputs) {
        const auto of = begins(name, kFactor) ? d.seeds.find(name.substr(strlen(kFactor))) : d.seeds.begin();
        if (begins(name, kFactor) && (of == d.seeds.end() || of->second == Seed::given)) {
            invalid("input %s: is for one of the losses, mse_ and entropy_", name.c_str());
        }
    }
}

} // namespace

bool is_of_gradients(const std::string &input) {
    return begins(input, kFactor) ||
           std::any_of(std::begin(kSeeds), std::end(kSeeds), [&](auto &s) { return begins(input, s.first); });
}

bool is_integer(const Architecture &arch, const std::string &input) {
    return !is_of_gradients(input) && arch.is_integer(input);
}

Derivatives split(const Architecture &arch, const GraphKey &key, Shapes &inputs,
                  std::vector<std::string> &outputs) {
    static const std::string input = "d:", weight = "d:weight:", adapter = "d:adapter:";
    Derivatives d;
    for (const auto &[name, shape] : key.inputs) {
        if (!is_of_gradients(name)) {
            inputs[name] = shape;
        }
        for (const auto &[prefix, how] : kSeeds) {
            if (begins(name, prefix) && !d.seeds.emplace(name.substr(strlen(prefix)), how).second) {
                invalid("input %s: the output has a gradient already", name.c_str());
            }
        }
    }
    check_factors(key, d);
    for (const std::string &name : key.outputs) {
        if (begins(name, weight)) {
            d.weights.push_back(name.substr(weight.size()));
        } else if (begins(name, adapter)) {
            d.adapters.push_back(name.substr(adapter.size()));
        } else if (begins(name, input)) {
            d.inputs.push_back(name.substr(input.size()));
        } else {
            outputs.push_back(name);
        }
    }
    for (const auto &[name, how] : d.seeds) { // what has a gradient is computed
        if (std::find(outputs.begin(), outputs.end(), name) == outputs.end()) {
            outputs.push_back(name);
        }
    }
    for (const std::string &name : d.inputs) {
        if (!inputs.count(name) || arch.is_integer(name)) {
            invalid("output d:%s: there must be an input %s of float32", name.c_str(), name.c_str());
        }
    }
    if (d.seeds.empty() && d.any()) {
        invalid(
            "gradients are of an output OUT whose own gradient is the input d_OUT, or of a loss, mse_OUT or "
            "entropy_OUT: there is none");
    }
    return d;
}

Factor find_factor(const Adapters &adapters, const std::string &name) {
    static constexpr std::pair<const char *, Tensor LowRank::*> factors[] = {
        {"down", &LowRank::down}, {"mid", &LowRank::mid}, {"up", &LowRank::up}};
    const size_t dot = name.rfind('.');
    const std::string weight = name.substr(0, dot),
                      part = dot == std::string::npos ? "" : name.substr(dot + 1);
    for (const auto &adapter : adapters) {
        for (const LowRank &low : adapter->low_rank(weight)) {
            for (const auto &[known, member] : factors) {
                if (part == known && low.*member) {
                    return {weight, low.*member};
                }
            }
            invalid("output d:adapter:%s: a low-rank change has down and up, some have mid", name.c_str());
        }
    }
    invalid("output d:adapter:%s: no adapter of this run has a low-rank change of weight %s", name.c_str(),
            weight.c_str());
}

// Makes the tensors; throws Ops::Full if they are more than `capacity`.
void Graph::build(const Architecture &arch, Weights &weights, Cpu *cpu, Profile &profile,
                  const OpChoice &choice, size_t capacity) {
    ops_.reset();
    inputs_.clear();
    in_order_ = false;
    ctx_ = Context(Context::size(capacity), "a graph");
    for (const auto &[name, shape] : key_.inputs) {
        const Folded f = fold(shape);
        const ggml_type type = is_integer(arch, name) ? GGML_TYPE_I32 : GGML_TYPE_F32;
        Tensor t = ggml_new_tensor(ctx_.get(), type, f.n_dims, f.ne);
        ggml_set_input(t);
        if (arch.is_constant_across_steps(name)) {
            ggml_set_output(t); // so that its memory is not reused
        }
        inputs_[name] = t;
    }
    ops_ = cpu ? cpu_ops(ctx_.get(), weights, *cpu, profile, capacity)
               : ggml_ops(ctx_.get(), weights, choice, capacity);
    Shapes inputs;
    std::vector<std::string> outputs;
    const Derivatives d = split(arch, key_, inputs, outputs);
    if (d.any()) {
        differentiate(arch, weights, d, outputs, choice.segments, capacity);
    } else {
        ops_->adapt(key_.adapters);
        outputs_ = arch.forward(*ops_, inputs_, outputs);
    }
}

// Makes the tensors of the outputs and of gradients.
void Graph::differentiate(const Architecture &arch, Weights &weights, const Derivatives &d,
                          const std::vector<std::string> &outputs, int segments, size_t capacity) {
    Tape::Targets targets;
    for (const std::string &name : d.inputs) {
        targets.inputs[name] = inputs_.at(name);
        targets.of_constant = targets.of_constant || arch.is_constant_across_steps(name);
    }
    targets.weights.insert(d.weights.begin(), d.weights.end());
    for (const std::string &name : d.adapters) {
        targets.adapters[name] = find_factor(key_.adapters, name).tensor;
    }
    Tape tape(*ops_, ctx_.get(), weights, capacity, targets, segments);
    tape.adapt(key_.adapters);
    ops_->adapt(key_.adapters); // whose normalisations take what is in place of a weight
    const Tensors all = arch.forward(tape, inputs_, outputs);
    std::vector<std::pair<Tensor, Tensor>> seeds;
    for (const auto &[name, how] : d.seeds) {
        if (!all.count(name)) {
            invalid("input %s%s: there is no output %s", prefix_of(how), name.c_str(), name.c_str());
        }
        seeds.push_back({all.at(name), seed(arch, name, how, all.at(name))});
    }
    tape.backward(seeds);
    outputs_.clear();
    for (const std::string &name : key_.outputs) {
        const auto found = all.find(name);
        if (found != all.end()) {
            outputs_[name] = found->second;
        }
    }
    for (const std::string &name : d.inputs) {
        outputs_["d:" + name] = tape.gradient_of_input(name);
    }
    for (const std::string &name : d.weights) {
        outputs_["d:weight:" + name] = tape.gradient_of_weight(name, weights.shape(name));
    }
    for (const std::string &name : d.adapters) {
        outputs_["d:adapter:" + name] = tape.gradient_of_adapter(name);
    }
    in_order_ = true;
}

// An input that has an output's shape, or as many elements, as a tensor of its shape.
Tensor Graph::like(const Architecture &arch, const std::string &input, const std::string &name,
                   Tensor output) {
    const Shape expected = arch.output_shape(name, key_.inputs, output->ne);
    const Shape &given = key_.inputs.at(input);
    Tensor t = inputs_.at(input);
    if (given != expected && !std::equal(output->ne, output->ne + kTensorDims, t->ne)) {
        invalid("input %s must have the shape of %s, %s, got %s", input.c_str(), name.c_str(),
                text(expected).c_str(), text(given).c_str());
    }
    return ggml_reshape_4d(ctx_.get(), t, output->ne[0], output->ne[1], output->ne[2], output->ne[3]);
}

// The gradient of an output.
Tensor Graph::seed(const Architecture &arch, const std::string &name, Seed how, Tensor output) {
    Tensor given = like(arch, prefix_of(how) + name, name, output);
    if (how == Seed::given) {
        return given;
    }
    Tensor from = how == Seed::squares
                      ? output
                      : ggml_soft_max_ext(ctx_.get(), ggml_cont(ctx_.get(), output), nullptr, 1, 0);
    return ggml_mul(ctx_.get(), ggml_sub(ctx_.get(), from, given), like(arch, kFactor + name, name, output));
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
        computed_ = true;
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
