#include "ops.h"
namespace sdgo {
std::unique_ptr<Ops> cpu_ops(ggml_context *ctx, Weights &weights, int) { return ggml_ops(ctx, weights); }
} // namespace sdgo
