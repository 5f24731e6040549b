// Weight streaming, for weights that don't fit on a device all at once: groups of them,
// in the order in which a net uses them, take turns in two places. While the device
// computes with one group, the next is uploaded to the other place.
#pragma once

#include "core/weights.h"

#include <exception>
#include <thread>

namespace sdgo {

class Stream {
  public:
    // `order` are the weights in the order in which a graph uses them, `memory` is the
    // number of bytes that both places may take together. Throws Code::no_memory if a
    // weight is larger than a place.
    Stream(const Device &device, Weights &weights, const std::vector<Tensor> &order, uint64_t memory);
    ~Stream();
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    // The group of a weight, from 0; -1 for any other tensor.
    int group(Tensor t) const;

    // Returns once a group is on the device. No other group may be in use.
    void wait_for(int group);

    // Starts to upload a group, unless it would take the place of `used`.
    void prefetch(int group, int used);

  private:
    static constexpr int kPlaces = 2;

    void upload(int group);
    void wait(); // for the upload in progress

    Weights &weights_;
    std::unordered_map<ggml_tensor *, int> group_of_;
    std::vector<std::vector<size_t>> groups_; // indices of weights
    Buffer places_[kPlaces];
    int holds_[kPlaces] = {-1, -1}; // the group in a place; -1 for none, or a part of one
    std::thread worker_;
    int coming_ = -1; // the group that the worker uploads
    std::exception_ptr failure_;
};

} // namespace sdgo
