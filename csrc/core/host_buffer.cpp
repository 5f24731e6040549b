#include "core/host_buffer.h"

#include "kernels/pages.h"

namespace sdgo {

namespace {

// ggml's type of buffers, with ggml's function that frees a buffer but not its
// memory, which it does not own.
struct HostBuffers : ggml_backend_buffer_type {
    void (*free_buffer)(ggml_backend_buffer_t) = nullptr;
};

void free_pages(ggml_backend_buffer_t buffer) {
    kernels::unmap_pages(buffer->context, buffer->size);
    static_cast<HostBuffers *>(buffer->buft)->free_buffer(buffer);
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

HostBuffers make_type() {
    HostBuffers t;
    static_cast<ggml_backend_buffer_type &>(t) = *ggml_backend_cpu_buffer_type();
    t.iface.alloc_buffer = allocate;
    alignas(64) static char nothing[64];
    ggml_backend_buffer_t sample = ggml_backend_cpu_buffer_from_ptr(nothing, sizeof nothing);
    t.free_buffer = sample->iface.free_buffer;
    ggml_backend_buffer_free(sample);
    return t;
}

} // namespace

ggml_backend_buffer_type_t host_buffers() {
    static HostBuffers type = make_type();
    return &type;
}

} // namespace sdgo
