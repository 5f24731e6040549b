// What the CPU kernels run with: a pool's threads and one instruction set.
#pragma once

#include "kernels.h"
#include "pool.h"

namespace sdgo {

struct Cpu {
    Pool pool;
    kernels::Isa isa;

    // `kernels` is null for the fastest set, or the name of one; throws where
    // this machine has no such kernels.
    Cpu(int threads, const char *kernels);
};

} // namespace sdgo
