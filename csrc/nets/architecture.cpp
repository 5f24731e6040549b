#include "nets/architecture.h"

#include <set>

namespace sdgo {

namespace {

struct Entry {
    const char *name;
    std::unique_ptr<Architecture> (*make)(const Params &);
};

constexpr Entry kArchitectures[] = {
    {"clip_text", clip_text},
    {"t5_encoder", t5_encoder},
    {"qwen_text", qwen_text},
    {"qwen_vision", qwen_vision},
    {"unet", unet},
    {"vae_decoder", vae_decoder},
    {"vae_encoder", vae_encoder},
    {"esrgan", esrgan},
    {"taesd_decoder", taesd_decoder},
    {"taesd_encoder", taesd_encoder},
    {"pixel_unet", pixel_unet},
    {"dit", dit},
    {"zimage", zimage},
    {"flux", flux},
    {"mmdit", mmdit},
    {"flux2", flux2},
    {"qwen_image", qwen_image},
    {"pixel_classifier", pixel_classifier},
    {"class_unet", class_unet},
    {"controlnet", controlnet},
    {"t2i_adapter", t2i_adapter},
    {"ip_adapter", ip_adapter},
    {"clip_vision", clip_vision},
    {"edm2", edm2},
    {"srvgg", srvgg},
    {"hed", hed},
};

// For messages: "x, t, and optionally deep, control.0 to control.4, control.middle".
std::string list(const InputNames &names) {
    std::string text;
    const auto add = [&](const std::string &name) { text += (text.empty() ? "" : ", ") + name; };
    for (const std::string &name : names.required) {
        add(name);
    }
    const std::string required = text;
    text.clear();
    for (const std::string &name : names.optional) {
        add(name);
    }
    for (const InputGroup &g : names.groups) {
        add(g.prefix + ".0 to " + g.prefix + "." + std::to_string(g.count - 1));
        if (!g.last.empty()) {
            add(g.prefix + "." + g.last);
        }
    }
    return text.empty() ? required : required + ", and optionally " + text;
}

} // namespace

std::unique_ptr<Architecture> architecture(const std::string &name, const Params &p) {
    for (const Entry &e : kArchitectures) {
        if (name == e.name) {
            auto net = e.make(p);
            p.expect_no_others(e.name);
            return net;
        }
    }
    invalid("there is no architecture %s", name.c_str());
}

void expect_inputs(const char *net, const Shapes &shapes, const InputNames &names) {
    for (const std::string &name : names.required) {
        if (!shapes.count(name)) {
            invalid("%s: input %s is missing", net, name.c_str());
        }
    }
    std::set<std::string> known(names.required.begin(), names.required.end());
    known.insert(names.optional.begin(), names.optional.end());
    for (const InputGroup &g : names.groups) {
        for (int i = 0; i < g.count; i++) {
            known.insert(g.prefix + "." + std::to_string(i));
        }
        if (!g.last.empty()) {
            known.insert(g.prefix + "." + g.last);
        }
    }
    for (const auto &s : shapes) {
        if (!known.count(s.first)) {
            invalid("%s: no input %s; it takes %s", net, s.first.c_str(), list(names).c_str());
        }
    }
}

void expect_shape(const char *net, const std::string &input, const Shape &shape,
                  std::initializer_list<Dim> dims) {
    bool ok = shape.size() == dims.size();
    std::string expected;
    size_t i = 0;
    for (const Dim &d : dims) {
        ok = ok && (d.name || shape[i] == d.size);
        expected += (i++ > 0 ? ", " : "") + (d.name ? std::string(d.name) : std::to_string(d.size));
    }
    if (!ok) {
        invalid("%s: %s must have the shape [%s], got %s", net, input.c_str(), expected.c_str(),
                text(shape).c_str());
    }
}

void expect_image(const Shapes &inputs, const std::vector<std::string> &outputs, const char *net,
                  const char *input, int channels, int64_t multiple, const char *output) {
    expect_inputs(net, inputs, {{input}});
    const Shape &s = inputs.at(input);
    expect_shape(net, input, s, {"N", channels, "H", "W"});
    if (s[2] % multiple != 0 || s[3] % multiple != 0) {
        invalid("%s: the sides of %s must be multiples of %lld, got %lldx%lld", net, input,
                (long long)multiple, (long long)s[3], (long long)s[2]);
    }
    for (const std::string &name : outputs) {
        if (name != output) {
            invalid("%s: no output %s; there is %s", net, name.c_str(), output);
        }
    }
}

} // namespace sdgo
