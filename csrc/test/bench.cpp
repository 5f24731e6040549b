// How fast the kernels are on the shapes that Stable Diffusion 1.5 spends its
// time in, for each instruction set and, where oneDNN's headers are installed
// (libdnnl-dev), beside its float32 and bfloat16. See bench.sh.
//
//     bench [-t THREADS] [-r ROUNDS] [-i ISA] [-p] [-k] [-f] [NAME…]
//
// prints a Markdown table of GFLOP/s: medians of ROUNDS rounds, each of which runs every
// column once, so that all have the same conditions. The work counted is that of the
// plain algorithm, whatever the kernel really multiplies. -p measures one thread's
// processor time, for a machine that is busy. -k: weights are packed beforehand and kept.
// -f: the fast tier, with 8 bits.
#include "core/pool.h"
#include "kernels/kernels.h"
#include "kernels/pages.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench_onednn.h"

using namespace sdgo::kernels;

namespace {

using Floats = std::vector<float>;

struct Settings {
    int threads = 2;
    int rounds = 5;
    bool processor_time = false;
    bool kept = false, fast = false;
    std::string isa;
    std::vector<std::string> names;
};

Floats random_floats(int64_t n) {
    static std::minstd_rand engine;
    Floats v(static_cast<size_t>(n));
    for (float &x : v) {
        x = float(engine() % 65536) / 65536 - 0.5f;
    }
    return v;
}

// Half floats between -0.06 and 0.06.
std::vector<uint16_t> random_halves(int64_t n) {
    static std::minstd_rand engine;
    std::vector<uint16_t> v(static_cast<size_t>(n));
    for (uint16_t &x : v) {
        x = uint16_t((engine() & 0x83ff) | (5 + engine() % 6) << 10);
    }
    return v;
}

Matrix half_matrix(const std::vector<uint16_t> &w, int64_t columns) {
    Matrix m;
    m.data = w.data();
    m.type = Type::f16;
    m.row_bytes = size_t(columns) * 2;
    return m;
}

double now(bool processor_time) {
    if (processor_time) {
        return double(std::clock()) / CLOCKS_PER_SEC;
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

struct Column {
    std::function<void()> run;
    std::vector<double> times{};
};

class Bench {
  public:
    explicit Bench(const Settings &settings) : settings_(settings), pool_(settings.threads) {
        for (int i = int(Isa::avx2); i < isa_count; i++) {
            if (isa_available(Isa(i)) && (settings.isa.empty() || settings.isa == isa_name(Isa(i)))) {
                isas_.push_back(Isa(i));
            }
        }
    }

    void header() const {
        std::printf("| shape | GFLOP |");
        for (Isa isa : isas_) {
            std::printf(" %s |", isa_name(isa));
        }
        std::printf("%s\n|---|---|", onednn::columns());
        for (size_t i = 0; i < isas_.size() + onednn::column_count; i++) {
            std::printf("---|");
        }
        std::printf("\n");
    }

    void conv2d(const char *name, int64_t n, int64_t size, int64_t c1, int64_t c2, int64_t out,
                int stride = 1, bool upsample = false) {
        if (!selected(name)) {
            return;
        }
        Conv2d c;
        const int64_t in = c1 + c2;
        c.n = n, c.h = c.w = size, c.c1 = c1, c.c2 = c2, c.out = out, c.stride = stride,
        c.upsample = upsample;
        const Floats x = random_floats(n * size * size * c1), x2 = random_floats(n * size * size * c2);
        const Floats norm = random_floats(2 * n * in), bias = random_floats(out);
        const auto w = random_halves(out * in * 9);
        const int64_t positions = n * out_height(c) * out_width(c);
        Floats y(size_t(positions * out));
        c.x = x.data(), c.x2 = x2.data(), c.y = y.data();
        c.weight = half_matrix(w, in * 9);
        c.bias.data = bias.data();
        if (stride == 1 && !upsample) { // a residual block's convolution
            c.norm = {norm.data(), norm.data() + n * in, true};
        }
        std::vector<Column> columns = kernels(c, &Conv2d::weight);
        const int64_t h = upsample ? 2 * size : size;
        onednn::conv2d(n, h, in, out, stride,
                       [&](std::function<void()> f) { columns.push_back({std::move(f)}); });
        row(name, 2e-9 * double(positions) * double(out) * double(in) * 9, columns);
    }

    void linear(const char *name, int64_t rows, int64_t in, int64_t out, bool geglu = false) {
        if (!selected(name)) {
            return;
        }
        Linear l;
        const int64_t columns_of_w = geglu ? 2 * out : out;
        const Floats x = random_floats(rows * in), bias = random_floats(columns_of_w);
        const auto w = random_halves(columns_of_w * in);
        Floats y(size_t(rows * out));
        l.x = x.data(), l.rows = rows, l.in = in, l.out = out, l.geglu = geglu;
        l.w = half_matrix(w, in);
        l.bias.data = bias.data();
        l.y = y.data();
        std::vector<Column> columns = kernels(l, &Linear::w);
        onednn::linear(rows, in, columns_of_w,
                       [&](std::function<void()> f) { columns.push_back({std::move(f)}); });
        row(name, 2e-9 * double(rows) * double(in) * double(columns_of_w), columns);
    }

    void attention(const char *name, int64_t n, int64_t heads, int64_t dim, int64_t q_length,
                   int64_t k_length) {
        if (!selected(name)) {
            return;
        }
        Attention a;
        const int64_t width = heads * dim;
        const Floats q = random_floats(n * q_length * width), k = random_floats(n * k_length * width);
        const Floats v = random_floats(n * k_length * width);
        Floats y(size_t(n * q_length * width));
        a.n = n, a.heads = heads, a.dim = dim, a.q_length = q_length, a.k_length = k_length;
        a.scale = 0.1f;
        a.exact = false;
        a.q = {q.data(), q_length * width, width, dim};
        a.k = {k.data(), k_length * width, width, dim};
        a.v = {v.data(), k_length * width, width, dim};
        a.y = y.data();
        std::vector<Column> columns = kernels(a);
        row(name, 4e-9 * double(n * q_length) * double(k_length) * double(width), columns);
    }

    void group_norm(const char *name, int64_t n, int64_t rows, int64_t c) {
        if (!selected(name)) {
            return;
        }
        const Floats x = random_floats(n * rows * c);
        Floats scale(size_t(n * c)), shift(size_t(n * c));
        GroupNormStats g;
        g.x = x.data(), g.n = n, g.rows = rows, g.c1 = c;
        g.scale = scale.data(), g.shift = shift.data();
        std::vector<Column> columns = kernels(g);
        copy_column(columns, x);
        row(name, 4e-9 * double(x.size()), columns);
    }

    void layer_norm(const char *name, int64_t rows, int64_t dim) {
        if (!selected(name)) {
            return;
        }
        const Floats x = random_floats(rows * dim), weight = random_floats(dim);
        Floats y(x.size());
        LayerNorm l;
        l.x = x.data(), l.rows = rows, l.dim = dim, l.y = y.data();
        l.weight.data = l.bias.data = weight.data();
        std::vector<Column> columns = kernels(l);
        copy_column(columns, x);
        row(name, 8e-9 * double(x.size()), columns);
    }

  private:
    void copy_column(std::vector<Column> &columns, const Floats &x) {
        copy_.resize(x.size());
        columns.push_back({[this, &x] { std::memcpy(copy_.data(), x.data(), x.size() * sizeof(float)); }});
    }

    bool selected(const std::string &name) const {
        bool found = settings_.names.empty();
        for (const std::string &part : settings_.names) {
            found = found || name.find(part) != std::string::npos;
        }
        return found;
    }

    template <class Args> std::vector<Column> kernels(Args args) {
        std::vector<Column> columns;
        for (Isa isa : isas_) {
            args.isa = isa;
            columns.push_back({[this, args] { run_on(pool_, args, scratch(args)); }});
        }
        return columns;
    }

    // The same for kernels with weights: `w` is that member of Args.
    template <class Args> std::vector<Column> kernels(Args args, Matrix Args::*w) {
        std::vector<Column> columns;
        for (Isa isa : isas_) {
            args.isa = isa, args.fast = settings_.fast;
            const auto kept = std::make_shared<Memory>();
            const auto packed = std::make_shared<bool>(false);
            columns.push_back({[=] {
                Args a = args;
                const size_t bytes = settings_.kept ? keep(a).bytes : 0;
                if (bytes) {
                    kept->reserve(bytes);
                    (a.*w).kept = kept->data(), (a.*w).pack = !*packed;
                    *packed = true;
                }
                run_on(pool_, a, scratch(a));
            }});
        }
        return columns;
    }

    template <class Args> void *scratch(const Args &args) {
        memory_.reserve(scratch_bytes(args, pool_.threads()));
        return memory_.data();
    }

    void row(const char *name, double gflop, std::vector<Column> &columns) {
        for (int round = -1; round < settings_.rounds; round++) {
            for (Column &c : columns) {
                if (!c.run) {
                    continue;
                }
                const double start = now(settings_.processor_time);
                c.run();
                const double t = now(settings_.processor_time) - start;
                if (round >= 0) { // the first one warms up
                    c.times.push_back(t);
                }
            }
        }
        std::printf("| %s | %.1f |", name, gflop);
        for (const Column &c : columns) {
            if (c.run) {
                std::printf(" %.0f |", gflop / median(c.times));
            } else {
                std::printf(" |");
            }
        }
        std::printf("\n");
        std::fflush(stdout);
    }

    Settings settings_;
    sdgo::Pool pool_;
    std::vector<Isa> isas_;
    Memory memory_;
    Floats copy_;
};

void all(Bench &b) {
    b.header();
    // The UNet for a 512x512 picture, both passes in a batch.
    b.conv2d("conv 320, 64²", 2, 64, 320, 0, 320);
    b.conv2d("conv 640+320 → 320, 64²", 2, 64, 640, 320, 320);
    b.conv2d("conv 640, 32²", 2, 32, 640, 0, 640);
    b.conv2d("conv 1280+640 → 640, 32²", 2, 32, 1280, 640, 640);
    b.conv2d("conv 1280, 16²", 2, 16, 1280, 0, 1280);
    b.conv2d("conv 1280+1280 → 1280, 16²", 2, 16, 1280, 1280, 1280);
    b.conv2d("conv 1280, 8²", 2, 8, 1280, 0, 1280);
    b.conv2d("conv 1280+1280 → 1280, 8²", 2, 8, 1280, 1280, 1280);
    b.conv2d("conv 1280, 4²", 2, 4, 1280, 0, 1280);
    b.conv2d("conv 320 stride 2, 64²", 2, 64, 320, 0, 320, 2);
    b.conv2d("conv 640 upsampling, 32²", 2, 32, 640, 0, 640, 1, true);
    b.conv2d("conv 1280 upsampling, 4²", 2, 4, 1280, 0, 1280, 1, true);
    b.linear("linear 320 → 320, 8192 rows", 8192, 320, 320);
    b.linear("linear 320 → 2·1280 GEGLU, 8192 rows", 8192, 320, 1280, true);
    b.linear("linear 1280 → 320, 8192 rows", 8192, 1280, 320);
    b.linear("linear 640 → 640, 2048 rows", 2048, 640, 640);
    b.linear("linear 640 → 2·2560 GEGLU, 2048 rows", 2048, 640, 2560, true);
    b.linear("linear 1280 → 1280, 512 rows", 512, 1280, 1280);
    b.linear("linear 1280 → 2·5120 GEGLU, 512 rows", 512, 1280, 5120, true);
    b.linear("linear 1280 → 1280, 128 rows", 128, 1280, 1280);
    b.linear("linear 1280 → 1280, 32 rows", 32, 1280, 1280);
    b.linear("linear 768 → 3072, 77 rows", 77, 768, 3072);
    b.linear("linear 1280 → 1280, 2 rows", 2, 1280, 1280);
    b.attention("attention 8·40, 4096", 2, 8, 40, 4096, 4096);
    b.attention("attention 8·80, 1024", 2, 8, 80, 1024, 1024);
    b.attention("attention 8·160, 256", 2, 8, 160, 256, 256);
    b.attention("attention 8·40, 4096 to 77", 2, 8, 40, 4096, 77);
    b.attention("attention 1·512, 4096", 1, 1, 512, 4096, 4096);
    // The VAE's decoder.
    b.conv2d("conv 512, 64²", 1, 64, 512, 0, 512);
    b.conv2d("conv 512, 128²", 1, 128, 512, 0, 512);
    b.conv2d("conv 512 upsampling, 128²", 1, 128, 512, 0, 512, 1, true);
    b.conv2d("conv 256, 256²", 1, 256, 256, 0, 256);
    b.conv2d("conv 256 → 128, 512²", 1, 512, 256, 0, 128);
    b.conv2d("conv 128, 512²", 1, 512, 128, 0, 128);
    b.conv2d("conv 128 → 3, 512²", 1, 512, 128, 0, 3);
    // Limited by memory: gigabytes a second, read and written, and the part of
    // them that a thread's memcpy takes as long for.
    b.group_norm("group_norm statistics 320, 64²", 2, 64 * 64, 320);
    b.group_norm("group_norm statistics 128, 512²", 1, 512 * 512, 128);
    b.layer_norm("layer_norm 320, 8192 rows", 8192, 320);
}

} // namespace

int main(int argc, char **argv) {
    Settings s;
    for (int i = 1; i < argc; i++) {
        const bool value = argv[i][0] == '-' && i + 1 < argc;
        if (value && !std::strcmp(argv[i], "-t")) {
            s.threads = std::max(1, std::atoi(argv[++i]));
        } else if (value && !std::strcmp(argv[i], "-r")) {
            s.rounds = std::max(1, std::atoi(argv[++i]));
        } else if (value && !std::strcmp(argv[i], "-i")) {
            s.isa = argv[++i];
        } else if (!std::strcmp(argv[i], "-p")) {
            s.processor_time = true;
            s.threads = 1;
        } else if (!std::strcmp(argv[i], "-k")) {
            s.kept = true;
        } else if (!std::strcmp(argv[i], "-f")) {
            s.fast = true;
        } else {
            s.names.push_back(argv[i]);
        }
    }
    onednn::start(s.threads);
    Bench b(s);
    all(b);
    return 0;
}
