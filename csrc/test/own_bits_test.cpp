// Fast layers of weights that have 8 bits: these are multiplied as they are. Where rounding
// activations costs nothing the result is exact, then.
#include "check.h"

using namespace check;

void test_own_bits(Isa isa) {
    Random random;
    const int64_t rows = 21, in = 320, out = 96;
    Weights w = weights(random, Type::block, out, in);
    for (int64_t i = 0; i < out * in; i += 32) { // as quantizers have it, the largest is 127
        reinterpret_cast<Block *>(w.memory.data())[i / 32].q[5] = 127;
        w.values[size_t(i + 5)] = 127 / 128.0;
    }
    Floats x(static_cast<size_t>(rows * in)), y(static_cast<size_t>(rows * out));
    for (int64_t i = 0; i < rows * in; i++) {
        x[size_t(i)] = float(i % 32 == 9 ? -127 : random.between(-126, 126)) / 64;
    }
    Linear l;
    l.x = x.data(), l.rows = rows, l.in = in, l.out = out, l.w = w.matrix, l.y = y.data();
    l.fast = true, l.isa = isa;
    run_with(l, 2);
    Doubles want;
    for (int64_t i = 0; i < rows * out; i++) {
        want.push_back(reference::linear(l, w.values, {}, i / out, i % out));
    }
    const bool eight = isa == Isa::avx_vnni || isa == Isa::avx512_vnni;
    const double exact = eight ? 1e-5 : 4e-4; // elsewhere they are numbers of 16 bits
    compare(y.data(), want, exact, std::string("own bits ") + isa_name(isa));
    report(isa, "own bits");
}
