#include "grad/tape.h"

#include "core/context.h"

#include <algorithm>
#include <cstring>

namespace sdgo {

namespace {

// A tensor that holds no value of its own: ggml's views look into another one.
bool is_leaf(Tensor t) {
    return std::all_of(std::begin(t->src), std::end(t->src), [&](Tensor s) { return !s || s == t; });
}

} // namespace

Tape::Tape(Ops &ops, ggml_context *ctx, Weights &weights, size_t capacity, Targets targets, int segments)
    : Ops(ctx, weights, capacity), ops_(ops), targets_(std::move(targets)), segments_(std::max(1, segments)) {
    ops_.set_max_nodes(kMaxGradientNodes);
    set_max_nodes(kMaxGradientNodes);
}

// Remembers an operator by its result. One that returned its input did nothing.
Tensor Tape::record(Recorded r) {
    Tensor y = r.make(ops_, r.inputs);
    if (std::find(r.inputs.begin(), r.inputs.end(), y) == r.inputs.end()) {
        records_[y] = std::move(r);
    }
    return y;
}

// What depends on a constant input or a weight changes from run to run, if those are what
// gradients are asked for: it is part of the graph.
Tensor Tape::cache(const std::function<Tensor()> &make) {
    const bool changes = targets_.of_constant || !targets_.weights.empty() || !targets_.adapters.empty();
    return changes ? make() : ops_.cache(make);
}

bool Tape::depends(Tensor t) const {
    const auto of = [&](Tensor s) { return s && s != t && dependent_.count(s) > 0; };
    const auto r = records_.find(t);
    if (r == records_.end()) {
        return std::any_of(std::begin(t->src), std::end(t->src), of) || of(t->view_src);
    }
    const auto &[inputs, names] = std::tie(r->second.inputs, r->second.weights);
    return std::any_of(inputs.begin(), inputs.end(), of) ||
           std::any_of(names.begin(), names.end(), [&](const std::string &name) { return wants(name); });
}

void Tape::find_dependent() {
    for (const auto *targets : {&targets_.inputs, &targets_.adapters}) {
        for (const auto &[name, t] : *targets) {
            dependent_.insert(t);
        }
    }
    for (const Weight &w : weights_.all()) {
        if (w.tensor && wants(w.name)) {
            dependent_.insert(w.tensor);
        }
    }
    for (Tensor t = ggml_get_first_tensor(ctx_); t; t = ggml_get_next_tensor(ctx_, t)) {
        order_[t] = tensors_.size();
        tensors_.push_back(t);
        if (depends(t)) {
            dependent_.insert(t);
        }
    }
}

// Before tensor i's gradient is passed on.
void Tape::begin_segment(size_t i) {
    const size_t size = (tensors_.size() + size_t(segments_) - 1) / size_t(segments_);
    const size_t from = i / size * size;
    if (copies_.empty() || from != from_) {
        copies_.clear();
    }
    from_ = from;
    again_ = from + size < tensors_.size(); // the last one's tensors were computed right before
}

void Tape::backward(const std::vector<std::pair<Tensor, Tensor>> &seeds) {
    find_dependent();
    for (const auto &[output, seed] : seeds) {
        give(output, seed);
    }
    for (size_t i = tensors_.size(); i-- > 0;) {
        Tensor t = tensors_[i];
        const auto g = gradients_.find(t);
        if (g == gradients_.end() || (is_leaf(t) && !records_.count(t))) {
            continue;
        }
        expect_room();
        begin_segment(i);
        const auto r = records_.find(t);
        if (r == records_.end()) {
            derive_elementary(*this, t, g->second);
            continue;
        }
        std::vector<Tensor> in;
        for (Tensor x : r->second.inputs) {
            in.push_back(x ? value(x) : nullptr);
        }
        Tensor dy = g->second;
        r->second.derive(*this, r->second, in, value(t), dy);
    }
}

void Tape::give(Tensor t, Tensor g) {
    if (!wants(t)) {
        return;
    }
    if (!std::equal(t->ne, t->ne + kTensorDims, g->ne)) {
        g = ggml_reshape_4d(ctx_, g, t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
    }
    Tensor &all = gradients_[t];
    all = sum(all, g);
}

void Tape::give(const std::string &weight, Tensor g) {
    if (wants(weight)) {
        Tensor &all = weight_gradients_[weight];
        all = sum(all, g);
    }
}

Tensor Tape::sum(Tensor a, Tensor b) {
    return a ? ggml_add(ctx_, a, b) : b;
}

Tensor Tape::weight32(const std::string &name, const Shape &shape) {
    return float32(weight(name, shape));
}

Tensor Tape::float32(Tensor w) {
    return w->type == GGML_TYPE_F32 ? w : ggml_cast(ctx_, w, GGML_TYPE_F32);
}

// A tensor from before the segment is kept, and so is an input or weight. Others are
// computed again, once for the segment.
Tensor Tape::value(Tensor t) {
    const auto at = order_.find(t);
    if (!again_ || at == order_.end() || at->second < from_ || (is_leaf(t) && !records_.count(t))) {
        return t;
    }
    const auto found = copies_.find(t);
    if (found != copies_.end()) {
        return found->second;
    }
    expect_room();
    Tensor c = copy(t);
    copies_[t] = c;
    return c;
}

// The same operator of the values of its inputs.
Tensor Tape::copy(Tensor t) {
    const auto r = records_.find(t);
    if (r != records_.end()) {
        std::vector<Tensor> in;
        for (Tensor x : r->second.inputs) {
            in.push_back(x ? value(x) : nullptr);
        }
        return r->second.make(ops_, in);
    }
    std::vector<Tensor> sources;
    for (Tensor s : t->src) {
        sources.push_back(s && s != t ? value(s) : s);
    }
    Tensor into = t->view_src ? value(t->view_src) : nullptr;
    Tensor c = ggml_new_tensor(ctx_, t->type, kTensorDims, t->ne);
    std::copy(std::begin(t->nb), std::end(t->nb), c->nb);
    c->op = t->op;
    std::copy(std::begin(t->op_params), std::end(t->op_params), c->op_params);
    for (size_t i = 0; i < sources.size(); i++) {
        c->src[i] = sources[i] == t ? c : sources[i];
    }
    if (into) {
        c->view_offs = t->view_offs + into->view_offs;
        c->view_src = into->view_src ? into->view_src : into;
    }
    return c;
}

Tensor Tape::gradient_of_input(const std::string &name) {
    Tensor t = targets_.inputs.at(name);
    const auto g = gradients_.find(t);
    Tensor out = g == gradients_.end() ? ggml_scale(ctx_, t, 0) : g->second;
    return ggml_cont(ctx_, out); // of its own, also where it is the seed
}

Tensor Tape::gradient_of_adapter(const std::string &name) {
    const auto g = gradients_.find(targets_.adapters.at(name));
    if (g == gradients_.end()) {
        invalid("no output depends on the adapter's %s", name.c_str());
    }
    return ggml_cont(ctx_, g->second);
}

Tensor Tape::gradient_of_weight(const std::string &name, const Shape &shape) {
    const Folded f = fold(shape);
    const auto g = weight_gradients_.find(name);
    Tensor out = g == weight_gradients_.end() ? nullptr : g->second;
    for (const Weight &w : weights_.all()) { // one that elementary operators read
        const auto read = w.name == name && w.tensor ? gradients_.find(w.tensor) : gradients_.end();
        if (read != gradients_.end()) {
            out = sum(out, ggml_reshape_4d(ctx_, read->second, f.ne[0], f.ne[1], f.ne[2], f.ne[3]));
        }
    }
    if (!out) {
        invalid("no output depends on weight %s", name.c_str());
    }
    return ggml_reshape_4d(ctx_, out, f.ne[0], f.ne[1], f.ne[2], f.ne[3]);
}

Tensor sum_to(ggml_context *ctx, Tensor x, const int64_t *shape) {
    if (std::equal(shape, shape + kTensorDims, x->ne)) {
        return x;
    }
    // Rows first: ggml sums them in double precision.
    if (shape[0] == 1 && x->ne[0] > 1) {
        x = ggml_sum_rows(ctx, x);
    }
    if (!std::equal(shape, shape + kTensorDims, x->ne)) {
        Tensor like = ggml_new_tensor(ctx, GGML_TYPE_F32, kTensorDims, shape);
        x = ggml_repeat_back(ctx, x, like);
    }
    return x;
}

} // namespace sdgo
