// Derivatives of ggml's own operators, as far as operators of Ops are made of them.
#include "grad/tape.h"

#include <cstring>

namespace sdgo {

namespace {

// An operator's result t with what to read its inputs and itself from, and dy.
struct Step {
    Tape &tape;
    ggml_context *ctx;
    Tensor t, dy;

    Tensor source(int i) const { return t->src[i]; }
    Tensor in(int i) const { return tape.value(t->src[i]); }
    Tensor y() const { return tape.value(t); }
    bool wants(int i) const { return tape.wants(t->src[i]); }
    void give(int i, Tensor g) const { tape.give(t->src[i], g); }
    // To an input that is repeated over the result's shape.
    void give_sum(int i, Tensor g) const { give(i, sum_to(ctx, g, t->src[i]->ne)); }
    float number(int i) const {
        float f;
        memcpy(&f, t->op_params + i, sizeof f);
        return f;
    }
    Tensor mul(Tensor a, Tensor b) const { return ggml_mul(ctx, a, b); }
    Tensor add(Tensor a, Tensor b) const { return ggml_add(ctx, a, b); }
    Tensor sub(Tensor a, Tensor b) const { return ggml_sub(ctx, a, b); }
    Tensor scale(Tensor a, float factor) const { return ggml_scale(ctx, a, factor); }
};

void same(const Step &s) {
    s.give(0, s.dy);
}

void permute(const Step &s) {
    int back[kTensorDims]; // op_params[i] is where dimension i went
    for (int i = 0; i < kTensorDims; i++) {
        back[s.t->op_params[i]] = i;
    }
    s.give(0, ggml_cont(s.ctx, ggml_permute(s.ctx, s.dy, back[0], back[1], back[2], back[3])));
}

// A part of a contiguous tensor: zeros elsewhere.
void view(const Step &s) {
    Tensor x = s.source(0);
    const size_t offset = s.t->view_offs - x->view_offs;
    Tensor zeros = s.scale(s.in(0), 0);
    s.give(0, ggml_acc(s.ctx, zeros, s.dy, s.t->nb[1], s.t->nb[2], s.t->nb[3], offset));
}

void add(const Step &s) {
    s.give(0, s.dy);
    if (s.wants(1)) {
        s.give_sum(1, s.dy);
    }
}

void subtract(const Step &s) {
    s.give(0, s.dy);
    if (s.wants(1)) {
        s.give_sum(1, s.scale(s.dy, -1));
    }
}

void multiply(const Step &s) {
    if (s.wants(0)) {
        s.give(0, s.mul(s.dy, s.in(1)));
    }
    if (s.wants(1)) {
        s.give_sum(1, s.mul(s.dy, s.in(0)));
    }
}

void scaled(const Step &s) {
    s.give(0, s.scale(s.dy, s.number(0)));
}

// slope + (1 - slope)·[x > 0]
void leaky_relu(const Step &s) {
    const float slope = s.number(0);
    Tensor positive = ggml_scale_bias(s.ctx, ggml_step(s.ctx, s.in(0)), 1 - slope, slope);
    s.give(0, s.mul(s.dy, positive));
}

// σ(x) + y·(1 - σ(x))
void silu(const Step &s) {
    Tensor sigmoid = ggml_sigmoid(s.ctx, s.in(0)), y = s.y();
    s.give(0, s.mul(s.dy, s.add(sigmoid, s.sub(y, s.mul(y, sigmoid)))));
}

void sigmoid(const Step &s) {
    Tensor y = s.y();
    s.give(0, s.mul(s.dy, s.sub(y, s.mul(y, y))));
}

// Φ(x) + x·φ(x). ggml has no Φ but in x·Φ(x); at 0 that is divided by a number next to it.
void gelu(const Step &s) {
    Tensor x = ggml_scale_bias(s.ctx, s.in(0), 1, 1e-30f);
    Tensor cumulative = ggml_div(s.ctx, ggml_gelu_erf(s.ctx, x), x);
    Tensor density = ggml_exp(s.ctx, s.scale(s.mul(x, x), -0.5f));
    s.give(0, s.mul(s.dy, s.add(cumulative, s.scale(s.mul(x, density), 0.3989422804f))));
}

void exponential(const Step &s) {
    s.give(0, s.mul(s.dy, s.y()));
}

void sine(const Step &s) {
    s.give(0, s.mul(s.dy, ggml_cos(s.ctx, s.in(0))));
}

void cosine(const Step &s) {
    s.give(0, s.mul(s.dy, s.scale(ggml_sin(s.ctx, s.in(0)), -1)));
}

// ggml clamps in place: what is at a bound was beyond it.
void clamp(const Step &s) {
    Tensor y = s.y();
    Tensor above = ggml_step(s.ctx, ggml_scale_bias(s.ctx, y, 1, -s.number(0)));
    Tensor below = ggml_step(s.ctx, ggml_scale_bias(s.ctx, y, -1, s.number(1)));
    s.give(0, s.mul(s.dy, s.mul(above, below)));
}

void concat(const Step &s) {
    const int dim = s.t->op_params[0];
    size_t offset = 0;
    for (int i = 0; i < 2; i++) {
        const Tensor x = s.source(i);
        if (s.wants(i)) {
            s.give(i, ggml_cont(s.ctx, ggml_view_4d(s.ctx, s.dy, x->ne[0], x->ne[1], x->ne[2], x->ne[3],
                                                    s.dy->nb[1], s.dy->nb[2], s.dy->nb[3], offset)));
        }
        offset += size_t(x->ne[dim]) * s.dy->nb[dim];
    }
}

// Nearest neighbours: the sum of a square.
void upscale(const Step &s) {
    const int factor = int(s.t->ne[0] / s.source(0)->ne[0]);
    Tensor mean = ggml_pool_2d(s.ctx, s.dy, GGML_OP_POOL_AVG, factor, factor, factor, factor, 0, 0);
    s.give(0, s.scale(mean, float(factor * factor)));
}

void pad(const Step &s) {
    const Tensor x = s.source(0);
    s.give(0, ggml_cont(s.ctx, ggml_view_4d(s.ctx, s.dy, x->ne[0], x->ne[1], x->ne[2], x->ne[3], s.dy->nb[1],
                                            s.dy->nb[2], s.dy->nb[3], 0)));
}

void rows(const Step &s) {
    s.give(0, ggml_get_rows_back(s.ctx, s.dy, s.in(1), s.source(0)));
}

// Of rows.
void mean(const Step &s) {
    const Tensor x = s.source(0);
    Tensor like = ggml_new_tensor(s.ctx, GGML_TYPE_F32, kTensorDims, x->ne);
    s.give(0, ggml_repeat(s.ctx, s.scale(s.dy, 1 / float(x->ne[0])), like));
}

// y = b·aᵀ, of matrices.
void product(const Step &s) {
    const auto swapped = [&](Tensor x) { return ggml_cont(s.ctx, ggml_permute(s.ctx, x, 1, 0, 2, 3)); };
    if (s.wants(0)) {
        s.give(0, ggml_mul_mat(s.ctx, swapped(s.in(1)), swapped(s.dy)));
    }
    if (s.wants(1)) {
        s.give(1, ggml_mul_mat(s.ctx, swapped(s.in(0)), s.dy));
    }
}

struct Derivative {
    const char *op; // as ggml_op_desc names it
    void (*derive)(const Step &);
};

constexpr Derivative kDerivatives[] = {
    {"RESHAPE", same},  {"CONT", same},       {"CPY", same},        {"PERMUTE", permute},
    {"VIEW", view},     {"ADD", add},         {"SUB", subtract},    {"MUL", multiply},
    {"SCALE", scaled},  {"SILU", silu},       {"SIGMOID", sigmoid}, {"LEAKY_RELU", leaky_relu},
    {"GELU_ERF", gelu}, {"EXP", exponential}, {"SIN", sine},        {"COS", cosine},
    {"CONCAT", concat}, {"UPSCALE", upscale}, {"PAD", pad},         {"GET_ROWS", rows},
    {"CLAMP", clamp},   {"MEAN", mean},       {"MUL_MAT", product},
};

} // namespace

void derive_elementary(Tape &tape, Tensor t, Tensor dy) {
    for (const Derivative &d : kDerivatives) {
        if (strcmp(d.op, ggml_op_desc(t)) == 0) {
            d.derive({tape, tape.context(), t, dy});
            return;
        }
    }
    invalid("no derivative of %s is known", ggml_op_desc(t));
}

} // namespace sdgo
