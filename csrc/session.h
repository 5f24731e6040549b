// What an sdgo_net is: an architecture on a device, with weights and graphs.
#pragma once

#include "core/cpu.h"
#include "graph.h"
#include "sdgo.h"

struct sdgo_value {
    sdgo::Context ctx;
    sdgo::Buffer buffer;
    std::timed_mutex *mutex = nullptr; // of the device
    ggml_tensor *tensor = nullptr;
    sdgo::Shape shape;
};

struct sdgo_adapter {
    std::shared_ptr<sdgo::Adapter> adapter;
    const sdgo_net *net = nullptr;     // whose weights it changes
    std::timed_mutex *mutex = nullptr; // of the device
};

namespace sdgo {

// What a run's graph depends on, as the C interface gives it.
struct Request {
    const sdgo_input *inputs;
    size_t n_inputs;
    const sdgo_output *outputs;
    size_t n_outputs;
    const sdgo_adapter_use *adapters;
    size_t n_adapters;
};

} // namespace sdgo

struct sdgo_net {
  public:
    sdgo_net(std::unique_ptr<sdgo::Architecture> arch, size_t device, int threads, const char *kernels);

    sdgo::Weights &weights() { return weights_; }
    const sdgo::Weights &weights() const { return weights_; }
    void load(const sdgo_load &how);
    void unload();
    void changed(const size_t *weights, size_t n);
    void choose(const sdgo::OpChoice &choice);
    // `outputs` are the request's, to be written to.
    void run(const sdgo::Request &r, sdgo_output *outputs, const int32_t *cancel);
    sdgo_needs prepare(const sdgo::Request &r);
    void keep(uint64_t bytes);
    uint64_t kept() const { return cpu_ ? cpu_->kept.size() : 0; }
    uint64_t estimate(const sdgo::Request &r);
    std::unique_ptr<sdgo_adapter> adapt(const std::vector<sdgo::Change> &changes) const;
    void update(sdgo_adapter &adapter, const std::vector<sdgo::Change> &changes);
    void trim() {
        const sdgo::DeviceLock lock(device_, nullptr);
        graphs_.clear();
        if (cpu_) {
            cpu_->kept.clear();
        }
    }
    std::timed_mutex *mutex() const { return device_.mutex(); }
    sdgo::Profile &profile() { return profile_; }

  private:
    sdgo::GraphKey key(const sdgo::Request &r) const;
    void convert_unsupported();
    void recover();
    void upload(const sdgo::Progress &progress);
    sdgo::Graph nominal() const;
    sdgo::Graph &graph(const sdgo::GraphKey &key);
    void set_strengths(const sdgo::Request &r, sdgo::Graph &g) const;
    static bool differs(sdgo::Tensor t, const sdgo_input &in);
    void set_input(sdgo::Tensor t, const sdgo_input &in) const;
    sdgo::Shape output_shape(const sdgo::Graph &g, const std::string &name, const int64_t *ne) const;
    void get_output(const sdgo::Graph &g, sdgo_output &out) const;

    sdgo::Device device_;
    std::unique_ptr<sdgo::Cpu> cpu_; // none: ggml's own operators
    std::unique_ptr<sdgo::Architecture> arch_;
    mutable sdgo::Weights weights_; // graphs that are being built ask for them
    mutable sdgo::Profile profile_;
    sdgo::OpChoice choice_;
    sdgo_load how_{};
    bool unloaded_ = false; // the weights were loaded, and then unloaded
    std::unique_ptr<sdgo::Stream> stream_;
    std::list<sdgo::Graph> graphs_; // most recently used first
};
