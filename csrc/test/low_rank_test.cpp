// Low-rank changes of weights that kernels add, against the sum of both weights in plain
// loops.
#include "check.h"

using namespace check;

namespace {

struct LowRankTest {
    Isa isa;
    Random random{};

    // A weight [out][in] of `sums` rows and the change, of which `packed` is the kernel's form.
    struct Layer {
        Weights w, down, up;
        Floats scale;
        std::vector<char> memory;
        Doubles sum;
        LowRank low;
    };

    Layer layer(Type type, int64_t in, int64_t sums, int64_t rank) {
        Layer l{weights(random, type, sums, in),
                weights(random, Type(random.between(1, 2)), rank, in),
                weights(random, Type(random.between(1, 2)), sums, rank),
                random.floats(rank, -0.5f, 0.5f),
                {},
                {},
                {}};
        l.sum = l.w.values;
        for (int64_t o = 0; o < sums; o++) {
            for (int64_t r = 0; r < rank; r++) {
                const double factor = l.up.values[size_t(o * rank + r)] * double(l.scale[size_t(r)]);
                for (int64_t k = 0; k < in; k++) {
                    l.sum[size_t(o * in + k)] += factor * l.down.values[size_t(r * in + k)];
                }
            }
        }
        l.low.rank = rank, l.low.scale = l.scale.data();
        return l;
    }

    // The kernel's form of the factors; false if it takes none.
    template <class Args> bool pack(Layer &l, Args &args) {
        args.isa = isa;
        const size_t bytes = low_rank_bytes(args);
        l.memory.assign(bytes + 64, 77);
        char *aligned = l.memory.data() + (64 - reinterpret_cast<uintptr_t>(l.memory.data()) % 64) % 64;
        if (bytes > 0) {
            pack_low_rank(args, l.down.matrix, l.up.matrix, aligned);
        }
        args.low.packed = aligned;
        return bytes > 0;
    }

    // Whether the kernels have any that add such changes.
    bool fixed_point() const { return isa != Isa::generic && isa != Isa::avx512 && isa != Isa::amx; }

    void linear(int64_t images, int64_t per_image, int64_t in, int64_t out, int64_t rank, Type type,
                bool geglu) {
        const int64_t rows = images * per_image, sums = geglu ? 2 * out : out;
        Layer layer = this->layer(type, in, sums, rank);
        const Floats x = random.floats(rows * in), residual = random.floats(rows * out);
        const Weights bias = weights(random, Type::f32, 1, sums);
        Floats y(size_t(rows * out), kGuard), norm;
        Linear l;
        l.rows = rows, l.in = in, l.out = out, l.rows_per_image = per_image, l.geglu = geglu;
        l.act = geglu || random.coin() ? Act::none : Act::quick_gelu;
        l.w = layer.w.matrix, l.low = layer.low;
        const std::string name = std::string("low-rank linear ") + isa_name(isa) + " " + type_name(type) +
                                 " " + shape({rows, in, out, rank}) + (geglu ? " geglu" : "");
        const bool takes = pack(layer, l);
        expect(takes == (fixed_point() && type != Type::f32 && per_image >= 8 && in >= 64 && out >= 32),
               "takes it or not", name);
        if (!takes) {
            return;
        }
        l.x = x.data(), l.bias = bias.vector(), l.y = y.data();
        if (random.coin()) {
            norm = random.floats(2 * images * in, 0.5f, 1.5f);
            l.norm = {norm.data(), norm.data() + images * in, random.coin()};
        }
        if (random.coin()) {
            l.residual = residual.data();
        }
        run_twice(l, y, name);
        Doubles want;
        for (int64_t i = 0; i < rows * out; i++) {
            want.push_back(reference::linear(l, layer.sum, bias.values, i / out, i % out));
        }
        compare(y.data(), want, 4e-4, name);
        alone(l, y, per_image, name);
    }

    // The last image alone: the same bits.
    void alone(Linear l, const Floats &y, int64_t per_image, const std::string &name) {
        const int64_t before = l.rows - per_image, images = l.rows / per_image;
        l.x += before * l.in, l.rows = per_image;
        if (l.norm.scale) {
            l.norm.scale += (images - 1) * l.in, l.norm.shift += (images - 1) * l.in;
        }
        if (l.residual) {
            l.residual += before * l.out;
        }
        Floats one(size_t(per_image * l.out));
        l.y = one.data();
        run_with(l, 2);
        expect(std::memcmp(one.data(), y.data() + before * l.out, one.size() * sizeof(float)) == 0,
               "depends on the batch", name);
    }

    void conv2d(int64_t rank, int stride) {
        Conv2d c;
        c.n = 2, c.h = 7, c.w = 9, c.c1 = 100, c.c2 = 40, c.out = 70, c.kernel = 1, c.stride = stride;
        Layer layer = this->layer(Type::f16, c.c1 + c.c2, c.out, rank);
        c.weight = layer.w.matrix, c.low = layer.low;
        const std::string name =
            std::string("low-rank conv2d ") + isa_name(isa) + " " + shape({rank, stride});
        const bool takes = pack(layer, c);
        expect(takes == fixed_point(), "takes it or not", name);
        if (!takes) {
            return;
        }
        const Floats x = random.floats(c.n * c.h * c.w * c.c1), x2 = random.floats(c.n * c.h * c.w * c.c2);
        Floats y(size_t(c.n * out_height(c) * out_width(c) * c.out), kGuard);
        c.x = x.data(), c.x2 = x2.data(), c.y = y.data();
        run_twice(c, y, name);
        Doubles want;
        for (int64_t i = 0; i < int64_t(y.size()); i++) {
            want.push_back(reference::conv2d(c, layer.sum, {}, i / c.out, i % c.out));
        }
        compare(y.data(), want, 4e-4, name);
        c.kernel = 3;
        expect(low_rank_bytes(c) == 0, "a kernel of 3 takes none", name);
    }
};

} // namespace

void test_low_rank(Isa isa, bool small) {
    LowRankTest t{isa};
    for (int i = 0; i < 24; i++) {
        const Type type = any_type(t.random);
        const int64_t in = type == Type::block ? 32 * t.random.between(2, 12) : t.random.between(64, 400);
        t.linear(t.random.between(1, 2), t.random.between(8, 40), in, t.random.between(32, 130),
                 t.random.between(1, 200), type, i % 3 == 0);
    }
    t.linear(2, 4, 100, 64, 8, Type::f16, false); // few rows
    t.linear(1, 9, 64, 32, 330, Type::f16, true);
    if (!small) {
        t.linear(3, 2500, 2000, 40, 96, Type::f16, false); // several bands of rows
    }
    t.conv2d(4, 1);
    t.conv2d(100, 2);
    report(isa, "low rank");
}
