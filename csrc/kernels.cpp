// Which instruction set's kernels run.
#include "kernels.h"

#include "kernel_table.h"

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

// AMX with bfloat16, and the system's permission to use its registers: asked
// for once, it holds for all threads of the process.
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

bool has(Isa isa) {
    switch (isa) {
    case Isa::avx2:
        return has_avx2();
    case Isa::avx_vnni:
        return has_avx_vnni();
    case Isa::avx512:
        return has_avx512();
    case Isa::avx512_vnni:
        return has_avx512_vnni();
    case Isa::amx:
        return has_amx();
    default:
        return true;
    }
}
#else
bool has(Isa isa) {
    return isa <= Isa::generic;
}
#endif

// What is asked for, or the best there is if this machine lacks it.
const Table &table(Isa isa) {
    switch (isa != Isa::best && isa_available(isa) ? isa : best_isa()) {
#if defined(__x86_64__)
    case Isa::amx:
        return amx_table();
    case Isa::avx512_vnni:
        return avx512_vnni_table();
    case Isa::avx512:
        return avx512_table();
    case Isa::avx_vnni:
        return avx_vnni_table();
    case Isa::avx2:
        return avx2_table();
#endif
    default:
        return generic_table();
    }
}

} // namespace

Isa best_isa() {
    static const Isa isa = [] {
        int best = isa_count - 1;
        while (!isa_available(Isa(best))) {
            best--;
        }
        return Isa(best);
    }();
    return isa;
}

bool isa_available(Isa isa) {
    static const auto all = [] {
        std::array<bool, isa_count> a;
        for (int i = 0; i < isa_count; i++) {
            a[size_t(i)] = has(Isa(i));
        }
        return a;
    }();
    return all[size_t(isa)];
}

const char *isa_name(Isa isa) {
    switch (isa) {
    case Isa::best:
        return isa_name(best_isa());
    case Isa::generic:
        return "generic";
    case Isa::avx2:
        return "avx2";
    case Isa::avx_vnni:
        return "avx-vnni";
    case Isa::avx512:
        return "avx512";
    case Isa::avx512_vnni:
        return "avx512-vnni";
    case Isa::amx:
        return "amx";
    }
    return "unknown";
}

int64_t out_height(const Conv2d &c) {
    const int64_t h = !c.upsample ? c.h : c.up_h ? c.up_h : 2 * c.h;
    return c.pad_end ? (h + 1 - c.kernel) / c.stride + 1 : (h - 1) / c.stride + 1;
}

int64_t out_width(const Conv2d &c) {
    const int64_t w = !c.upsample ? c.w : c.up_w ? c.up_w : 2 * c.w;
    return c.pad_end ? (w + 1 - c.kernel) / c.stride + 1 : (w - 1) / c.stride + 1;
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
SDGO_KERNEL(Elementwise, elementwise)
#undef SDGO_KERNEL

} // namespace sdgo::kernels
