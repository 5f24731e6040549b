// The kernels for the compiler's default target.
#define SDGO_ISA generic

#include "kernels/generic.h"

#include "kernels/set.h"

namespace sdgo::kernels {

const Table &generic_table() {
    return generic::table();
}

} // namespace sdgo::kernels
