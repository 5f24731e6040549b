// Weights that a net keeps in the forms that kernels read fastest, as long as there is
// memory: a step of sampling prepares the same weights as the step before.
#pragma once

#include "kernels/kernels.h"
#include "kernels/pages.h"

#include <memory>
#include <unordered_map>

namespace sdgo {

class KeptWeights {
  public:
    // What a kernel would keep of a weight.
    struct Need {
        const void *weight; // identifies it
        kernels::Keep keep;
    };

    // Says where a weight's bytes are pages of a mapped file: they are given back to the system
    // when the weight is kept, which is then not read from there.
    void mapped(const void *weight, const void *data, size_t size) { mapped_[weight] = {data, size}; }

    // The bytes that may be added from now on.
    void allow(uint64_t bytes) { allowed_ = bytes; }

    // Gives a matrix its memory: that of a run before, or if it is allowed new memory, which
    // the kernel fills. Nothing if there is none. To be followed by finish.
    void lend(const Need &need, kernels::Matrix &m);

    // Says whether a kernel that lend gave memory to has finished.
    void finish(const Need &need, bool whole);

    // The bytes that are missing of a need: 0 if it is kept.
    uint64_t missing(const Need &need) const;

    uint64_t size() const { return size_; } // in bytes
    void clear();

  private:
    struct Piece {
        kernels::Form form = kernels::Form::none;
        bool filled = false;
        kernels::Memory memory{kernels::Pages::ordinary};
    };

    struct Bytes {
        const void *data;
        size_t size;
    };

    const Piece *find(const Need &need) const;
    void give_back(const void *weight) const;

    std::unordered_map<const void *, std::unique_ptr<Piece>> pieces_;
    std::unordered_map<const void *, Bytes> mapped_;
    uint64_t allowed_ = 0, size_ = 0;
};

} // namespace sdgo
