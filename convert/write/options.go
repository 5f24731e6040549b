// Package write writes models: it plans what becomes of each tensor, converts and
// quantizes the weights piece by piece, and puts the file in place when it is
// complete. It also compares what was written with its source.
package write

import (
	"errors"
	"io"

	"github.com/sdgo/sdgo/convert/dtype"
)

// Quantizer converts src, rows of rowLen elements, to a quantized type in dst,
// which has exactly the size of the result. importance is nil or has a weight
// for each column. cgo.Quantize is one: ggml's own.
type Quantizer func(typ uint32, dst []byte, src []float32, rowLen int, importance []float32) error

// Options says how a model is converted.
type Options struct {
	// Type is what the weights become; see [TypeFor]. Keep leaves all of them as
	// they are instead, as far as the format has their types.
	Type dtype.Type
	Keep bool

	// Rules come before Type and Keep: the first one that matches counts. There
	// may be 256.
	Rules []Rule

	// Safetensors writes a safetensors file instead of a GGUF file.
	Safetensors bool

	// Hash puts the SHA-256 of the source's file into the metadata
	// (sdgo.source.sha256), or of its files with their names, as sha256sum writes
	// them. It is computed while the weights are converted.
	Hash bool

	// New writes a file where there is none: one that exists, also since the beginning,
	// is an fs.ErrExist. Without it the file is replaced.
	New bool

	// Quantize is needed if any tensor is to be quantized. Importance has, for the
	// tensors that it has an entry for, a weight for each column, which Quantize
	// receives.
	Quantize   Quantizer
	Importance map[string][]float32

	// Progress is called now and then with the bytes of weights that have been
	// read, and all there are. Calls do not overlap. If it panics, that is
	// Convert's error.
	Progress func(done, total int64)

	create func(path string) (file, error) // in tests
}

// file is what a model is written to.
type file interface {
	io.WriterAt
	Commit() error
	CommitNew(path string) error
	Discard()
	Remove()
}

var errNilContext = errors.New("ctx must not be nil; use context.Background()")
