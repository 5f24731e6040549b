// Package mmap maps files into memory, read-only, so that what happens to a file
// meanwhile does not end the program.
//
// A file that gets shorter while it is mapped, or a disk that no longer answers,
// ends a program with SIGBUS when it reads there. On Unix systems, in programs
// built with cgo, such a read gives zeros instead, in Go and in C, and
// [File.Intact] says so afterwards: whoever reads a map asks it before the result
// is used. Windows lets nobody shorten a file that is mapped. Programs built
// without cgo have no such protection on Unix.
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

// ErrChanged is in the error of a file that could not be read to its end while it
// was mapped.
var ErrChanged = errors.New("the file became shorter, or could not be read, while it was in use")

// Open maps a regular file. An empty one has no Data.
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
		return nil, errors.New("no regular file")
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

// Close unmaps the file. Data must not be used afterwards. To close it again does
// nothing.
func (f *File) Close() error {
	unmap := f.unmap
	if unmap == nil {
		return nil
	}
	f.watch.end()
	f.Data, f.unmap, f.watch = nil, nil, nil
	return unmap()
}

// Intact is nil as long as all that was read was the file's: else an [ErrChanged]
// with the file's name.
func (f *File) Intact() error {
	if f.watch.faulted() {
		return fmt.Errorf("%s: %w", filepath.Base(f.path), ErrChanged)
	}
	return nil
}

// Release tells the system that a piece of the map is not needed for now: its pages
// no longer count as this process's memory, and stay in the system's cache as long
// as there is room. Bytes of other memory are left alone.
func (f *File) Release(b []byte) {
	if len(b) > 0 && f.holds(b) {
		release(b)
	}
}

// holds reports whether b is a part of the map.
func (f *File) holds(b []byte) bool {
	from, to := uintptr(unsafe.Pointer(unsafe.SliceData(f.Data))), uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return to >= from && to+uintptr(len(b)) <= from+uintptr(len(f.Data))
}
