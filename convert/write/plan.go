package write

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// Change is what becomes of one tensor.
type Change struct {
	Name     string
	Shape    []int64
	From, To dtype.Type
	Bytes    int64 // of the result
}

// Preview returns what Convert would do with each tensor, and the size of the file
// in bytes.
func Preview(m *model.Model, o Options) ([]Change, int64, error) {
	p, err := newPlan(m, o)
	if err != nil {
		return nil, 0, err
	}
	return p.target, p.size, nil
}

// plan is a file that is to be written.
type plan struct {
	options Options
	model   *model.Model
	source  []model.Tensor
	target  []Change
	total   int64 // bytes of source

	header  []byte
	offsets []int64 // of the tensors in the file
	size    int64   // of the file
	mark    string  // in the header, for a hash

	mutex sync.Mutex
	done  int64
}

// maxRules bounds the rules of a conversion: each is searched for in every name.
const maxRules = 256

func newPlan(m *model.Model, o Options) (*plan, error) {
	switch {
	case m == nil:
		return nil, errors.New("the model must not be nil")
	case len(m.Tensors) == 0:
		return nil, errors.New("a model without tensors: it is empty or closed")
	case len(o.Rules) > maxRules:
		return nil, fmt.Errorf("there must be at most %d rules, got %d", maxRules, len(o.Rules))
	}
	for _, r := range o.Rules {
		if r.Pattern == nil {
			return nil, errors.New("a rule without a pattern; ParseRule makes rules")
		}
		if !slices.ContainsFunc(m.Tensors, func(t model.Tensor) bool { return r.matches(t.Name) }) {
			return nil, fmt.Errorf("rule %q: it matches the name of no tensor", r)
		}
	}
	p := &plan{options: o, model: m, source: append(slices.Clip(m.Tensors), o.marksOf(m)...), mark: newMark()}
	for i, t := range p.source {
		to := o.typeOf(t)
		if i >= len(m.Tensors) { // a mark
			to = t.Type
		}
		if len(t.Shape) == 0 && !o.Safetensors {
			t.Shape = []int64{1} // some readers of GGUF files know no scalars
		}
		switch {
		case to.Quantized() && o.Safetensors:
			return nil, fmt.Errorf("tensor %q: safetensors files have no %s; choose f32, f16 or bf16, or a GGUF file", t.Name, to)
		case to.Quantized() && to != t.Type && o.Quantize == nil:
			return nil, fmt.Errorf("tensor %q: this program was built without ggml, which quantizes to %s", t.Name, to)
		}
		if n := len(o.Importance[t.Name]); n > 0 && (len(t.Shape) == 0 || int64(n) != t.Shape[len(t.Shape)-1]) {
			return nil, fmt.Errorf("tensor %q: the importance matrix has %d columns, the tensor the shape %v", t.Name, n, t.Shape)
		}
		size, ok := to.Size(t.Elements(), to.BlockSize())
		if !ok {
			return nil, fmt.Errorf("tensor %q of shape %v does not divide into blocks of %s", t.Name, t.Shape, to)
		}
		p.target = append(p.target, Change{t.Name, t.Shape, t.Type, to, size})
		p.total += t.Size()
	}
	if len(o.Importance) > 0 && !slices.ContainsFunc(m.Tensors, func(t model.Tensor) bool { return o.Importance[t.Name] != nil }) {
		return nil, fmt.Errorf("the importance matrix has none of the model's %d tensors, but %d others, such as %.80q", len(m.Tensors), len(o.Importance), slices.Min(slices.Collect(maps.Keys(o.Importance))))
	}
	kvs := p.withHash(keyValues(m, p.target))
	if o.Safetensors {
		return p, p.layoutSafetensors(kvs)
	}
	return p, p.layoutGGUF(kvs)
}

// withHash adds the key of the hashes, which are not known yet, if the options ask for
// them.
func (p *plan) withHash(kvs []gguf.KV) []gguf.KV {
	files := p.model.Files()
	switch {
	case !p.options.Hash || len(files) == 0:
		return kvs
	case len(files) == 1:
		return append(kvs, gguf.KV{Key: keySourceHash, Value: p.mark})
	}
	lines := make([]string, len(files))
	for i, f := range files { // as sha256sum writes them
		lines[i] = p.mark + "  " + f.Name
	}
	return append(kvs, gguf.KV{Key: keySourceHash, Value: lines})
}

// marksOf are the marks that a file of a model gets. GGUF files have no empty tensors,
// and not all of their readers know f64: there an empty mark is the number 1.
func (o Options) marksOf(m *model.Model) []model.Tensor {
	marks := family.WrittenMarks(m)
	for i, t := range marks {
		switch {
		case o.Safetensors:
		case t.Elements() == 0:
			marks[i] = family.NumberMark(t.Name, []int64{1}, 1)
		case !t.Type.InGGML():
			values := make([]float32, t.Elements())
			if err := t.Float32(values); err == nil {
				marks[i] = family.NumberMark(t.Name, t.Shape, values...)
			}
		}
	}
	return marks
}

func (p *plan) layoutGGUF(kvs []gguf.KV) error {
	tensors := make([]gguf.Tensor, len(p.target))
	for i, t := range p.target {
		tensors[i] = gguf.Tensor{Name: t.Name, Type: t.To, Shape: t.Shape}
	}
	l, err := gguf.NewLayout(kvs, tensors)
	if err != nil {
		return err
	}
	p.header, p.offsets, p.size = l.Header, l.Offsets, l.Size
	return nil
}

// layoutSafetensors puts the metadata into the strings of the header.
func (p *plan) layoutSafetensors(kvs []gguf.KV) error {
	metadata := map[string]string{"format": "pt"}
	for _, kv := range kvs {
		metadata[kv.Key] = textOf(kv.Value)
	}
	tensors := make([]safetensors.Tensor, len(p.target))
	sizes := make([]int64, len(p.target))
	for i, t := range p.target {
		tensors[i] = safetensors.Tensor{Name: t.Name, DType: model.WordOf(t.To), Shape: t.Shape}
		sizes[i] = t.Bytes
	}
	header, err := safetensors.Header(metadata, tensors, sizes)
	if err != nil {
		return err
	}
	p.header, p.size = header, int64(len(header))
	for _, n := range sizes {
		p.offsets = append(p.offsets, p.size)
		p.size += n
	}
	return nil
}

// newMark returns a placeholder for hashes that are not known yet. It is random,
// so that nothing else in the header is equal to it.
func newMark() string {
	return fmt.Sprintf("%016x%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64())
}

// hash computes the hashes of the source's files, if the options ask for them, and
// sends the header with them.
func (p *plan) hash(ctx context.Context) <-chan []byte {
	result := make(chan []byte, 1)
	header := bytes.Clone(p.header)
	if !p.options.Hash {
		result <- header
		return result
	}
	go func() {
		for _, f := range p.model.Files() {
			h := sha256.New()
			for rest := f.Data; len(rest) > 0 && ctx.Err() == nil; {
				n := min(len(rest), 1<<20)
				h.Write(rest[:n])
				f.Release(rest[:n])
				rest = rest[n:]
			}
			header = bytes.Replace(header, []byte(p.mark), []byte(hex.EncodeToString(h.Sum(nil))), 1)
		}
		result <- header
	}()
	return result
}
