//go:build !cgo || !unix

package mmap

// watch does nothing: Windows lets nobody shorten a mapped file, and without cgo
// there is no handler of signals that could help.
type watch struct{}

func watchMap([]byte) *watch { return nil }

func (*watch) end() {}

func (*watch) faulted() bool { return false }

// guarded says whether reads of a file that got shorter are survived.
const guarded = false
