package write

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
)

// ParseImportance reads an importance matrix: for each tensor, by its name, the
// mean square of what its columns were multiplied by, which quantizers weigh
// errors by. It reads both of llama.cpp's formats, GGUF files and the older one: a
// count, and for each entry its name, the number of calls, and the values.
func ParseImportance(data []byte) (_ map[string][]float32, err error) {
	defer model.Recovered("importance matrix", &err)
	read := parseOldImportance
	if gguf.Looks(data) {
		read = parseGGUFImportance
	}
	all, err := read(data)
	if err != nil {
		return nil, fmt.Errorf("importance matrix: %w", err)
	}
	for name, values := range all {
		if !slices.ContainsFunc(values, func(v float32) bool { return v != 0 }) {
			delete(all, name) // the tensor was never used while the matrix was made
			continue
		}
		for i, v := range values {
			if !(v >= 0 && v <= math.MaxFloat32) {
				return nil, fmt.Errorf("importance matrix: %q: element %d must be finite and not negative, got %g", name, i, v)
			}
		}
	}
	return all, nil
}

func parseOldImportance(data []byte) (map[string][]float32, error) {
	at := 0
	errShort := errors.New("the file is cut off, or is no importance matrix")
	next := func() (int, error) {
		if len(data)-at < 4 {
			return 0, errShort
		}
		n := int32(binary.LittleEndian.Uint32(data[at:]))
		at += 4
		if n < 0 {
			return 0, errShort
		}
		return int(n), nil
	}
	count, err := next()
	if err != nil {
		return nil, err
	}
	all := map[string][]float32{}
	for range count {
		n, err := next()
		if err != nil || n > len(data)-at {
			return nil, errShort
		}
		name := string(data[at : at+n])
		at += n
		calls, e1 := next()
		columns, e2 := next()
		if errors.Join(e1, e2) != nil || columns > (len(data)-at)/4 {
			return nil, errShort
		}
		values := make([]float32, columns)
		if err := dtype.Float32(dtype.F32, values, data[at:at+4*columns]); err != nil {
			return nil, err
		}
		at += 4 * columns
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%.100q is there twice", name)
		}
		for i := range values {
			values[i] /= float32(max(calls, 1))
		}
		all[name] = values
	}
	return all, nil
}

func parseGGUFImportance(data []byte) (map[string][]float32, error) {
	file, err := gguf.Parse(data)
	if err != nil {
		return nil, err
	}
	tensors := map[string]gguf.Tensor{}
	for _, t := range file.Tensors {
		tensors[t.Name] = t
	}
	all := map[string][]float32{}
	for _, t := range file.Tensors {
		name, ok := strings.CutSuffix(t.Name, ".in_sum2")
		if !ok {
			continue
		}
		counts := tensors[name+".counts"]
		if t.Type != dtype.F32 || counts.Type != dtype.F32 || len(counts.Data) != 4 {
			return nil, fmt.Errorf("%q must be f32 sums, beside one f32 count", name)
		}
		values, count := make([]float32, len(t.Data)/4), make([]float32, 1)
		if err := errors.Join(dtype.Float32(dtype.F32, values, t.Data), dtype.Float32(dtype.F32, count, counts.Data)); err != nil {
			return nil, err
		}
		for i := range values {
			values[i] /= max(count[0], 1)
		}
		all[name] = values
	}
	if len(all) == 0 {
		return nil, errors.New("a GGUF file without one")
	}
	return all, nil
}
