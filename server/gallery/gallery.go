// Package gallery keeps finished pictures in a folder, each in a file of its own whose
// name is the picture's id, and finds them again when the server starts.
package gallery

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sd/picture"
)

// Entry is a picture of the folder.
type Entry struct {
	ID            string
	Owner         string // whose it is, as Owner makes it of a client's name
	Created       time.Time
	Format        string
	Width, Height int
	Text          string // generation parameters
	Bytes         int64
}

// Folder is a gallery. Its methods may be called from any goroutine.
type Folder struct {
	path string
	root *os.Root

	mutex   sync.Mutex
	entries map[string]Entry
}

// maxEntries bounds the pictures that are found when a gallery is opened, the newest.
const maxEntries = 100_000

// Open opens a gallery, whose folder is made if it is not there.
func Open(path string) (*Folder, error) {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fmt.Errorf("the folder of pictures cannot be made: %w", err)
	}
	replace.Sweep(path)
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("the folder of pictures cannot be opened: %w", err)
	}
	f := &Folder{path: path, root: root, entries: map[string]Entry{}}
	return f, f.scan()
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// scan finds the pictures that are there.
func (f *Folder) scan() error {
	all, err := fs.ReadDir(f.root.FS(), ".")
	if err != nil {
		return fmt.Errorf("the folder of pictures cannot be read: %w", err)
	}
	for _, d := range all {
		id, rest, _ := strings.Cut(d.Name(), ".")
		owner, ending, _ := strings.Cut(rest, ".")
		format, err := picture.ParseFormat(ending)
		info, infoErr := d.Info()
		if err != nil || infoErr != nil || !ValidID(id) || !info.Mode().IsRegular() || len(f.entries) >= maxEntries {
			continue
		}
		file, err := f.root.Open(d.Name())
		if err != nil {
			continue
		}
		facts, err := picture.ReadFacts(file)
		file.Close()
		if err != nil {
			continue
		}
		e := Entry{ID: id, Owner: owner, Created: info.ModTime(), Format: string(format), Width: facts.Width, Height: facts.Height, Bytes: info.Size()}
		for _, t := range facts.Texts {
			if t.Keyword == picture.Keyword {
				e.Text = t.Value
			}
		}
		f.entries[id] = e
	}
	return nil
}

// ValidID reports whether a text is a picture's id: 32 hexadecimal digits in lower case.
func ValidID(id string) bool {
	b, err := hex.DecodeString(id)
	return err == nil && len(b) == 16 && strings.ToLower(id) == id
}

// Owner is what stands for a client in the names of files: the beginning of a hash, so
// that no name of a client becomes part of a path.
func Owner(client string) string {
	sum := sha256.Sum256([]byte(client))
	return hex.EncodeToString(sum[:8])
}

// file is ID.OWNER.png.
func (e Entry) file() string {
	return e.ID + "." + e.Owner + picture.Format(e.Format).Extension()
}

// Add writes a picture's file. It appears when it is complete.
func (f *Folder) Add(e Entry, data []byte) error {
	if !ValidID(e.ID) || len(e.Owner) != 16 {
		return errors.New("not the id of a picture")
	}
	t, err := replace.Create(filepath.Join(f.path, e.file()))
	if err != nil {
		return err
	}
	defer t.Discard()
	if _, err = t.Write(data); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return err
	}
	e.Bytes = int64(len(data))
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.entries[e.ID] = e
	return nil
}

// List are all pictures, the newest first.
func (f *Folder) List() []Entry {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	all := make([]Entry, 0, len(f.entries))
	for _, e := range f.entries {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Find returns a picture's entry.
func (f *Folder) Find(id string) (Entry, bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	e, ok := f.entries[id]
	return e, ok
}

// Read reads a picture's file.
func (f *Folder) Read(e Entry) ([]byte, error) {
	file, err := f.root.Open(e.file())
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(file)
	return b.Bytes(), err
}

// Delete removes a picture; it is false if there is none.
func (f *Folder) Delete(id string) (bool, error) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	e, ok := f.entries[id]
	if !ok {
		return false, nil
	}
	if err := f.root.Remove(e.file()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return true, err
	}
	delete(f.entries, id)
	return true, nil
}
