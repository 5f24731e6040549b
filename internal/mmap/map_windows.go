package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func open(path string) (*os.File, error) { return os.Open(path) }

// mapFile maps a file. Until it is unmapped Windows lets nobody delete, shorten or
// replace it.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	mapping, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, uint32(uint64(size)>>32), uint32(size), nil)
	if err != nil {
		return nil, nil, err
	}
	defer windows.CloseHandle(mapping) // the view holds it
	at, err := windows.MapViewOfFile(mapping, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, err
	}
	// Not a conversion of at itself, which go vet takes for a mistake: no pointer
	// of Go's is made of a number here, the address is the system's.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), size)
	return data, func() error { return windows.UnmapViewOfFile(at) }, nil
}

// release: to unlock pages that are not locked takes them out of the process's
// working set.
func release(b []byte) {
	_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
}
