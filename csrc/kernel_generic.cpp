// The kernels for the compiler's default target.
#define SDGO_ISA generic

#include "kernel_generic.h"

#include "kernel_set.h"

namespace sdgo::kernels {

const Table &generic_table() {
    return generic::table();
}

} // namespace sdgo::kernels
