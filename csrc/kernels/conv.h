// Linear layers and convolutions as multiplications: a convolution's taps are
// the same rows read at other places.
//
// An input that must be prepared first (a border, normalisation, joining) is copied
// band by band, so that the copy stays small: even phases copy a band, odd ones
// multiply it.
#pragma once

#include "kernels/gemm.h"
#include "kernels/image.h"

namespace sdgo::kernels::SDGO_ISA {

constexpr int64_t kBandFloats = 4 << 20;

struct Plan {
    Source source;
    Gemm gemm; // of the whole output, if nothing is copied
    int64_t out_h = 1, out_w = 1;
    bool copied = false;
    int64_t band_lines = 0, band_images = 0; // either all lines or one image
    int64_t bands = 1;
};

// Chooses how much of the input is copied at a time.
inline void set_bands(Plan &p) {
    const Source &s = p.source;
    const int64_t line = padded_width(s, p.out_w) * s.channels();
    const int64_t image = padded_lines(s, Band{0, 1, 0, p.out_h}) * line;
    p.band_images = lesser(s.n, greater(1, kBandFloats / image));
    p.band_lines = p.out_h;
    if (image > kBandFloats) {
        p.band_lines = greater(4, (kBandFloats / line - s.kernel) / s.stride + 1);
        p.band_lines = ceil_div(p.out_h, ceil_div(p.out_h, p.band_lines));
    }
    p.bands = ceil_div(s.n, p.band_images) * ceil_div(p.out_h, p.band_lines);
}

inline Band band(const Plan &p, int64_t index) {
    const int64_t per_image = ceil_div(p.out_h, p.band_lines);
    Band b;
    b.image = index / per_image * p.band_images;
    b.images = lesser(p.band_images, p.source.n - b.image);
    b.line = index % per_image * p.band_lines;
    b.lines = lesser(p.band_lines, p.out_h - b.line);
    return b;
}

inline Plan plan(const Linear &l) {
    Plan p;
    Source &s = p.source;
    s.x = l.x;
    s.c1 = l.in;
    s.x_stride = l.x_stride ? l.x_stride : l.in;
    s.norm = l.norm;
    s.w = s.up_w = p.out_w = l.rows_per_image ? l.rows_per_image : l.rows;
    s.up_h = 1;
    s.n = l.rows / s.w;
    p.copied = l.norm.scale != nullptr;

    Gemm &g = p.gemm;
    g.rows = l.rows;
    g.depth = l.in;
    g.out = l.out;
    g.w = l.w;
    g.low = l.low;
    g.bias = l.bias;
    g.act = l.act;
    g.geglu = l.geglu;
    g.before = l.before;
    g.before_stride = l.geglu ? 2 * l.out : l.out;
    g.residual = l.residual;
    g.residual_stride = l.residual_stride ? l.residual_stride : l.out;
    g.y = l.y;
    g.y_stride = l.y_stride ? l.y_stride : l.out;
    g.rows_per_image = l.rows_per_image ? l.rows_per_image : l.rows;
    g.a = {l.x, l.rows, 1, s.x_stride, 0, 0};
    set_bands(p);
    return p;
}

inline Plan plan(const Conv2d &c) {
    Plan p;
    Source &s = p.source;
    s = {c.x, c.x2, c.n, c.h, c.w, c.c1, c.c2, c.c1, c.norm, c.upsample, c.h, c.w, c.kernel, c.stride, 0};
    if (c.upsample) {
        s.up_h = c.up_h ? c.up_h : 2 * c.h;
        s.up_w = c.up_w ? c.up_w : 2 * c.w;
    }
    s.pad = c.kernel == 3 && !c.pad_end ? 1 : 0;
    s.spread = c.spread;
    p.out_h = out_height(c);
    p.out_w = out_width(c);
    p.copied = c.kernel != 1 || c.stride != 1 || c.upsample || c.c2 || c.norm.scale;

    Gemm &g = p.gemm;
    g.rows = c.n * p.out_h * p.out_w;
    g.depth = s.channels();
    g.out = c.out;
    g.taps = c.kernel * c.kernel;
    g.w = c.weight;
    g.low = c.low;
    g.bias = c.bias;
    g.act = c.act;
    g.channel_add = c.channel_add;
    g.channel_add_stride = c.channel_add_stride ? c.channel_add_stride : c.out;
    g.rows_per_image = p.out_h * p.out_w;
    g.residual = c.residual;
    g.residual_stride = g.y_stride = c.out;
    g.y = c.y;
    g.a = {c.x, g.rows, 1, s.x_stride, 0, 0};
    set_bands(p);
    return p;
}

// The multiplication that makes a band of the output from its copy.
inline Gemm band_gemm(const Plan &p, const Band &b, const float *copy) {
    const Source &s = p.source;
    const int64_t c = s.channels(), line = padded_width(s, p.out_w) * c;
    Gemm g = p.gemm;
    g.rows = b.images * b.lines * p.out_w;
    g.first_row = (b.image * p.out_h + b.line) * p.out_w;
    g.a = {copy, p.out_w, b.lines, s.stride * c, s.stride * line, padded_lines(s, b) * line};
    for (int t = 0; t < g.taps; t++) {
        g.tap_offset[t] = t / s.kernel * line + t % s.kernel * c;
    }
    return g;
}

// The largest copy of a band, in floats.
inline int64_t copy_floats(const Plan &p) {
    const Source &s = p.source;
    const Band b{0, p.band_images, 0, p.band_lines};
    return round_up(b.images * padded_lines(s, b) * padded_width(s, p.out_w) * s.channels(), W);
}

inline int plan_phases(const Plan &p) {
    return p.copied ? int(2 * p.bands) : 1;
}

// A thread's memory, in floats: the most that any band needs. The last band of an
// image, and the last of all, are smaller and blocked differently.
inline int64_t plan_thread_floats(const Plan &p, int threads) {
    int64_t most = gemm_floats(p.gemm, block(p.gemm, threads));
    const int64_t kinds[] = {0, ceil_div(p.out_h, p.band_lines) - 1, p.bands - 1};
    for (int64_t i : kinds) {
        const Gemm g = band_gemm(p, band(p, i), nullptr);
        most = greater(most, gemm_floats(g, block(g, threads)));
    }
    return round_up(most, 16);
}

// Includes the copy whether there will be one or not: that depends on pointers,
// which a caller may not have yet when it asks for the size.
inline size_t plan_scratch(const Plan &p, int threads) {
    return size_t(copy_floats(p) + 16 + threads * plan_thread_floats(p, threads)) * sizeof(float);
}

// Hands out the tasks 0 … n-1 of a phase.
template <class F> void take_tasks(Team &team, int64_t n, F task) {
    while (!team.cancelled()) {
        const int64_t i = team.next.fetch_add(1, std::memory_order_relaxed);
        if (i >= n) {
            return;
        }
        task(i);
    }
}

inline void run_plan(const Plan &p, int phase, int thread, Team &team) {
    float *copy = static_cast<float *>(team.scratch);
    float *memory = copy + round_up(copy_floats(p), 16) + thread * plan_thread_floats(p, team.threads);
    const Band b = p.copied ? band(p, phase / 2) : Band{};
    if (p.copied && phase % 2 == 0) {
        take_tasks(team, pad_tasks(p.source, b, p.out_w),
                   [&](int64_t i) { pad_task(p.source, b, p.out_w, i, copy); });
        return;
    }
    const Gemm g = p.copied ? band_gemm(p, b, copy) : p.gemm;
    const Blocking blocking = block(g, team.threads);
    take_tasks(team, blocking.row_blocks * blocking.column_blocks,
               [&](int64_t i) { gemm_task(g, blocking, i, memory); });
}

} // namespace sdgo::kernels::SDGO_ISA
