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
//
// Ordinary pages are for what is read from one end to the other: the system takes a third of
// the time to find them.
enum class Pages { huge, ordinary };
void *map_pages(size_t size, Pages pages = Pages::huge);
void unmap_pages(void *memory, size_t size, Pages pages = Pages::huge);

// Tells the system that pages of a mapped file are not needed for now: it reads them again where
// they are. Only whole pages within the bytes are given back; on Windows none are.
void give_back_pages(const void *data, size_t size);

class Memory {
  public:
    explicit Memory(Pages pages = Pages::huge) : pages_(pages) {}
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
    const Pages pages_;
    void *data_ = nullptr;
    size_t size_ = 0;
};

} // namespace sdgo::kernels
