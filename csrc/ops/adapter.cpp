#include "ops/adapter.h"

#include <cmath>

namespace sdgo {

namespace {

// Ranks above any that trainers offer; it bounds the size of a graph's tensors.
constexpr int64_t kMaxRank = 1 << 14;

Tensor matrix(ggml_context *ctx, ggml_type type, const Shape &shape) {
    const Folded f = fold(shape);
    return ggml_new_tensor(ctx, type, f.n_dims, f.ne);
}

} // namespace

const void *PackedFactors::get(size_t bytes, std::function<void(void *to)> fill) {
    if (!fill_) {
        if (!memory_.reserve(bytes)) {
            no_memory("an adapter", bytes);
        }
        fill_ = std::move(fill);
        fill_(memory_.data());
    }
    return memory_.data();
}

void PackedFactors::refill() const {
    if (fill_) {
        fill_(memory_.data());
    }
}

Adapter::Adapter(const Weights &weights, const Device &device, const std::vector<Change> &changes)
    : ctx_(Context::size(4 * changes.size() + 1), "an adapter") {
    std::vector<std::pair<Tensor, const void *>> data;
    for (const Change &c : changes) {
        if (c.weight >= weights.all().size()) {
            invalid("weight %zu does not exist: the net has %zu", c.weight, weights.all().size());
        }
        declare(weights.all()[c.weight], c, data);
    }
    if (data.empty()) {
        return;
    }
    uint64_t total = 0;
    for (const auto &[t, from] : data) {
        total += ggml_nbytes(t);
    }
    buffer_ = Buffer(ggml_backend_alloc_ctx_tensors(ctx_.get(), device.backend()));
    if (!buffer_) {
        no_memory("an adapter", total);
    }
    ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    for (const auto &[t, from] : data) {
        ggml_backend_tensor_set(t, from, 0, ggml_nbytes(t));
    }
}

void Adapter::declare(const Weight &w, const Change &c, std::vector<std::pair<Tensor, const void *>> &data) {
    const auto add = [&](ggml_type type, const Shape &shape, const void *from) {
        Tensor t = matrix(ctx_.get(), type, shape);
        data.emplace_back(t, from);
        return t;
    };
    if (c.type != GGML_TYPE_F32 && c.type != GGML_TYPE_F16) {
        invalid("a change of weight %s must be of type f32 or f16", w.name.c_str());
    }
    if (c.whole) {
        if (w.shape.size() == 1 && c.type != GGML_TYPE_F32) {
            invalid("a change of weight %s must be of type f32: it is a vector", w.name.c_str());
        }
        Tensor whole = add(c.type, w.shape, c.whole);
        if (!whole_.emplace(w.name, whole).second) {
            invalid("weight %s is replaced twice", w.name.c_str());
        }
        made_.push_back({c.weight, c.type, whole, {}});
        return;
    }
    if (w.shape.size() != 2 && w.shape.size() != 4) {
        invalid("weight %s has the shape %s: a low-rank change takes a matrix or a convolution",
                w.name.c_str(), text(w.shape).c_str());
    }
    if (c.rank < 1 || c.rank > kMaxRank || !c.down || !c.up || !c.scale) {
        invalid("a low-rank change of weight %s must have two matrices of a rank of 1 to %lld, got %lld",
                w.name.c_str(), (long long)kMaxRank, (long long)c.rank);
    }
    const int64_t r = c.rank, out = w.shape[0], in = w.shape[1];
    LowRank low;
    if (w.shape.size() == 2) {
        if (c.mid) {
            invalid("a low-rank change of weight %s, a matrix, has no third factor", w.name.c_str());
        }
        low.down = add(c.type, {r, in}, c.down);
        low.up = add(c.type, {out, r}, c.up);
    } else {
        const Shape kernel = {w.shape[2], w.shape[3]};
        low.down =
            c.mid ? add(c.type, {r, in, 1, 1}, c.down) : add(c.type, {r, in, kernel[0], kernel[1]}, c.down);
        low.mid = c.mid ? add(c.type, {r, r, kernel[0], kernel[1]}, c.mid) : nullptr;
        low.up = add(c.type, {out, r, 1, 1}, c.up);
    }
    low.scale = add(GGML_TYPE_F32, {r}, c.scale);
    low.packed = std::make_shared<PackedFactors>();
    scales_.push_back({low.scale, std::vector<float>(c.scale, c.scale + r)});
    low_rank_[w.name].push_back(low);
    made_.push_back({c.weight, c.type, nullptr, low});
}

bool Adapter::fits(const Made &made, const Change &c) {
    if (c.weight != made.weight || c.type != made.type || (c.whole != nullptr) != (made.whole != nullptr)) {
        return false;
    }
    const LowRank &low = made.low;
    return made.whole ||
           (c.rank == low.rank() && c.down && c.up && c.scale && (c.mid != nullptr) == (low.mid != nullptr));
}

void Adapter::update(const std::vector<Change> &changes) {
    bool same = changes.size() == made_.size();
    for (size_t i = 0; same && i < changes.size(); i++) {
        same = fits(made_[i], changes[i]);
    }
    if (!same) {
        invalid("an adapter's new changes must be of the same weights, types and ranks, in the same order");
    }
    size_t scale = 0;
    for (size_t i = 0; i < changes.size(); i++) {
        const Change &c = changes[i];
        const LowRank &low = made_[i].low;
        const std::pair<Tensor, const void *> arrays[] = {
            {made_[i].whole, c.whole}, {low.down, c.down}, {low.mid, c.mid}, {low.up, c.up}};
        for (const auto &[t, from] : arrays) {
            if (t) {
                ggml_backend_tensor_set(t, from, 0, ggml_nbytes(t));
            }
        }
        if (low.packed) {
            low.packed->refill();
        }
        if (low.scale) {
            scales_[scale++].values.assign(c.scale, c.scale + c.rank);
        }
    }
    set_scales();
}

void Adapter::set_scales() const {
    for (const Scale &s : scales_) {
        std::vector<float> values = s.values;
        for (float &v : values) {
            v *= strength_;
        }
        ggml_backend_tensor_set(s.tensor, values.data(), 0, values.size() * sizeof(float));
    }
}

const std::vector<LowRank> &Adapter::low_rank(const std::string &weight) const {
    static const std::vector<LowRank> none;
    const auto found = low_rank_.find(weight);
    return found == low_rank_.end() ? none : found->second;
}

Tensor Adapter::whole(const std::string &weight) const {
    const auto found = whole_.find(weight);
    return found == whole_.end() ? nullptr : found->second;
}

void Adapter::set_strength(float strength) const {
    if (!std::isfinite(strength)) {
        invalid("an adapter's strength must be a number");
    }
    if (strength == strength_) {
        return;
    }
    strength_ = strength;
    set_scales();
}

} // namespace sdgo
