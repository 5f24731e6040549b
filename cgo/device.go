package cgo

// #include "sdgo.h"
import "C"

import (
	"strings"

	"github.com/sdgo/sdgo/internal/limits"
)

// Kind is what sort of processor a device is.
type Kind int

// The kinds of devices that ggml knows.
const (
	CPU         Kind = C.SDGO_CPU
	GPU         Kind = C.SDGO_GPU
	IGPU        Kind = C.SDGO_IGPU  // a GPU that shares the host's memory
	Accelerator Kind = C.SDGO_ACCEL // a helper of the CPU, such as a BLAS
)

func (k Kind) String() string {
	switch k {
	case CPU:
		return "CPU"
	case GPU:
		return "GPU"
	case IGPU:
		return "integrated GPU"
	}
	return "accelerator"
}

// DeviceInfo describes one device.
type DeviceInfo struct {
	Index       int    // what [Config.Device] takes
	Name        string // such as "CPU", "CUDA0", "Vulkan0", "Metal"
	Description string
	Kind        Kind
	Free, Total uint64 // bytes of memory; Free of the CPU is what this process may still take

	// Software marks a software rasterizer (llvmpipe, SwiftShader): a driver that
	// computes on the CPU.
	Software bool
}

// Devices lists all devices, after loading the plugins that add some.
func Devices() []DeviceInfo {
	Plugins()
	return LinkedDevices()
}

// LinkedDevices lists the devices without looking for plugins: the CPU and, on macOS,
// the GPU.
func LinkedDevices() []DeviceInfo {
	var all []DeviceInfo
	for i := range int(C.sdgo_device_count()) {
		var info C.sdgo_device_info
		if !C.sdgo_device_at(C.size_t(i), &info) {
			break
		}
		device := DeviceInfo{
			Index:       i,
			Name:        C.GoString(info.name),
			Description: C.GoString(info.description),
			Kind:        Kind(info.kind),
			Free:        uint64(info.memory_free),
			Total:       uint64(info.memory_total),
			Software:    isSoftware(C.GoString(info.description)),
		}
		if device.Kind == CPU {
			device.Free = min(device.Free, limits.Memory().Amount)
		}
		all = append(all, device)
	}
	return all
}

// isSoftware recognizes drivers that compute on the CPU by their descriptions: Mesa's
// llvmpipe, Google's SwiftShader, Windows' own.
func isSoftware(description string) bool {
	for _, name := range []string{"llvmpipe", "SwiftShader", "Microsoft Basic Render"} {
		if strings.Contains(description, name) {
			return true
		}
	}
	return false
}

// Threads is the default number of CPU threads: one for each physical core that this
// process may run on, fewer where its control group limits it to fewer, and at most a
// fourth of the threads that it may still start, because each network has its own.
func Threads() int {
	n := limits.CPUs()
	if free := limits.Threads(); free/4 < uint64(n) {
		n = max(1, int(free/4))
	}
	return n
}
