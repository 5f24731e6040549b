// The C interface: arguments checked, exceptions turned into sdgo_error.
#include "sdgo.h"

#include "core/plugin.h"
#include "core/quantize.h"
#include "kernels/kernels.h"
#include "session.h"

#include <cstring>
#include <iterator>
#include <new>

using namespace sdgo;

namespace {

static_assert(int(Code::invalid) == SDGO_INVALID && int(Code::no_memory) == SDGO_NO_MEMORY &&
              int(Code::cancelled) == SDGO_CANCELLED && int(Code::device) == SDGO_DEVICE);
static_assert(kErrorLength == sizeof(sdgo_error::message) && kMaxDims == SDGO_MAX_DIMS);

// Whether a device's message says that its memory ran out: Vulkan throws, CUDA's plugin
// fails an assertion.
bool is_memory(const char *text) {
    for (const char *words : {"OutOfDeviceMemory", "OutOfHostMemory", "out of memory"}) {
        if (strstr(text, words)) {
            return true;
        }
    }
    return false;
}

Params params_of(const sdgo_param *params, size_t n) {
    Params all;
    for (size_t i = 0; i < n; i++) {
        const sdgo_param &p = params[i];
        if (p.count > std::size(p.values)) {
            invalid("hyperparameter %s must have at most %zu values, got %zu", p.name, std::size(p.values),
                    p.count);
        }
        all.set(p.name, p.values, p.count);
    }
    return all;
}

// Runs f; false and a filled *err if it throws.
template <class F> bool guarded(sdgo_error *err, F f) {
    sdgo_error e{};
    try {
        const AbortGuard guard;
        f();
        return true;
    } catch (const Error &x) {
        e.code = x.code == Code::device && is_memory(x.what()) ? SDGO_NO_MEMORY : sdgo_code(x.code);
        e.needed = x.needed;
        snprintf(e.message, sizeof(e.message), "%s", x.what());
    } catch (const std::bad_alloc &) {
        e.code = SDGO_NO_MEMORY;
        snprintf(e.message, sizeof(e.message), "out of memory");
    } catch (const std::exception &x) {
        e.code = is_memory(x.what()) ? SDGO_NO_MEMORY : SDGO_DEVICE;
        snprintf(e.message, sizeof(e.message), "%s", x.what());
    } catch (...) {
        e.code = SDGO_DEVICE;
        snprintf(e.message, sizeof(e.message), "unknown failure");
    }
    if (err) {
        *err = e;
    }
    return false;
}

} // namespace

bool sdgo_plugin_load(const char *path, sdgo_error *err) {
    return guarded(err, [&] { load_plugin(path); });
}

const char *sdgo_plugin_version(void) {
    return SDGO_GGML_VERSION;
}

size_t sdgo_device_count(void) {
    silence_ggml();
    return ggml_backend_dev_count();
}

bool sdgo_device_at(size_t index, sdgo_device_info *info) {
    if (index >= sdgo_device_count()) {
        return false;
    }
    ggml_backend_dev_t dev = ggml_backend_dev_get(index);
    size_t free = 0, total = 0;
    ggml_backend_dev_memory(dev, &free, &total);
    *info = {ggml_backend_dev_name(dev), ggml_backend_dev_description(dev),
             sdgo_device_kind(ggml_backend_dev_type(dev)), free, total};
    return true;
}

bool sdgo_kernels_at(size_t index, sdgo_kernels *set) {
    for (int i = int(kernels::Isa::generic); i < kernels::isa_count; i++) {
        const auto isa = kernels::Isa(i);
        if (kernels::isa_name(isa) && index-- == 0) {
            *set = {kernels::isa_name(isa), kernels::isa_available(isa)};
            return true;
        }
    }
    return false;
}

sdgo_net *sdgo_net_new(const char *arch, const sdgo_param *params, size_t n_params, size_t device,
                       int threads, const char *kernels, sdgo_error *err) {
    sdgo_net *net = nullptr;
    guarded(err, [&] {
        net = new sdgo_net(architecture(arch, params_of(params, n_params)), device, threads, kernels);
    });
    return net;
}

void sdgo_net_free(sdgo_net *net) {
    const DeviceLock lock(net->mutex());
    delete net;
}

size_t sdgo_net_weight_count(const sdgo_net *net) {
    return net->weights().all().size();
}

bool sdgo_net_weight_at(const sdgo_net *net, size_t index, sdgo_weight *weight) {
    if (index >= sdgo_net_weight_count(net)) {
        return false;
    }
    const Weight &w = net->weights().all()[index];
    *weight = {w.name.c_str(), int(w.shape.size()), {}};
    std::copy(w.shape.begin(), w.shape.end(), weight->shape);
    return true;
}

bool sdgo_net_bind(sdgo_net *net, size_t index, int type, const void *data, size_t size, bool mapped,
                   sdgo_error *err) {
    return guarded(err, [&] { net->weights().bind(index, ggml_type(type), data, size, mapped); });
}

bool sdgo_net_load(sdgo_net *net, const sdgo_load *how, sdgo_error *err) {
    return guarded(err, [&] { net->load(*how); });
}

void sdgo_net_unload(sdgo_net *net) {
    net->unload();
}

bool sdgo_device_tune(size_t device, int side, sdgo_op_choice *choice, sdgo_error *err) {
    return guarded(err, [&] {
        if (side < 8 || side > 256 || side % 8 != 0) {
            invalid("the size of the trial must be a multiple of 8 from 8 to 256, got %d", side);
        }
        const Device on(device, 1);
        const DeviceLock lock(on, nullptr);
        const OpChoice best = tune(on, side);
        *choice = {best.direct_conv, best.flash_attention, best.float32, false, 0};
    });
}

void sdgo_net_choose(sdgo_net *net, const sdgo_op_choice *choice) {
    net->choose({choice->direct_conv, choice->flash_attention, choice->float32, choice->gradient_segments,
                 choice->fast});
}

static std::vector<Change> changes_of(const sdgo_change *changes, size_t n) {
    std::vector<Change> all;
    for (size_t i = 0; i < n; i++) {
        const sdgo_change &c = changes[i];
        all.push_back({c.weight, ggml_type(c.element), c.whole, c.rank, c.down, c.mid, c.up, c.scale});
    }
    return all;
}

sdgo_adapter *sdgo_adapter_new(sdgo_net *net, const sdgo_change *changes, size_t n_changes, sdgo_error *err) {
    sdgo_adapter *made = nullptr;
    guarded(err, [&] { made = net->adapt(changes_of(changes, n_changes)).release(); });
    return made;
}

bool sdgo_adapter_update(sdgo_net *net, sdgo_adapter *adapter, const sdgo_change *changes, size_t n_changes,
                         sdgo_error *err) {
    return guarded(err, [&] { net->update(*adapter, changes_of(changes, n_changes)); });
}

void sdgo_adapter_free(sdgo_adapter *adapter) {
    if (!adapter) {
        return;
    }
    const DeviceLock lock(adapter->mutex);
    delete adapter;
}

bool sdgo_net_run(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, sdgo_output *outputs,
                  size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters,
                  const int32_t *cancel, sdgo_error *err) {
    for (size_t i = 0; i < n_outputs; i++) {
        outputs[i].value = nullptr;
    }
    const bool ok = guarded(err, [&] {
        net->run({inputs, n_inputs, outputs, n_outputs, adapters, n_adapters}, outputs, cancel);
    });
    if (!ok) {
        for (size_t i = 0; i < n_outputs; i++) {
            sdgo_value_free(outputs[i].value);
            outputs[i].value = nullptr;
        }
    }
    return ok;
}

bool sdgo_net_estimate(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, const sdgo_output *outputs,
                       size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters, uint64_t *bytes,
                       sdgo_error *err) {
    return guarded(err, [&] {
        *bytes = net->estimate({inputs, n_inputs, outputs, n_outputs, adapters, n_adapters});
    });
}

bool sdgo_net_prepare(sdgo_net *net, const sdgo_input *inputs, size_t n_inputs, const sdgo_output *outputs,
                      size_t n_outputs, const sdgo_adapter_use *adapters, size_t n_adapters,
                      sdgo_needs *needs, sdgo_error *err) {
    return guarded(err, [&] {
        *needs = net->prepare({inputs, n_inputs, outputs, n_outputs, adapters, n_adapters});
    });
}

void sdgo_net_keep(sdgo_net *net, uint64_t bytes) {
    net->keep(bytes);
}

uint64_t sdgo_net_kept(const sdgo_net *net) {
    return net->kept();
}

bool sdgo_net_changed(sdgo_net *net, const size_t *weights, size_t n_weights, sdgo_error *err) {
    return guarded(err, [&] { net->changed(weights, n_weights); });
}

void sdgo_net_trim(sdgo_net *net) {
    net->trim();
}

size_t sdgo_net_profile(sdgo_net *net, sdgo_work *work, size_t capacity) {
    size_t n = 0;
    for (const auto &[op, w] : net->profile().work()) {
        if (n < capacity) {
            snprintf(work[n].op, sizeof work[n].op, "%s", op.c_str());
            work[n].calls = w.calls;
            work[n].flop = w.flop;
            work[n].seconds = w.seconds;
        }
        n++;
    }
    net->profile().clear();
    return n;
}

void sdgo_value_shape(const sdgo_value *value, int *n_dims, int64_t shape[SDGO_MAX_DIMS]) {
    *n_dims = int(value->shape.size());
    std::copy(value->shape.begin(), value->shape.end(), shape);
}

bool sdgo_value_read(const sdgo_value *value, float *data, size_t count, sdgo_error *err) {
    return guarded(err, [&] {
        if (int64_t(count) != ggml_nelements(value->tensor)) {
            invalid("the value has %lld elements, got room for %zu", (long long)ggml_nelements(value->tensor),
                    count);
        }
        const DeviceLock lock(value->mutex);
        ggml_backend_tensor_get(value->tensor, data, 0, ggml_nbytes(value->tensor));
    });
}

void sdgo_value_free(sdgo_value *value) {
    if (!value) {
        return;
    }
    const DeviceLock lock(value->mutex);
    delete value;
}

bool sdgo_quantize(int type, const float *src, void *dst, size_t size, int64_t rows, int64_t row_length,
                   const float *importance, sdgo_error *err) {
    return guarded(err, [&] { quantize(type, src, dst, size, rows, row_length, importance); });
}

bool sdgo_dequantize(int type, const void *src, size_t size, float *dst, int64_t count, sdgo_error *err) {
    return guarded(err, [&] { dequantize(type, src, size, dst, count); });
}
