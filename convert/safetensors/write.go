package safetensors

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Write writes a file: the tensors in their order, their Data in full.
func Write(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	header := make(map[string]any, len(tensors)+1)
	if len(metadata) > 0 {
		header[metadataKey] = metadata
	}
	at := 0
	for _, t := range tensors {
		if _, twice := header[t.Name]; twice || t.Name == metadataKey {
			return fmt.Errorf("safetensors: tensor %q stands twice", t.Name)
		}
		shape, offsets := t.Shape, []uint64{uint64(at), uint64(at + len(t.Data))}
		if shape == nil {
			shape = []int64{}
		}
		e := entry{&t.DType, &shape, &offsets}
		if _, err := e.check(t.Name); err != nil {
			return fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		}
		header[t.Name] = e
		at += len(t.Data)
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 { // so that the tensors' bytes are aligned
		text = append(text, ' ')
	}
	if err := binary.Write(w, binary.LittleEndian, uint64(len(text))); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}
