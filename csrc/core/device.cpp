#include "core/device.h"

#include "core/pool.h"

#include <chrono>
#include <map>

namespace sdgo {

namespace {

bool cancelled(void *flag) {
    return flag && __atomic_load_n(static_cast<const int32_t *>(flag), __ATOMIC_RELAXED) != 0;
}

// The mutex of each GPU, for as long as the program runs, like ggml's devices.
std::timed_mutex *mutex_of(ggml_backend_dev_t dev) {
    static std::mutex guard;
    static auto &all = *new std::map<ggml_backend_dev_t, std::timed_mutex>;
    const std::lock_guard<std::mutex> lock(guard);
    return &all[dev];
}

void no_log(ggml_log_level, const char *, void *) {}

} // namespace

void silence_ggml(void (*set_log)(ggml_log_callback, void *)) {
    set_log(no_log, nullptr);
}

Device::Device(size_t index, int threads) {
    silence_ggml();
    if (index >= ggml_backend_dev_count()) {
        invalid("device %zu does not exist: there are %zu devices", index, ggml_backend_dev_count());
    }
    if (threads < 1 || threads > 512) {
        invalid("threads must be 1 to 512, got %d", threads);
    }
    dev_ = ggml_backend_dev_get(index);
    cpu_ = ggml_backend_dev_type(dev_) == GGML_BACKEND_DEVICE_TYPE_CPU;
    mutex_ = cpu_ ? nullptr : mutex_of(dev_);
    const DeviceLock lock(mutex_);
    backend_ = ggml_backend_dev_init(dev_, nullptr);
    if (!backend_) {
        char text[128];
        snprintf(text, sizeof(text), "device %s could not be opened", name());
        throw Error(Code::device, 0, text);
    }
    if (cpu_) {
        set_threads(threads);
    }
}

DeviceLock::DeviceLock(const Device &device, const int32_t *cancel) {
    if (!device.mutex()) {
        return;
    }
    lock_ = std::unique_lock<std::timed_mutex>(*device.mutex(), std::defer_lock);
    while (!lock_.try_lock_for(std::chrono::milliseconds(5))) {
        if (cancelled(const_cast<int32_t *>(cancel))) {
            throw Error(Code::cancelled, 0, "cancelled");
        }
    }
}

DeviceLock::DeviceLock(std::timed_mutex *mutex) {
    if (mutex) {
        lock_ = std::unique_lock<std::timed_mutex>(*mutex);
    }
}

void Device::set_threads(int threads) {
    threads_ = threads;
    ggml_backend_cpu_set_n_threads(backend_, threads);
}

void Device::reopen() {
    ggml_backend_t fresh = nullptr;
    quietly([&] { fresh = ggml_backend_dev_init(dev_, nullptr); });
    if (fresh) {
        std::swap(backend_, fresh);
        quietly([&] { ggml_backend_free(fresh); });
    }
}

Device::~Device() {
    quietly([&] { ggml_backend_free(backend_); });
}

Buffer::~Buffer() {
    if (buffer_) {
        quietly([&] { ggml_backend_buffer_free(buffer_); });
    }
}

void Device::compute(ggml_cgraph *graph, const int32_t *cancel) {
    if (cpu_) {
        if (threads_ > 1) { // ggml starts them for each graph, and asserts that it could
            ggml_backend_cpu_set_n_threads(backend_, 1 + threads_possible(threads_ - 1));
        }
        ggml_backend_cpu_set_abort_callback(backend_, cancelled, const_cast<int32_t *>(cancel));
    } else if (cancelled(const_cast<int32_t *>(cancel))) {
        throw Error(Code::cancelled, 0, "cancelled");
    }
    const ggml_status status = ggml_backend_graph_compute(backend_, graph);
    if (cpu_) {
        ggml_backend_cpu_set_abort_callback(backend_, nullptr, nullptr);
    }
    switch (status) {
    case GGML_STATUS_SUCCESS:
        // Kernels stop in the middle of a node, of the last one, too.
        if (cpu_ && cancelled(const_cast<int32_t *>(cancel))) {
            throw Error(Code::cancelled, 0, "cancelled");
        }
        return;
    case GGML_STATUS_ABORTED:
        throw Error(Code::cancelled, 0, "cancelled");
    case GGML_STATUS_ALLOC_FAILED:
        throw Error(Code::no_memory, 0, "out of memory while computing");
    default:
        throw Error(Code::device, 0, "the device failed while computing");
    }
}

} // namespace sdgo
