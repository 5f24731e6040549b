//go:build !unix && !windows

package convert

import "os"

// mapFile reads a file where the system has no memory maps that we know of.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

// release has nothing to do for memory that is no map.
func release([]byte) {}
