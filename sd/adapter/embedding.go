package adapter

import (
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/convert"
)

// Embedding is a textual inversion that prompts can use by its name.
type Embedding struct{ words *convert.Embedding }

// OpenEmbedding reads a textual inversion: see [convert.OpenEmbedding].
func OpenEmbedding(path string) (*Embedding, error) {
	e, err := convert.OpenEmbedding(path)
	if err != nil {
		return nil, err
	}
	return &Embedding{e}, nil
}

// Name is the word that prompts use it by, whatever the case of its letters.
func (e *Embedding) Name() string { return e.words.Name }

// Hash is what pictures' parameters know it by.
func (e *Embedding) Hash() string { return e.words.Hash }

// Close does nothing: a textual inversion is read as a whole.
func (e *Embedding) Close() error { return nil }

// Length is the number of its vectors, which are as many places of a prompt.
func (e *Embedding) Length() int { return e.words.Vectors[0].N }

// Vectors are the vectors, one after the other, for a text encoder of a width that is
// SDXL's first one ("l"), its second one ("g"), or the only one ("").
func (e *Embedding) Vectors(encoder string, width int) ([]float32, error) {
	all := e.words.Vectors
	i := slices.IndexFunc(all, func(v convert.EmbeddingVectors) bool { return v.Encoder != "" && v.Encoder == encoder })
	if i < 0 {
		i = slices.IndexFunc(all, func(v convert.EmbeddingVectors) bool { return (v.Encoder == "" || encoder == "") && v.Width == width })
	}
	if i < 0 || all[i].Width != width {
		has := ""
		for n, v := range all {
			if n > 0 {
				has += " and "
			}
			has += fmt.Sprint(v.Width)
		}
		return nil, &WidthError{fmt.Sprintf("the embedding %.80q has vectors of %s numbers; the text encoder takes %d", e.Name(), has, width)}
	}
	return all[i].Data, nil
}

// WidthError says that a textual inversion was made for another text encoder.
type WidthError struct{ text string }

func (e *WidthError) Error() string { return e.text }
