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

// roomOn is what a part's graph may take on a device. On the CPU the weights are not
// counted: they are a file's pages. A GPU holds them and the UNet's graph.
func (m *Model) roomOn(device cgo.DeviceInfo) uint64 {
	room := m.memoryOf(device)
	if device.Kind == cgo.CPU {
		return room
	}
	return room - min(room, m.taken[device.Index])
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
