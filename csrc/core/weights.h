// A net's weights: what it requires, and what the caller bound.
#pragma once

#include "core/context.h"
#include "core/device.h"
#include "core/shape.h"

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace sdgo {

using Tensor = ggml_tensor *;

// The data of a weight that has no memory yet, which keeps a graph's allocator from
// planning memory for it. It is never read.
void *const kUnallocated = reinterpret_cast<void *>(64);

struct Weight {
    std::string name;
    Shape shape;
    Tensor tensor = nullptr;            // set by bind
    const void *data = nullptr;         // the caller's bytes
    size_t mapped = 0;                  // how many of them are a mapped file's
    std::unique_ptr<uint8_t[]> owned{}; // a converted or realigned copy
};

// An upload's progress, for other threads to read, and their flag to end it.
struct Progress {
    uint64_t *bytes = nullptr;       // added to
    const int32_t *cancel = nullptr; // not 0: Code::cancelled
};

// Weights are declared by use: the first, dry pass of a net's forward function asks for
// each, so that names and shapes are written once, where they are used.
class Weights {
  public:
    // Returns the index of a weight; before seal it declares the weight first.
    size_t require(const std::string &name, const Shape &shape);

    // The shape of a weight; throws Code::invalid if there is none of that name.
    const Shape &shape(const std::string &name) const;

    // Ends the declaring pass and makes room for the tensors.
    void seal();
    bool sealed() const { return ctx_.get() != nullptr; }

    // `mapped` says that the bytes are those of a mapped file.
    void bind(size_t index, ggml_type type, const void *data, size_t size, bool mapped);

    // Throws unless all are bound.
    void check() const;

    // Converts a weight that is bound and not loaded to float32; false if it is float32
    // already, or none of these weights.
    bool make_float32(Tensor t);

    // Checks that all are bound and uses their bytes in place.
    void load();

    // Checks that all are bound and uploads them. With `keep` they can be
    // uploaded again later; the caller's bytes must stay.
    void load(const Device &device, bool keep, const Progress &progress);

    // Frees the device's memory. Only after load with `keep`.
    void unload();

    // For weights that something else has brought to the device, or will.
    void set_loaded(bool loaded) { loaded_ = loaded; }
    bool loaded() const { return loaded_; }

    // Whether all matrices that are bound are float32: then the net is to compute with
    // nothing less.
    bool exact() const;

    // Copies a weight to its place on the device.
    void upload(size_t index, const Progress &progress);

    const std::deque<Weight> &all() const { return all_; }
    Tensor tensor(size_t index) const { return all_[index].tensor; }

    // The index of a weight's tensor; the number of weights for any other.
    size_t index(Tensor t) const;
    bool has(Tensor t) const { return index(t) < all_.size(); }

  private:
    static void to_f32(Weight &w, ggml_type type, const void *data, int64_t n);

    std::deque<Weight> all_;
    std::unordered_map<std::string, size_t> index_;
    Context ctx_;
    Buffer buffer_;
    bool loaded_ = false;
};

} // namespace sdgo
