#include "kernels/pages.h"

#include <cstdint>
#include <cstdlib>

#if !defined(_WIN32)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace sdgo::kernels {

#if defined(_WIN32)

void *map_pages(size_t size, Pages) {
    return _aligned_malloc(size, 64);
}

void unmap_pages(void *memory, size_t, Pages) {
    _aligned_free(memory);
}

void give_back_pages(const void *, size_t) {}

#else

namespace {

constexpr size_t kHugePage = size_t(2) << 20;

size_t rounded(size_t size, Pages pages) {
    const size_t unit = size < kHugePage || pages == Pages::ordinary ? size_t(64) << 10 : kHugePage;
    return (size + unit - 1) / unit * unit;
}

} // namespace

// Large pieces begin at a huge page's boundary.
void *map_pages(size_t size, Pages pages) {
    if (size == 0 || size > SIZE_MAX - 2 * kHugePage) {
        return nullptr;
    }
    size = rounded(size, pages);
    const size_t extra = size < kHugePage || pages == Pages::ordinary ? 0 : kHugePage;
    void *p = mmap(nullptr, size + extra, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        return nullptr;
    }
    if (extra == 0) {
        return p;
    }
    char *begin = static_cast<char *>(p);
    const size_t skip = (kHugePage - reinterpret_cast<uintptr_t>(p) % kHugePage) % kHugePage;
    if (skip > 0) {
        munmap(begin, skip);
    }
    munmap(begin + skip + size, extra - skip);
#if defined(__linux__)
    madvise(begin + skip, size, MADV_HUGEPAGE); // advice: it may be refused
#endif
    return begin + skip;
}

void unmap_pages(void *memory, size_t size, Pages pages) {
    if (memory) {
        munmap(memory, rounded(size, pages));
    }
}

void give_back_pages(const void *data, size_t size) {
    const uintptr_t page = uintptr_t(sysconf(_SC_PAGESIZE)), begin = reinterpret_cast<uintptr_t>(data);
    const uintptr_t from = (begin + page - 1) / page * page, end = (begin + size) / page * page;
    if (from < end) {
        madvise(reinterpret_cast<void *>(from), end - from, MADV_DONTNEED); // advice: it may be refused
    }
}

#endif

bool Memory::reserve(size_t size) {
    if (size <= size_) {
        return true;
    }
    free();
    data_ = map_pages(size, pages_);
    size_ = data_ ? size : 0;
    return data_ != nullptr;
}

void Memory::free() {
    unmap_pages(data_, size_, pages_);
    data_ = nullptr;
    size_ = 0;
}

} // namespace sdgo::kernels
