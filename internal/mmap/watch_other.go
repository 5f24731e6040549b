//go:build !cgo || !unix

package mmap

// watch does nothing: Windows does not allow shortening a mapped file, and without cgo
// there is no suitable signal handler.
type watch struct{}

func watchMap([]byte) *watch { return nil }

func (*watch) end() {}

func (*watch) faulted() bool { return false }

// guarded says whether the program survives reading a file that became shorter.
const guarded = false
