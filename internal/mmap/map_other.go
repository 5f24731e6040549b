//go:build !unix && !windows

package mmap

import (
	"io"
	"os"
)

func open(path string) (*os.File, error) { return os.Open(path) }

// mapFile reads a file where the system has no memory maps that we know of.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, func() error { return nil }, err
}

// release has nothing to do for memory that is no map.
func release([]byte) {}
