package mutate

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
)

// GGUF is a GGUF file of the model after the script's changes.
func (m *Model) GGUF(s *Script) []byte {
	m = m.Edited(s)
	lie := newLiar(s, 9*len(m.Tensors)+3*len(m.Meta)+3)
	w := &ggufWriter{lie: lie}
	w.file = append(w.file, "GGUF"...)
	w.u32(3)
	w.u64(uint64(len(m.Tensors)))
	w.u64(uint64(len(m.Meta)))
	for _, key := range slices.Sorted(maps.Keys(m.Meta)) {
		w.text(key)
		w.value(m.Meta[key])
	}
	offset := uint64(0)
	for _, t := range m.Tensors {
		w.text(t.Name)
		w.u32(uint32(len(t.Shape)))
		for _, size := range slices.Backward(t.Shape) {
			w.u64(uint64(size))
		}
		w.u32(uint32(t.Type))
		w.u64(offset)
		offset += uint64(aligned(len(t.Data)))
	}
	header := len(w.file)
	w.pad()
	for _, t := range m.Tensors {
		w.file = append(w.file, t.Data...)
		w.pad()
	}
	return damage(s, w.file, header)
}

type ggufWriter struct {
	file []byte
	lie  *liar
}

const alignment = 32

func aligned(n int) int { return (n + alignment - 1) / alignment * alignment }

func (w *ggufWriter) pad() {
	w.file = append(w.file, make([]byte, aligned(len(w.file))-len(w.file))...)
}
func (w *ggufWriter) u32(v uint32) {
	w.file = binary.LittleEndian.AppendUint32(w.file, uint32(w.lie.number(uint64(v))))
}
func (w *ggufWriter) u64(v uint64) {
	w.file = binary.LittleEndian.AppendUint64(w.file, w.lie.number(v))
}

func (w *ggufWriter) text(text string) {
	w.u64(uint64(len(text)))
	w.file = append(w.file, text...)
}

// value writes a text with the type that it looks like: a uint32, a float64, an array
// of int32 or a string.
func (w *ggufWriter) value(text string) {
	var list []int32
	if v, err := strconv.ParseUint(text, 10, 32); err == nil {
		w.u32(4)
		w.u32(uint32(v))
	} else if v, err := strconv.ParseFloat(text, 64); err == nil {
		w.u32(12)
		w.u64(math.Float64bits(v))
	} else if json.Unmarshal([]byte(text), &list) == nil {
		w.u32(9)
		w.u32(5)
		w.u64(uint64(len(list)))
		for _, v := range list {
			w.u32(uint32(v))
		}
	} else {
		w.u32(8)
		w.text(text)
	}
}
