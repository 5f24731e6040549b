package sd

import (
	"bufio"
	"bytes"
	"fmt"
	"os"

	"github.com/sdgo/sdgo/cgo"
)

// memoryOf is what a model may take of a device: the caller's limit, else most
// of what the system says is free.
func (m *Model) memoryOf(device cgo.DeviceInfo) uint64 {
	if m.options.MaxMemory > 0 {
		return m.options.MaxMemory
	}
	free := device.Free
	if device.Kind == cgo.CPU {
		if n, ok := linuxAvailable("/proc/meminfo"); ok {
			free = n
		}
	}
	return free / 10 * 9
}

// linuxAvailable reads Linux's own estimate of the memory that new work can
// have without swapping, which ggml's CPU device does not know.
func linuxAvailable(path string) (uint64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var kib uint64
		if n, _ := fmt.Sscanf(lines.Text(), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10, true
		}
	}
	return 0, false
}
