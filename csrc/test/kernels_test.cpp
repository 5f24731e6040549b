// Every kernel against plain loops, on random shapes and several numbers of threads.
#include "check.h"

using namespace check;

namespace {

struct Test {
    Isa isa;
    bool small; // without what takes minutes in an emulator: more than one band
    Random random{};
    bool fast = false; // the tier with 8 bits

    // Runs on 1 and on several threads: the same bits.
    template <class Args> void run(Args args, Floats &y, const std::string &name) {
        args.isa = isa;
        run_twice(args, y, name);
    }

    InputNorm input_norm(Floats &memory, int64_t images, int64_t channels) {
        memory = random.floats(2 * images * channels, 0.5f, 1.5f);
        return {memory.data(), memory.data() + images * channels, random.coin()};
    }

    void linear(int64_t images, int64_t per_image, int64_t in, int64_t out, Type type, bool geglu) {
        Linear l;
        const int64_t rows = images * per_image;
        l.rows = rows, l.in = in, l.out = out;
        l.geglu = geglu;
        l.act = geglu ? Act::none : Act(random.between(0, 4));
        const int64_t x_gap = random.between(0, 5), y_gap = random.between(0, 5);
        if (x_gap) {
            l.x_stride = in + x_gap;
        }
        if (y_gap) {
            l.y_stride = out + y_gap;
        }
        const Weights w = weights(random, type, geglu ? 2 * out : out, in);
        const Weights bias = weights(random, vector_type(random), 1, geglu ? 2 * out : out);
        const Floats x = random.floats(rows * (in + x_gap)), residual = random.floats(rows * (out + 3));
        Floats y(size_t(rows * (out + y_gap)), kGuard), norm;
        l.x = x.data(), l.w = w.matrix, l.y = y.data();
        const bool with_bias = random.coin();
        if (with_bias) {
            l.bias = bias.vector();
        }
        if (random.coin()) {
            l.residual = residual.data();
            l.residual_stride = out + 3;
        }
        // Not of the generator's numbers: those of the other operands stay what they were.
        Floats before(size_t(rows * (geglu ? 2 : 1) * out));
        for (size_t i = 0; i < before.size(); i++) {
            before[i] = float(i * 37 % 101) / 101 - 0.5f;
        }
        if ((rows + in + out) % 2 == 0) {
            l.before = before.data();
        }
        if (random.coin()) {
            l.norm = input_norm(norm, images, in);
            l.rows_per_image = per_image;
        }
        const std::string name = std::string("linear ") + isa_name(isa) + " " + type_name(type) + " " +
                                 shape({rows, in, out}) + (geglu ? " geglu" : "");
        l.fast = fast;
        run(l, y, name);
        l.isa = isa;
        run_kept(l, &Linear::w, Floats(y), y.data(), name);
        Floats got;
        Doubles want;
        sample(rows, out, [&](int64_t m, int64_t n) {
            got.push_back(y[size_t(m * (out + y_gap) + n)]);
            want.push_back(reference::linear(l, w.values, with_bias ? bias.values : Doubles(), m, n));
        });
        for (int64_t i = 0; i < rows * y_gap; i++) {
            const float outside = y[size_t(i / y_gap * (out + y_gap) + out + i % y_gap)];
            expect(outside == kGuard, "writes outside its rows", name);
        }
        compare(got.data(), want, matrix_tolerance(type, 1, 2e-6), name);
    }

    // Calls f for every row and column, or some of them if they are many.
    template <class F> void sample(int64_t rows, int64_t columns, F f) {
        const bool all = rows * columns <= 8000;
        for (int64_t i = 0; i < (all ? rows * columns : 100); i++) {
            const int64_t at = all ? i : int64_t(random.engine() % uint32_t(rows * columns));
            f(at / columns, at % columns);
        }
    }

    void conv2d(Conv2d c, Type type) {
        const int64_t channels = c.c1 + c.c2;
        const Weights w = weights(random, type, c.out, channels * c.kernel * c.kernel);
        const Weights bias = weights(random, vector_type(random), 1, c.out);
        const Floats x = random.floats(c.n * c.h * c.w * c.c1), x2 = random.floats(c.n * c.h * c.w * c.c2);
        const int64_t size = c.n * out_height(c) * out_width(c) * c.out;
        const Floats residual = random.floats(size), add = random.floats(c.n * (c.out + 2));
        Floats y(size_t(size), kGuard), norm;
        c.x = x.data(), c.x2 = x2.data(), c.weight = w.matrix, c.y = y.data();
        c.act = random.coin() ? Act::silu : Act::none;
        const bool with_bias = random.coin();
        if (with_bias) {
            c.bias = bias.vector();
        }
        if (random.coin()) {
            c.channel_add = add.data();
            c.channel_add_stride = c.out + 2;
        }
        if (random.coin()) {
            c.residual = residual.data();
        }
        if (random.coin()) {
            c.norm = input_norm(norm, c.n, channels);
        }
        const std::string name = std::string("conv2d ") + isa_name(isa) + " " + type_name(type) + " " +
                                 shape({c.n, c.h, c.w, c.c1, c.c2, c.out}) + " kernel " +
                                 shape({c.kernel, c.kernel}) + (c.stride == 2 ? " stride 2" : "") +
                                 (c.pad_end ? " pad_end" : "") + (c.upsample ? " upsample" : "");
        c.fast = fast;
        run(c, y, name);
        c.isa = isa;
        run_kept(c, &Conv2d::weight, Floats(y), y.data(), name);
        one_of_a_batch(c, y, name);
        Floats got;
        Doubles want;
        sample(size / c.out, c.out, [&](int64_t i, int64_t o) {
            got.push_back(y[size_t(i * c.out + o)]);
            want.push_back(reference::conv2d(c, w.values, with_bias ? bias.values : Doubles(), i, o));
        });
        compare(got.data(), want, matrix_tolerance(type, c.kernel, 4e-6), name);
    }

    // An image has the same bits alone as in a batch.
    void one_of_a_batch(Conv2d c, const Floats &y, const std::string &name) {
        const int64_t last = c.n - 1, size = out_height(c) * out_width(c) * c.out;
        Floats alone(size_t(size), kGuard);
        c.x += last * c.h * c.w * c.c1, c.x2 += last * c.h * c.w * c.c2;
        if (c.norm.scale) {
            c.norm.scale += last * (c.c1 + c.c2), c.norm.shift += last * (c.c1 + c.c2);
        }
        c.channel_add = c.channel_add ? c.channel_add + last * c.channel_add_stride : nullptr;
        c.residual = c.residual ? c.residual + last * size : nullptr;
        c.n = 1, c.y = alone.data();
        run_with(c, 2);
        expect(std::memcmp(alone.data(), y.data() + last * size, size_t(size) * sizeof(float)) == 0,
               "an image differs from the same in a batch", name);
    }

    // Unless weights are float32, AMX's linear layers multiply numbers with 16 bits of
    // mantissa; its other products, and all of AVX2's and VNNI's, are of 16-bit
    // integers.
    bool int16() const { return isa != Isa::generic && isa != Isa::avx512; }
    double matrix_tolerance(Type type, int kernel, double f32) const {
        if (type == Type::f32 || !int16()) {
            return f32;
        }
        if (fast) {
            return 1.6e-2; // GEGLU multiplies two of them
        }
        return kernel == 3 ? 7e-4 : isa == Isa::amx ? 1e-5 : 2.5e-4;
    }

    void attention(int64_t n, int64_t heads, int64_t dim, int64_t q_length, int64_t k_length, bool causal) {
        Attention a;
        a.n = n, a.heads = heads, a.dim = dim, a.q_length = q_length, a.k_length = k_length;
        a.causal = causal;
        a.scale = 1 / std::sqrt(float(dim));
        a.exact = random.coin();
        const int64_t width = heads * dim, gap = random.between(0, 3);
        const Floats q = random.floats(n * q_length * width, -4,
                                       4); // q alone, k and v side by side
        const Floats kv = random.floats(n * k_length * (2 * width + gap), -2, 2);
        const int64_t token = 2 * width + gap;
        a.q = {q.data(), q_length * width, width, dim};
        a.k = {kv.data(), k_length * token, token, dim};
        a.v = {kv.data() + width, k_length * token, token, dim};
        Floats y(size_t(n * q_length * width), kGuard);
        a.y = y.data();
        const std::string name = std::string("attention ") + isa_name(isa) + " " +
                                 shape({n, heads, dim, q_length, k_length}) + (causal ? " causal" : "") +
                                 (a.exact ? " exact" : "");
        run(a, y, name);
        compare(y.data(), reference::attention(a), a.exact || !int16() ? 2e-6 : 5e-4, name);
    }

    void group_norm(int64_t n, int64_t rows, int64_t c1, int64_t c2, int64_t groups) {
        const int64_t all = c1 + c2;
        const float mean = random.uniform(-30, 30);
        const Floats x = random.floats(n * rows * c1, mean - 1, mean + 1);
        const Floats x2 = random.floats(n * rows * c2, mean - 1, mean + 1);
        const Weights weight = weights(random, vector_type(random), 1, all);
        const Weights bias = weights(random, vector_type(random), 1, all);
        Floats scale(size_t(n * all)), shift(size_t(n * all)), y(size_t(n * rows * all), kGuard);
        GroupNormStats g;
        g.x = x.data(), g.x2 = x2.data();
        g.n = n, g.rows = rows, g.c1 = c1, g.c2 = c2, g.groups = groups;
        g.weight = weight.vector(), g.bias = bias.vector();
        g.scale = scale.data(), g.shift = shift.data();
        const Floats modulation = random.floats(n * 2 * all);
        g.modulation = random.coin() ? modulation.data() : nullptr;
        g.isa = isa;
        run_with(g, 2);
        Normalize a;
        a.x = g.x, a.x2 = g.x2, a.n = n, a.rows = rows, a.c1 = c1, a.c2 = c2;
        a.norm = {scale.data(), shift.data(), random.coin()};
        a.y = y.data();
        const std::string name =
            std::string("group_norm ") + isa_name(isa) + " " + shape({n, rows, c1, c2, groups});
        run(a, y, name);

        Doubles joined;
        for (int64_t r = 0; r < n * rows; r++) {
            joined.insert(joined.end(), x.data() + r * c1, x.data() + (r + 1) * c1);
            joined.insert(joined.end(), x2.data() + r * c2, x2.data() + (r + 1) * c2);
        }
        Doubles want = normalized(joined, n, rows, all, groups, 1e-5, weight.values, bias.values);
        for (size_t i = 0; i < want.size(); i++) {
            const size_t image = i / size_t(rows * all), c = i % size_t(all);
            if (g.modulation) {
                const float *m = g.modulation + image * size_t(2 * all);
                want[i] = want[i] * (1 + double(m[c])) + double(m[size_t(all) + c]);
            }
            want[i] = reference::activate(want[i], a.norm.silu ? Act::silu : Act::none);
        }
        // A mean of 30 with a spread of 0.6: x·scale cancels against shift.
        compare(y.data(), want, 1e-5, name);
    }

    void layer_norm(int64_t rows, int64_t dim) {
        const float mean = random.uniform(-3, 3);
        const Floats x = random.floats(rows * dim, mean - 1, mean + 1);
        const Weights weight = weights(random, vector_type(random), 1, dim);
        const Weights bias = weights(random, vector_type(random), 1, dim);
        Floats y(size_t(rows * dim), kGuard);
        LayerNorm l;
        l.x = x.data(), l.rows = rows, l.dim = dim, l.y = y.data();
        l.weight = weight.vector(), l.bias = bias.vector();
        const std::string name = std::string("layer_norm ") + isa_name(isa) + " " + shape({rows, dim});
        run(l, y, name);
        const Doubles values(x.begin(), x.end());
        compare(y.data(), normalized(values, rows, 1, dim, 1, 1e-5, weight.values, bias.values), 2e-6, name);
    }

    void rms_norm(int64_t rows, int64_t dim) {
        const float mean = random.uniform(-3, 3);
        const Floats x = random.floats(rows * dim, mean - 1, mean + 1);
        const Weights weight = weights(random, vector_type(random), 1, dim);
        Floats y(size_t(rows * dim), kGuard);
        RmsNorm r;
        r.x = x.data(), r.rows = rows, r.dim = dim, r.eps = 1e-3f, r.y = y.data(), r.weight = weight.vector();
        const std::string name = std::string("rms_norm ") + isa_name(isa) + " " + shape({rows, dim});
        run(r, y, name);
        compare(y.data(), reference::rms_norm(r, weight.values), 2e-6, name);
        r.weight = {}, r.eps = 0, r.added = 0.25f;
        run(r, y, name + " without weight");
        compare(y.data(), reference::rms_norm(r, {}), 2e-6, name + " without weight");
    }

    void modulate(int64_t n, int64_t rows, int64_t dim) {
        const Floats x = random.floats(n * rows * dim), scale = random.floats(n * dim),
                     shift = random.floats(n * dim);
        Floats y(size_t(n * rows * dim), kGuard);
        Modulate m;
        m.x = x.data(), m.n = n, m.rows = rows, m.dim = dim, m.y = y.data();
        m.scale = scale.data(), m.shift = shift.data();
        const std::string name = std::string("modulate ") + isa_name(isa) + " " + shape({n, rows, dim});
        run(m, y, name);
        compare(y.data(), reference::modulate(m), 1e-6, name);
    }

    void gate(int64_t n, int64_t rows, int64_t dim) {
        const Floats x = random.floats(n * rows * dim), residual = random.floats(n * rows * dim),
                     gates = random.floats(n * dim);
        Floats y(size_t(n * rows * dim), kGuard);
        Gate g;
        g.x = x.data(), g.residual = residual.data(), g.n = n, g.rows = rows, g.dim = dim, g.y = y.data();
        g.gate = gates.data();
        const std::string name = std::string("gate ") + isa_name(isa) + " " + shape({n, rows, dim});
        run(g, y, name);
        compare(y.data(), reference::gate(g), 1e-6, name);
    }

    void rope(int64_t n, int64_t length, int64_t heads, int64_t half) {
        const Floats x = random.floats(n * length * heads * 2 * half);
        Floats y(x.size(), kGuard), cos, sin;
        for (int64_t i = 0; i < length * half; i++) {
            const double angle = double(random.uniform(-10, 10));
            cos.push_back(float(std::cos(angle)));
            sin.push_back(float(std::sin(angle)));
        }
        Rope r;
        r.x = x.data(), r.n = n, r.length = length, r.heads = heads, r.dim = 2 * half, r.y = y.data();
        r.cos = cos.data(), r.sin = sin.data(), r.interleaved = random.coin();
        const std::string name = std::string("rope ") + isa_name(isa) + " " +
                                 shape({n, length, heads, half}) + (r.interleaved ? " interleaved" : "");
        run(r, y, name);
        compare(y.data(), reference::rope(r), 1e-6, name);
    }

    void resample(int64_t n, int64_t h, int64_t w, int64_t c, Sampling how) {
        const Floats x = random.floats(n * h * w * c);
        Resample r;
        r.x = x.data(), r.n = n, r.h = h, r.w = w, r.c = c, r.how = how, r.gain = random.uniform(0.1f, 2);
        Floats y(size_t(n * sampled_size(how, h) * sampled_size(how, w) * c), kGuard);
        r.y = y.data();
        const std::string name =
            std::string("resample ") + isa_name(isa) + " " + shape({n, h, w, c, int(how)});
        run(r, y, name);
        compare(y.data(), reference::resample(r), 1e-6, name);
    }

    void elementwise(int64_t size, Act act, float range) {
        const Floats a = random.floats(size, -range, range), b = random.floats(size, -range, range);
        Floats y(size_t(size), kGuard);
        Elementwise e;
        e.a = a.data(), e.size = size, e.act = act, e.y = y.data();
        e.b = random.coin() ? b.data() : nullptr;
        const std::string name = std::string("elementwise ") + isa_name(isa) + " " + shape({size, int(act)});
        run(e, y, name);
        Doubles want;
        for (size_t i = 0; i < a.size(); i++) {
            want.push_back(reference::activate(double(e.b ? a[i] + b[i] : a[i]), act));
        }
        compare(y.data(), want, 1e-6, name);
    }

    void report(const char *kernel) { check::report(isa, kernel); }

    void linears() {
        for (int i = 0; i < 60; i++) {
            const Type type = any_type(random);
            const int64_t in = type == Type::block ? 32 * random.between(1, 24) : random.between(1, 700);
            linear(random.between(1, 2), random.between(1, 70), in, random.between(1, 130), type, i % 3 == 0);
        }
        linear(1, 1, 320, 1280, Type::f16, false);
        linear(2, 77, 768, 320, Type::f16, false);
        linear(1, 64, 1152, 96, Type::f16, false); // a shorter last slice, fewer rows in the last tile
        linear(1, 44, 1152, 96, Type::bf16, true);
        linear(2, 1, 1152, 200, Type::f16, false); // few rows
        linear(1, 600, 64, 240, Type::f32, true);
        if (!small) {
            linear(4, 2000, 1100, 40, Type::f16, false); // several bands of rows
        }
        report("linear");
    }

    void conv2ds() {
        for (int i = 0; i < 60; i++) {
            Conv2d c;
            const Type type = any_type(random);
            c.n = random.between(1, 3), c.h = random.between(2, 14), c.w = random.between(2, 14);
            c.c1 = random.between(1, 40), c.c2 = random.coin() ? random.between(1, 40) : 0;
            if (type == Type::block) {
                c.c1 = 32 * random.between(1, 3), c.c2 = random.coin() ? 32 : 0;
            }
            c.out = random.between(1, 70);
            c.kernel = random.between(0, 3) ? 3 : 1;
            c.stride = random.between(0, 3) ? 1 : 2;
            c.pad_end = c.kernel == 3 && c.stride == 2 && random.coin();
            c.upsample = c.stride == 1 && random.between(0, 3) == 0;
            if (c.upsample && random.coin()) {
                c.up_h = 2 * c.h - random.between(0, 1), c.up_w = 2 * c.w - random.between(0, 1);
            }
            conv2d(c, type);
        }
        if (!small) {
            conv2ds_in_bands();
        }
        report("conv2d");
    }

    // Several bands: of images, and of lines of an image.
    void conv2ds_in_bands() {
        Conv2d many;
        many.n = 35, many.h = many.w = 8, many.c1 = 400, many.c2 = 600, many.out = 33;
        conv2d(many, Type::f16);
        many.stride = 2, many.kernel = 3;
        conv2d(many, Type::f16);
        many.n = 2, many.stride = 1, many.h = 100, many.w = 90, many.c1 = 300, many.c2 = 0;
        conv2d(many, Type::f16);
        many.stride = 2, many.h = 200;
        conv2d(many, Type::bf16);
    }

    // Layers of the fast tier, whose errors have a bound of their own.
    void fast_layers() {
        fast = true;
        for (const Type type : {Type::f16, Type::bf16, Type::block, Type::f32}) {
            linear(2, 77, 768, 320, type, false);
            linear(1, 44, 1152, 96, type, true);
            for (const int size : {4, 5}) {
                Conv2d c;
                c.n = 3, c.h = c.w = size, c.c1 = 96, c.c2 = 32, c.out = 70;
                conv2d(c, type);
                c.stride = 2;
                conv2d(c, type);
            }
        }
        fast = false;
        report("fast");
    }

    // Small and odd layers, which have kernels in fixed point of their own.
    void small_layers() {
        for (const Type type : {Type::f16, Type::bf16, Type::block}) {
            Conv2d c;
            c.n = 3, c.h = c.w = 4, c.c1 = 96, c.c2 = 96, c.out = 70;
            conv2d(c, type); // one tile of Winograd's
            c.h = c.w = 8;
            conv2d(c, type);
            c.h = 9, c.stride = 2;
            conv2d(c, type);
            c.pad_end = true;
            conv2d(c, type);
            c.pad_end = false, c.stride = 1, c.h = c.w = 3, c.upsample = true, c.up_h = 5;
            conv2d(c, type);
        }
        report("small");
    }

    void attentions() {
        for (int i = 0; i < 30; i++) {
            attention(random.between(1, 2), random.between(1, 4), random.between(1, 90),
                      random.between(1, 150), random.between(1, 300), random.coin());
        }
        attention(1, 2, 40, 300, 300, false);
        attention(1, 1, 512, 70, 130, false);
        attention(2, 8, 160, 64, 77, false);
        attention(1, 12, 64, 77, 77, true);
        report("attention");
    }

    void norms() {
        for (int i = 0; i < 20; i++) {
            const int64_t groups = random.between(1, 32), size = random.between(1, 8);
            const int64_t c2 =
                random.coin() ? random.between(1, int(groups * size) - 1 + (groups * size == 1)) : 0;
            const int64_t c1 = groups * size - c2;
            if (c1 > 0) {
                group_norm(random.between(1, 2), random.between(1, 300), c1, c2, groups);
            }
            layer_norm(random.between(1, 40), random.between(2, 800));
            rms_norm(random.between(1, 40), random.between(1, 800));
        }
        report("norms");
        for (int act = 0; act < 5; act++) {
            elementwise(random.between(1, 40000), Act(act), 1);
            elementwise(random.between(1, 40000), Act(act), 50);
        }
        for (int i = 0; i < 10; i++) {
            modulate(random.between(1, 3), random.between(1, 40), random.between(1, 100));
            gate(random.between(1, 3), random.between(1, 40), random.between(1, 100));
            rope(random.between(1, 2), random.between(1, 40), random.between(1, 4), random.between(1, 40));
        }
        for (int how = 0; how < 24; how++) {
            resample(random.between(1, 2), random.between(2, 9), random.between(2, 9), random.between(1, 70),
                     Sampling(how % 6));
        }
        report("elementwise");
    }
};

} // namespace

void test_kernels(Isa isa, bool small) {
    Test test{isa, small};
    test.linears();
    test.conv2ds();
    test.small_layers();
    test.fast_layers();
    test.attentions();
    test.norms();
}
