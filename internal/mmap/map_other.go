//go:build !unix && !windows

package mmap

import (
	"io"
	"os"
)

func open(path string) (*os.File, error) { return os.Open(path) }

// mapFile reads the file, because memory maps are not supported on this system.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data = make([]byte, size)
	_, err = io.ReadFull(f, data)
	return data, func() error { return nil }, err
}

// release does nothing: the memory is no map.
func release([]byte) {}
