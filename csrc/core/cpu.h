// What the CPU kernels run with: a pool's threads and one instruction set.
#pragma once

#include "core/kept_weights.h"
#include "core/pool.h"
#include "kernels/kernels.h"

namespace sdgo {

struct Cpu {
    Pool pool;
    kernels::Isa isa;
    KeptWeights kept;
    bool fast = false;               // products of 8 bits, where the caller's layers allow it
    const int32_t *cancel = nullptr; // of the run in progress: kernels stop once it is not zero

    bool cancelled() const { return cancel && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0; }

    // `kernels` is null for the fastest set, or the name of one; throws if this machine
    // has no such kernels.
    Cpu(int threads, const char *kernels);
};

} // namespace sdgo
