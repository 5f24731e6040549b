// What a network is: inputs, outputs and a forward function that is written in Ops.
#pragma once

#include "core/params.h"
#include "ops/ops.h"

#include <initializer_list>
#include <list>
#include <map>

namespace sdgo {

// Named shapes and tensors.
using Shapes = std::map<std::string, Shape>;
using Tensors = std::map<std::string, Tensor>;

// A configured architecture: the forward function of one kind of net. It has no state
// but its hyperparameters.
class Architecture {
  public:
    virtual ~Architecture() = default;

    // Shapes of inputs that the net accepts, for the pass that declares its weights, and
    // outputs that use them all.
    virtual Shapes nominal_inputs() const = 0;
    virtual std::vector<std::string> nominal_outputs() const = 0;

    // Calls invalid() for inputs or outputs that the net doesn't have. Which inputs
    // there are, optional ones, too, is part of what a graph is built for.
    virtual void check(const Shapes &inputs, const std::vector<std::string> &outputs) const = 0;

    // Whether an input holds whole numbers (token ids).
    virtual bool is_integer(const std::string &) const { return false; }

    // Whether an input is usually the same for all steps of a picture. What depends
    // on such inputs alone can be cached (Ops::cache); nothing else may read them.
    virtual bool is_constant_across_steps(const std::string &) const { return false; }

    // The shape of an output, whose dimensions ggml's tensors don't remember: `ne` are
    // the sizes of what `forward` returned for it. See unfold.
    virtual Shape output_shape(const std::string &, const Shapes &, const int64_t *ne) const {
        return unfold(ne, kTensorDims);
    }

    // The number of token ids of an input that holds whole numbers, which are below it.
    virtual int64_t vocabulary(const std::string &) const { return 0; }

    virtual Tensors forward(Ops &ops, const Tensors &inputs,
                            const std::vector<std::string> &outputs) const = 0;
};

std::unique_ptr<Architecture> clip_text(const Params &p);
std::unique_ptr<Architecture> t5_encoder(const Params &p);
std::unique_ptr<Architecture> qwen_text(const Params &p);
std::unique_ptr<Architecture> qwen_vision(const Params &p);
std::unique_ptr<Architecture> unet(const Params &p);
std::unique_ptr<Architecture> vae_decoder(const Params &p);
std::unique_ptr<Architecture> vae_encoder(const Params &p);
std::unique_ptr<Architecture> esrgan(const Params &p);
std::unique_ptr<Architecture> srvgg(const Params &p);
std::unique_ptr<Architecture> taesd_decoder(const Params &p);
std::unique_ptr<Architecture> taesd_encoder(const Params &p);
std::unique_ptr<Architecture> dit(const Params &p);
std::unique_ptr<Architecture> zimage(const Params &p);
std::unique_ptr<Architecture> flux(const Params &p);
std::unique_ptr<Architecture> mmdit(const Params &p);
std::unique_ptr<Architecture> flux2(const Params &p);
std::unique_ptr<Architecture> qwen_image(const Params &p);
std::unique_ptr<Architecture> pixel_unet(const Params &p);
std::unique_ptr<Architecture> edm2(const Params &p);
std::unique_ptr<Architecture> class_unet(const Params &p);
std::unique_ptr<Architecture> controlnet(const Params &p);
std::unique_ptr<Architecture> t2i_adapter(const Params &p);
std::unique_ptr<Architecture> ip_adapter(const Params &p);
std::unique_ptr<Architecture> clip_vision(const Params &p);
std::unique_ptr<Architecture> hed(const Params &p);
std::unique_ptr<Architecture> pixel_classifier(const Params &p);

// Makes the architecture of that name; calls invalid() if there is none.
std::unique_ptr<Architecture> architecture(const std::string &name, const Params &p);

// Optional inputs that belong together: PREFIX.0 to PREFIX.(count - 1), and
// PREFIX.last, if last is not empty.
struct InputGroup {
    std::string prefix;
    int count;
    std::string last;
};

// The inputs that a net takes.
struct InputNames {
    std::vector<std::string> required;
    std::vector<std::string> optional{};
    std::vector<InputGroup> groups{};
};

// Fails unless every input that is required is there, and none that the net does
// not take; for Architecture::check.
void expect_inputs(const char *net, const Shapes &shapes, const InputNames &names);

// A dimension that a net expects: a size, or the name of one that may be any.
struct Dim {
    Dim(int64_t size) : size(size) {}
    Dim(const char *name) : name(name) {}

    int64_t size = 0;
    const char *name = nullptr;
};

// Fails unless a shape has these dimensions; for Architecture::check.
void expect_shape(const char *net, const std::string &input, const Shape &shape,
                  std::initializer_list<Dim> dims);

// Fails unless a net has one input, [N, channels, H, W] with sides that are
// multiples, and only the output `output` is asked for.
void expect_image(const Shapes &inputs, const std::vector<std::string> &outputs, const char *net,
                  const char *input, int channels, int64_t multiple, const char *output);

} // namespace sdgo
