#include "session.h"

#include <algorithm>
#include <cstring>

using namespace sdgo;

namespace sdgo {

namespace {

// Graphs that a net keeps: one for the sampling loop and one for runs between its steps.
constexpr size_t kMaxGraphs = 2;

// The most elements of an input; no reasonable request has more.
constexpr int64_t kMaxElements = int64_t(1) << 32;

Shape shape_of(const sdgo_input &in) {
    if (in.n_dims < 1 || in.n_dims > SDGO_MAX_DIMS) {
        invalid("input %s must have 1 to %d dimensions, got %d", in.name, SDGO_MAX_DIMS, in.n_dims);
    }
    int64_t n = 1;
    for (int d = 0; d < in.n_dims; d++) {
        if (in.shape[d] < 1 || in.shape[d] > kMaxElements / n) {
            invalid("input %s: dimension %d must be at least 1, and all elements at most %lld, got %lld",
                    in.name, d, (long long)kMaxElements, (long long)in.shape[d]);
        }
        n *= in.shape[d];
    }
    return Shape(in.shape, in.shape + in.n_dims);
}

} // namespace

} // namespace sdgo

sdgo_net::sdgo_net(std::unique_ptr<Architecture> arch, size_t device, int threads, const char *kernels)
    : device_(device, threads), arch_(std::move(arch)) {
    if (device_.is_cpu() && !(kernels && strcmp(kernels, "ggml") == 0)) {
        // The kernels upload their own threads; ggml walks the graph with one.
        cpu_ = std::make_unique<Cpu>(threads, kernels);
        device_.set_threads(1);
    }
    // The declaring pass: building a graph asks for every weight.
    nominal();
    weights_.seal();
}

GraphKey sdgo_net::key(const Request &r) const {
    GraphKey k;
    for (size_t i = 0; i < r.n_inputs; i++) {
        if (!k.inputs.emplace(r.inputs[i].name, shape_of(r.inputs[i])).second) {
            invalid("input %s is given twice", r.inputs[i].name);
        }
    }
    for (size_t i = 0; i < r.n_outputs; i++) {
        k.outputs.push_back(r.outputs[i].name);
    }
    for (size_t i = 0; i < r.n_adapters; i++) {
        const sdgo_adapter *a = r.adapters[i].adapter;
        if (!a || a->net != this) {
            invalid("adapter %zu was not made for this net", i);
        }
        k.adapters.push_back(a->adapter);
    }
    if (k.outputs.empty()) {
        invalid("no output is asked for");
    }
    Shapes inputs;
    std::vector<std::string> outputs;
    const Derivatives d = split(*arch_, k, inputs, outputs);
    arch_->check(inputs, outputs);
    for (const std::string &name : d.weights) {
        weights_.shape(name);
    }
    return k;
}

// A graph of the smallest inputs, which uses every weight.
Graph sdgo_net::nominal() const {
    return Graph(*arch_, weights_, {arch_->nominal_inputs(), arch_->nominal_outputs()}, nullptr, profile_,
                 choice_);
}

void sdgo_net::load(const sdgo_load &how) {
    const DeviceLock lock(device_, how.cancel);
    how_ = how; // its pointers are valid during this call alone
    if (device_.is_cpu()) {
        weights_.load();
        for (const Weight &w : weights_.all()) {
            if (cpu_ && w.mapped > 0) {
                cpu_->kept.mapped(w.tensor, w.data, w.mapped);
            }
        }
        return;
    }
    convert_unsupported();
    upload({how.uploaded, how.cancel});
}

// Copies the weights to a device that is not the CPU.
void sdgo_net::upload(const Progress &progress) {
    if (how_.memory > 0) {
        stream_ = std::make_unique<Stream>(device_, weights_, nominal().weights(weights_), how_.memory);
        weights_.set_loaded(true);
    } else {
        weights_.load(device_, how_.keep, progress);
    }
    unloaded_ = false;
}

void sdgo_net::unload() {
    if (!weights_.loaded() || device_.is_cpu() || !how_.keep) {
        return;
    }
    const DeviceLock lock(device_, nullptr);
    graphs_.clear();
    stream_.reset();
    weights_.unload();
    unloaded_ = true;
}

// Brings weights whose bytes have changed to where the device reads them.
void sdgo_net::changed(const size_t *weights, size_t n) {
    if (!weights_.loaded() && !unloaded_) {
        invalid("the net is not loaded");
    }
    for (size_t i = 0; i < n; i++) {
        if (weights[i] >= weights_.all().size()) {
            invalid("weight %zu does not exist: the net has %zu", weights[i], weights_.all().size());
        }
        const Weight &w = weights_.all()[weights[i]];
        if (w.owned || w.tensor->type != GGML_TYPE_F32) {
            invalid("weight %s is not used as it was bound: it must be float32, at a multiple of four",
                    w.name.c_str());
        }
    }
    if (!device_.is_cpu() && !how_.keep) {
        invalid("weights of a net that was loaded without keeping them can't change");
    }
    const DeviceLock lock(device_, nullptr);
    for (Graph &g : graphs_) {
        g.invalidate_cache(); // what it kept may have been computed from them
    }
    const bool copied = !device_.is_cpu() && !stream_ && !unloaded_; // else the next run copies
    for (size_t i = 0; i < n && copied; i++) {
        weights_.upload(weights[i], {nullptr, nullptr});
    }
}

void sdgo_net::choose(const OpChoice &choice) {
    const DeviceLock lock(device_, nullptr);
    graphs_.clear();
    choice_ = choice;
    if (cpu_) {
        cpu_->fast = choice.fast;
    }
}

// Converts weights of types that the device can't compute with to float32.
void sdgo_net::convert_unsupported() {
    weights_.check();
    for (;;) {
        const Graph g = nominal();
        Tensor node = g.unsupported(device_);
        if (!node) {
            return;
        }
        bool changed = false;
        for (Tensor src : node->src) {
            while (src && src->view_src) {
                src = src->view_src;
            }
            changed = changed || (src && weights_.make_float32(src));
        }
        if (!changed) {
            invalid("%s does not compute %s", device_.name(), ggml_op_desc(node));
        }
    }
}

// The graph for such a run, which may not have memory yet.
Graph &sdgo_net::graph(const GraphKey &key) {
    const auto found =
        std::find_if(graphs_.begin(), graphs_.end(), [&](const Graph &g) { return g.key() == key; });
    if (found != graphs_.end()) {
        graphs_.splice(graphs_.begin(), graphs_, found);
        return graphs_.front();
    }
    while (graphs_.size() >= kMaxGraphs) {
        graphs_.pop_back();
    }
    OpChoice choice = choice_;
    choice.float32 = choice.float32 || weights_.exact(); // as the weights ask for
    graphs_.emplace_front(*arch_, weights_, key, cpu_.get(), profile_, choice);
    return graphs_.front();
}

sdgo_needs sdgo_net::prepare(const Request &r) {
    if (!device_.is_cpu() || !weights_.loaded()) {
        return {0, 0};
    }
    const Graph &g = graph(key(r));
    return {g.allocated() ? 0 : g.size(device_), g.unkept()};
}

// Lets runs from now on keep so many more bytes of weights in kernels' own forms.
void sdgo_net::keep(uint64_t bytes) {
    if (cpu_) {
        cpu_->kept.allow(bytes);
    }
}

void sdgo_net::run(const Request &r, sdgo_output *outputs, const int32_t *cancel) {
    const DeviceLock lock(device_, cancel);
    if (unloaded_) {
        upload({nullptr, cancel});
    }
    if (!weights_.loaded()) {
        invalid("the net is not loaded");
    }
    Graph &g = graph(key(r));
    if (!g.allocated()) {
        try {
            g.allocate(device_);
        } catch (...) {
            graphs_.pop_front();
            throw;
        }
    }
    for (size_t i = 0; i < r.n_inputs; i++) {
        Tensor t = g.input(r.inputs[i].name);
        if (!t->data) { // these outputs don't depend on it
            continue;
        }
        if (g.has_cache() && arch_->is_constant_across_steps(r.inputs[i].name) && differs(t, r.inputs[i])) {
            g.invalidate_cache();
        }
        set_input(t, r.inputs[i]);
    }
    set_strengths(r, g);
    const Stopwatch watch;
    double flop = 0;
    if (cpu_) {
        cpu_->cancel = cancel;
    }
    try {
        flop = g.compute(device_, stream_.get(), cancel);
    } catch (const Error &e) {
        if (e.code != Code::cancelled) {
            recover();
        }
        throw;
    } catch (...) {
        recover();
        throw;
    }
    profile_.add("", flop, watch.seconds());
    for (size_t i = 0; i < r.n_outputs; i++) {
        get_output(g, outputs[i]);
    }
}

std::unique_ptr<sdgo_adapter> sdgo_net::adapt(const std::vector<Change> &changes) const {
    const DeviceLock lock(device_, nullptr);
    auto a = std::make_unique<sdgo_adapter>();
    a->adapter = std::make_shared<Adapter>(weights_, device_, changes);
    a->net = this;
    a->mutex = device_.mutex();
    return a;
}

void sdgo_net::update(sdgo_adapter &adapter, const std::vector<Change> &changes) {
    if (adapter.net != this) {
        invalid("the adapter was not made for this net");
    }
    const DeviceLock lock(device_, nullptr);
    adapter.adapter->update(changes);
    for (Graph &g : graphs_) {
        g.invalidate_cache(); // what it kept may have been computed with the adapter
    }
}

void sdgo_net::set_strengths(const Request &r, Graph &g) const {
    std::vector<float> strengths;
    for (size_t i = 0; i < r.n_adapters; i++) {
        r.adapters[i].adapter->adapter->set_strength(r.adapters[i].strength);
        strengths.push_back(r.adapters[i].strength);
    }
    g.set_strengths(strengths);
}

// Whether an input differs from what its tensor, in the CPU's memory, holds.
bool sdgo_net::differs(Tensor t, const sdgo_input &in) {
    const void *data = in.value ? in.value->tensor->data : in.data;
    return !data || memcmp(data, t->data, ggml_nbytes(t)) != 0;
}

// After a failure a GPU's backend may be in any state. A new one serves the next run, if
// the device still works.
void sdgo_net::recover() {
    if (!device_.is_cpu()) {
        graphs_.clear();
        device_.reopen();
    }
}

void sdgo_net::set_input(Tensor t, const sdgo_input &in) const {
    const bool integer = is_integer(*arch_, in.name);
    if ((in.element == SDGO_I32) != integer) {
        invalid("input %s must be of type %s", in.name, integer ? "int32" : "float32");
    }
    if (in.value) {
        if (!std::equal(t->ne, t->ne + kTensorDims, in.value->tensor->ne)) {
            invalid("input %s: its value must have the shape %s, got %s", in.name,
                    text(Shape(in.shape, in.shape + in.n_dims)).c_str(), text(in.value->shape).c_str());
        }
        ggml_backend_tensor_copy(in.value->tensor, t);
        return;
    }
    if (!in.data) {
        invalid("input %s has no data", in.name);
    }
    if (integer) {
        const int32_t *ids = static_cast<const int32_t *>(in.data);
        const int64_t all = arch_->vocabulary(in.name);
        for (int64_t i = 0, n = ggml_nelements(t); i < n; i++) {
            if (ids[i] < 0 || ids[i] >= all) {
                invalid("input %s: token ids must be 0 to %lld, got %d", in.name, (long long)all - 1, ids[i]);
            }
        }
    }
    ggml_backend_tensor_set(t, in.data, 0, ggml_nbytes(t));
}

// A gradient's shape is that of what it is the gradient of.
Shape sdgo_net::output_shape(const Graph &g, const std::string &name, const int64_t *ne) const {
    Shapes inputs;
    std::vector<std::string> outputs;
    const Derivatives d = split(*arch_, g.key(), inputs, outputs);
    const auto is = [&](const char *prefix) {
        return [&, prefix](const std::string &s) { return prefix + s == name; };
    };
    const auto input = std::find_if(d.inputs.begin(), d.inputs.end(), is("d:"));
    if (input != d.inputs.end()) {
        return inputs.at(*input);
    }
    const auto factor = std::find_if(d.adapters.begin(), d.adapters.end(), is("d:adapter:"));
    if (factor != d.adapters.end()) {
        const Factor f = find_factor(g.key().adapters, *factor);
        return unfold(f.tensor->ne, int(weights_.shape(f.weight).size()));
    }
    const auto weight = std::find_if(d.weights.begin(), d.weights.end(), is("d:weight:"));
    return weight != d.weights.end() ? weights_.shape(*weight) : arch_->output_shape(name, inputs, ne);
}

void sdgo_net::get_output(const Graph &g, sdgo_output &out) const {
    const Tensor t = g.output(out.name);
    if (out.data) {
        if (int64_t(out.count) != ggml_nelements(t)) {
            invalid("output %s has %lld elements, got room for %zu", out.name, (long long)ggml_nelements(t),
                    out.count);
        }
        ggml_backend_tensor_get(t, out.data, 0, ggml_nbytes(t));
        return;
    }
    auto v = std::make_unique<sdgo_value>();
    v->mutex = device_.mutex();
    v->shape = output_shape(g, out.name, t->ne);
    v->ctx = Context(Context::size(1), "an output");
    v->tensor = ggml_new_tensor(v->ctx.get(), GGML_TYPE_F32, kTensorDims, t->ne);
    v->buffer = Buffer(ggml_backend_alloc_ctx_tensors(v->ctx.get(), device_.backend()));
    if (!v->buffer) {
        no_memory("an output", ggml_nbytes(t));
    }
    ggml_backend_tensor_copy(t, v->tensor);
    out.value = v.release();
}

uint64_t sdgo_net::estimate(const Request &r) {
    if (!weights_.loaded() && device_.is_cpu()) {
        invalid("the net is not loaded");
    }
    return Graph(*arch_, weights_, key(r), cpu_.get(), profile_, choice_).size(device_);
}
