// Memory for the kernels' scratch, in huge pages where the system has them: the
// kernels write to dozens of places in turn, and small pages' addresses do not
// fit into the processor's tables. On Linux it makes Winograd's transforms
// twice as fast.
#pragma once

#include <cstddef>

namespace sdgo::kernels {

// Memory of the system's own, not of malloc's, in whose arenas large pieces of
// many sizes that come and go leave holes: a program that draws pictures of several
// sizes would grow and grow. Zeros at first, 64-byte aligned; null where there is none.
void *map_pages(size_t size);
void unmap_pages(void *pages, size_t size);

class Memory {
  public:
    Memory() = default;
    ~Memory() { free(); }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    // At least `size` bytes, 64-byte aligned; what was there is lost. False
    // where there is no memory, and then there is none at all.
    bool reserve(size_t size);
    void free();

    void *data() const { return data_; }
    size_t size() const { return size_; }

  private:
    void *data_ = nullptr;
    size_t size_ = 0;
};

} // namespace sdgo::kernels
