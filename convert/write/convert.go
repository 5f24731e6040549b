package write

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/guard"
	"github.com/sdgo/sdgo/internal/replace"
)

// chunkElements is how much of a tensor one processor converts at a time. It
// bounds the memory that converting takes: six bytes an element and processor.
const chunkElements = 4 << 20

// Convert writes a model to a file. There is never an incomplete file at path: the
// bytes go to a temporary file in the same folder, which is renamed when it is
// complete and on the disk, and removed when anything fails or ctx is done. It
// takes some 24 MB of memory for each processor.
func Convert(ctx context.Context, m *model.Model, path string, o Options) error {
	if ctx == nil {
		return errNilContext
	}
	p, err := newPlan(m, o)
	if err != nil {
		return err
	}
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("%s: not a regular file", path)
	case err == nil && o.New:
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	if err := p.write(ctx, path); err != nil {
		return fmt.Errorf("writing %s: %w", path, model.WithoutPath(err))
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
	// At once, even if the disk still writes what it was given.
	defer context.AfterFunc(ctx, f.Remove)()
	if err := p.fill(ctx, f); err != nil {
		return err
	}
	commit := f.Commit
	if p.options.New {
		commit = func() error { return f.CommitNew(path) }
	}
	if err := commit(); ctx.Err() == nil || err == nil {
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
		if header == nil { // the source may be unmapped as soon as this returns
			<-hashed
		}
	}()
	// The file gets its length at once: the last tensor may end in padding.
	if p.size > int64(len(p.header)) {
		if _, err := f.WriteAt([]byte{0}, p.size-1); err != nil {
			return err
		}
	}
	var pieces []piece
	for i := range p.source {
		pieces = append(pieces, p.pieces(i)...)
	}
	most, done, err := workers(len(pieces), largest(pieces))
	if err != nil {
		return err
	}
	defer done()
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
		p.model.Release(pieces[i].bytes)
		if last := pieces[i].begin+int64(pieces[i].count) == t.Elements(); last && t.Strided() {
			release(p.model, t)
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
	if err := p.model.Intact(); err != nil {
		return err
	}
	_, err = f.WriteAt(header, 0)
	return err
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
	for _, run := range t.Runs() {
		elements := t.Elements()
		if t.Parts != nil {
			elements = t.ElementsIn(run)
		}
		for begin := int64(0); begin < elements; begin += step {
			end := min(begin+step, elements)
			from, _ := t.Type.Size(begin, t.Type.BlockSize())
			until, _ := t.Type.Size(end, t.Type.BlockSize())
			offset, _ := to.Size(first+begin, to.BlockSize())
			one := piece{tensor: i, size: until - from, count: int(end - begin), row: int(row), begin: first + begin, at: p.offsets[i] + offset}
			if !t.Strided() {
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
	if source.Strided() {
		if int64(cap(b.ordered)) < c.size {
			b.ordered = make([]byte, c.size)
		}
		c.bytes = b.ordered[:c.size]
		source.Gather(c.bytes, c.begin)
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
		return errors.New("it has elements that are NaN or infinite: the file is damaged")
	}
	source.ApplyScale(floats, c.begin)
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
