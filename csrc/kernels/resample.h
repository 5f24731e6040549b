// Images of other sizes, and what scales them.
#pragma once

#include "kernels/norm.h"

namespace sdgo::kernels::SDGO_ISA {

// Which pixels of a line a pixel of the new line is the sum of: `count` from `first`
// on, some of which may be outside.
struct Taps {
    int64_t first = 0;
    int count = 0;
    float weight[4] = {};
};

inline Taps taps(Sampling how, int64_t to) {
    switch (how) {
    case Sampling::same:
        return {to, 1, {1}};
    case Sampling::mean_down:
        return {2 * to, 2, {0.5f, 0.5f}};
    case Sampling::nearest_up:
        return {to / 2, 1, {1}};
    case Sampling::fir_down:
        return {2 * to - 1, 4, {0.125f, 0.375f, 0.375f, 0.125f}};
    case Sampling::fir_up: // of 2·[1, 3, 3, 1] / 8 every second number meets a pixel
        return to % 2 == 0 ? Taps{to / 2 - 1, 2, {0.25f, 0.75f}} : Taps{to / 2, 2, {0.75f, 0.25f}};
    case Sampling::fir_blur:
        return {to - 2, 4, {0.125f, 0.375f, 0.375f, 0.125f}};
    }
    return {};
}

// n channels, at most a vector's, of a pixel of image x.
inline V resample_pixel(const Resample &a, const float *x, const Taps &rows, const Taps &columns, int64_t n) {
    V y = zero();
    for (int i = 0; i < rows.count; i++) {
        const int64_t row = rows.first + i;
        for (int k = 0; k < columns.count && row >= 0 && row < a.h; k++) {
            const int64_t column = columns.first + k;
            if (column >= 0 && column < a.w) {
                const float *p = x + (row * a.w + column) * a.c;
                y = fma(n == W ? load(p) : load(p, n), broadcast(rows.weight[i] * columns.weight[k]), y);
            }
        }
    }
    return y * broadcast(a.gain);
}

// A task is a line of the result.
inline void run_resample(const Resample &a, int, int, Team &team) {
    const int64_t lines = sampled_size(a.how, a.h), width = sampled_size(a.how, a.w);
    take_tasks(team, a.n * lines, [&](int64_t task) {
        const float *x = a.x + task / lines * a.h * a.w * a.c;
        float *y = a.y + task * width * a.c;
        const Taps rows = taps(a.how, task % lines);
        for (int64_t column = 0; column < width; column++, y += a.c) {
            const Taps columns = taps(a.how, column);
            int64_t c = 0;
            for (; c + W <= a.c; c += W) {
                store(y + c, resample_pixel(a, x + c, rows, columns, W));
            }
            if (c < a.c) {
                store(y + c, resample_pixel(a, x + c, rows, columns, a.c - c), a.c - c);
            }
        }
    });
}

} // namespace sdgo::kernels::SDGO_ISA
