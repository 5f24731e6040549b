#include "core/stream.h"

#include <algorithm>
#include <system_error>

namespace sdgo {

Stream::Stream(const Device &device, Weights &weights, const std::vector<Tensor> &order, uint64_t memory)
    : weights_(weights) {
    ggml_backend_buffer_type_t kind = ggml_backend_get_default_buffer_type(device.backend());
    const size_t align = ggml_backend_get_alignment(device.backend());
    const size_t place = std::min(size_t(memory / kPlaces), ggml_backend_get_max_size(device.backend()));

    // Groups as large as a place, in the order of use.
    std::vector<size_t> offsets; // of each weight in its place, as in `order`
    size_t used = 0, largest = 0;
    for (Tensor t : order) {
        const size_t size = (ggml_backend_buft_get_alloc_size(kind, t) + align - 1) / align * align;
        if (size > place) {
            no_memory("two groups of weights, as large as the largest weight", uint64_t(size) * kPlaces);
        }
        if (groups_.empty() || used + size > place) {
            groups_.emplace_back();
            used = 0;
        }
        groups_.back().push_back(weights.index(t));
        group_of_[t] = int(groups_.size()) - 1;
        offsets.push_back(used);
        used += size;
        largest = std::max(largest, used);
    }
    for (Buffer &b : places_) {
        b = Buffer(ggml_backend_alloc_buffer(device.backend(), largest));
        if (!b) {
            no_memory("two groups of weights", uint64_t(largest) * kPlaces);
        }
        ggml_backend_buffer_set_usage(b.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    }
    for (size_t i = 0; i < order.size(); i++) {
        ggml_backend_buffer_t place = places_[group_of_[order[i]] % kPlaces].get();
        order[i]->buffer = nullptr;
        order[i]->data = nullptr;
        void *at = static_cast<uint8_t *>(ggml_backend_buffer_get_base(place)) + offsets[i];
        if (ggml_backend_tensor_alloc(place, order[i], at) != GGML_STATUS_SUCCESS) {
            no_memory("a weight", ggml_nbytes(order[i]));
        }
    }
}

Stream::~Stream() {
    if (worker_.joinable()) {
        worker_.join();
    }
    for (const auto &t : group_of_) {
        t.first->buffer = nullptr;
        t.first->data = kUnallocated;
    }
}

int Stream::group(Tensor t) const {
    const auto found = group_of_.find(t);
    return found == group_of_.end() ? -1 : found->second;
}

void Stream::wait_for(int group) {
    wait();
    if (holds_[group % kPlaces] != group) {
        upload(group);
    }
}

void Stream::prefetch(int group, int used) {
    wait();
    if (group % kPlaces == used % kPlaces || holds_[group % kPlaces] == group) {
        return;
    }
    try {
        worker_ = std::thread([this, group] {
            try {
                const AbortGuard guard;
                upload(group);
            } catch (...) {
                failure_ = std::current_exception();
            }
        });
        coming_ = group;
    } catch (const std::system_error &) { // no thread can be started: wait_for uploads it
    }
}

void Stream::upload(int group) {
    int &holds = holds_[group % kPlaces];
    holds = -1;
    for (size_t i : groups_[size_t(group)]) {
        weights_.upload(i, Progress());
    }
    holds = group;
}

void Stream::wait() {
    if (coming_ < 0) {
        return;
    }
    worker_.join();
    coming_ = -1;
    if (failure_) {
        std::exception_ptr failure;
        std::swap(failure, failure_);
        std::rethrow_exception(failure);
    }
}

} // namespace sdgo
