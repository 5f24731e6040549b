// A kernel's input as the multiplication reads it: normalised, enlarged,
// joined from two tensors, with a border of zeros.
#pragma once

#include "kernels/vector_math.h"

namespace sdgo::kernels::SDGO_ISA {

struct Source {
    const float *x = nullptr, *x2 = nullptr;
    int64_t n = 1, h = 1, w = 1, c1 = 0, c2 = 0;
    int64_t x_stride = 0; // floats from one pixel of x to the next
    InputNorm norm;
    bool upsample = false;
    int64_t up_h = 0, up_w = 0; // the size after it: h and w without it
    int kernel = 1, stride = 1, pad = 0;
    Spread spread = Spread::none;

    int64_t channels() const { return c1 + c2; }
};

// Some lines of some images with their border: output lines
// [line, line + lines) of images [image, image + images).
struct Band {
    int64_t image = 0, images = 0, line = 0, lines = 0;
};

inline int64_t padded_width(const Source &s, int64_t out_w) {
    return (out_w - 1) * s.stride + s.kernel;
}
inline int64_t padded_lines(const Source &s, const Band &b) {
    return (b.lines - 1) * s.stride + s.kernel;
}

// n channels of one pixel: x·scale + shift, then SiLU if `silu`.
inline void normalize(const float *x, int64_t n, const float *scale, const float *shift, bool silu,
                      float *to) {
    int64_t i = 0;
    for (; i + W <= n; i += W) {
        const V y = fma(load(x + i), load(scale + i), load(shift + i));
        store(to + i, silu ? y * sigmoid(y) : y);
    }
    if (i < n) {
        const V y = fma(load(x + i, n - i), load(scale + i, n - i), load(shift + i, n - i));
        store(to + i, silu ? y * sigmoid(y) : y, n - i);
    }
}

// Channels [from, from + n) of pixel (y, x) of an image of the enlarged source.
inline void read_pixel(const Source &s, int64_t image, int64_t y, int64_t x, int64_t from, int64_t n,
                       float *to) {
    const int64_t odd = s.spread == Spread::last;
    if (y < 0 || y >= s.up_h || x < 0 || x >= s.up_w ||
        (s.spread != Spread::none && (y % 2 != odd || x % 2 != odd || y >= 2 * s.h || x >= 2 * s.w))) {
        __builtin_memset(to, 0, size_t(n) * sizeof(float));
        return;
    }
    if (s.upsample) {
        y /= 2, x /= 2;
    }
    const int64_t pixel = (image * s.h + y) * s.w + x;
    const auto read = [&](const float *channels, int64_t first, int64_t count) {
        if (s.norm.scale) {
            const int64_t c = image * s.channels() + first;
            normalize(channels, count, s.norm.scale + c, s.norm.shift + c, s.norm.silu, to + first - from);
        } else {
            __builtin_memcpy(to + first - from, channels, size_t(count) * sizeof(float));
        }
    };
    const int64_t end = from + n;
    if (from < s.c1) {
        read(s.x + pixel * s.x_stride + from, from, lesser(end, s.c1) - from);
    }
    if (end > s.c1) {
        const int64_t first = greater(from, s.c1);
        read(s.x2 + pixel * s.c2 + first - s.c1, first, end - first);
    }
}

constexpr int64_t kPixelsPerTask = 64;

inline int64_t pad_tasks(const Source &s, const Band &b, int64_t out_w) {
    return b.images * padded_lines(s, b) * ceil_div(padded_width(s, out_w), kPixelsPerTask);
}

// A piece of a line of a band.
inline void pad_task(const Source &s, const Band &b, int64_t out_w, int64_t task, float *to) {
    const int64_t width = padded_width(s, out_w), lines = padded_lines(s, b);
    const int64_t pieces = ceil_div(width, kPixelsPerTask);
    const int64_t from = task % pieces * kPixelsPerTask, line = task / pieces; // of the band, images in a row
    const int64_t image = b.image + line / lines, y = b.line * s.stride + line % lines - s.pad;
    to += (line * width + from) * s.channels();
    for (int64_t x = from; x < lesser(width, from + kPixelsPerTask); x++) {
        read_pixel(s, image, y, x - s.pad, 0, s.channels(), to);
        to += s.channels();
    }
}

} // namespace sdgo::kernels::SDGO_ISA
