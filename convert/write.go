package convert

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/internal/mmap"
	"github.com/sdgo/sdgo/internal/replace"
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

	// Rules come before Type and Keep: the first one that matches counts.
	Rules []Rule

	// Safetensors writes a safetensors file and not a GGUF file.
	Safetensors bool

	// Hash puts the SHA-256 of the source's file into the metadata
	// (sdgo.source.sha256), or of its files with their names, as sha256sum writes
	// them. It is computed while the weights are converted.
	Hash bool

	// Quantize is needed if any tensor is to be quantized. Importance is what it
	// is given for tensors that it has an entry for: a weight for each column.
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
	Discard()
	Remove()
}

// chunkElements is how much of a tensor one processor converts at a time. It
// bounds the memory that converting takes: six bytes an element and processor.
const chunkElements = 4 << 20

var errNilContext = errors.New("ctx must not be nil; context.Background() is the least")

// Convert writes a model to a file. There is never a part of a file at
// path: the bytes go to a temporary file in the same folder, which is renamed
// when it is complete and on the disk, and removed when anything fails or ctx
// is done. Memory stays at some 24 MB for each processor.
func Convert(ctx context.Context, m *Model, path string, o Options) error {
	if ctx == nil {
		return errNilContext
	}
	p, err := newPlan(m, o)
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", path)
	}
	if err := p.write(ctx, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, trimPath(err))
	}
	return nil
}

func (p *plan) write(ctx context.Context, path string) error {
	create := p.options.create
	if create == nil {
		create = func(path string) (file, error) {
			replace.Sweep(filepath.Dir(path))
			return replace.Create(path)
		}
	}
	f, err := create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	// At once, even if the disk takes long over what it has been given.
	defer context.AfterFunc(ctx, f.Remove)()
	if err := p.fill(ctx, f); err != nil {
		return err
	}
	if err := f.Commit(); ctx.Err() == nil || err == nil {
		return err
	}
	return context.Cause(ctx)
}

// fill writes all tensors, in pieces, and then the header, which may have the
// source's hash in it.
func (p *plan) fill(ctx context.Context, f io.WriterAt) error {
	hashing, stop := context.WithCancel(ctx)
	hashed := p.hash(hashing)
	var header []byte
	defer func() {
		stop()
		if header == nil { // the file may be unmapped as soon as this returns
			<-hashed
		}
	}()
	// The last tensor's padding makes the file as long as it should be.
	if p.size > int64(len(p.header)) {
		if _, err := f.WriteAt([]byte{0}, p.size-1); err != nil {
			return err
		}
	}
	var pieces []piece
	for i := range p.source {
		pieces = append(pieces, p.pieces(i)...)
	}
	most, release, err := workers(len(pieces), largest(pieces))
	if err != nil {
		return err
	}
	defer release()
	buffers := sync.Pool{New: func() any { return &buffer{} }}
	err = inParallel(ctx, most, len(pieces), func(i int) error {
		b := buffers.Get().(*buffer)
		defer buffers.Put(b)
		t := p.source[pieces[i].tensor]
		if err := p.convert(ctx, f, pieces[i], b); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("tensor %q: %w", t.Name, err)
		}
		p.release(pieces[i].bytes)
		if last := pieces[i].begin+int64(pieces[i].count) == t.Elements(); last && t.strided != nil {
			p.release(t.strided.Data)
		}
		return p.advance(pieces[i].size)
	})
	if err != nil {
		return err
	}
	header = <-hashed
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := intact(p.maps); err != nil {
		return err
	}
	_, err = f.WriteAt(header, 0)
	return err
}

// release gives memory back that is a part of a mapped file. Nothing else: a
// checkpoint's tensors may be copies.
func (p *plan) release(b []byte) { releaseWithin(p.maps, b) }

func releaseWithin(maps []*mmap.File, b []byte) {
	for _, f := range maps {
		f.Release(b)
	}
}

// release gives the memory of a tensor back, as far as a file has it.
func (m *Model) release(t Tensor) {
	for _, run := range t.runs() {
		releaseWithin(m.maps, run)
	}
}

// piece is a run of rows of one tensor.
type piece struct {
	tensor int
	bytes  []byte // of the source; nil of a strided tensor
	size   int64  // of these
	count  int    // elements
	row    int    // elements of a row
	begin  int64  // the first element's place
	at     int64  // where the result goes
}

// pieces cuts a tensor into runs of whole rows.
func (p *plan) pieces(i int) []piece {
	t, to := p.source[i], p.target[i].To
	row := int64(1)
	if n := len(t.Shape); n > 0 {
		row = t.Shape[n-1]
	}
	// Only quantizing needs whole rows; chunkElements are whole blocks of any
	// type.
	step := int64(chunkElements)
	if to.Quantized() && to != t.Type {
		step = max(1, step/row) * row
	}
	var all []piece
	first := int64(0) // element of the run
	for _, run := range t.runs() {
		elements := t.Elements()
		if t.Parts != nil {
			elements = t.elementsIn(run)
		}
		for begin := int64(0); begin < elements; begin += step {
			end := min(begin+step, elements)
			from, _ := t.Type.Size(begin, t.Type.BlockSize())
			until, _ := t.Type.Size(end, t.Type.BlockSize())
			offset, _ := to.Size(first+begin, to.BlockSize())
			one := piece{tensor: i, size: until - from, count: int(end - begin), row: int(row), begin: first + begin, at: p.offsets[i] + offset}
			if t.strided == nil {
				one.bytes = run[from:until]
			}
			all = append(all, one)
		}
		first += elements
	}
	return all
}

// buffer is what one conversion needs.
type buffer struct {
	floats  []float32
	bytes   []byte
	ordered []byte
}

// largest is the most that a buffer becomes, in bytes.
func largest(pieces []piece) (most uint64) {
	for _, p := range pieces {
		most = max(most, 8*uint64(p.count)+uint64(p.size))
	}
	return most
}

func (p *plan) convert(ctx context.Context, f io.WriterAt, c piece, b *buffer) error {
	source, to := p.source[c.tensor], p.target[c.tensor].To
	from := source.Type
	if source.strided != nil {
		if int64(cap(b.ordered)) < c.size {
			b.ordered = make([]byte, c.size)
		}
		c.bytes = b.ordered[:c.size]
		source.gather(c.bytes, c.begin)
	}
	if from == to && source.Scale == nil {
		return writeAt(ctx, f, c.bytes, c.at)
	}
	size, ok := to.Size(int64(c.count), to.BlockSize())
	if !ok {
		return fmt.Errorf("%d elements do not divide into blocks of %s", c.count, to)
	}
	if cap(b.floats) < c.count {
		b.floats = make([]float32, c.count)
	}
	if int64(cap(b.bytes)) < size {
		b.bytes = make([]byte, size)
	}
	floats, encoded := b.floats[:c.count], b.bytes[:size]
	if err := dtype.Float32(from, floats, c.bytes); err != nil {
		return err
	}
	if !dtype.Finite(from, c.bytes) {
		return errors.New("it has elements that are NaN or infinite; finite numbers are wanted: the file is damaged")
	}
	source.rescale(floats, c.begin)
	if err := encodeAll(ctx, to, encoded, floats, c.row, p.options.Quantize, p.options.Importance[source.Name]); err != nil {
		return err
	}
	return writeAt(ctx, f, encoded, c.at)
}

// writtenBytes is how much is written between two looks at the context. A system
// whose disk is behind makes whoever writes more wait.
const writtenBytes = 1 << 18

// writeAt writes bytes at an offset, until ctx is done.
func writeAt(ctx context.Context, f io.WriterAt, bytes []byte, at int64) error {
	for len(bytes) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := f.WriteAt(bytes[:min(len(bytes), writtenBytes)], at)
		if err != nil {
			return err
		}
		bytes, at = bytes[n:], at+int64(n)
	}
	return nil
}

func (p *plan) advance(n int64) error {
	if p.options.Progress == nil {
		return nil
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.done += n
	return guard.Call("Progress", func() error {
		p.options.Progress(p.done, p.total)
		return nil
	})
}
