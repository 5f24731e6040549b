#include "core/cpu.h"

#include "core/error.h"

#include <cstring>

namespace sdgo {

namespace {

kernels::Isa isa_named(const char *name) {
    if (!name) {
        return kernels::best_isa();
    }
    for (int i = int(kernels::Isa::generic); i < kernels::isa_count; i++) {
        const auto isa = kernels::Isa(i);
        const char *known = kernels::isa_name(isa);
        if (known && strcmp(known, name) == 0) {
            if (!kernels::isa_available(isa)) {
                invalid("this processor lacks the instructions of the kernels %s", name);
            }
            return isa;
        }
    }
    invalid("there are no kernels %s", name);
}

} // namespace

Cpu::Cpu(int threads, const char *kernels) : pool(threads), isa(isa_named(kernels)) {}

} // namespace sdgo
