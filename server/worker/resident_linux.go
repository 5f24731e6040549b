package worker

import (
	"bytes"
	"os"
	"strconv"
)

// resident is the most memory that the process has had, in bytes (VmHWM of proc(5)); 0
// if it is not known.
func resident() uint64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte("VmHWM:")); ok {
			kb, _ := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(value), []byte("kB")))), 10, 64)
			return kb << 10
		}
	}
	return 0
}
