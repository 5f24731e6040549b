package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Write writes a file: the tensors in their order, their Data in full.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	sizes := make([]int64, len(tensors))
	for i, t := range tensors {
		sizes[i] = int64(len(t.Data))
	}
	header, err := Header(metadata, tensors, sizes)
	if err != nil {
		return err
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}

// Header is what a file begins with, up to the first tensor's bytes, which the
// other tensors' follow without a gap. Of the tensors only names, types and
// shapes count; sizes are their bytes.
func Header(metadata map[string]string, tensors []Tensor, sizes []int64) ([]byte, error) {
	header := make(map[string]any, len(tensors)+1)
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	at := uint64(0)
	for i, t := range tensors {
		if _, twice := header[t.Name]; twice || t.Name == metadataKey {
			return nil, fmt.Errorf("safetensors: tensor %q is there twice", t.Name)
		}
		shape, offsets := t.Shape, []uint64{at, at + uint64(sizes[i])}
		if shape == nil {
			shape = []int64{}
		}
		e := entry{&t.DType, &shape, &offsets}
		if _, err := e.check(t.Name); err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		header[t.Name] = e
		at += uint64(sizes[i])
	}
	text, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	for len(text)%8 != 0 { // so that the tensors' bytes are aligned
		text = append(text, ' ')
	}
	if len(text) > MaxHeader {
		return nil, fmt.Errorf("safetensors: the header must be at most %d bytes, got %d", MaxHeader, len(text))
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}
