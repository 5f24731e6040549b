// Networks of one operator each, for the tests of operators and of the C interface.
#include "testnet/testnet.h"

#include "nets/architecture.h"
#include "ops/ops.h"
#include "session.h"

#include <functional>

using namespace sdgo;

namespace {

struct Operator {
    const char *name;
    Shapes nominal;  // of its inputs
    int output_dims; // of its output
    std::function<Tensor(Ops &, const Tensors &)> apply;
};

// A convolution of each frame of video [N, 3, T, H, W] gives [N, 5, T, H, W]. Like
// other networks this one knows N by t [N], the timesteps.
Tensor video(Ops &ops, const Tensors &in) {
    const int64_t n = in.at("t")->ne[0];
    return ops.frames_out(ops.conv2d(ops.frames_in(in.at("video"), n), "conv", {5}), n);
}

const Operator kOperators[] = {
    {"video", {{"video", {1, 3, 1, 2, 2}}, {"t", {1}}}, 5, video},
};

class TestNet : public Architecture {
  public:
    explicit TestNet(const Operator &op) : op_(op) {}

    Shapes nominal_inputs() const override { return op_.nominal; }
    std::vector<std::string> nominal_outputs() const override { return {"out"}; }
    void check(const Shapes &inputs, const std::vector<std::string> &) const override {
        InputNames names;
        for (const auto &[name, shape] : op_.nominal) {
            names.required.push_back(name);
        }
        expect_inputs(op_.name, inputs, names);
        for (const auto &[name, shape] : op_.nominal) {
            if (inputs.at(name).size() != shape.size()) {
                invalid("%s must have %zu dimensions, got %s", name.c_str(), shape.size(),
                        text(inputs.at(name)).c_str());
            }
        }
    }
    Shape output_shape(const std::string &, const Shapes &inputs, const int64_t *ne) const override {
        return unfold(ne, op_.output_dims, inputs.begin()->second[0]);
    }
    Tensors forward(Ops &ops, const Tensors &inputs, const std::vector<std::string> &) const override {
        return {{"out", op_.apply(ops, inputs)}};
    }

  private:
    const Operator &op_;
};

} // namespace

sdgo_net *sdgo_testnet_new(const char *op, int threads, const char *kernels, char *error, size_t size) {
    try {
        for (const Operator &o : kOperators) {
            if (std::string(o.name) == op) {
                return new sdgo_net(std::make_unique<TestNet>(o), 0, threads, kernels);
            }
        }
        invalid("no operator %s", op);
    } catch (const std::exception &e) {
        snprintf(error, size, "%s", e.what());
        return nullptr;
    }
}
