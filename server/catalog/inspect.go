package catalog

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/classes"
	"github.com/sdgo/sdgo/sd/tokenizer"
)

// Textless is how a model is told what to draw that takes no text.
type Textless struct {
	Classes  int      // 0 of models that draw freely, or by a number
	Names    []string // of the classes; nil where they have none
	Number   bool     // the class is a number from 0 to 1
	Optional bool     // a class may be left out
}

// ClassNames are the classes by their numbers, which are the names of those without.
func (t *Textless) ClassNames() (all []string) {
	for i := range t.Classes {
		name := strconv.Itoa(i)
		if i < len(t.Names) {
			name = t.Names[i]
		}
		all = append(all, name)
	}
	return all
}

// Adapter is what a file of changes says about itself.
type Adapter struct {
	Alias    string            // the name that its trainer gave it, or ""
	Base     string            // the models that it is for, such as "Stable Diffusion 1.x"; "" if unknown
	Triggers []string          // tags of the pictures that it was trained with, most frequent first
	Metadata map[string]string // at most maxMetadata bytes of it
}

// Word is a textual inversion.
type Word struct {
	Vectors int   // places of a prompt that it takes
	Widths  []int // of its vectors, for each text encoder
}

// WordOf is the word by which prompts name a textual inversion: its file's name, whatever
// its folder.
func (e Entry) WordOf() string { return strings.TrimSuffix(e.File, filepath.Ext(e.File)) }

// Fits reports whether a model has text encoders of its widths.
func (w *Word) Fits(e Entry) bool {
	for _, width := range e.TextWidths {
		if width != 0 && !slices.Contains(w.Widths, width) {
			return false
		}
	}
	return e.TextWidths[0] != 0
}

// Bounds of what is kept of adapters.
const (
	maxTriggers = 20
	maxMetadata = 64 << 10
)

// Builtin is the entry of a model that comes with the program: path is what workers open.
func Builtin(path, name string, data []byte) (Entry, error) {
	m, err := convert.OpenBytes(name, data)
	if err != nil {
		return Entry{}, err
	}
	defer m.Close()
	sum := sha256.Sum256(data)
	e := Entry{Name: name, File: name + "." + strings.ToLower(m.Format), Path: path, Bytes: uint64(len(data)), Hash: hex.EncodeToString(sum[:])}
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
			e.TextWidths[0] = config.Text.Width
			if config.Text2.Layers > 0 {
				e.TextWidths[1] = config.Text2.Width
			}
		}
		if len(m.Merges) > 0 && !slices.Equal(m.Merges, tokenizer.CLIP().Merges()) {
			t, err := tokenizer.New(m.Merges)
			if err != nil {
				return fmt.Errorf("%s: %w", e.File, err)
			}
			e.Tokenizer = t
		}
	case convert.Flux, convert.Chroma, convert.SD3, convert.ZImage, convert.Flux2, convert.QwenImage, convert.DeepFloyd:
		e.describeTransformer(m)
	case convert.CLIP, convert.T5, convert.Qwen, convert.QwenVision:
		e.Kind = Text
	case convert.PixelUNet, convert.DiT:
		return e.describeTextless(m)
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
	case convert.ControlNet, convert.T2IAdapter, convert.IPAdapter, convert.CLIPVision:
		e.describeControl(m)
	default:
		return fmt.Errorf("%s: %s cannot be used by the server yet", e.File, m.Description)
	}
	return nil
}

// describeTextless describes a model that draws by class or freely, or a classifier.
func (e *Entry) describeTextless(m *convert.Model) error {
	c, err := convert.ConfigAs[*convert.Pixel](m, "a model that draws without text")
	if err != nil {
		return err
	}
	own, err := classes.Labels(m.Metadata[convert.PixelLabels], c.Classes)
	if err != nil {
		return fmt.Errorf("%s: %s %w", e.File, convert.PixelLabels, err)
	}
	if c.Classifier {
		e.Kind, e.NativeSize, e.Textless = Classifier, c.Side()*c.Factor(), &Textless{Classes: c.Classes, Names: classes.Of(c.Classes, own)}
		return nil
	}
	e.Kind, e.NativeSize, e.Align, e.Guidance = Checkpoint, c.Side()*c.Factor(), c.Align(), c.Guidance(m.Guidance)
	e.Sampler, e.Schedule, e.Steps = c.Usual()
	if c.LowChannels > 0 {
		e.Variant = "enlarge"
	}
	e.Textless = &Textless{Optional: c.NullClass >= 0}
	switch c.ClassInput {
	case convert.ClassIndex:
		e.Textless.Classes, e.Textless.Names = c.Classes, classes.Of(c.Classes, own)
	case convert.ClassValue:
		e.Textless.Number = true
	}
	return nil
}

// describeExtra says what a file is that is no model: an adapter, a textual inversion, or what
// makes a ControlNet of a model's UNet.
func (e *Entry) describeExtra(file string) error {
	if what, err := convert.ChangesUNet(file); err == nil && what != "" {
		e.Kind, e.Family, e.Description, e.Follows = Control, convert.ControlNet, what, &Follows{Network: "ControlNet"}
		return nil
	}
	s, err := convert.LookAtAdapter(file)
	if err == nil {
		e.Kind, e.Family = LoRA, string(LoRA)
		e.Description = strings.Join(s.Kinds, ", ")
		if len(s.Ranks) > 0 {
			e.Description += fmt.Sprintf(", rank %d", s.Ranks[len(s.Ranks)-1])
		}
		if s.Base != "" {
			e.Description += ", for " + s.Base
		}
		e.Adapter = &Adapter{Alias: s.Alias, Base: s.Base, Metadata: bounded(s.Metadata)}
		for _, t := range s.Triggers[:min(len(s.Triggers), maxTriggers)] {
			e.Adapter.Triggers = append(e.Adapter.Triggers, t.Tag)
		}
		return nil
	}
	if !errors.Is(err, convert.ErrUnrecognized) {
		return err
	}
	word, err := convert.OpenEmbedding(file)
	if err != nil {
		return err
	}
	e.Kind, e.Family, e.Word = Embedding, string(Embedding), &Word{Vectors: word.Vectors[0].N}
	var widths []string
	for _, v := range word.Vectors {
		e.Word.Widths = append(e.Word.Widths, v.Width)
		widths = append(widths, fmt.Sprint(v.Width))
	}
	e.Description = fmt.Sprintf("textual inversion, %d vectors of %s", e.Word.Vectors, strings.Join(widths, " and "))
	return nil
}

// bounded is metadata without its longest texts, where all are too much to keep.
func bounded(all map[string]string) map[string]string {
	keys := slices.SortedFunc(maps.Keys(all), func(a, b string) int {
		return cmp.Or(len(a)+len(all[a])-len(b)-len(all[b]), strings.Compare(a, b))
	})
	out, total := map[string]string{}, 0
	for _, key := range keys {
		if total += len(key) + len(all[key]); total > maxMetadata {
			break
		}
		out[key] = all[key]
	}
	return out
}

// Values are the metadata as AUTOMATIC1111 has them: what looks like a JSON object is one.
func (a *Adapter) Values() map[string]any {
	out := map[string]any{}
	for key, text := range a.Metadata {
		var object map[string]any
		if out[key] = text; strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &object) == nil {
			out[key] = object
		}
	}
	return out
}

// Inspect finds out what a file is.
func Inspect(file string) (Entry, error) {
	base := filepath.Base(filepath.Clean(file))
	e := Entry{Name: strings.TrimSuffix(base, filepath.Ext(base)), File: base, Path: file}
	if isVocabulary(base) {
		e.Kind, e.Description = Vocabulary, "a vocabulary, of T5 if a model takes it"
		return e, e.stat(file)
	}
	m, err := convert.Open(file)
	if errors.Is(err, convert.ErrUnrecognized) { // an autoencoder or a text encoder is no model, but can be a part of one
		if part, partErr := convert.Load(file); partErr == nil && slices.Contains([]string{convert.VAE, convert.CLIP, convert.T5, convert.Qwen, convert.QwenVision}, part.Family) {
			m, err = part, nil
		} else if partErr == nil {
			part.Close()
		}
	}
	if errors.Is(err, convert.ErrUnrecognized) {
		before := err
		if err = e.describeExtra(file); err == nil {
			return e, e.stat(file)
		} else if errors.Is(err, convert.ErrUnrecognized) {
			err = before
		}
	}
	if err != nil {
		return e, err
	}
	defer m.Close()
	for _, p := range convert.Parts(m) {
		e.Bytes += uint64(p.Bytes)
	}
	if err := e.stat(file); err != nil {
		return e, err
	}
	return e, e.describe(m)
}

// isVocabulary reports whether a file's name is one that vocabularies of T5 have.
func isVocabulary(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, "tokenizer.json") || strings.HasSuffix(name, "spiece.model")
}

// stat takes note of a file's size, unless it is a folder, and of when it was modified.
func (e *Entry) stat(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	e.Modified = info.ModTime()
	if !info.IsDir() {
		e.Bytes = uint64(info.Size())
	}
	return nil
}
