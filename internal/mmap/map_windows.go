package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

func open(path string) (*os.File, error) { return os.Open(path) }

// mapFile maps a file. Windows prevents deleting, shortening or replacing it until it
// is unmapped.
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
	// Not unsafe.Pointer(at), which go vet reports: the address comes from the
	// system and was never a Go pointer.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), size)
	return data, func() error { return windows.UnmapViewOfFile(at) }, nil
}

// release unlocks the pages. Unlocking pages that are not locked removes them from the
// process's working set.
func release(b []byte) {
	_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
}
