// One open device: a ggml backend of its own for each net, so that a run's
// cancel flag and thread count are that run's alone.
#pragma once

#include "core/abort.h"
#include "core/error.h"
#include "core/ggml_abi.h"
#include "core/host_buffer.h"

#include <mutex>
#include <utility>

namespace sdgo {

class Device {
  public:
    Device(size_t index, int threads);
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    // Closes the device and opens it again; memory on it stays. Does nothing where that
    // is not possible.
    void reopen();

    bool is_cpu() const { return cpu_; }
    void set_threads(int threads); // of ggml, on the CPU
    ggml_backend_t backend() const { return backend_; }
    std::timed_mutex *mutex() const { return mutex_; }
    // Of the buffers for activations.
    ggml_backend_buffer_type_t buffers() const {
        return cpu_ ? host_buffers() : ggml_backend_get_default_buffer_type(backend_);
    }
    const char *name() const { return ggml_backend_dev_name(dev_); }

    // Whether the device supports a node's operator, with its types and shapes.
    bool supports(const ggml_tensor *node) const { return ggml_backend_dev_supports_op(dev_, node); }

    // Computes the graph; throws Code::cancelled once *cancel is not zero. Only the CPU
    // checks the flag while it computes.
    void compute(ggml_cgraph *graph, const int32_t *cancel);

  private:
    ggml_backend_dev_t dev_ = nullptr;
    ggml_backend_t backend_ = nullptr;
    std::timed_mutex *mutex_ = nullptr; // null: the CPU
    bool cpu_ = false;
    int threads_ = 1; // of ggml's, on the CPU
};

// Exclusive use of a GPU while it lives: the backends that ggml makes for one GPU
// share its queues and more, and a GPU does one thing at a time anyway. The CPU
// needs no lock.
class DeviceLock {
  public:
    // Waits for the device; throws Code::cancelled once *cancel is not zero.
    DeviceLock(const Device &device, const int32_t *cancel);
    explicit DeviceLock(std::timed_mutex *mutex); // null: the CPU's

  private:
    std::unique_lock<std::timed_mutex> lock_;
};

// Memory on a device; null if there is none.
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(ggml_backend_buffer_t buffer) : buffer_(buffer) {}
    Buffer(Buffer &&o) noexcept : buffer_(o.buffer_) { o.buffer_ = nullptr; }
    Buffer &operator=(Buffer &&o) noexcept {
        std::swap(buffer_, o.buffer_);
        return *this;
    }
    ~Buffer();

    ggml_backend_buffer_t get() const { return buffer_; }
    explicit operator bool() const { return buffer_ != nullptr; }

  private:
    ggml_backend_buffer_t buffer_ = nullptr;
};

// Calls f, which frees what a device holds. A lost device fails at that, too, and the
// error can go nowhere.
template <class F> void quietly(F f) noexcept {
    try {
        const AbortGuard guard;
        f();
    } catch (...) {
    }
}

// Turns off ggml's logging to standard error: what matters is returned as an error.
// Plugins have a log of their own.
void silence_ggml(void (*set_log)(ggml_log_callback, void *) = ggml_log_set);

} // namespace sdgo
