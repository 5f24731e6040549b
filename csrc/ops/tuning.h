// Choice of operators: what a device can compute in more than one way, and which
// is fastest there, found by timing them.
#pragma once

#include "core/device.h"

namespace sdgo {

struct OpChoice {
    bool direct_conv = true;      // direct convolutions; else matrix products of im2col
    bool flash_attention = false; // stores no scores; keys and values are float16
    bool float32 = false;         // wherever an operator leaves a choice of precision
    int segments = 1;             // of a graph with gradients; see Tape
    bool fast = false;            // kernels' products of 8 bits
};

// Times both kinds of convolution and of attention on a device and returns the
// faster ones. `side` is the size of the trial, in latent pixels.
OpChoice tune(const Device &device, int side);

} // namespace sdgo
