#include "kernel_memory.h"

#include <cstdint>
#include <cstdlib>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace sdgo::kernels {

namespace {

constexpr size_t kHugePage = size_t(2) << 20;

void *allocate(size_t size) {
#if defined(_WIN32)
    return _aligned_malloc(size, 64);
#else
    void *p = nullptr;
    if (posix_memalign(&p, size < kHugePage ? 64 : kHugePage, size) != 0) {
        return nullptr;
    }
#if defined(__linux__)
    madvise(p, size / kHugePage * kHugePage, MADV_HUGEPAGE); // advice: nothing is lost where it is refused
#endif
    return p;
#endif
}

} // namespace

bool Memory::reserve(size_t size) {
    if (size <= size_) {
        return true;
    }
    free();
    if (size > SIZE_MAX - kHugePage) {
        return false;
    }
    size = size < kHugePage ? (size + 63) / 64 * 64 : (size + kHugePage - 1) / kHugePage * kHugePage;
    data_ = allocate(size);
    size_ = data_ ? size : 0;
    return data_ != nullptr;
}

void Memory::free() {
#if defined(_WIN32)
    _aligned_free(data_);
#else
    ::free(data_);
#endif
    data_ = nullptr;
    size_ = 0;
}

} // namespace sdgo::kernels
