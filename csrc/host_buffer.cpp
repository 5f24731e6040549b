#include "host_buffer.h"

#include "kernel_memory.h"

namespace sdgo {

namespace {

void free_pages(ggml_backend_buffer_t buffer) {
    kernels::unmap_pages(buffer->context, buffer->size);
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    void *pages = kernels::map_pages(size);
    if (!pages) {
        return nullptr;
    }
    ggml_backend_buffer_t buffer = ggml_backend_cpu_buffer_from_ptr(pages, size);
    if (!buffer) {
        kernels::unmap_pages(pages, size);
        return nullptr;
    }
    buffer->buft = type;
    buffer->iface.free_buffer = free_pages;
    return buffer;
}

} // namespace

ggml_backend_buffer_type_t host_buffers() {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type t = *ggml_backend_cpu_buffer_type();
        t.iface.alloc_buffer = allocate;
        return t;
    }();
    return &type;
}

} // namespace sdgo
