package convert

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// mapFile maps a file into memory, read-only. Until it is unmapped Windows lets
// nobody delete, shorten or replace it.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, errors.New("no regular file")
	}
	size := info.Size()
	if size == 0 {
		return nil, func() error { return nil }, nil
	}
	if size != int64(int(size)) {
		return nil, nil, fmt.Errorf("%d bytes are more than this machine can address", size)
	}
	mapping, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, uint32(size>>32), uint32(size), nil)
	if err != nil {
		return nil, nil, fmt.Errorf("mapping it into memory: %w", err)
	}
	defer windows.CloseHandle(mapping) // the view holds it
	at, err := windows.MapViewOfFile(mapping, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, nil, fmt.Errorf("mapping it into memory: %w", err)
	}
	// Not a conversion of at itself, which go vet takes for a mistake: no pointer
	// of Go's is made of a number here, the address is the system's.
	data = unsafe.Slice(*(**byte)(unsafe.Pointer(&at)), int(size))
	return data, func() error { return windows.UnmapViewOfFile(at) }, nil
}

// release tells the system that a piece of a map is not needed for now: to
// unlock pages that are not locked takes them out of the process's working set.
func release(b []byte) {
	if len(b) > 0 {
		_ = windows.VirtualUnlock(uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	}
}
