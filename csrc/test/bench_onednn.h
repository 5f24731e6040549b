// oneDNN's columns of the benchmark: its own choice of layouts, weights
// reordered beforehand, which is the best it does. Without its headers
// there are no such columns.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <functional>

namespace onednn {

// An empty function where it has no kernel.
using Add = std::function<void(std::function<void()> run)>;

#if __has_include(<dnnl.hpp>)
} // namespace onednn
#include <dnnl.hpp>

extern "C" void omp_set_num_threads(int) __attribute__((weak));

namespace onednn {

constexpr int column_count = 3;
inline const char *columns() {
    return " oneDNN f32 | oneDNN bf16 | oneDNN f32 Winograd |";
}

// OpenMP has read its variables when main begins: bench.sh sets OMP_WAIT_POLICY.
inline void start(int threads) {
    if (omp_set_num_threads) {
        omp_set_num_threads(threads);
    }
}

using dims = dnnl::memory::dims;

inline dnnl::engine &engine() {
    static dnnl::engine e(dnnl::engine::kind::cpu, 0);
    return e;
}

// Runs a primitive on memory of its own liking, filled with small numbers.
template <class Desc> std::function<void()> runner(const Desc &pd, bool bias) {
    auto stream = std::make_shared<dnnl::stream>(engine());
    const auto memory = [](const dnnl::memory::desc &d) {
        dnnl::memory m(d, engine());
        std::memset(m.get_data_handle(), 0x3c, d.get_size()); // 0x3c3c: 0.0115 in bf16 and f32
        return m;
    };
    std::unordered_map<int, dnnl::memory> args = {{DNNL_ARG_SRC, memory(pd.src_desc())},
                                                  {DNNL_ARG_WEIGHTS, memory(pd.weights_desc())},
                                                  {DNNL_ARG_DST, memory(pd.dst_desc())}};
    if (bias) {
        args.insert({DNNL_ARG_BIAS, memory(pd.bias_desc())});
    }
    const auto primitive = std::make_shared<dnnl::primitive>(pd);
    return [stream, args, primitive] {
        primitive->execute(*stream, args);
        stream->wait();
    };
}

inline void add_conv2d(dnnl::memory::data_type type, dnnl::algorithm algorithm, int64_t n, int64_t size,
                       int64_t in, int64_t out, int stride, const Add &add) {
    using tag = dnnl::memory::format_tag;
    const auto any = [&](const dims &d) { return dnnl::memory::desc(d, type, tag::any); };
    const int64_t to = (size - 1) / stride + 1;
    try {
        const dnnl::convolution_forward::desc d(
            dnnl::prop_kind::forward_inference, algorithm, any({n, in, size, size}), any({out, in, 3, 3}),
            dnnl::memory::desc({out}, dnnl::memory::data_type::f32, tag::x), any({n, out, to, to}),
            dims{stride, stride}, dims{1, 1}, dims{1, 1});
        add(runner(dnnl::convolution_forward::primitive_desc(d, engine()), true));
    } catch (const dnnl::error &) { // it has no such kernel on this machine
        add(nullptr);
    }
}

inline void conv2d(int64_t n, int64_t size, int64_t in, int64_t out, int stride, const Add &add) {
    using type = dnnl::memory::data_type;
    using algorithm = dnnl::algorithm;
    add_conv2d(type::f32, algorithm::convolution_direct, n, size, in, out, stride, add);
    add_conv2d(type::bf16, algorithm::convolution_direct, n, size, in, out, stride, add);
    add_conv2d(type::f32, algorithm::convolution_winograd, n, size, in, out, stride, add);
}

inline void linear(int64_t rows, int64_t in, int64_t out, const Add &add) {
    using tag = dnnl::memory::format_tag;
    for (const auto type : {dnnl::memory::data_type::f32, dnnl::memory::data_type::bf16}) {
        try {
            const dnnl::matmul::desc d(dnnl::memory::desc({rows, in}, type, tag::ab),
                                       dnnl::memory::desc({in, out}, type, tag::any),
                                       dnnl::memory::desc({rows, out}, type, tag::ab));
            add(runner(dnnl::matmul::primitive_desc(d, engine()), false));
        } catch (const dnnl::error &) {
            add(nullptr);
        }
    }
}
#else
constexpr int column_count = 0;
inline const char *columns() {
    return "";
}
inline void start(int) {}
inline void conv2d(int64_t, int64_t, int64_t, int64_t, int, const Add &) {}
inline void linear(int64_t, int64_t, int64_t, const Add &) {}
#endif

} // namespace onednn
