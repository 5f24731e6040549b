// What a device can compute in several ways, and which of them is best there.
#pragma once

#include "core/device.h"

namespace sdgo {

struct Ways {
    bool direct = true;   // convolutions as such; else as matrix products of im2col
    bool flash = false;   // attention that keeps no scores, with keys and values in float16
    bool precise = false; // float32 wherever an operator leaves a choice
};

// Times both ways of a convolution and of attention on a device and takes the
// faster ones. `side` is the size of the trial, in latent pixels.
Ways try_ways(const Device &device, int side);

} // namespace sdgo
