package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/mmap"
)

// Rule gives tensors a type by their names.
type Rule struct {
	// Pattern is looked for in a tensor's canonical name, and in the same name
	// with the part's name, "vae.", "unet.", "text.", "text2." or "t5.", in place of its
	// prefix.
	Pattern *regexp.Regexp
	Type    dtype.Type
}

// String is the rule as [ParseRule] reads it.
func (r Rule) String() string { return fmt.Sprintf("%s=%s", r.Pattern, r.Type) }

// maxPattern bounds a rule's pattern, in bytes.
const maxPattern = 1000

// ParseRule reads a rule such as "vae\\..*=f16".
func ParseRule(s string) (Rule, error) {
	at := strings.LastIndexByte(s, '=')
	if at < 1 {
		return Rule{}, fmt.Errorf("rule %q: PATTERN=TYPE is wanted, such as vae=f16", s)
	}
	if at > maxPattern {
		return Rule{}, fmt.Errorf("rule %.40q…: a pattern of %d bytes; at most %d are possible", s, at, maxPattern)
	}
	pattern, err := regexp.Compile(s[:at])
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", s, err)
	}
	t, err := dtype.Parse(s[at+1:])
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", s, err)
	}
	return Rule{pattern, t}, nil
}

// shortNames are the parts' names in rules.
var shortNames = []struct{ prefix, short string }{
	{VAEPrefix, "vae."}, {UNetPrefix, "unet."}, {TextPrefix, "text."}, {text1Prefix, "text."}, {text2Prefix, "text2."},
	{clipLPrefix, "text."}, {clipGPrefix, "text2."}, {t5Prefix, "t5."},
}

func (r Rule) matches(name string) bool {
	if r.Pattern.MatchString(name) {
		return true
	}
	for _, s := range shortNames {
		if rest, ok := strings.CutPrefix(name, s.prefix); ok {
			return r.Pattern.MatchString(s.short + rest)
		}
	}
	return false
}

// typeOf is the type that a tensor gets. A quantized one needs rows that divide
// into blocks, which those of a flattened convolution do no longer.
func (o Options) typeOf(t Tensor) dtype.Type {
	to := o.chosen(t)
	if len(t.Shape) == 0 {
		return to
	}
	if row := t.Shape[len(t.Shape)-1]; to.Quantized() && (row%to.BlockSize() != 0 || row%t.Type.BlockSize() != 0) {
		return dtype.F16
	}
	return to
}

// chosen is the type that the options ask for. A rule with a plain type is
// followed to the letter; under one with a quantized type [TypeFor] says what
// can be.
func (o Options) chosen(t Tensor) dtype.Type {
	for _, r := range o.Rules {
		if r.matches(t.Name) {
			if r.Type.Quantized() {
				return TypeFor(t, r.Type)
			}
			return r.Type
		}
	}
	if o.Keep {
		if t.Scale != nil || !t.Type.InGGML() && !o.Safetensors {
			return t.Native()
		}
		return t.Type
	}
	return TypeFor(t, o.Type)
}

// Change is what becomes of one tensor.
type Change struct {
	Name     string
	Shape    []int64
	From, To dtype.Type
	Bytes    int64 // of the result
}

// Preview says what Convert would do: to each tensor, and the size of the file
// in bytes.
func Preview(m *Model, o Options) ([]Change, int64, error) {
	p, err := newPlan(m, o)
	if err != nil {
		return nil, 0, err
	}
	return p.target, p.size, nil
}

// plan is a file that is to be written.
type plan struct {
	options Options
	maps    []*mmap.File
	source  []Tensor
	target  []Change
	total   int64 // bytes of source

	header  []byte
	offsets []int64 // of the tensors in the file
	size    int64   // of the file
	mark    string  // in the header, for a hash

	mutex sync.Mutex
	done  int64
}

// maxRules bounds the rules of a conversion: each is looked for in every name.
const maxRules = 256

func newPlan(m *Model, o Options) (*plan, error) {
	switch {
	case m == nil:
		return nil, errors.New("no model: nil")
	case len(m.Tensors) == 0:
		return nil, errors.New("a model without tensors: it is empty or closed")
	case len(o.Rules) > maxRules:
		return nil, fmt.Errorf("%d rules; at most %d are possible", len(o.Rules), maxRules)
	}
	for _, r := range o.Rules {
		if r.Pattern == nil {
			return nil, errors.New("a rule without a pattern; ParseRule makes rules")
		}
		if !slices.ContainsFunc(m.Tensors, func(t Tensor) bool { return r.matches(t.Name) }) {
			return nil, fmt.Errorf("rule %q: it matches the name of no tensor", r)
		}
	}
	p := &plan{options: o, maps: m.maps, source: m.Tensors, mark: newMark()}
	for _, t := range m.Tensors {
		to := o.typeOf(t)
		if len(t.Shape) == 0 && !o.Safetensors {
			t.Shape = []int64{1} // some readers of GGUF files know no scalars
		}
		switch {
		case to.Quantized() && o.Safetensors:
			return nil, fmt.Errorf("tensor %q: safetensors files have no %s; f32, f16 and bf16 are possible, or a GGUF file", t.Name, to)
		case to.Quantized() && to != t.Type && o.Quantize == nil:
			return nil, fmt.Errorf("tensor %q: this program was built without ggml, which quantizes to %s", t.Name, to)
		}
		if n := len(o.Importance[t.Name]); n > 0 && (len(t.Shape) == 0 || int64(n) != t.Shape[len(t.Shape)-1]) {
			return nil, fmt.Errorf("tensor %q: an importance matrix of %d columns for the shape %v", t.Name, n, t.Shape)
		}
		size, ok := to.Size(t.Elements(), to.BlockSize())
		if !ok {
			return nil, fmt.Errorf("tensor %q of shape %v does not divide into blocks of %s", t.Name, t.Shape, to)
		}
		p.target = append(p.target, Change{t.Name, t.Shape, t.Type, to, size})
		p.total += t.size()
	}
	if len(o.Importance) > 0 && !slices.ContainsFunc(m.Tensors, func(t Tensor) bool { return o.Importance[t.Name] != nil }) {
		return nil, fmt.Errorf("the importance matrix has none of the model's %d tensors, but %d others, such as %.80q", len(m.Tensors), len(o.Importance), slices.Min(slices.Collect(maps.Keys(o.Importance))))
	}
	kvs := m.keyValues(p.target)
	if o.Hash && len(m.maps) == 1 {
		kvs = append(kvs, gguf.KV{Key: keySourceHash, Value: p.mark})
	} else if o.Hash && len(m.maps) > 1 {
		lines := make([]string, len(m.files))
		for i, name := range m.files { // as sha256sum writes them
			lines[i] = p.mark + "  " + name
		}
		kvs = append(kvs, gguf.KV{Key: keySourceHash, Value: lines})
	}
	if o.Safetensors {
		return p, p.layoutSafetensors(kvs)
	}
	return p, p.layoutGGUF(kvs)
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

// layoutSafetensors puts the metadata into the header's strings: lists as
// lines.
func (p *plan) layoutSafetensors(kvs []gguf.KV) error {
	metadata := map[string]string{"format": "pt"}
	for _, kv := range kvs {
		metadata[kv.Key] = text(kv.Value)
	}
	tensors := make([]safetensors.Tensor, len(p.target))
	sizes := make([]int64, len(p.target))
	for i, t := range p.target {
		tensors[i] = safetensors.Tensor{Name: t.Name, DType: safetensorsName(t.To), Shape: t.Shape}
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

func safetensorsName(t dtype.Type) string {
	for name, typ := range types {
		if typ == t {
			return name
		}
	}
	return t.String()
}

// newMark is what stands in a header for hashes that are not known yet. It is
// drawn by lot, so that nothing else in the header is it.
func newMark() string {
	return fmt.Sprintf("%016x%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64())
}

// hash computes the sources' hashes, if they are wanted, and gives the header
// with them.
func (p *plan) hash(ctx context.Context) <-chan []byte {
	result := make(chan []byte, 1)
	header := bytes.Clone(p.header)
	if !p.options.Hash {
		result <- header
		return result
	}
	go func() {
		for _, f := range p.maps {
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
