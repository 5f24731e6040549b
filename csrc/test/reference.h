// What the kernels should compute, as plain loops in double, with the inputs
// to try them on.
#pragma once

#include "kernels/kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

namespace reference {

using namespace sdgo::kernels;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

// A pool that starts its threads for each run.
struct Threads {
    int n;

    int threads() const { return n; }
    template <class F> void run(int count, const F &task) {
        std::vector<std::thread> others;
        for (int i = 1; i < count; i++) {
            others.emplace_back([&task, i] { task(i); });
        }
        task(0);
        for (std::thread &t : others) {
            t.join();
        }
    }
};

// Runs a kernel with memory of exactly the size that it asks for.
template <class Args> void run_with(const Args &args, int threads) {
    const size_t size = scratch_bytes(args, threads);
    std::vector<char> memory(size + 64);
    char *aligned = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    Threads pool{threads};
    run_on(pool, args, size ? aligned : nullptr);
}

struct Random {
    std::mt19937 engine{20240229};

    int between(int low, int high) { return int(low + engine() % uint32_t(high - low + 1)); }
    bool coin() { return engine() % 2 == 0; }
    float uniform(float low, float high) { return low + (high - low) * float(engine() % 65536) / 65535; }
    Floats floats(int64_t n, float low = -1, float high = 1) {
        Floats v(static_cast<size_t>(n));
        for (float &x : v) {
            x = uniform(low, high);
        }
        return v;
    }
};

inline double f16_value(uint16_t h) {
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    const double x = exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24);
    return h & 0x8000 ? -x : x;
}

inline double bf16_value(uint16_t h) {
    const uint32_t bits = uint32_t(h) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// A made-up quantized type: 32 signed bytes and their scale.
struct Block {
    float scale;
    int8_t q[32];
};

inline void block_to_float(const void *from, float *to, int64_t n) {
    const Block *b = static_cast<const Block *>(from);
    for (int64_t i = 0; i < n; i++) {
        to[i] = b[i / 32].scale * float(b[i / 32].q[i % 32]);
    }
}

// Weights of any type: their memory, exactly as long as it must be, and values.
struct Weights {
    std::vector<char> memory;
    Doubles values; // [rows][columns]
    Matrix matrix;
    Vector vector() const { return {matrix.data, matrix.type}; }
};

// `columns` must divide by 32 for Type::block.
inline Weights weights(Random &random, Type type, int64_t rows, int64_t columns) {
    Weights w;
    const int64_t size = rows * columns;
    w.values.resize(size_t(size));
    w.matrix.type = type;
    if (type == Type::block) {
        w.matrix.row_bytes = size_t(columns / 32) * sizeof(Block);
        w.matrix.to_float = block_to_float;
        w.matrix.block_length = 32;
        w.matrix.block_bytes = sizeof(Block);
    } else {
        w.matrix.row_bytes = size_t(columns) * (type == Type::f32 ? 4 : 2);
    }
    w.memory.resize(size_t(rows) * w.matrix.row_bytes);
    w.matrix.data = w.memory.data();
    for (int64_t i = 0; i < size; i++) {
        if (type == Type::f32) {
            const float x = random.uniform(-1, 1);
            std::memcpy(w.memory.data() + i * 4, &x, 4);
            w.values[size_t(i)] = double(x);
        } else if (type == Type::block) {
            Block &b = reinterpret_cast<Block *>(w.memory.data())[i / 32];
            b.scale = 1 / 128.0f;
            b.q[i % 32] = int8_t(random.between(-127, 127));
            w.values[size_t(i)] = double(b.scale) * b.q[i % 32];
        } else {
            // Exponents up to that of 1; for f16 from subnormal ones on.
            uint16_t bits = uint16_t(random.engine());
            bits = type == Type::f16 ? uint16_t((bits & 0x83ff) | random.between(0, 14) << 10)
                                     : uint16_t((bits & 0x807f) | random.between(110, 126) << 7);
            std::memcpy(w.memory.data() + i * 2, &bits, 2);
            w.values[size_t(i)] = type == Type::f16 ? f16_value(bits) : bf16_value(bits);
        }
    }
    return w;
}

inline double activate(double x, Act act) {
    switch (act) {
    case Act::none:
        return x;
    case Act::silu:
        return x / (1 + std::exp(-x));
    case Act::gelu:
        return x / 2 * std::erfc(-x / std::sqrt(2.0));
    case Act::gelu_tanh:
        return x / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
    case Act::quick_gelu:
        return x / (1 + std::exp(-1.702 * x));
    }
    return NAN;
}

// Output n of row m; w and bias: the values of l.w and l.bias.
inline double linear(const Linear &l, const Doubles &w, const Doubles &bias, int64_t m, int64_t n) {
    const int64_t stride = l.x_stride ? l.x_stride : l.in;
    const int64_t per_image = l.rows_per_image ? l.rows_per_image : l.rows;
    const auto sum = [&](int64_t row) {
        double sum = bias.empty() ? 0 : bias[size_t(row)];
        if (l.before) {
            sum += double(l.before[m * (l.geglu ? 2 : 1) * l.out + row]);
        }
        for (int64_t k = 0; k < l.in; k++) {
            double x = double(l.x[m * stride + k]);
            if (l.norm.scale) {
                const int64_t c = m / per_image * l.in + k;
                x = x * double(l.norm.scale[c]) + double(l.norm.shift[c]);
                x = activate(x, l.norm.silu ? Act::silu : Act::none);
            }
            sum += x * w[size_t(row * l.in + k)];
        }
        return sum;
    };
    double y = l.geglu ? sum(n) * activate(sum(l.out + n), Act::gelu) : activate(sum(n), l.act);
    if (l.residual) {
        y += double(l.residual[m * (l.residual_stride ? l.residual_stride : l.out) + n]);
    }
    return y;
}

inline double input(const Conv2d &c, int64_t image, int64_t y, int64_t x, int64_t channel) {
    const int64_t up = c.upsample ? 2 : 1;
    const int64_t h = c.upsample && c.up_h ? c.up_h : up * c.h, w = c.upsample && c.up_w ? c.up_w : up * c.w;
    if (y < 0 || x < 0 || y >= h || x >= w) {
        return 0;
    }
    const int64_t odd = c.spread == Spread::last;
    if (c.spread != Spread::none && (y % 2 != odd || x % 2 != odd || y / 2 >= c.h || x / 2 >= c.w)) {
        return 0;
    }
    const int64_t pixel = (image * c.h + y / up) * c.w + x / up;
    double v = double(channel < c.c1 ? c.x[pixel * c.c1 + channel] : c.x2[pixel * c.c2 + channel - c.c1]);
    if (c.norm.scale) {
        const int64_t i = image * (c.c1 + c.c2) + channel;
        v = activate(v * double(c.norm.scale[i]) + double(c.norm.shift[i]),
                     c.norm.silu ? Act::silu : Act::none);
    }
    return v;
}

// Output o of pixel i of all images; weight and bias: the values of c's.
inline double conv2d(const Conv2d &c, const Doubles &weight, const Doubles &bias, int64_t i, int64_t o) {
    const int64_t channels = c.c1 + c.c2, pad = c.kernel == 3 && !c.pad_end ? 1 : 0;
    const int64_t height = out_height(c), width = out_width(c);
    const int64_t image = i / (height * width), y = i / width % height, x = i % width;
    double sum = bias.empty() ? 0 : bias[size_t(o)];
    for (int64_t k = 0; k < channels; k++) {
        for (int t = 0; t < c.kernel * c.kernel; t++) {
            sum += input(c, image, y * c.stride + t / c.kernel - pad, x * c.stride + t % c.kernel - pad, k) *
                   weight[size_t((o * channels + k) * c.kernel * c.kernel + t)];
        }
    }
    if (c.channel_add) {
        sum += double(c.channel_add[image * (c.channel_add_stride ? c.channel_add_stride : c.out) + o]);
    }
    sum = activate(sum, c.act);
    return c.residual ? sum + double(c.residual[i * c.out + o]) : sum;
}

inline Doubles attention(const Attention &a) {
    Doubles y(size_t(a.n * a.q_length * a.heads * a.dim));
    for (int64_t i = 0; i < a.n * a.heads * a.q_length; i++) {
        const int64_t n = i / (a.heads * a.q_length), h = i / a.q_length % a.heads, l = i % a.q_length;
        const auto at = [&](const Heads &x, int64_t token, int64_t d) {
            return double(x.data[n * x.batch + token * x.token + h * x.head + d]);
        };
        Doubles out(size_t(a.dim));
        double total = 0;
        const int64_t seen = a.causal ? std::min(l + 1, a.k_length) : a.k_length;
        for (int64_t j = 0; j < seen; j++) {
            double score = 0;
            for (int64_t d = 0; d < a.dim; d++) {
                score += at(a.q, l, d) * at(a.k, j, d);
            }
            const double e = std::exp(score * double(a.scale));
            total += e;
            for (int64_t d = 0; d < a.dim; d++) {
                out[size_t(d)] += e * at(a.v, j, d);
            }
        }
        for (int64_t d = 0; d < a.dim; d++) {
            y[size_t(((n * a.q_length + l) * a.heads + h) * a.dim + d)] = out[size_t(d)] / total;
        }
    }
    return y;
}

// Group normalisation (one group a row, one row an image: layer normalisation).
inline Doubles normalized(const Doubles &x, int64_t images, int64_t rows, int64_t channels, int64_t groups,
                          double eps, const Doubles &weight, const Doubles &bias) {
    Doubles y(x.size());
    const int64_t size = channels / groups;
    for (int64_t i = 0; i < images * groups; i++) {
        const int64_t base = i / groups * rows * channels, first = i % groups * size;
        const auto each = [&](auto f) {
            for (int64_t r = 0; r < rows; r++) {
                for (int64_t c = first; c < first + size; c++) {
                    f(size_t(base + r * channels + c), size_t(c));
                }
            }
        };
        double mean = 0, variance = 0;
        const double count = double(rows * size);
        each([&](size_t k, size_t) { mean += x[k] / count; });
        each([&](size_t k, size_t) { variance += (x[k] - mean) * (x[k] - mean) / count; });
        each([&](size_t k, size_t c) {
            y[k] = (x[k] - mean) / std::sqrt(variance + eps) * (weight.empty() ? 1 : weight[c]) +
                   (bias.empty() ? 0 : bias[c]);
        });
    }
    return y;
}

inline Doubles rms_norm(const RmsNorm &a, const Doubles &weight) {
    Doubles y;
    for (int64_t r = 0; r < a.rows; r++) {
        double squares = 0;
        for (int64_t i = 0; i < a.dim; i++) {
            squares += double(a.x[r * a.dim + i]) * double(a.x[r * a.dim + i]);
        }
        for (int64_t i = 0; i < a.dim; i++) {
            y.push_back(double(a.x[r * a.dim + i]) /
                        (std::sqrt(squares / double(a.dim) + double(a.eps)) + double(a.added)) *
                        (weight.empty() ? 1 : weight[size_t(i)]));
        }
    }
    return y;
}

inline Doubles modulate(const Modulate &a) {
    Doubles y;
    for (int64_t i = 0; i < a.n * a.rows * a.dim; i++) {
        const int64_t at = i / (a.rows * a.dim) * a.dim + i % a.dim;
        y.push_back(double(a.x[i]) * (1 + double(a.scale[at])) + double(a.shift[at]));
    }
    return y;
}

inline Doubles gate(const Gate &a) {
    Doubles y;
    for (int64_t i = 0; i < a.n * a.rows * a.dim; i++) {
        const int64_t at = i / (a.rows * a.dim) * a.dim + i % a.dim;
        y.push_back(double(a.x[i]) * double(a.gate[at]) + double(a.residual[i]));
    }
    return y;
}

inline Doubles rope(const Rope &a) {
    Doubles y;
    for (int64_t i = 0; i < a.n * a.length * a.heads * a.dim; i++) {
        const int64_t d = i % a.dim, half = a.dim / 2, token = i / (a.dim * a.heads) % a.length;
        const int64_t pair = a.interleaved ? d / 2 : d % half;
        const bool second = a.interleaved ? d % 2 == 1 : d >= half;
        const double other =
            double(a.x[second ? i - (a.interleaved ? 1 : half) : i + (a.interleaved ? 1 : half)]);
        const double cos = double(a.cos[token * half + pair]), sin = double(a.sin[token * half + pair]);
        y.push_back(double(a.x[i]) * cos + (second ? other : -other) * sin);
    }
    return y;
}

// As pixels between zeros, filtered, of which some are taken.
inline Doubles resample(const Resample &a) {
    const auto taps = [](Sampling how) -> Doubles { // of a line of double size or of the line itself
        switch (how) {
        case Sampling::mean_down:
            return {0.5, 0.5};
        case Sampling::nearest_up:
            return {1, 1};
        case Sampling::fir_down:
        case Sampling::fir_blur:
            return {0.125, 0.375, 0.375, 0.125};
        case Sampling::fir_up:
            return {0.25, 0.75, 0.75, 0.25};
        case Sampling::same:
            break;
        }
        return {1};
    };
    const bool up = a.how == Sampling::nearest_up || a.how == Sampling::fir_up;
    const bool down = a.how == Sampling::mean_down || a.how == Sampling::fir_down;
    const Doubles k = taps(a.how);
    const int64_t before = a.how == Sampling::fir_down     ? 1
                           : a.how == Sampling::nearest_up ? 1
                           : a.how == Sampling::fir_up     ? 2
                           : a.how == Sampling::fir_blur   ? 2
                                                           : 0;
    const int64_t rows = sampled_size(a.how, a.h), columns = sampled_size(a.how, a.w);
    // Number i of a line, between zeros if it is made longer.
    const auto at = [&](int64_t image, int64_t y, int64_t x, int64_t c) {
        if (up && (y % 2 != 0 || x % 2 != 0)) {
            return 0.0;
        }
        y = up ? y / 2 : y, x = up ? x / 2 : x;
        return y < 0 || x < 0 || y >= a.h || x >= a.w ? 0.0
                                                      : double(a.x[((image * a.h + y) * a.w + x) * a.c + c]);
    };
    Doubles result;
    for (int64_t i = 0; i < a.n * rows * columns * a.c; i++) {
        const int64_t c = i % a.c, x = i / a.c % columns, y = i / a.c / columns % rows,
                      image = i / a.c / columns / rows;
        double sum = 0;
        for (size_t v = 0; v < k.size(); v++) {
            for (size_t u = 0; u < k.size(); u++) {
                sum += k[v] * k[u] *
                       at(image, (down ? 2 * y : y) + int64_t(v) - before,
                          (down ? 2 * x : x) + int64_t(u) - before, c);
            }
        }
        result.push_back(sum * double(a.gain));
    }
    return result;
}

} // namespace reference
