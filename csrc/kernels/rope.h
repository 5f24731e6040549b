// Rotary position embedding. Plain loops do: it touches each number once, where the
// matrix products around it do so hundreds of times.
#pragma once

#include "kernels/norm.h"

namespace sdgo::kernels::SDGO_ISA {

inline void run_rope(const Rope &a, int, int, Team &team) {
    const int64_t half = a.dim / 2, step = a.interleaved ? 2 : 1, to_other = a.interleaved ? 1 : half;
    take_rows(team, a.n * a.length, [&](int64_t r) {
        const float *cos = a.cos + r % a.length * half, *sin = a.sin + r % a.length * half;
        for (int64_t h = 0; h < a.heads; h++) {
            const float *x = a.x + (r * a.heads + h) * a.dim;
            float *y = a.y + (r * a.heads + h) * a.dim;
            for (int64_t i = 0; i < half; i++) {
                const float p = x[i * step], q = x[i * step + to_other];
                y[i * step] = p * cos[i] - q * sin[i];
                y[i * step + to_other] = p * sin[i] + q * cos[i];
            }
        }
    });
}

} // namespace sdgo::kernels::SDGO_ISA
