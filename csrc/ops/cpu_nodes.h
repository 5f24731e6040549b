// CPU kernels as ggml custom operators.
#pragma once

#include "core/cpu.h"
#include "core/profile.h"
#include "kernels/gradients.h"
#include "kernels/pages.h"
#include "ops/ops.h"

#include <algorithm>
#include <deque>

namespace sdgo {

inline float *data(Tensor t) {
    return static_cast<float *>(t->data);
}

kernels::Act act_of(Act act);

// A matrix with `in` weights in a row.
kernels::Matrix matrix(Tensor w, int64_t in);

// Vectors are float32: Weights converts them.
inline kernels::Vector vector(Tensor t) {
    return t ? kernels::Vector{t->data, kernels::Type::f32} : kernels::Vector{};
}

// Makes nodes of a graph that run kernels, and has the memory that these share.
class CpuNodes {
  public:
    CpuNodes(ggml_context *ctx, Cpu &cpu, Profile &profile) : ctx_(ctx), cpu_(cpu), profile_(profile) {}

    kernels::Isa isa() const { return cpu_.isa; }
    bool fast() const { return cpu_.fast; }
    uint64_t scratch_size() const { return scratch_size_; }
    bool allocate_scratch() { return scratch_.reserve(scratch_size_); }

    // A node of shape ne for a kernel. `arguments(nullptr)` must be enough to find out
    // how much scratch memory the kernel needs.
    template <class F>
    Tensor node(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                F arguments) {
        return node(op, flop, std::move(ne), std::move(sources), arguments, [] {});
    }
    // The same; `after` is called when it has run.
    template <class F, class After>
    Tensor node(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                F arguments, After after) {
        sources.erase(std::remove(sources.begin(), sources.end(), nullptr), sources.end());
        const auto call = [this, arguments](Tensor dst) {
            auto args = arguments(dst);
            args.isa = cpu_.isa;
            return args;
        };
        scratch_size_ =
            std::max(scratch_size_, uint64_t(kernels::scratch_bytes(call(nullptr), cpu_.pool.threads())));
        jobs_.push_back([this, op, flop, call, after](Tensor dst) {
            const Stopwatch watch;
            kernels::run_on(cpu_.pool, call(dst), scratch_.data(), cpu_.cancel);
            after();
            profile_.add(op, flop, watch.seconds());
        });
        return ggml_custom_4d(ctx_, GGML_TYPE_F32, ne[0], ne[1], ne[2], ne[3], sources.data(),
                              int(sources.size()), compute, 1, &jobs_.back());
    }

    // A node of a kernel with weights, which it may keep in its own form. `member` is where
    // its arguments have the matrix of `weight`.
    template <class Args, class F>
    Tensor node_keeping(const char *op, double flop, std::vector<int64_t> ne, std::vector<Tensor> sources,
                        F arguments, kernels::Matrix Args::*member, Tensor weight) {
        Args shape = arguments(nullptr);
        shape.isa = cpu_.isa;
        const KeptWeights::Need need = {weight, kernels::keep(shape)};
        needs_.push_back(need);
        return node(
            op, flop, std::move(ne), std::move(sources),
            [this, arguments, member, need](Tensor dst) {
                Args args = arguments(dst);
                if (dst) {
                    cpu_.kept.lend(need, args.*member);
                }
                return args;
            },
            [this, need] { cpu_.kept.finish(need, !cpu_.cancelled()); });
    }

    // The bytes of weights that these nodes would keep and do not yet.
    uint64_t unkept() const {
        uint64_t bytes = 0;
        for (const KeptWeights::Need &need : needs_) {
            bytes += cpu_.kept.missing(need);
        }
        return bytes;
    }

  private:
    // What a custom operator runs: it makes the kernel's arguments from its result,
    // whose memory is known only when the graph is computed.
    using Job = std::function<void(Tensor dst)>;

    static void compute(Tensor dst, int, int, void *job) { (*static_cast<const Job *>(job))(dst); }

    ggml_context *ctx_;
    Cpu &cpu_;
    Profile &profile_;
    std::deque<Job> jobs_; // at addresses that stay
    std::vector<KeptWeights::Need> needs_;
    uint64_t scratch_size_ = 0;
    kernels::Memory scratch_;
};

} // namespace sdgo
