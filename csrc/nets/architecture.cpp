#include "nets/architecture.h"

#include <algorithm>

namespace sdgo {

namespace {

struct Entry {
    const char *name;
    std::unique_ptr<Architecture> (*make)(const Params &);
};

constexpr Entry kArchitectures[] = {
    {"clip_text", clip_text},         {"unet", unet},     {"vae_decoder", vae_decoder},
    {"vae_encoder", vae_encoder},     {"esrgan", esrgan}, {"taesd_decoder", taesd_decoder},
    {"taesd_encoder", taesd_encoder},
};

} // namespace

std::unique_ptr<Architecture> architecture(const std::string &name, const Params &p) {
    for (const Entry &e : kArchitectures) {
        if (name == e.name) {
            return e.make(p);
        }
    }
    invalid("no architecture %s", name.c_str());
}

void expect_inputs(const Shapes &shapes, const std::vector<const char *> &names) {
    for (const char *name : names) {
        if (!shapes.count(name)) {
            invalid("input %s is missing", name);
        }
    }
    if (shapes.size() != names.size()) {
        for (const auto &s : shapes) {
            if (std::none_of(names.begin(), names.end(), [&](const char *n) { return s.first == n; })) {
                invalid("no input %s", s.first.c_str());
            }
        }
    }
}

void expect_image(const Shapes &inputs, const std::vector<std::string> &outputs, const char *net,
                  const char *input, int channels, int64_t multiple, const char *output) {
    expect_inputs(inputs, {input});
    const Shape &s = inputs.at(input);
    if (s.size() != 4 || s[1] != channels) {
        invalid("%s: %s must have the shape [N, %d, H, W]", net, input, channels);
    }
    if (s[2] % multiple != 0 || s[3] % multiple != 0) {
        invalid("%s: an %s of %lldx%lld, multiples of %lld wanted", net, input, (long long)s[3],
                (long long)s[2], (long long)multiple);
    }
    for (const std::string &name : outputs) {
        if (name != output) {
            invalid("%s: no output %s; %s exists", net, name.c_str(), output);
        }
    }
}

} // namespace sdgo
