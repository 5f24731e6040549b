// Tests the kernels of every instruction set that this machine has.
#include "check.h"

using namespace check;

namespace {

// Tests a set, and says whether it could.
bool test(Isa isa, bool small) {
    if (!isa_available(isa)) {
        std::printf("%-11s not on this machine\n", isa_name(isa));
        return false;
    }
    test_kernels(isa, small);
    test_gradients(isa, small);
    test_low_rank(isa, small);
    test_merging(isa);
    test_own_bits(isa);
    test_quantizing(isa);
    return true;
}

} // namespace

// With an argument: that instruction set alone, or "1/2" and "2/2" for every second one,
// for two processes; with "small" as a second one without the large cases.
int main(int argc, char **argv) {
    const std::string only = argc > 1 ? argv[1] : "";
    const bool small = argc > 2 && std::strcmp(argv[2], "small") == 0;
    const bool half = only == "1/2" || only == "2/2";
    int tested = 0;
    for (int i = int(Isa::generic); i < isa_count; i++) {
        const bool chosen = only.empty() || (half ? i % 2 == only[0] - '1' : isa_name(Isa(i)) == only);
        if (isa_name(Isa(i)) && chosen) {
            tested += test(Isa(i), small);
        }
    }
    if (tested == 0 && !half) {
        std::printf("no kernels for %s\n", only.c_str());
        return 1;
    }
    std::printf("%s\n", failures ? "FAILED" : "all kernels agree with plain loops");
    return failures ? 1 : 0;
}
