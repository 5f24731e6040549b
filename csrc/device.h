// One open device: a ggml backend of its own for each net, so that a run's
// cancel flag and thread count are that run's alone.
#pragma once

#include "error.h"
#include "ggml_abi.h"

namespace sdgo {

class Device {
  public:
    Device(size_t index, int threads);
    ~Device();
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;

    bool is_cpu() const { return cpu_; }
    void set_threads(int threads); // of ggml, on the CPU
    ggml_backend_t backend() const { return backend_; }

    // Computes the graph; throws SDGO_CANCELLED once *cancel is not zero.
    void compute(ggml_cgraph *graph, const int32_t *cancel);

  private:
    ggml_backend_t backend_ = nullptr;
    bool cpu_ = false;
};

// Replaces ggml's logging, which writes to standard error, by silence: what
// matters comes back as errors.
void silence_ggml();

} // namespace sdgo
