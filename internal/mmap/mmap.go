// Package mmap maps files into memory, read-only, and protects the program against
// changes of the file.
//
// Normally, if a mapped file becomes shorter, or a disk fails, reading the map ends the
// program with SIGBUS. With this package, on Unix systems and in programs built with
// cgo, such a read returns zeros, in Go and in C, and [File.Intact] then returns an
// error: call it after reading a map and before using the result. Windows does not
// allow shortening a mapped file. On Unix programs built without cgo have no
// protection.
package mmap

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"
)

// File is a file in memory.
type File struct {
	Data  []byte
	path  string
	unmap func() error
	watch *watch
}

// ErrChanged is in the error of a file that could not be read completely while it was
// mapped.
var ErrChanged = errors.New("the file became shorter, or could not be read, while it was in use")

// Open maps a regular file. Data of an empty file is nil.
func Open(path string) (*File, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	m := &File{path: path, unmap: func() error { return nil }}
	size := info.Size()
	if size == 0 {
		return m, nil
	}
	if size != int64(int(size)) {
		return nil, fmt.Errorf("%d bytes are more than this machine can address", size)
	}
	if m.Data, m.unmap, err = mapFile(f, int(size)); err != nil {
		return nil, fmt.Errorf("mapping it into memory: %w", err)
	}
	m.watch = watchMap(m.Data)
	return m, nil
}

// Close unmaps the file. Data must not be used afterwards. Closing again does nothing.
func (f *File) Close() error {
	unmap := f.unmap
	if unmap == nil {
		return nil
	}
	f.watch.end()
	f.Data, f.unmap, f.watch = nil, nil, nil
	return unmap()
}

// Intact returns nil if all reads so far returned the file's bytes, else an
// [ErrChanged] with the file's name.
func (f *File) Intact() error {
	if f.watch.faulted() {
		return fmt.Errorf("%s: %w", filepath.Base(f.path), ErrChanged)
	}
	return nil
}

// Release tells the system that a part of the map is not needed for now. Its pages no
// longer count as this process's memory, but may stay in the system's cache. Bytes of
// other memory are ignored.
func (f *File) Release(b []byte) {
	if f.Holds(b) {
		release(b)
	}
}

// Holds reports whether b is part of the map, and not empty.
func (f *File) Holds(b []byte) bool {
	if len(b) == 0 {
		return false
	}
	from, to := uintptr(unsafe.Pointer(unsafe.SliceData(f.Data))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return to >= from && to+uintptr(len(b)) <= from+uintptr(len(f.Data))
}
