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
	LoRA       Kind = "lora"       // an adapter of any kind, which prompts name by tags
	Embedding  Kind = "embedding"  // a textual inversion, which is a word of prompts
	Control    Kind = "control"    // a ControlNet, a T2I-Adapter or an IP-Adapter
	Vision     Kind = "vision"     // an image encoder of CLIP, which IP-Adapters need
	Classifier Kind = "classifier" // of noisy pictures, which guides other models
	Text       Kind = "text"       // a text encoder of its own, which transformers are opened with
	Vocabulary Kind = "vocabulary" // of T5, likewise
	Incomplete Kind = "incomplete" // a model that lacks parts; Why says which
	Other      Kind = "other"      // a file that this program cannot use; Why says why
)

// Opens reports whether workers open files of the kind for jobs of their own. The others
// are opened beside one of these.
func (k Kind) Opens() bool { return k == Checkpoint || k == Refiner || k == Upscaler }

// Entry is a model.
type Entry struct {
	Name        string // without folders and ending; unique among its kind
	File        string // its file's name without folders
	Kind        Kind
	Path        string // "" and builtin:NAME are built-in models; never shown to clients
	Bytes       uint64
	Modified    time.Time
	Family      string // as package convert names it
	Description string
	NativeSize  int
	Align       int     // the sides of its pictures are multiples of it; 0 means 8
	Steps       int     // that it is usually drawn with; 0 means 20
	Sampler     string  // likewise; "" is euler_a
	Schedule    string  // likewise; "" is the sampler's
	Guidance    float64 // the model's own scale; 0 is none
	Transformer bool    // that draws from text, and not in chunks of 75 tokens
	Variant     string  // "inpaint", "edit" (instruct-pix2pix), "enlarge" or ""
	Scale       int     // of an upscaler
	Hash        string  // SHA-256 in hexadecimal digits; "" if not computed yet
	Why         string  // of Other and Incomplete
	Parts       Parts   // files of networks beside the model's own

	TextWidths [2]int // of the text encoders of models that draw from text, which textual inversions must have; 0 is none

	Textless *Textless // of models that draw without text, and of classifiers, which have classes, too; nil of others
	Adapter  *Adapter  // of adapters; nil of others
	Word     *Word     // of textual inversions; nil of others
	Follows  *Follows  // of networks of the kinds Control and Vision; nil of others

	lacks string // keys of the parts that the model's own file lacks
	at    string // the file in the folder

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
	Builtin []Entry  // that come with the program, the default first
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

	scanning sync.Mutex
	fitting  map[string]fitting // of models with parts
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
	out := &Catalog{config: c, known: map[string]Entry{}, hashes: map[string]string{}, hashing: map[string]bool{}, fitting: map[string]fitting{}}
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
var endings = []string{".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin"}

// Scan looks for models anew.
func (c *Catalog) Scan() error {
	c.scanning.Lock()
	defer c.scanning.Unlock()
	found := slices.Clone(c.config.Builtin)
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
	c.complete(found)
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
			case info.Mode().IsRegular() && (slices.Contains(endings, strings.ToLower(path.Ext(name))) || isVocabulary(name)):
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
		e.Name, e.at = strings.TrimSuffix(rel, path.Ext(rel)), rel
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
	e.Name, e.at = strings.TrimSuffix(rel, path.Ext(rel)), rel // unique; it is shortened later
	return e
}

// name gives entries short names, and those of one kind with equal ones longer ones.
func name(all []Entry) {
	type key struct {
		kind Kind
		name string
	}
	group := func(k Kind) Kind { // those that workers open have names of their own among each other
		if k.Opens() {
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
