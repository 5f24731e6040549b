package output

import (
	"path/filepath"
	"runtime"
	"strings"
)

// Places keeps files that are written from those that others write or read,
// however their folders are spelled. T is who reads or writes. The zero value is
// empty.
type Places[T any] struct{ readers, writers map[string]T }

// Read notes that a file is read.
func (p *Places[T]) Read(path string, by T) {
	if p.readers == nil {
		p.readers = map[string]T{}
	}
	for _, place := range sources(path) {
		p.readers[place] = by
	}
}

// Write notes that a file is written.
func (p *Places[T]) Write(path string, by T) {
	if p.writers == nil {
		p.writers = map[string]T{}
	}
	p.writers[place(path)] = by
}

// Reader says who reads what a file written at path would replace.
func (p *Places[T]) Reader(path string) (by T, ok bool) {
	by, ok = p.readers[place(path)]
	return by, ok
}

// Writer says who writes at path, too.
func (p *Places[T]) Writer(path string) (by T, ok bool) {
	by, ok = p.writers[place(path)]
	return by, ok
}

// WriterOfSource says who writes the file that is read at path.
func (p *Places[T]) WriterOfSource(path string) (by T, ok bool) {
	for _, place := range sources(path) {
		if by, ok = p.writers[place]; ok {
			return by, true
		}
	}
	return by, false
}

// place is one name for a file that is written at path.
func place(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	folder, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		folder = filepath.Dir(path)
	}
	path = filepath.Join(folder, filepath.Base(path))
	if runtime.GOOS == "windows" {
		return strings.ToLower(path) // A.png is a.png
	}
	return path
}

// sources are the places of a file that is read at path: a symbolic link's own,
// which writing would replace, and that of the file that it leads to.
func sources(path string) []string {
	all := []string{place(path)}
	if file, err := filepath.EvalSymlinks(all[0]); err == nil && place(file) != all[0] {
		all = append(all, place(file))
	}
	return all
}
