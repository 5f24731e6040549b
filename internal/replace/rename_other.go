//go:build !unix && !windows

package replace

// renameNew gives a file a name that nothing has.
func renameNew(from, to string) error { return claim(from, to) }
