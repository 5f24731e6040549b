package cli

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/sd"
)

// parseBytes reads a size such as 6G, 800M, 1.5GB or 1000000, in powers of
// 1000 as byteSize writes them.
func parseBytes(s string) (uint64, error) {
	text := strings.TrimSuffix(strings.ToUpper(strings.TrimSpace(s)), "B")
	unit := 1.0
	if n := len(text); n > 0 {
		if power := strings.IndexByte("KMGT", text[n-1]); power >= 0 {
			unit, text = math.Pow(1000, float64(power+1)), text[:n-1]
		}
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || !(v*unit >= 1 && v*unit < 1<<53) {
		return 0, fmt.Errorf("%q, a size such as 6G or 800M wanted", s)
	}
	return uint64(v * unit), nil
}

// memoryHint says which flags help where a device's memory ran out.
func memoryHint(err error) string {
	var e *sd.MemoryError
	if !errors.As(err, &e) {
		return ""
	}
	if e.Device == "cpu" {
		return "; a smaller picture, fewer at once, or more memory help"
	}
	return "; --offload, --max-memory, smaller weights (--type q8_0), a smaller picture or --backend cpu help"
}
