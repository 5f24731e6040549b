package convert

import (
	"context"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/write"
)

// Convert writes a model to a file. There is never an incomplete file at path: the
// bytes go to a temporary file in the same folder, which is renamed when it is
// complete and on the disk, and removed when anything fails or ctx is done. It
// takes some 24 MB of memory for each processor.
func Convert(ctx context.Context, m *Model, path string, o Options) error {
	return write.Convert(ctx, m, path, o)
}

// Preview returns what [Convert] would do with each tensor, and the size of the
// file in bytes.
func Preview(m *Model, o Options) ([]Change, int64, error) { return write.Preview(m, o) }

// Verify reads a file back and compares each tensor with the model that it was
// converted from, on all processors. It fails where the file lacks a tensor,
// has another shape, or holds NaN or infinity. The result has the worst first.
// Memory stays at a few MB and one pair of tensors for each processor.
func Verify(ctx context.Context, source *Model, path string) ([]Deviation, error) {
	if err := write.CheckSource(ctx, source); err != nil {
		return nil, err
	}
	converted, err := Load(path)
	if err != nil {
		return nil, err
	}
	defer converted.Close()
	return write.Compare(ctx, source, converted, path)
}

// CheckFinite looks for NaN and infinity in the tensors whose names begin with a
// prefix, on all processors. The error is a [NotFiniteError] for the first such
// tensor. It reads every byte: some 0.2 s for 2 GB that the system has in memory,
// and as long as the disk takes for the rest.
func CheckFinite(ctx context.Context, m *Model, prefix string) error {
	return write.CheckFinite(ctx, m, prefix)
}

// Recode returns a tensor's bytes in another type, whose blocks its rows must
// divide into. quantize is needed for quantized types. It stops when ctx is done.
// Numbers that the type can't hold are an error.
func Recode(ctx context.Context, t Tensor, to dtype.Type, quantize Quantizer) ([]byte, error) {
	return write.Recode(ctx, t, to, quantize)
}

// TypeFor is the type that a tensor gets in a model that is converted to `want`.
// Under a quantized type vectors (norms, biases) keep the precision that they
// have, except norms under q8_0; matrices whose rows do not divide into blocks,
// and those that every step depends on, become f16.
func TypeFor(t Tensor, want dtype.Type) dtype.Type { return write.TypeFor(t, want) }

// ParseRule reads a rule such as "vae\\..*=f16": a regular expression that is
// searched for in tensors' names, and a type. "vae.", "unet.", "text.", "text2."
// and "t5." stand for the networks' prefixes.
func ParseRule(s string) (Rule, error) { return write.ParseRule(s) }

// ParseImportance reads an importance matrix: for each tensor, by its name, the
// mean square of what its columns were multiplied by, which quantizers weigh
// errors by. It reads both of llama.cpp's formats, GGUF files and the older one.
func ParseImportance(data []byte) (map[string][]float32, error) { return write.ParseImportance(data) }
