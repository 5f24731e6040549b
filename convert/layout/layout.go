// Package layout translates the names of tensors between layouts of files: those
// of the original checkpoints, which are the canonical ones, those of the
// diffusers and transformers libraries, and OpenCLIP's. It also puts together
// the layers that the original has fused and the diffusers library has in
// pieces.
package layout

import (
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/model"
)

// Rename gives a tensor's canonical name. The name is "" for a tensor that no
// network uses; ok is false for one that is unknown.
type Rename func(name string) (to string, ok bool)

// OwnName leaves a tensor its name.
func OwnName(name string) (string, bool) { return name, name != "" }

// Without takes the prefix off the names that a function gives.
func Without(prefix string, rename Rename) Rename {
	return func(name string) (string, bool) {
		to, ok := rename(name)
		return strings.TrimPrefix(to, prefix), ok
	}
}

// Contains reports whether a piece of text is in the name of any tensor.
func Contains(all []model.Stored, piece string) bool {
	return slices.ContainsFunc(all, func(t model.Stored) bool { return strings.Contains(t.Name, piece) })
}

// Renamed gives tensors other names; unknown ones keep theirs. The attention of
// an autoencoder gets the original layout's shapes, those of 1x1 convolutions.
func Renamed(all []model.Stored, rename Rename) []model.Stored {
	out := make([]model.Stored, len(all))
	for i, t := range all {
		if to, ok := rename(t.Name); ok {
			t.Name = to
		}
		if strings.Contains(t.Name, ".mid.attn_1.") && len(t.Shape) == 2 && !t.Type.Quantized() {
			t.Shape = append(slices.Clone(t.Shape), 1, 1)
		}
		out[i] = t
	}
	return out
}
