// Which instruction set's kernels run.
#include "kernels/kernels.h"

#include "kernels/table.h"

#include <array>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace sdgo::kernels {

namespace {

#if defined(__x86_64__)
bool has_avx2() {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool has_avx_vnni() {
    constexpr unsigned avx_vnni = 1u << 4;
    unsigned a, b, c, d;
    return has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx_vnni);
}

bool has_avx512() {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}

bool has_avx512_vnni() {
    return has_avx512() && __builtin_cpu_supports("avx512vnni");
}

// AMX with bfloat16, and the system's permission to use its registers, which holds for
// all threads of the process.
bool has_amx() {
#if defined(__linux__)
    constexpr unsigned bf16 = 1u << 22, tile = 1u << 24, avx512_bf16 = 1u << 5;
    constexpr long request_permission = 0x1023, tile_data = 18;
    unsigned a, b, c, d;
    if (!has_avx512_vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (d & (bf16 | tile)) != (bf16 | tile)) {
        return false;
    }
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx512_bf16) &&
           syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#else
    return false;
#endif
}

#endif

bool always() {
    return true;
}

// Every set of kernels that this program has: for choosing, listing and testing them.
struct Set {
    Isa isa;
    const char *name;
    bool (*available)(); // on this machine
    const Table &(*table)();
};

constexpr Set kSets[] = {
    {Isa::generic, "generic", always, generic_table},
#if defined(__x86_64__)
    {Isa::avx2, "avx2", has_avx2, avx2_table},
    {Isa::avx_vnni, "avx-vnni", has_avx_vnni, avx_vnni_table},
    {Isa::avx512, "avx512", has_avx512, avx512_table},
    {Isa::avx512_vnni, "avx512-vnni", has_avx512_vnni, avx512_vnni_table},
    {Isa::amx, "amx", has_amx, amx_table},
#endif
};

// By Isa; null where this program or this machine has no such kernels.
const std::array<const Set *, isa_count> &sets() {
    static const auto all = [] {
        std::array<const Set *, isa_count> a{};
        for (const Set &s : kSets) {
            if (s.available()) {
                a[size_t(s.isa)] = &s;
                a[size_t(Isa::best)] = &s; // so far: the table is sorted
            }
        }
        return a;
    }();
    return all;
}

// Of a set that the caller knows to be available.
const Table &table(Isa isa) {
    return sets()[size_t(isa)]->table();
}

} // namespace

Isa best_isa() {
    return sets()[size_t(Isa::best)]->isa;
}

bool isa_available(Isa isa) {
    return sets()[size_t(isa)] != nullptr;
}

const char *isa_name(Isa isa) {
    for (const Set &s : kSets) {
        if (s.isa == (isa == Isa::best ? best_isa() : isa)) {
            return s.name;
        }
    }
    return nullptr;
}

Keep keep(const Linear &l) {
    return table(l.isa).linear.keep(l);
}

Keep keep(const Conv2d &c) {
    return table(c.isa).conv2d.keep(c);
}

int64_t out_height(const Conv2d &c) {
    const int64_t h = !c.upsample ? c.h : c.up_h ? c.up_h : 2 * c.h;
    return c.pad_end ? (h + 1 - c.kernel) / c.stride + 1 : (h - 1) / c.stride + 1;
}

int64_t out_width(const Conv2d &c) {
    const int64_t w = !c.upsample ? c.w : c.up_w ? c.up_w : 2 * c.w;
    return c.pad_end ? (w + 1 - c.kernel) / c.stride + 1 : (w - 1) / c.stride + 1;
}

int64_t sampled_size(Sampling how, int64_t size) {
    switch (how) {
    case Sampling::same:
        return size;
    case Sampling::mean_down:
    case Sampling::fir_down:
        return size / 2;
    case Sampling::nearest_up:
    case Sampling::fir_up:
        return 2 * size;
    case Sampling::fir_blur:
        return size + 1;
    }
    return size;
}

#define SDGO_KERNEL(Args, member)                                                                            \
    int phases(const Args &args) {                                                                           \
        return table(args.isa).member.phases(args);                                                          \
    }                                                                                                        \
    size_t scratch_bytes(const Args &args, int threads) {                                                    \
        return table(args.isa).member.scratch(args, threads);                                                \
    }                                                                                                        \
    void run(const Args &args, int phase, int thread, Team &team) {                                          \
        table(args.isa).member.run(args, phase, thread, team);                                               \
    }
SDGO_KERNEL(Linear, linear)
SDGO_KERNEL(Conv2d, conv2d)
SDGO_KERNEL(Attention, attention)
SDGO_KERNEL(GroupNormStats, group_norm_stats)
SDGO_KERNEL(Normalize, normalize)
SDGO_KERNEL(LayerNorm, layer_norm)
SDGO_KERNEL(RmsNorm, rms_norm)
SDGO_KERNEL(Modulate, modulate)
SDGO_KERNEL(Gate, gate)
SDGO_KERNEL(Rope, rope)
SDGO_KERNEL(MergePlan, merge_plan)
SDGO_KERNEL(MergeTokens, merge_tokens)
SDGO_KERNEL(UnmergeTokens, unmerge_tokens)
SDGO_KERNEL(Resample, resample)
SDGO_KERNEL(Elementwise, elementwise)
SDGO_KERNEL(AttentionGradient, attention_gradient)
SDGO_KERNEL(GroupNormGradient, group_norm_gradient)
SDGO_KERNEL(RowNormGradient, row_norm_gradient)
SDGO_KERNEL(ActivationGradient, activation_gradient)
SDGO_KERNEL(Geglu, geglu)
SDGO_KERNEL(GegluGradient, geglu_gradient)
SDGO_KERNEL(WeightGradient, weight_gradient)
SDGO_KERNEL(ColumnSums, column_sums)
#undef SDGO_KERNEL

size_t low_rank_bytes(const Linear &args) {
    return table(args.isa).low_rank_linear.bytes(args);
}
size_t low_rank_bytes(const Conv2d &args) {
    return table(args.isa).low_rank_conv2d.bytes(args);
}
void pack_low_rank(const Linear &args, const Matrix &down, const Matrix &up, void *to) {
    table(args.isa).low_rank_linear.pack(args, down, up, to);
}
void pack_low_rank(const Conv2d &args, const Matrix &down, const Matrix &up, void *to) {
    table(args.isa).low_rank_conv2d.pack(args, down, up, to);
}

} // namespace sdgo::kernels
