#include "ops/tuning.h"

#include "ops/ops.h"

#include <algorithm>
#include <limits>

namespace sdgo {

namespace {

// Channels of a convolution and width of a head in the middle of SD's UNets.
constexpr int64_t kChannels = 128, kHead = 64, kHeads = 8;
constexpr int kRuns = 3;
constexpr double kNever = std::numeric_limits<double>::infinity();

using Build = Tensor (*)(Ops &ops, ggml_context *ctx, int64_t side);

Tensor convolution(Ops &ops, ggml_context *ctx, int64_t side) {
    const int64_t ne[] = {side, side, kChannels, 1};
    return ops.conv2d(ggml_new_tensor(ctx, GGML_TYPE_F32, 4, ne), "trial", {kChannels});
}

Tensor attention(Ops &ops, ggml_context *ctx, int64_t side) {
    const int64_t ne[] = {kHead * kHeads, side * side / 4, 1};
    Tensor q = ggml_new_tensor(ctx, GGML_TYPE_F32, 3, ne), k = ggml_new_tensor(ctx, GGML_TYPE_F32, 3, ne),
           v = ggml_new_tensor(ctx, GGML_TYPE_F32, 3, ne);
    return ops.attention(q, k, v, int(kHeads), false);
}

// Seconds that a device takes for an operator; kNever if it cannot compute it.
double seconds(const Device &device, const OpChoice &choice, Build build, int side) {
    constexpr size_t kNodes = 64;
    const Context ctx(Context::size(kNodes, 1, kNodes), "a trial");
    Weights weights; // not sealed, so that the trial's weights are placeholders in float16
    const std::unique_ptr<Ops> ops = ggml_ops(ctx.get(), weights, choice, 0, GGML_TYPE_F16);
    Tensor out = build(*ops, ctx.get(), side);
    ggml_cgraph *graph = ggml_new_graph_custom(ctx.get(), kNodes, false);
    ggml_build_forward_expand(graph, out);
    for (int i = 0, n = ggml_graph_n_nodes(graph); i < n; i++) {
        if (!device.supports(ggml_graph_node(graph, i))) {
            return kNever;
        }
    }
    const Buffer memory(ggml_backend_alloc_ctx_tensors(ctx.get(), device.backend()));
    if (!memory) {
        return kNever;
    }
    ggml_backend_buffer_clear(memory.get(), 0);
    double best = kNever;
    for (int run = 0; run <= kRuns; run++) {
        const Stopwatch watch;
        if (ggml_backend_graph_compute(device.backend(), graph) != GGML_STATUS_SUCCESS) {
            return kNever;
        }
        best = run == 0 ? best : std::min(best, watch.seconds()); // the first run includes setup
    }
    return best;
}

} // namespace

OpChoice tune(const Device &device, int side) {
    OpChoice product, flash;
    product.direct_conv = false;
    flash.flash_attention = true;
    OpChoice best;
    best.direct_conv =
        seconds(device, OpChoice(), convolution, side) <= seconds(device, product, convolution, side);
    best.flash_attention =
        seconds(device, flash, attention, side) < seconds(device, OpChoice(), attention, side);
    return best;
}

} // namespace sdgo
