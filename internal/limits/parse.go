package limits

import (
	"bytes"
	"math/bits"
	"strconv"
	"strings"
)

// times is a product, at most Unlimited.
func times(a, b uint64) uint64 {
	if high, low := bits.Mul64(a, b); high == 0 {
		return low
	}
	return Unlimited
}

// parseLimit parses a file of one number. "max", and numbers that are negative or too
// large, are Unlimited.
func parseLimit(text []byte) (uint64, bool) {
	s := string(bytes.TrimSpace(text))
	if s == "max" {
		return Unlimited, true
	}
	if digits, negative := strings.CutPrefix(s, "-"); negative {
		_, ok := digitsOf(digits)
		return Unlimited, ok
	}
	return digitsOf(s)
}

// digitsOf reads decimal digits, and nothing else.
func digitsOf(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil { // out of range
		return Unlimited, true
	}
	return n, true
}

// field reads the first number of a line that begins with a name, as in
// /proc/meminfo, /proc/PID/status and memory.stat.
func field(text []byte, name string) (uint64, bool) {
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) >= 2 && string(words[0]) == name {
			return digitsOf(string(words[1]))
		}
	}
	return 0, false
}

// parseStatm reads the pages of /proc/self/statm: all, and those of data and
// stack.
func parseStatm(text []byte) (size, data uint64) {
	words := bytes.Fields(text)
	if len(words) > 0 {
		size, _ = digitsOf(string(words[0]))
	}
	if len(words) > 5 {
		data, _ = digitsOf(string(words[5]))
	}
	return size, data
}

// parseTasks reads the number of all threads out of /proc/loadavg.
func parseTasks(text []byte) (uint64, bool) {
	words := bytes.Fields(text)
	if len(words) < 4 {
		return 0, false
	}
	_, all, ok := strings.Cut(string(words[3]), "/")
	if !ok {
		return 0, false
	}
	return digitsOf(all)
}

// parseCPUMax reads version 2's cpu.max: a quota, or "max", and the period,
// without which it is 100 ms. A quota of 0 is none.
func parseCPUMax(text []byte) (quota, period uint64) {
	words := bytes.Fields(text)
	if len(words) == 0 {
		return 0, 0
	}
	quota, _ = parseLimit(words[0])
	period = 100000
	if len(words) > 1 {
		period, _ = parseLimit(words[1])
	}
	return quota, period
}
