//go:build !linux

package worker

// resident is not known on this system.
func resident() uint64 { return 0 }
