// What the tests of kernels have in common: comparing, counting failures, running on several
// numbers of threads.
#pragma once

#include "kernels/pages.h"
#include "reference.h"

#include <cstdio>
#include <string>

namespace check {

using namespace reference;

inline int failures = 0;
inline double worst = 0; // error as a part of what is allowed, of the kernel at hand

inline void expect(bool ok, const char *what, const std::string &name) {
    if (!ok) {
        failures++;
        std::printf("FAIL %s: %s\n", name.c_str(), what);
    }
}

// `tolerance` bounds the error's RMS relative to the values' RMS; single
// values may be off by twenty times that.
inline void compare(const float *got, const Doubles &want, double tolerance, const std::string &name) {
    double error = 0, size = 0, largest = 0;
    for (size_t i = 0; i < want.size(); i++) {
        const double d = double(got[i]) - want[i];
        error += d * d;
        size += want[i] * want[i];
        largest = d * d >= largest ? d * d : largest;
    }
    const double allowed = tolerance * tolerance * size, ratio = std::sqrt(error / allowed);
    worst = ratio > worst ? ratio : worst;
    if (!(error <= allowed && largest <= 400 * allowed / double(want.size()))) {
        std::printf("relative RMS error %.3g, tolerance %.3g, largest error %.3g\n", std::sqrt(error / size),
                    tolerance, std::sqrt(largest));
        expect(false, "differs from the plain loop", name);
    }
}

const float kGuard = 12345.5f; // fills what is to be written, and gaps between rows, which must not change

inline std::string shape(std::initializer_list<int64_t> numbers) {
    std::string s;
    for (int64_t n : numbers) {
        s += (s.empty() ? "" : "x") + std::to_string(n);
    }
    return s;
}

inline const char *type_name(Type t) {
    return t == Type::f32 ? "f32" : t == Type::f16 ? "f16" : t == Type::bf16 ? "bf16" : "block";
}

inline Type any_type(Random &r) {
    return Type(r.between(0, 3));
}
inline Type vector_type(Random &r) {
    return Type(r.between(0, 2));
}

// Runs a kernel on 1 and on several threads: the same bits in `y`, which it writes.
template <class Args> void run_twice(const Args &args, Floats &y, const std::string &name) {
    const Floats before = y;
    run_with(args, 1);
    const Floats once = y;
    std::memcpy(y.data(), before.data(), before.size() * sizeof(float));
    run_with(args, 3);
    expect(std::memcmp(once.data(), y.data(), y.size() * sizeof(float)) == 0, "depends on threads", name);
}

// With weights that are kept, packed by a first run and found by a second one: the same bits.
template <class Args>
void run_kept(Args args, Matrix Args::*weights, const Floats &y, float *to, const std::string &name) {
    const Keep form = keep(args);
    if (form.bytes == 0) {
        return;
    }
    Memory memory;
    memory.reserve(form.bytes);
    for (const bool pack : {true, false}) {
        (args.*weights).kept = memory.data(), (args.*weights).pack = pack;
        const Floats before = y;
        std::memset(to, 0, y.size() * sizeof(float));
        run_with(args, pack ? 3 : 2);
        bool same = true;
        for (size_t i = 0; i < y.size(); i++) {
            same = same && (before[i] == kGuard || std::memcmp(&before[i], to + i, sizeof(float)) == 0);
        }
        expect(same, "kept weights give other numbers", name);
        std::memcpy(to, before.data(), before.size() * sizeof(float));
    }
}

inline void report(Isa isa, const char *kernel) {
    std::printf("%-11s %-12s largest error: %3.0f %% of what is allowed\n", isa_name(isa), kernel,
                100 * worst);
    worst = 0;
}

} // namespace check

// Layers, attention, norms and the like (kernels_test.cpp). `small` as below.
void test_kernels(sdgo::kernels::Isa isa, bool small);

// The kernels of derivatives (gradients_test.cpp). `small`: without what takes minutes in an
// emulator.
void test_gradients(sdgo::kernels::Isa isa, bool small);

// Low-rank changes that kernels add (low_rank_test.cpp).
void test_low_rank(sdgo::kernels::Isa isa, bool small);

// Weights of 8 bits in fast layers (own_bits_test.cpp).
void test_own_bits(sdgo::kernels::Isa isa);

// Token merging (merge_test.cpp).
void test_merging(sdgo::kernels::Isa isa);

// Quantizing (quantize_test.cpp).
void test_quantizing(sdgo::kernels::Isa isa);
