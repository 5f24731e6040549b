// The kernels of derivatives against plain loops in double. Where a derivative is of one
// number it is a central difference of the function itself.
#include "check.h"
#include "kernels/gradients.h"

using namespace check;

namespace {

double slope(double x, Act act) {
    const double h = 1e-5;
    return (reference::activate(x + h, act) - reference::activate(x - h, act)) / (2 * h);
}

// A matrix that is stored transposed: one row for each input. Its values are in the order
// of an ordinary one, [outputs][inputs][taps].
Weights transposed(Random &random, Type type, int64_t in, int64_t out, int64_t taps) {
    Weights w = weights(random, type, in, out * taps);
    Doubles values(w.values.size());
    for (int64_t i = 0; i < in; i++) {
        for (int64_t o = 0; o < out; o++) {
            for (int64_t t = 0; t < taps; t++) {
                values[size_t((o * in + i) * taps + taps - 1 - t)] =
                    w.values[size_t((i * out + o) * taps + t)];
            }
        }
    }
    w.values = values;
    w.matrix.transposed = true;
    return w;
}

struct GradientTest {
    Isa isa;
    bool small;
    Random random{};

    template <class Args> void run(Args args, Floats &y, const std::string &name) {
        args.isa = isa;
        run_twice(args, y, name);
    }

    std::string name(const char *kernel, std::initializer_list<int64_t> numbers) const {
        return std::string(kernel) + " " + isa_name(isa) + " " + shape(numbers);
    }

    double tolerance(Type type, int kernel) const {
        const bool int16 = isa != Isa::generic && isa != Isa::avx512;
        return type == Type::f32 || !int16 ? 4e-6 : kernel == 3 ? 7e-4 : 2.5e-4;
    }

    void linear(int64_t rows, int64_t in, int64_t out, Type type) {
        Linear l;
        l.rows = rows, l.in = in, l.out = out;
        const Weights w = transposed(random, type, in, out, 1);
        const Floats x = random.floats(rows * in);
        Floats y(size_t(rows * out), kGuard);
        l.x = x.data(), l.w = w.matrix, l.y = y.data();
        const std::string what = name("transposed linear", {rows, in, out}) + " " + type_name(type);
        run(l, y, what);
        Doubles want;
        for (int64_t i = 0; i < rows * out; i++) {
            want.push_back(reference::linear(l, w.values, {}, i / out, i % out));
        }
        compare(y.data(), want, tolerance(type, 1), what);
    }

    void conv2d(int64_t n, int64_t h, int64_t w, int64_t in, int64_t out, int kernel, Type type) {
        Conv2d c;
        c.n = n, c.h = h, c.w = w, c.c1 = in, c.out = out, c.kernel = kernel;
        if (random.coin()) {
            c.upsample = true, c.spread = random.coin() ? Spread::first : Spread::last;
            c.up_h = 2 * h + random.between(-1, 1), c.up_w = 2 * w + random.between(-1, 1);
        }
        const Weights weight = transposed(random, type, in, out, kernel * kernel);
        const Floats x = random.floats(n * h * w * in);
        Floats y(size_t(n * out_height(c) * out_width(c) * out), kGuard);
        c.x = x.data(), c.weight = weight.matrix, c.y = y.data();
        const std::string what =
            name("transposed conv2d", {n, h, w, in, out, kernel}) + " " + type_name(type);
        run(c, y, what);
        Doubles want;
        for (int64_t i = 0; i < int64_t(y.size()); i++) {
            want.push_back(reference::conv2d(c, weight.values, {}, i / out, i % out));
        }
        compare(y.data(), want, tolerance(type, kernel), what);
    }

    void products() {
        for (int i = 0; i < 40; i++) {
            const Type type = Type(i % 4);
            // A row of blocks has an output for each of its numbers.
            linear(random.between(1, 70), random.between(1, 700),
                   type == Type::block ? 32 * random.between(1, 20) : random.between(1, 130), type);
            conv2d(random.between(1, 2), random.between(2, 14), random.between(2, 14), random.between(1, 70),
                   type == Type::block ? 32 * random.between(1, 3) : random.between(1, 70),
                   random.coin() ? 3 : 1, type);
        }
        if (!small) {
            linear(40, 1300, 1024, Type::block); // more columns than are unpacked at a time
            conv2d(1, 16, 16, 130, 70, 3, Type::f16);
        }
        report(isa, "transposed");
    }

    void attention(int64_t n, int64_t heads, int64_t dim, int64_t q_length, int64_t k_length, bool causal) {
        AttentionGradient a;
        a.n = n, a.heads = heads, a.dim = dim, a.q_length = q_length, a.k_length = k_length;
        a.causal = causal, a.scale = 1 / std::sqrt(float(dim));
        const int64_t width = heads * dim, token = 2 * width + random.between(0, 3);
        const Floats q = random.floats(n * q_length * width, -4, 4), dy = random.floats(q.size());
        const Floats kv = random.floats(n * k_length * token, -2, 2);
        a.q = {q.data(), q_length * width, width, dim}, a.dy = {dy.data(), q_length * width, width, dim};
        a.k = {kv.data(), k_length * token, token, dim},
        a.v = {kv.data() + width, k_length * token, token, dim};
        Floats out(q.size() + kv.size(), kGuard); // dq, then dk and dv as k and v are
        a.dq = {out.data(), a.q.batch, a.q.token, a.q.head};
        float *dkv = out.data() + q.size();
        a.dk = {dkv, a.k.batch, a.k.token, a.k.head}, a.dv = {dkv + width, a.k.batch, a.k.token, a.k.head};
        const std::string what =
            name("attention", {n, heads, dim, q_length, k_length}) + (causal ? " causal" : "");
        run(a, out, what);
        Doubles want(out.begin(), out.end()); // gaps stay what they were
        for (int64_t i = 0; i < n * heads; i++) {
            head(a, i, want.data(), want.data() + q.size(), want.data() + q.size() + width);
        }
        for (size_t i = q.size(); i < out.size(); i++) { // gaps
            if (int64_t(i - q.size()) % token >= 2 * width) {
                expect(out[i] == kGuard, "writes outside its rows", what);
                out[i] = 0, want[i] = 0;
            }
        }
        compare(out.data(), want, 4e-6, what);
    }

    // The gradients of one head, from the whole matrix of probabilities.
    static void head(const AttentionGradient &a, int64_t index, double *dq, double *dk, double *dv) {
        const int64_t n = index / a.heads, h = index % a.heads;
        const auto at = [&](const auto &x, int64_t token, int64_t d) {
            return size_t(n * x.batch + token * x.token + h * x.head + d);
        };
        const auto number = [&](const Heads &x, int64_t token, int64_t d) {
            return double(x.data[at(x, token, d)]);
        };
        const auto product = [&](const Heads &x, int64_t i, const Heads &y, int64_t j) {
            double sum = 0;
            for (int64_t d = 0; d < a.dim; d++) {
                sum += number(x, i, d) * number(y, j, d);
            }
            return sum;
        };
        for (int64_t j = 0; j < a.k_length; j++) {
            for (int64_t d = 0; d < a.dim; d++) {
                dk[at(a.k, j, d)] = dv[at(a.v, j, d)] = 0;
            }
        }
        for (int64_t i = 0; i < a.q_length; i++) {
            const int64_t seen = a.causal ? std::min(i + 1, a.k_length) : a.k_length;
            Doubles p, dp;
            double total = 0, mean = 0;
            for (int64_t j = 0; j < seen; j++) {
                p.push_back(std::exp(double(a.scale) * product(a.q, i, a.k, j)));
                dp.push_back(product(a.dy, i, a.v, j));
                total += p.back();
            }
            for (size_t j = 0; j < p.size(); j++) {
                p[j] /= total;
                mean += p[j] * dp[j];
            }
            for (int64_t d = 0; d < a.dim; d++) {
                double sum = 0;
                for (int64_t j = 0; j < seen; j++) {
                    const double ds = double(a.scale) * p[size_t(j)] * (dp[size_t(j)] - mean);
                    sum += ds * number(a.k, j, d);
                    dk[at(a.k, j, d)] += ds * number(a.q, i, d);
                    dv[at(a.v, j, d)] += p[size_t(j)] * number(a.dy, i, d);
                }
                dq[at(a.q, i, d)] = sum;
            }
        }
    }

    void attentions() {
        for (int i = 0; i < 30; i++) {
            attention(random.between(1, 2), random.between(1, 4), random.between(1, 90),
                      random.between(1, 150), random.between(1, 300), random.coin());
        }
        attention(1, 2, 40, 300, 300, false);
        attention(1, 1, 512, 70, 130, false);
        attention(1, 12, 64, 77, 77, true);
        report(isa, "attention'");
    }

    // The derivative of a normalisation of numbers x that have weights: h is dy·weight.
    static Doubles normalised(const Doubles &x, const Doubles &h, bool centred, double eps, double added) {
        const double count = double(x.size());
        double mean = 0, variance = 0, mean_h = 0, along = 0;
        for (size_t i = 0; i < x.size(); i++) {
            mean += centred ? x[i] / count : 0;
            mean_h += centred ? h[i] / count : 0;
        }
        for (double v : x) {
            variance += (v - mean) * (v - mean) / count;
        }
        const double root = std::sqrt(variance + eps), s = root + added;
        for (size_t i = 0; i < x.size(); i++) {
            along += (x[i] - mean) * h[i] / count;
        }
        Doubles dx;
        for (size_t i = 0; i < x.size(); i++) {
            dx.push_back((h[i] - mean_h - (x[i] - mean) * along / (s * root)) / s);
        }
        return dx;
    }

    void row_norm(int64_t rows, int64_t dim, bool centred) {
        const float mean = random.uniform(-3, 3);
        const Floats x = random.floats(rows * dim, mean - 1, mean + 1), dy = random.floats(rows * dim);
        const bool with_weight = random.coin();
        const Weights weight = weights(random, vector_type(random), 1, dim);
        Floats out(size_t(rows * dim + 2 * dim), kGuard);
        RowNormGradient a;
        a.x = x.data(), a.dy = dy.data(), a.rows = rows, a.dim = dim, a.centred = centred;
        a.eps = 1e-3f, a.added = centred ? 0 : 0.25f;
        a.weight = with_weight ? weight.vector() : Vector{};
        a.dx = out.data(), a.sums = out.data() + rows * dim;
        const std::string what = name(centred ? "layer_norm" : "rms_norm", {rows, dim});
        run(a, out, what);
        Doubles want(size_t(2 * dim)), all;
        for (int64_t r = 0; r < rows; r++) {
            Doubles v, h, unit;
            double variance = 0, center = 0;
            for (int64_t i = 0; i < dim; i++) {
                v.push_back(double(x[size_t(r * dim + i)]));
                h.push_back(double(dy[size_t(r * dim + i)]) * (with_weight ? weight.values[size_t(i)] : 1));
                center += centred ? v.back() / double(dim) : 0;
            }
            for (double y : v) {
                variance += (y - center) * (y - center) / double(dim);
            }
            for (int64_t i = 0; i < dim; i++) {
                const double g = double(dy[size_t(r * dim + i)]);
                want[size_t(i)] +=
                    g * (v[size_t(i)] - center) / (std::sqrt(variance + double(a.eps)) + double(a.added));
                want[size_t(dim + i)] += g;
            }
            const Doubles dx = normalised(v, h, centred, double(a.eps), double(a.added));
            all.insert(all.end(), dx.begin(), dx.end());
        }
        compare(out.data(), all, 4e-6, what);
        compare(out.data() + rows * dim, want, 4e-6, what + " sums");
        Floats dx(size_t(rows * dim), kGuard);
        a.dx = dx.data(), a.sums = nullptr;
        run(a, dx, what + " alone");
        expect(std::memcmp(dx.data(), out.data(), dx.size() * sizeof(float)) == 0, "depends on sums", what);
    }

    void group_norm(int64_t n, int64_t rows, int64_t c1, int64_t c2, int64_t groups) {
        const int64_t all = c1 + c2, size = all / groups;
        const float mean = random.uniform(-10, 10);
        const Floats x = random.floats(n * rows * c1, mean - 1, mean + 1);
        const Floats x2 = random.floats(n * rows * c2, mean - 1, mean + 1),
                     dy = random.floats(n * rows * all);
        const Weights weight = weights(random, vector_type(random), 1, all);
        const Weights bias = weights(random, vector_type(random), 1, all);
        const Floats modulation = random.floats(n * 2 * all);
        Floats out(size_t(n * rows * all + n * 2 * all), kGuard);
        GroupNormGradient g;
        g.x = x.data(), g.x2 = x2.data(), g.dy = dy.data();
        g.n = n, g.rows = rows, g.c1 = c1, g.c2 = c2, g.groups = groups, g.silu = random.coin();
        g.weight = weight.vector(), g.bias = bias.vector();
        g.modulation = random.coin() ? modulation.data() : nullptr;
        g.dx = out.data(), g.sums = out.data() + n * rows * all;
        const std::string what = name("group_norm", {n, rows, c1, c2, groups}) + (g.silu ? " silu" : "");
        run(g, out, what);
        Doubles want(size_t(n * rows * all)), sums(size_t(n * 2 * all));
        for (int64_t i = 0; i < n * groups; i++) {
            const int64_t image = i / groups;
            Doubles v, h;
            const auto each = [&](auto f) { // f(channel, place in dy)
                for (int64_t r = 0; r < rows; r++) {
                    for (int64_t c = i % groups * size; c < (i % groups + 1) * size; c++) {
                        f(c, size_t((image * rows + r) * all + c), image * rows + r);
                    }
                }
            };
            each([&](int64_t c, size_t, int64_t row) {
                v.push_back(double(c < c1 ? x[size_t(row * c1 + c)] : x2[size_t(row * c2 + c - c1)]));
            });
            double center = 0, variance = 0;
            for (double y : v) {
                center += y / double(v.size());
            }
            for (double y : v) {
                variance += (y - center) * (y - center) / double(v.size());
            }
            each([&](int64_t c, size_t at, int64_t) {
                const double normal = (v[h.size()] - center) / std::sqrt(variance + double(g.eps));
                double w = weight.values[size_t(c)], b = bias.values[size_t(c)], d = double(dy[at]);
                if (g.modulation) {
                    const float *m = g.modulation + image * 2 * all;
                    w *= 1 + double(m[c]), b = b * (1 + double(m[c])) + double(m[all + c]);
                }
                d *= g.silu ? slope(normal * w + b, Act::silu) : 1;
                sums[size_t(image * 2 * all + c)] += d * normal;
                sums[size_t(image * 2 * all + all + c)] += d;
                h.push_back(d * w);
            });
            const Doubles dx = normalised(v, h, true, double(g.eps), 0);
            size_t k = 0;
            each([&](int64_t, size_t at, int64_t) { want[at] = dx[k++]; });
        }
        compare(out.data(), want, 3e-5, what);
        compare(out.data() + n * rows * all, sums, 3e-5, what + " sums");
    }

    void norms() {
        for (int i = 0; i < 20; i++) {
            const int64_t groups = random.between(1, 32), size = random.between(1, 8);
            const int64_t c2 =
                random.coin() ? random.between(1, int(groups * size) - 1 + (groups * size == 1)) : 0;
            const int64_t c1 = groups * size - c2;
            if (c1 > 0) {
                group_norm(random.between(1, 2), random.between(2, 300), c1, c2, groups);
            }
            row_norm(random.between(1, 200), random.between(2, 300), i % 2 == 0);
        }
        report(isa, "norms'");
    }

    void elementwise(int64_t size, Act act, float range) {
        const Floats x = random.floats(size, -range, range), dy = random.floats(size);
        Floats dx(size_t(size), kGuard);
        ActivationGradient a;
        a.x = x.data(), a.dy = dy.data(), a.size = size, a.act = act, a.dx = dx.data();
        run(a, dx, name("activation", {size, int(act)}));
        Doubles want;
        for (size_t i = 0; i < x.size(); i++) {
            want.push_back(double(dy[i]) * slope(double(x[i]), act));
        }
        compare(dx.data(), want, 1e-6, name("activation", {size, int(act)}));
    }

    void geglu(int64_t rows, int64_t out) {
        const Floats x = random.floats(rows * 2 * out, -4, 4), dy = random.floats(rows * out);
        Floats y(size_t(rows * out), kGuard), dx(x.size(), kGuard);
        Geglu a;
        a.x = x.data(), a.rows = rows, a.out = out, a.y = y.data();
        run(a, y, name("geglu", {rows, out}));
        GegluGradient g;
        g.x = x.data(), g.dy = dy.data(), g.rows = rows, g.out = out, g.dx = dx.data();
        run(g, dx, name("geglu gradient", {rows, out}));
        Doubles want, gradient(x.size());
        for (int64_t i = 0; i < rows * out; i++) {
            const size_t value = size_t(i / out * 2 * out + i % out), gate = value + size_t(out);
            const double gelu = reference::activate(double(x[gate]), Act::gelu);
            want.push_back(double(x[value]) * gelu);
            gradient[value] = double(dy[size_t(i)]) * gelu;
            gradient[gate] = double(dy[size_t(i)]) * double(x[value]) * slope(double(x[gate]), Act::gelu);
        }
        compare(y.data(), want, 1e-6, name("geglu", {rows, out}));
        compare(dx.data(), gradient, 1e-6, name("geglu gradient", {rows, out}));
    }

    void weight(WeightGradient a) {
        Conv2d c;
        c.n = a.n, c.h = a.h, c.w = a.w, c.c1 = a.c, c.out = a.out, c.kernel = a.kernel, c.stride = a.stride;
        c.pad_end = a.pad_end, c.upsample = a.upsample, c.up_h = a.up_h, c.up_w = a.up_w;
        const int64_t height = out_height(c), width = out_width(c), taps = a.kernel * a.kernel;
        const Floats x = random.floats(a.n * a.h * a.w * a.c),
                     dy = random.floats(a.n * height * width * a.out);
        Floats dw(size_t(a.out * a.c * taps), kGuard);
        a.x = c.x = x.data(), a.dy = dy.data(), a.dw = dw.data();
        const std::string what = name("weight gradient", {a.n, a.h, a.w, a.c, a.out, a.kernel, a.stride}) +
                                 (a.pad_end ? " pad_end" : "") + (a.upsample ? " upsample" : "");
        run(a, dw, what);
        const int64_t pad = a.kernel == 3 && !a.pad_end ? 1 : 0;
        Doubles want;
        for (int64_t i = 0; i < a.out * a.c * taps; i++) {
            const int64_t o = i / taps / a.c, channel = i / taps % a.c, t = i % taps;
            double sum = 0;
            for (int64_t p = 0; p < a.n * height * width; p++) {
                const int64_t image = p / (height * width), y = p / width % height, at = p % width;
                sum += double(dy[size_t(p * a.out + o)]) * input(c, image, y * a.stride + t / a.kernel - pad,
                                                                 at * a.stride + t % a.kernel - pad, channel);
            }
            want.push_back(sum);
        }
        compare(dw.data(), want, 4e-6, what);
    }

    void weights_of_layers() {
        for (int i = 0; i < 30; i++) {
            WeightGradient a;
            a.n = random.between(1, 3), a.h = random.between(2, 9), a.w = random.between(2, 9);
            a.c = random.between(1, 70), a.out = random.between(1, 70);
            a.kernel = i % 3 ? 3 : 1;
            a.stride = random.between(0, 2) ? 1 : 2;
            a.pad_end = a.kernel == 3 && a.stride == 2 && random.coin();
            a.upsample = a.stride == 1 && random.between(0, 3) == 0;
            if (a.upsample && random.coin()) {
                a.up_h = 2 * a.h - random.between(0, 1), a.up_w = 2 * a.w - random.between(0, 1);
            }
            weight(a);
        }
        WeightGradient linear; // several slices
        linear.n = 1, linear.h = 1, linear.w = 300, linear.c = 200, linear.out = 150;
        weight(linear);
        report(isa, "weights'");
    }

    void column_sums(int64_t n, int64_t rows, int64_t dim) {
        const Floats x = random.floats(n * rows * dim);
        Floats y(size_t(n * dim), kGuard);
        ColumnSums a;
        a.x = x.data(), a.n = n, a.rows = rows, a.dim = dim, a.y = y.data();
        run(a, y, name("column sums", {n, rows, dim}));
        Doubles want(y.size());
        for (int64_t i = 0; i < n * rows * dim; i++) {
            want[size_t(i / (rows * dim) * dim + i % dim)] += double(x[size_t(i)]);
        }
        compare(y.data(), want, 2e-6, name("column sums", {n, rows, dim}));
    }

    void others() {
        for (int act = 0; act < 5; act++) {
            elementwise(random.between(1, 40000), Act(act), 1);
            elementwise(random.between(1, 40000), Act(act), 10);
        }
        for (int i = 0; i < 10; i++) {
            geglu(random.between(1, 40), random.between(1, 100));
            column_sums(random.between(1, 3), random.between(1, 300), random.between(1, 100));
        }
        report(isa, "elementwise'");
    }
};

} // namespace

void test_gradients(Isa isa, bool small) {
    GradientTest test{isa, small};
    test.products();
    test.attentions();
    test.norms();
    test.weights_of_layers();
    test.others();
}
