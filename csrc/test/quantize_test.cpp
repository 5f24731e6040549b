// Quantizing to k-quants: every instruction set writes the bytes of AVX2's. That those are ggml's
// is tested in csrc/testnet.
#include "check.h"
#include "kernels/quantize.h"

using namespace check;

void test_quantizing(Isa isa) {
    if (!isa_available(Isa::avx2) || isa == Isa::generic) {
        return;
    }
    Random random;
    constexpr int64_t blocks = 13;
    Floats x = random.floats(blocks * kKQuantBlock, -1, 1);
    for (int64_t i = 0; i < 5 * kKQuantBlock; i++) {
        x[size_t(i)] *= i < kKQuantBlock ? 0 : i < 2 * kKQuantBlock ? 1e-11f : i % 32 == 0 ? 1e3f : 1;
    }
    for (KQuant type : {KQuant::q2, KQuant::q3, KQuant::q4, KQuant::q5, KQuant::q6}) {
        const size_t bytes = size_t(blocks) * k_quant_bytes(type);
        std::vector<uint8_t> got(bytes + 1, 77), want(bytes + 1, 77);
        bool made[blocks], wanted[blocks];
        quantize_k(type, x.data(), blocks, want.data(), wanted, Isa::avx2);
        quantize_k(type, x.data(), blocks, got.data(), made, isa);
        const std::string name = std::string(isa_name(isa)) + " k-quant " + std::to_string(int(type));
        expect(got == want && std::equal(made, made + blocks, wanted), "other bytes than AVX2's", name);
        expect(!made[0] && made[blocks - 1], "zeros are left to ggml, weights are not", name);
    }
}
