#include "core/quantize.h"

#include "core/error.h"
#include "core/ggml_abi.h"
#include "kernels/quantize.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace sdgo {

namespace {

// The scales of quantized blocks are float16.
constexpr float kLargest = 65504;

// Numbers below this become zero: a block's float16 scale, at least 6e-8, cannot
// represent them, their squares underflow, and ggml's quantizers divide by sums of
// squares.
constexpr float kVanishing = 1e-12f;

// Only the ratios of importances matter. Within these bounds their products with
// squares of weights neither overflow nor underflow.
constexpr float kImportant = 1e6f, kUnimportant = 1e-6f;

const ggml_type_traits &traits(int type, const char *verb) {
    const ggml_type_traits *t =
        type >= 0 && type < GGML_TYPE_COUNT ? ggml_get_type_traits(ggml_type(type)) : nullptr;
    if (!t || t->type_size == 0 || t->blck_size == 0) {
        invalid("type %d cannot be %s", type, verb);
    }
    return *t;
}

// Fails unless all numbers are finite and at most kLargest in size; *vanishing says
// whether any are below kVanishing.
void check(const float *src, int64_t n, const char *type, bool *vanishing) {
    float largest = 0;
    bool finite = true, small = false;
    for (int64_t i = 0; i < n; i++) {
        const float a = std::fabs(src[i]);
        finite = finite && a <= kLargest; // false for NaN
        largest = std::max(largest, a);
        small = small || (a > 0 && a < kVanishing);
    }
    if (!finite) {
        invalid(
            "numbers must be at most %g in size for type %s, got %g or NaN; bf16 and f32 hold larger ones",
            double(kLargest), type, double(largest));
    }
    *vanishing = small;
}

// An importance matrix scaled to a safe range; one that is in that range stays as it
// is.
std::vector<float> balanced(const float *importance, int64_t n) {
    float largest = 0, smallest = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        if (!(importance[i] >= 0) || std::isinf(importance[i])) {
            invalid("the importance of column %lld must be a finite number of at least 0, got %g",
                    (long long)i, double(importance[i]));
        }
        largest = std::max(largest, importance[i]);
        smallest = std::min(smallest, importance[i]);
    }
    std::vector<float> all(importance, importance + n);
    if (largest <= kImportant && smallest >= kUnimportant) {
        return all;
    }
    if (largest == 0) { // nothing is known: all count the same
        std::fill(all.begin(), all.end(), 1.0f);
        return all;
    }
    int exponent = 0;
    std::frexp(largest, &exponent);
    for (float &v : all) {
        v = std::max(std::ldexp(v, -exponent), kUnimportant);
    }
    return all;
}

// Whether kernels::quantize_k makes a type, and as what.
bool find_k_quant(int type, kernels::KQuant *k) {
    constexpr std::pair<ggml_type, kernels::KQuant> all[] = {
        {GGML_TYPE_Q2_K, kernels::KQuant::q2}, {GGML_TYPE_Q3_K, kernels::KQuant::q3},
        {GGML_TYPE_Q4_K, kernels::KQuant::q4}, {GGML_TYPE_Q5_K, kernels::KQuant::q5},
        {GGML_TYPE_Q6_K, kernels::KQuant::q6},
    };
    for (const auto &[known, as] : all) {
        if (type == known) {
            *k = as;
            return kernels::quantizes_k();
        }
    }
    return false;
}

void quantize_k(kernels::KQuant k, int type, const float *src, int64_t blocks, uint8_t *dst) {
    constexpr int64_t together = 64;
    for (int64_t i = 0; i < blocks; i += together) {
        bool made[together];
        const int64_t n = std::min(together, blocks - i);
        const auto from = [&](int64_t b) { return src + (i + b) * kernels::kKQuantBlock; };
        const auto to = [&](int64_t b) { return dst + size_t(i + b) * kernels::k_quant_bytes(k); };
        kernels::quantize_k(k, from(0), n, to(0), made);
        for (int64_t b = 0; b < n; b++) {
            if (!made[b]) {
                ggml_quantize_chunk(ggml_type(type), from(b), to(b), 0, 1, kernels::kKQuantBlock, nullptr);
            }
        }
    }
}

} // namespace

void quantize(int type, const float *src, void *dst, size_t size, int64_t rows, int64_t row_length,
              const float *importance) {
    const ggml_type_traits &t = traits(type, "quantized to");
    if (type != GGML_TYPE_F32 && !t.from_float_ref) {
        invalid("type %d cannot be quantized to", type);
    }
    if (rows < 0 || row_length < 1 || row_length % t.blck_size != 0) {
        invalid("rows of %lld elements do not divide into blocks of %lld (type %s)", (long long)row_length,
                (long long)t.blck_size, t.type_name);
    }
    const size_t row = ggml_row_size(ggml_type(type), row_length);
    if (size / row != size_t(rows) || size % row != 0) {
        invalid("%lld rows must have %zu bytes each, got %zu bytes", (long long)rows, row, size);
    }
    if (ggml_quantize_requires_imatrix(ggml_type(type)) && !importance) {
        invalid("type %s needs an importance matrix", t.type_name);
    }
    std::vector<float> weights, numbers;
    if (t.is_quantized) {
        bool vanishing = false;
        check(src, rows * row_length, t.type_name, &vanishing);
        if (vanishing) {
            numbers.assign(src, src + rows * row_length);
            std::replace_if(
                numbers.begin(), numbers.end(), [](float v) { return std::fabs(v) < kVanishing; }, 0.0f);
            src = numbers.data();
        }
        if (importance) {
            weights = balanced(importance, row_length);
            importance = weights.data();
        }
    }
    kernels::KQuant k;
    if (!importance && find_k_quant(type, &k)) {
        quantize_k(k, type, src, rows * row_length / kernels::kKQuantBlock, static_cast<uint8_t *>(dst));
        return;
    }
    if (ggml_quantize_chunk(ggml_type(type), src, dst, 0, rows, row_length, importance) != size) {
        invalid("type %s cannot be quantized to", t.type_name);
    }
}

void dequantize(int type, const void *src, size_t size, float *dst, int64_t count) {
    const ggml_type_traits &t = traits(type, "dequantized");
    if (!t.to_float) {
        invalid("type %d cannot be dequantized", type);
    }
    if (count < 0 || count % t.blck_size != 0 || size != size_t(count / t.blck_size) * t.type_size) {
        invalid("%lld elements of type %s do not have %zu bytes", (long long)count, t.type_name, size);
    }
    t.to_float(src, dst, count);
}

} // namespace sdgo
