// Package adapter reads files of changes to a model's weights, such as LoRAs, in the
// layouts of all programs that write them, into one form: a list of changes, each of one
// weight, with its kind, its factors and its scale. It also reads textual inversions.
//
// A kind of change is one file (kind_*.go) and one line of the table in kinds.go. A way of
// naming layers is one function and one line of the table in schemes.go.
package adapter

import (
	"fmt"
	"math"

	"github.com/sdgo/sdgo/convert/model"
)

// Part is the network that a change is for.
type Part string

// The parts of a model.
const (
	UNet  Part = "unet"
	Text  Part = "text"  // the text encoder, of SDXL the first one
	Text2 Part = "text2" // SDXL's second text encoder
)

// IsText reports whether it is a text encoder.
func (p Part) IsText() bool { return p != UNet }

// File is an open file of changes. It does not change, so several goroutines may use it.
type File struct {
	Path     string
	Name     string // the file's, without folder and extension
	Alias    string // the name that the trainer gave it (ss_output_name), or ""
	Hash     string // what other programs know it by: see [hashOf]
	Metadata map[string]string

	Modules    []Module
	Embeddings []Embedding // that are bundled with it

	holder   *model.Model
	borrowed bool // the holder is another's, who closes it
	unread   bool // the numbers are not checked: see [Look]
}

// Module is what a file says about one layer, before it is known which layer of a model
// that is.
type Module struct {
	Name    string // the layer's, as in the file
	Part    Part
	key     string // the name as [Targets] has it
	kind    *Kind
	bias    bool // it changes the layer's bias, not its weight
	factors map[string]model.Tensor
	alpha   float64 // 0: none
	scale   float64 // given in place of alpha; 0: none
	number  int     // of a layer that only has its place in a list; 0: it has a name
}

// Kind is the name of the kind of change.
func (m Module) Kind() string {
	if m.has(dora) {
		return "DoRA of " + m.kind.Name
	}
	return m.kind.Name
}

// Rank is the rank of its factors; 0 of kinds without.
func (m Module) Rank() int {
	if m.kind.rank == nil {
		return 0
	}
	return m.kind.rank(m)
}

func (m Module) has(role string) bool {
	_, ok := m.factors[role]
	return ok
}

// dim is a dimension of a factor, counted from the end if negative; 0 if there is none.
func (m Module) dim(role string, d int) int {
	shape := m.factors[role].Shape
	if d < 0 {
		d += len(shape)
	}
	if d < 0 || d >= len(shape) {
		return 0
	}
	return int(shape[d])
}

// maxScale bounds alpha divided by the rank, far above what any trainer writes.
const maxScale = 1e4

// factor is what the product of a module's factors is multiplied by: alpha/rank, 1 where
// there is no alpha, or where it is 0.
func (m Module) factor() float64 {
	switch rank := m.Rank(); {
	case m.scale != 0:
		return m.scale
	case m.alpha == 0 || rank == 0:
		return 1
	default:
		return m.alpha / float64(rank)
	}
}

// Change is a module whose layer in a model is known.
type Change struct {
	Module
	Weight string // the canonical name of the tensor that it changes
	Shape  []int64
	rows   rows // of the weight, whose shape is Shape where they are not all
	file   *File
}

// errorf is an error about a change, which names the file and the layer.
func (c Change) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s: %s", c.file.Path, c.Name, fmt.Sprintf(format, args...))
}

// File is the file that the change is in.
func (c Change) File() *File { return c.file }

// LowRank is a product of two thin matrices, with a third one between them if the layer
// is a convolution in Tucker's form: up·mid·down. Shapes are those of package cgo's
// Change.
type LowRank struct {
	Down, Mid, Up model.Tensor // Mid has no shape where there is none
	Rank          int
	Scale         float64
}

// LowRank returns the change as a product of thin matrices. ok is false of kinds that
// are none.
func (c Change) LowRank() (l LowRank, ok bool) {
	if c.kind.lowRank == nil || c.has(dora) {
		return l, false
	}
	return c.kind.lowRank(c), true
}

// Close unmaps the file; its changes are gone with it.
func (f *File) Close() error {
	if f.borrowed {
		return nil
	}
	return f.holder.Close()
}

// Intact returns an error after another program shortened the file: ask it after its
// numbers were used.
func (f *File) Intact() error { return f.holder.Intact() }

// check checks what does not depend on a model.
func (f *File) check(m Module) error {
	for _, t := range m.factors {
		if len(t.Shape) > 4 {
			return fmt.Errorf("%s: tensor %q must have at most 4 dimensions, got the shape %v", f.Path, t.Name, t.Shape)
		}
		if !f.unread && !t.Finite() {
			return fmt.Errorf("%s: tensor %q has NaN or infinite elements", f.Path, t.Name)
		}
	}
	if s := m.factor(); math.IsNaN(s) || math.Abs(s) > maxScale {
		return fmt.Errorf("%s: %s: alpha must be at most %g times the rank %d, got %g", f.Path, m.Name, float64(maxScale), m.Rank(), m.alpha)
	}
	return nil
}
