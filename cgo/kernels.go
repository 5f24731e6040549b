package cgo

// #include "sdgo.h"
import "C"

import (
	"fmt"
	"strings"
)

// GGML is the name of ggml's own CPU operators, which every machine has.
const GGML = "ggml"

// KernelSet is a set of CPU operators: this library's kernels, compiled for one
// instruction set.
type KernelSet struct {
	Name      string // "generic", "avx2", "avx512-vnni" …
	Available bool   // whether this machine has the instructions
}

// KernelSets lists the kernels that this program has, slowest first.
func KernelSets() []KernelSet {
	var all []KernelSet
	for {
		var set C.sdgo_kernels
		if !C.sdgo_kernels_at(C.size_t(len(all)), &set) {
			return all
		}
		all = append(all, KernelSet{C.GoString(set.name), bool(set.available)})
	}
}

// KernelNames lists what [Config.Kernels] can be on this machine, the fastest
// last: ggml's operators, then the kernels whose instructions are there.
func KernelNames() []string {
	names := []string{GGML}
	for _, set := range KernelSets() {
		if set.Available {
			names = append(names, set.Name)
		}
	}
	return names
}

// FindKernels checks the name of a set of CPU operators; an empty name stands for the
// fastest.
func FindKernels(name string) (string, error) {
	names := KernelNames()
	if name == "" {
		return names[len(names)-1], nil
	}
	for _, known := range names {
		if name == known {
			return name, nil
		}
	}
	for _, set := range KernelSets() {
		if name == set.Name {
			return "", fmt.Errorf("kernels %q: this processor lacks their instructions; it has %s", name, strings.Join(names, ", "))
		}
	}
	return "", fmt.Errorf("kernels %q: must be one of %s", name, strings.Join(names, ", "))
}
