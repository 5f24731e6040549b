package mutate

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/sdgo/sdgo/convert/dtype"
)

var storages = map[dtype.Type]string{dtype.F32: "FloatStorage", dtype.F16: "HalfStorage", dtype.BF16: "BFloat16Storage", dtype.F64: "DoubleStorage",
	dtype.I8: "CharStorage", dtype.I16: "ShortStorage", dtype.I32: "IntStorage", dtype.I64: "LongStorage", dtype.Q8_0: "ByteStorage"}

// Opcodes of pickles: push, stop, memo, build, call and others.
const opcodes = "(.012IJKLMNQRSTUVX]abcdeghijlopqrstu}\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8c\x8e\x8f\x90\x93\x94\x95"

// Checkpoint is a PyTorch checkpoint of the model after the script's changes, as an
// uncompressed archive.
func (m *Model) Checkpoint(s *Script) []byte {
	m = m.Edited(s)
	program := m.pickle(s)
	var file bytes.Buffer
	z := zip.NewWriter(&file)
	add(z, "archive/data.pkl", program)
	for i, t := range m.Tensors {
		add(z, "archive/data/"+strconv.Itoa(i), t.Data)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return damage(s, file.Bytes(), min(file.Len(), 100*(len(m.Tensors)+2)))
}

func add(z *zip.Writer, name string, data []byte) {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(data); err != nil {
		panic(err)
	}
}

// pickle is the pickle program of the dictionary of tensors, as torch.save writes it,
// without the memo.
func (m *Model) pickle(s *Script) []byte {
	lie := newLiar(s, 11*len(m.Tensors)+1)
	p := &pickler{lie: lie}
	p.raw("\x80\x02}(")
	for i, t := range m.Tensors {
		p.text(t.Name)
		p.raw("ctorch._utils\n_rebuild_tensor_v2\n((")
		p.text("storage")
		p.raw("ctorch\n" + storages[t.Type] + "\n")
		p.text(strconv.Itoa(i))
		p.text("cpu")
		p.number(int64(len(t.Data)) / max(t.Type.BlockBytes(), 1))
		p.raw("tQ")
		p.number(t.Offset)
		p.tuple(t.Shape)
		strides := t.Strides
		if strides == nil {
			strides = rows(t.Shape)
		}
		p.tuple(strides)
		p.raw("\x89ccollections\nOrderedDict\n)RtR")
	}
	p.raw("u.")
	if s.Below(8) == 1 {
		p.b = slices.Insert(p.b, s.Below(len(p.b)), opcodes[s.Below(len(opcodes))])
	}
	return damage(s, p.b, len(p.b))
}

// rows are the strides of contiguous rows.
func rows(shape []int64) []int64 {
	strides := make([]int64, len(shape))
	n := int64(1)
	for d := len(shape) - 1; d >= 0; d-- {
		strides[d] = n
		n *= shape[d]
	}
	return strides
}

type pickler struct {
	b   []byte
	lie *liar
}

func (p *pickler) raw(text string) { p.b = append(p.b, text...) }

func (p *pickler) text(text string) {
	p.b = append(p.b, 'X')
	p.b = binary.LittleEndian.AppendUint32(p.b, uint32(len(text)))
	p.raw(text)
}

func (p *pickler) number(v int64) {
	v = int64(p.lie.number(uint64(v)))
	if int64(int32(v)) == v {
		p.b = binary.LittleEndian.AppendUint32(append(p.b, 'J'), uint32(v))
		return
	}
	p.raw(fmt.Sprintf("I%d\n", v))
}

func (p *pickler) tuple(list []int64) {
	p.raw("(")
	for _, v := range list {
		p.number(v)
	}
	p.raw("t")
}
