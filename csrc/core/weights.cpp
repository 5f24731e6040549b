#include "core/weights.h"

#include <algorithm>
#include <cstring>

namespace sdgo {

namespace {

// Bytes of a weight that are uploaded at once; after each such piece progress is
// reported and the cancel flag is checked.
constexpr size_t kUpload = 32 << 20;

int64_t elements(const Shape &shape) {
    int64_t n = 1;
    for (int64_t d : shape) {
        n *= d;
    }
    return n;
}

// Types whose rows ggml can turn into floats; everything else (integers,
// doubles, intermediate formats) is not a weight's type.
const ggml_type_traits *weight_traits(int type, const std::string &name) {
    if (type >= 0 && type < GGML_TYPE_COUNT) {
        const ggml_type_traits *t = ggml_get_type_traits(ggml_type(type));
        if (type == GGML_TYPE_F32 || (t->blck_size > 0 && t->type_size > 0 && t->to_float)) {
            return t;
        }
    }
    invalid("weight %s: type %d is not a type of weights", name.c_str(), type);
}

} // namespace

size_t Weights::require(const std::string &name, const Shape &shape) {
    const auto found = index_.find(name);
    if (found != index_.end()) {
        if (all_[found->second].shape != shape) {
            invalid("weight %s is used with two shapes", name.c_str());
        }
        return found->second;
    }
    if (sealed()) {
        invalid("the net has no weight %s", name.c_str());
    }
    all_.push_back(Weight{});
    all_.back().name = name;
    all_.back().shape = shape;
    index_[name] = all_.size() - 1;
    return all_.size() - 1;
}

const Shape &Weights::shape(const std::string &name) const {
    const auto found = index_.find(name);
    if (found == index_.end()) {
        invalid("the net has no weight %s", name.c_str());
    }
    return all_[found->second].shape;
}

void Weights::seal() {
    ctx_ = Context(Context::size(all_.size()), "the list of weights");
}

void Weights::bind(size_t index, ggml_type type, const void *data, size_t size, bool mapped) {
    if (index >= all_.size()) {
        invalid("weight %zu does not exist: the net has %zu", index, all_.size());
    }
    Weight &w = all_[index];
    if (w.tensor) {
        invalid("weight %s is bound already", w.name.c_str());
    }
    const ggml_type_traits *traits = weight_traits(type, w.name);
    const int64_t n = elements(w.shape), row = w.shape.back();

    // ggml quantizes along the last dimension. A convolution's is its kernel
    // width, so files that quantize convolutions flatten them to [OC, IC*KH*KW].
    int64_t run = row;
    for (size_t d = w.shape.size() - 1; d > 1 && run % traits->blck_size != 0; d--) {
        run *= w.shape[d - 1];
    }
    if (run % traits->blck_size != 0) {
        invalid("weight %s: rows of %lld elements do not divide into blocks of %lld (type %s)",
                w.name.c_str(), (long long)run, (long long)traits->blck_size, traits->type_name);
    }
    const size_t expected = ggml_row_size(type, run) * size_t(n / run);
    if (size != expected) {
        invalid("weight %s must have %zu bytes for %lld elements of type %s, got %zu", w.name.c_str(),
                expected, (long long)n, traits->type_name, size);
    }

    // Biases, norms and the like are operands of element-wise operators, which take
    // float32; they are few. Quantized convolutions become float32, too: ggml's types
    // cannot express their shape.
    const bool convert = type != GGML_TYPE_F32 && (w.shape.size() == 1 || row % traits->blck_size != 0);
    if (convert) {
        to_f32(w, type, data, n);
        type = GGML_TYPE_F32;
    } else if (reinterpret_cast<uintptr_t>(data) % (traits->type_size % 4 == 0 ? 4 : 2) != 0 ||
               (mapped && w.shape.size() == 1)) {
        // safetensors guarantees no alignment. Biases of a mapped file are copied, since reading them may
        // bring the pages around them into memory, up to two megabytes, which were given back.
        w.owned.reset(new uint8_t[size]);
        memcpy(w.owned.get(), data, size);
        data = w.owned.get();
    }

    const Folded f = fold(w.shape);
    w.tensor = ggml_new_tensor(ctx_.get(), type, f.n_dims, f.ne);
    w.data = convert ? w.owned.get() : data;
    w.mapped = mapped && !w.owned ? size : 0;
    w.tensor->data = kUnallocated;
    snprintf(w.tensor->name, sizeof(w.tensor->name), "%s", w.name.c_str());
}

bool Weights::exact() const {
    return std::all_of(all_.begin(), all_.end(), [](const Weight &w) {
        return w.shape.size() < 2 || !w.tensor || w.tensor->type == GGML_TYPE_F32;
    });
}

void Weights::to_f32(Weight &w, ggml_type type, const void *data, int64_t n) {
    std::unique_ptr<uint8_t[]> values(new uint8_t[size_t(n) * sizeof(float)]);
    ggml_get_type_traits(type)->to_float(data, reinterpret_cast<float *>(values.get()), n);
    w.owned = std::move(values);
}

void Weights::check() const {
    for (const Weight &w : all_) {
        if (!w.tensor) {
            invalid("weight %s is missing", w.name.c_str());
        }
    }
}

bool Weights::make_float32(Tensor t) {
    for (Weight &w : all_) {
        if (w.tensor != t || t->type == GGML_TYPE_F32) {
            continue;
        }
        to_f32(w, t->type, w.data, ggml_nelements(t));
        w.data = w.owned.get();
        t->type = GGML_TYPE_F32;
        t->nb[0] = sizeof(float);
        for (int d = 1; d < kTensorDims; d++) {
            t->nb[d] = t->nb[d - 1] * size_t(t->ne[d - 1]);
        }
        return true;
    }
    return false;
}

void Weights::load() {
    check();
    for (Weight &w : all_) {
        w.tensor->data = const_cast<void *>(w.data);
    }
    loaded_ = true;
}

void Weights::load(const Device &device, bool keep, const Progress &progress) {
    check();
    uint64_t total = 0;
    for (Weight &w : all_) {
        w.tensor->data = nullptr;
        total += ggml_nbytes(w.tensor);
    }
    try {
        buffer_ = Buffer(ggml_backend_alloc_ctx_tensors(ctx_.get(), device.backend()));
        if (!buffer_) {
            no_memory("the weights", total);
        }
        ggml_backend_buffer_set_usage(buffer_.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
        for (size_t i = 0; i < all_.size(); i++) {
            upload(i, progress);
        }
    } catch (...) {
        unload();
        throw;
    }
    if (!keep) {
        for (Weight &w : all_) {
            w.owned.reset();
        }
    }
    loaded_ = true;
}

void Weights::upload(size_t index, const Progress &progress) {
    const Weight &w = all_[index];
    const size_t size = ggml_nbytes(w.tensor);
    for (size_t at = 0; at < size; at += kUpload) {
        if (progress.cancel && __atomic_load_n(progress.cancel, __ATOMIC_RELAXED) != 0) {
            throw Error(Code::cancelled, 0, "cancelled");
        }
        const size_t n = std::min(kUpload, size - at);
        ggml_backend_tensor_set(w.tensor, static_cast<const uint8_t *>(w.data) + at, at, n);
        if (progress.bytes) {
            __atomic_fetch_add(progress.bytes, n, __ATOMIC_RELAXED);
        }
    }
}

void Weights::unload() {
    loaded_ = false;
    for (Weight &w : all_) {
        w.tensor->buffer = nullptr;
        w.tensor->data = kUnallocated;
    }
    buffer_ = Buffer();
}

size_t Weights::index(Tensor t) const {
    size_t i = 0;
    while (i < all_.size() && all_[i].tensor != t) {
        i++;
    }
    return i;
}

} // namespace sdgo
