// Memory for the kernels' scratch, in huge pages where the system has them: the
// kernels write to dozens of places at a time, and the addresses of so many small
// pages do not fit into the processor's translation tables. On Linux it makes
// Winograd's transforms twice as fast.
#pragma once

#include <cstddef>

namespace sdgo::kernels {

// Memory from the system itself, not from malloc, whose arenas fragment when large
// pieces of many sizes come and go: a program that draws pictures of several sizes
// would never stop growing. It holds zeros and is 64-byte aligned; null if there is
// none.
void *map_pages(size_t size);
void unmap_pages(void *pages, size_t size);

class Memory {
  public:
    Memory() = default;
    ~Memory() { free(); }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;

    // Makes it at least `size` bytes, 64-byte aligned; the contents are lost. If there
    // is no memory it returns false and holds none.
    bool reserve(size_t size);
    void free();

    void *data() const { return data_; }
    size_t size() const { return size_; }

  private:
    void *data_ = nullptr;
    size_t size_ = 0;
};

} // namespace sdgo::kernels
