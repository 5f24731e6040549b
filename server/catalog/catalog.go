// Package catalog knows the models that a server may open: those of a folder, which is
// scanned and watched, those that were named when the server was started, and the
// built-in one. What a file is, is found from its contents. Clients name models by what
// is in the catalog, and no text of theirs ever becomes part of a path.
package catalog

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Kind is what a file is for.
type Kind string

// The kinds.
const (
	Checkpoint Kind = "checkpoint" // a model that generates pictures
	Refiner    Kind = "refiner"    // SDXL's refiner, which also generates pictures
	TAESD      Kind = "taesd"      // a tiny autoencoder
	VAE        Kind = "vae"        // an autoencoder to open a model with, in place of its own
	Upscaler   Kind = "upscaler"   // ESRGAN
	Other      Kind = "other"      // a file that this program cannot use; Why says why
)

// Entry is a model.
type Entry struct {
	Name        string // without folders and ending; unique among its kind
	File        string // its file's name without folders
	Kind        Kind
	Path        string // "" is the built-in model; never shown to clients
	Bytes       uint64
	Modified    time.Time
	Family      string // as package convert names it
	Description string
	NativeSize  int
	Guidance    float64 // the model's own scale; 0 is none
	Variant     string  // "inpaint", "edit" (instruct-pix2pix) or ""
	Scale       int     // of an upscaler
	Hash        string  // SHA-256 in hexadecimal digits; "" if not computed yet
	Why         string  // of Other

	// Tokenizer is the one that the file brings, where it is not CLIP's; nil otherwise.
	Tokenizer *tokenizer.Tokenizer
}

// ShortHash is the first ten digits of the hash, as AUTOMATIC1111 shows it.
func (e Entry) ShortHash() string { return e.Hash[:min(10, len(e.Hash))] }

// Title is the file's name with the short hash, as AUTOMATIC1111 shows it.
func (e Entry) Title() string {
	if e.Hash == "" {
		return e.File
	}
	return e.File + " [" + e.ShortHash() + "]"
}

// Config says what is in a catalog.
type Config struct {
	Folder  string   // "" is none
	Files   []string // that were named one by one
	Builtin *Entry   // nil is none
	Log     *slog.Logger
}

// Catalog is the models of a server. Its methods may be called from any goroutine.
type Catalog struct {
	config Config

	mutex   sync.Mutex
	entries []Entry
	known   map[string]Entry // by path, so that unchanged files are not read again
	hashes  map[string]string
	hashing map[string]bool
	changed time.Time
}

// Bounds of a folder.
const (
	maxFiles = 10_000
	maxDepth = 6
)

// New makes a catalog and scans its folder. A file that was named must be a model.
func New(c Config) (*Catalog, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	out := &Catalog{config: c, known: map[string]Entry{}, hashes: map[string]string{}, hashing: map[string]bool{}}
	for _, file := range c.Files {
		e, err := Inspect(file)
		if err != nil {
			return nil, err
		}
		out.known[file] = e
	}
	return out, out.Scan()
}

// endings are those of files that may be models.
var endings = []string{".safetensors", ".gguf", ".ckpt", ".pt", ".pth"}

// Scan looks for models anew.
func (c *Catalog) Scan() error {
	var found []Entry
	if c.config.Builtin != nil {
		found = append(found, *c.config.Builtin)
	}
	c.mutex.Lock()
	for _, file := range c.config.Files {
		found = append(found, c.known[file])
	}
	c.mutex.Unlock()
	if c.config.Folder != "" {
		files, err := c.walk()
		if err != nil {
			return err
		}
		found = append(found, files...)
	}
	name(found)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !slices.Equal(found, c.entries) {
		c.entries, c.changed = found, time.Now()
	}
	return nil
}

// walk finds the models of the folder.
func (c *Catalog) walk() ([]Entry, error) {
	root, err := os.OpenRoot(c.config.Folder)
	if err != nil {
		return nil, fmt.Errorf("the models folder cannot be opened: %w", err)
	}
	defer root.Close()
	var found []Entry
	files := 0
	var folder func(rel string, depth int) error
	folder = func(rel string, depth int) error {
		f, err := root.Open(rel)
		if err != nil {
			return err
		}
		names, err := f.Readdirnames(maxFiles)
		f.Close()
		if err != nil && err != io.EOF {
			return err
		}
		slices.Sort(names)
		for _, name := range names {
			at := path.Join(rel, name)
			info, err := root.Stat(at) // a link that leads out of the folder is an error
			if files++; files > maxFiles || err != nil || strings.HasPrefix(name, ".") {
				continue
			}
			switch {
			case info.IsDir() && exists(root, path.Join(at, "model_index.json")):
				found = append(found, c.inspect(at, info))
			case info.IsDir() && depth < maxDepth:
				if err := folder(at, depth+1); err != nil {
					c.config.Log.Warn("folder of models", "folder", at, "error", err)
				}
			case info.Mode().IsRegular() && slices.Contains(endings, strings.ToLower(path.Ext(name))):
				found = append(found, c.inspect(at, info))
			}
		}
		return nil
	}
	return found, folder(".", 0)
}

func exists(root *os.Root, name string) bool {
	_, err := root.Stat(name)
	return err == nil
}

// inspect finds out what a file of the folder is, unless it is known.
func (c *Catalog) inspect(rel string, info os.FileInfo) Entry {
	full := filepath.Join(c.config.Folder, filepath.FromSlash(rel))
	c.mutex.Lock()
	e, ok := c.known[full]
	c.mutex.Unlock()
	if ok && e.Modified.Equal(info.ModTime()) && (info.IsDir() || e.Bytes == uint64(info.Size())) {
		e.Name = strings.TrimSuffix(rel, path.Ext(rel))
		return e
	}
	e, err := Inspect(full)
	if err != nil {
		e = Entry{Name: e.Name, File: filepath.Base(full), Kind: Other, Path: full, Bytes: uint64(info.Size()), Why: strings.ReplaceAll(err.Error(), full, path.Base(rel))}
		c.config.Log.Info("not a model that can be used", "file", rel, "error", err)
	}
	e.Modified = info.ModTime()
	c.mutex.Lock()
	c.known[full] = e
	delete(c.hashes, full)
	c.mutex.Unlock()
	e.Name = strings.TrimSuffix(rel, path.Ext(rel)) // unique; it is shortened later
	return e
}

// Builtin is the entry of a model that comes with the program.
func Builtin(name string, data []byte) (Entry, error) {
	m, err := convert.OpenBytes(name, data)
	if err != nil {
		return Entry{}, err
	}
	defer m.Close()
	sum := sha256.Sum256(data)
	e := Entry{Name: name, File: name + ".gguf", Bytes: uint64(len(data)), Hash: hex.EncodeToString(sum[:])}
	return e, e.describe(m)
}

// describe says what an open model is.
func (e *Entry) describe(m *convert.Model) error {
	e.Family, e.Description, e.NativeSize, e.Guidance = m.Family, m.Description, m.NativeSize, m.Guidance
	switch m.Family {
	case convert.SD1, convert.SD2, convert.SDXL:
		e.Kind = Checkpoint
		if config, ok := m.Config.(*convert.StableDiffusion); ok {
			e.Variant = config.Variant
		}
		if len(m.Merges) > 0 && !slices.Equal(m.Merges, tokenizer.CLIP().Merges()) {
			t, err := tokenizer.New(m.Merges)
			if err != nil {
				return fmt.Errorf("%s: %w", e.File, err)
			}
			e.Tokenizer = t
		}
	case convert.SDXLRefiner:
		e.Kind = Refiner
	case convert.TAESD:
		e.Kind = TAESD
	case convert.ESRGAN:
		e.Kind = Upscaler
		if config, ok := m.Config.(interface{ Scale() int }); ok { // of two kinds of networks
			e.Scale = config.Scale()
		}
	case convert.VAE:
		e.Kind = VAE
	default:
		return fmt.Errorf("%s: %s cannot be used by the server yet", e.File, m.Description)
	}
	return nil
}

// Inspect finds out what a file is.
func Inspect(file string) (Entry, error) {
	base := filepath.Base(filepath.Clean(file))
	e := Entry{Name: strings.TrimSuffix(base, filepath.Ext(base)), File: base, Path: file}
	m, err := convert.Open(file)
	if errors.Is(err, convert.ErrUnrecognized) { // an autoencoder is no model, but can be a part of one
		if part, partErr := convert.Load(file); partErr == nil && part.Family == convert.VAE {
			m, err = part, nil
		} else if partErr == nil {
			part.Close()
		}
	}
	if err != nil {
		return e, err
	}
	defer m.Close()
	for _, p := range convert.Parts(m) {
		e.Bytes += uint64(p.Bytes)
	}
	if info, err := os.Stat(file); err == nil {
		e.Modified = info.ModTime()
		if !info.IsDir() {
			e.Bytes = uint64(info.Size())
		}
	}
	return e, e.describe(m)
}

// name gives entries short names, and those of one kind with equal ones longer ones.
func name(all []Entry) {
	type key struct {
		kind Kind
		name string
	}
	group := func(k Kind) Kind { // those that workers open have names of their own among each other
		if k == Refiner || k == Upscaler {
			return Checkpoint
		}
		return k
	}
	times := map[key]int{}
	short := func(e Entry) key { return key{group(e.Kind), strings.ToLower(path.Base(e.Name))} }
	for _, e := range all {
		times[short(e)]++
	}
	seen := map[key]int{}
	for i, e := range all {
		if times[short(e)] == 1 {
			all[i].Name = path.Base(e.Name)
		}
		k := key{group(e.Kind), strings.ToLower(all[i].Name)}
		if seen[k]++; seen[k] > 1 {
			all[i].Name = fmt.Sprintf("%s (%d)", all[i].Name, seen[k])
		}
	}
}

// Watch scans again from time to time until ctx is done.
func (c *Catalog) Watch(ctx context.Context, every time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-tick.C:
			if err := c.Scan(); err != nil {
				c.config.Log.Warn("models folder", "error", err)
			}
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// Entries are the models of some kinds, or all, in their order.
func (c *Catalog) Entries(kinds ...Kind) (all []Entry) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	for _, e := range c.entries {
		if len(kinds) == 0 || slices.Contains(kinds, e.Kind) {
			all = append(all, c.withHash(e))
		}
	}
	return all
}

func (c *Catalog) withHash(e Entry) Entry {
	e.Hash = cmp.Or(e.Hash, c.hashes[e.Path])
	return e
}

// NotFoundError says that a name is of no model, or of several.
type NotFoundError struct {
	Name  string
	What  string   // "model", "upscaler" …
	Names []string // that there are, or that match
	Many  bool
}

func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("%s %.80q not found; there are: ", e.What, e.Name)
	if e.Many {
		text = fmt.Sprintf("%.80q is the beginning of several names: ", e.Name)
	}
	list := e.Names
	if len(list) > 20 {
		list = append(list[:20:20], "…")
	}
	return text + strings.Join(list, ", ")
}

// Lookup finds a model of some kinds by its name, its file's name, its title or its
// hash, whatever the case, or by a beginning that only one has. The error is a
// [*NotFoundError].
func (c *Catalog) Lookup(what, name string, kinds ...Kind) (Entry, error) {
	all := c.Entries(kinds...)
	wanted := strings.ToLower(strings.TrimSpace(name))
	var begin []Entry
	fail := &NotFoundError{Name: name, What: what}
	for _, e := range all {
		names := []string{e.Name, e.File, e.Title()}
		if e.Hash != "" {
			names = append(names, e.Hash, e.ShortHash(), e.Hash[:8], e.File+" ["+e.Hash[:8]+"]", e.Name+" ["+e.ShortHash()+"]")
		}
		for _, n := range names {
			if strings.ToLower(n) == wanted {
				return e, nil
			}
		}
		fail.Names = append(fail.Names, e.Name)
		if wanted != "" && (strings.HasPrefix(strings.ToLower(e.Name), wanted) || strings.HasPrefix(strings.ToLower(e.File), wanted) || len(wanted) >= 6 && strings.HasPrefix(e.Hash, wanted)) {
			begin = append(begin, e)
		}
	}
	if len(begin) == 1 {
		return begin[0], nil
	}
	if len(begin) > 1 {
		fail.Many, fail.Names = true, nil
		for _, e := range begin {
			fail.Names = append(fail.Names, e.Name)
		}
	}
	return Entry{}, fail
}

// Hash computes a model's hash in the background, once.
func (c *Catalog) Hash(e Entry) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if e.Path == "" || e.Hash != "" || c.hashes[e.Path] != "" || c.hashing[e.Path] {
		return
	}
	c.hashing[e.Path] = true
	go func() {
		hash, err := hashOf(e.Path)
		c.mutex.Lock()
		defer c.mutex.Unlock()
		delete(c.hashing, e.Path)
		if err == nil {
			c.hashes[e.Path] = hash
		}
	}()
}

// hashOf is a file's SHA-256. A folder has none.
func hashOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
