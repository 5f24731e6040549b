package adapter

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
)

// Embedding is a textual inversion (Gal et al. 2022, arXiv:2208.01618): vectors in place
// of a word's tokens.
type Embedding struct {
	Name    string // the word: the file's name without folder and extension
	Path    string
	Hash    string // the first 12 hexadecimal digits of the file's SHA-256
	Vectors []Vectors
}

// Vectors are those for one text encoder.
type Vectors struct {
	// Encoder is "l" or "g", SDXL's first or second one, where the file says so; ""
	// means those of the width.
	Encoder string
	N       int // of vectors
	Width   int
	Data    []float32 // [N, Width]
}

// maxVectors bounds the vectors of an embedding: no prompt has room for more.
const maxVectors = 75 * 32

// OpenEmbedding reads a textual inversion in the layout of AUTOMATIC1111 (.pt with
// string_to_param), the diffusers library (one tensor under the word's name), kohya's
// scripts (emb_params) or of SDXL (clip_l and clip_g).
func OpenEmbedding(path string) (_ *Embedding, err error) {
	defer model.Recovered(path, &err)
	holder, all, err := read.Stored(path)
	if err != nil {
		return nil, err
	}
	defer holder.Close()
	e, err := embeddingOf(nameOf(path), all)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	e.Path = path
	for _, f := range holder.Files() {
		e.Hash = fmt.Sprintf("%x", sha256.Sum256(f.Data))[:12]
	}
	if err := holder.Intact(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &e, nil
}

// embeddingOf reads the vectors of one word.
func embeddingOf(name string, all []model.Stored) (Embedding, error) {
	e := Embedding{Name: name}
	floating := slices.DeleteFunc(slices.Clone(all), func(t model.Stored) bool { return !t.Type.Float() })
	for _, t := range floating {
		encoder := ""
		switch {
		case t.Name == "clip_l" || t.Name == "clip_g":
			encoder = t.Name[len("clip_"):]
		case t.Name == "emb_params" || strings.HasPrefix(t.Name, "string_to_param."):
		case len(floating) == 1: // under the word's name
		default:
			return e, fmt.Errorf("tensor %q: it is no textual inversion: %w", t.Name, model.ErrUnrecognized)
		}
		v, err := vectorsOf(t, encoder)
		if err != nil {
			return e, err
		}
		if slices.ContainsFunc(e.Vectors, func(o Vectors) bool { return o.Encoder == encoder }) {
			return e, fmt.Errorf("tensor %q: it holds more than one word: %w", t.Name, model.ErrUnrecognized)
		}
		e.Vectors = append(e.Vectors, v)
	}
	if len(e.Vectors) == 0 {
		return e, fmt.Errorf("it has no vectors of a textual inversion: %w", model.ErrUnrecognized)
	}
	for _, v := range e.Vectors {
		if v.N != e.Vectors[0].N {
			return e, fmt.Errorf("clip_l and clip_g must have as many vectors, got %d and %d", e.Vectors[0].N, v.N)
		}
	}
	return e, nil
}

func vectorsOf(t model.Stored, encoder string) (v Vectors, err error) {
	if len(t.Shape) < 1 || len(t.Shape) > 2 || t.Elements() == 0 {
		return v, fmt.Errorf("tensor %q must have the shape [vectors, width] or [width], got %v", t.Name, t.Shape)
	}
	v = Vectors{Encoder: encoder, N: 1, Width: int(t.Shape[len(t.Shape)-1])}
	if len(t.Shape) == 2 {
		v.N = int(t.Shape[0])
	}
	if v.N > maxVectors {
		return v, fmt.Errorf("tensor %q must have at most %d vectors, got %d", t.Name, maxVectors, v.N)
	}
	if !t.Finite() {
		return v, fmt.Errorf("tensor %q has NaN or infinite elements", t.Name)
	}
	v.Data, err = floats(t.Tensor)
	return v, err
}

// bundledPrefix begins the names of embeddings' tensors in a file of changes.
const bundledPrefix = "bundle_emb."

// takeBundled takes the embeddings out of a file of changes.
func takeBundled(all []model.Stored) (rest []model.Stored, bundled []Embedding, err error) {
	byName := map[string][]model.Stored{}
	var names []string
	for _, t := range all {
		inner, ok := strings.CutPrefix(t.Name, bundledPrefix)
		name, leaf, found := strings.Cut(inner, ".")
		if !ok || !found || name == "" {
			rest = append(rest, t)
			continue
		}
		if byName[name] == nil {
			names = append(names, name)
		}
		t.Name = leaf
		byName[name] = append(byName[name], t)
	}
	slices.Sort(names)
	for _, name := range names {
		e, err := embeddingOf(name, byName[name])
		if err != nil {
			return nil, nil, fmt.Errorf("%s%s: %w", bundledPrefix, name, err)
		}
		bundled = append(bundled, e)
	}
	return rest, bundled, nil
}
