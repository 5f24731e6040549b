package read

import (
	"fmt"
	"maps"

	"github.com/sdgo/sdgo/convert/checkpoint"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// readBytes adds a file's tensors to the model.
func readBytes(m *model.Model, data []byte) error {
	all, err := storedBytes(m, data)
	if err != nil {
		return err
	}
	return addFile(m, all)
}

// storedBytes reads a file's tensors, and its metadata into the model.
func storedBytes(m *model.Model, data []byte) (all []model.Stored, err error) {
	metadata := map[string]string{}
	switch {
	case gguf.Looks(data):
		m.Format = "gguf"
		m.Values = map[string]any{}
		all, err = readGGUF(data, metadata, m.Values)
	case isCheckpoint(data):
		m.Format = "checkpoint"
		all, err = readCheckpoint(m, data, metadata)
	default:
		m.Format = "safetensors"
		all, err = readSafetensors(data, metadata)
	}
	if err != nil {
		return nil, explained(m.Path, data, err)
	}
	m.Metadata = metadata
	return all, nil
}

// noType is the type of elements that are no weights. It is not Valid.
const noType = dtype.Type(1 << 16)

// stored is a tensor of a safetensors file or checkpoint.
func stored(name, word string, shape []int64, data []byte) model.Stored {
	typ, ok := model.TypeOf(word)
	if !ok {
		typ = noType
	}
	return model.Stored{Tensor: model.Tensor{Name: name, Type: typ, Shape: shape, Bytes: data}, DType: word}
}

func readSafetensors(data []byte, metadata map[string]string) ([]model.Stored, error) {
	file, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	for k, v := range file.Metadata {
		metadata[k] = v
	}
	if err := checkMetadata(metadata); err != nil {
		return nil, err
	}
	all := make([]model.Stored, len(file.Tensors))
	for i, t := range file.Tensors {
		all[i] = stored(t.Name, t.DType, t.Shape, t.Data)
	}
	return all, nil
}

func readGGUF(data []byte, metadata map[string]string, values map[string]any) ([]model.Stored, error) {
	file, err := gguf.Parse(data)
	if err != nil {
		return nil, err
	}
	for _, kv := range file.Meta {
		most := maxListed
		if kv.Key == model.KeyMerges || kv.Key == model.KeyGGUFMerges {
			most = maxMerges
		}
		metadata[kv.Key] = textOf(kv.Value, most)
		if _, text := kv.Value.(string); !text {
			values[kv.Key] = short(kv.Value, most)
		}
	}
	if err := checkMetadata(metadata); err != nil {
		return nil, err
	}
	if err := splitGGUF(metadata); err != nil {
		return nil, err
	}
	if err := ggufT5(file, metadata); err != nil {
		return nil, err
	}
	all := make([]model.Stored, len(file.Tensors))
	for i, t := range file.Tensors {
		all[i] = model.Stored{Tensor: model.Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Bytes: t.Data}, DType: t.Type.String()}
		if original, ok := file.Get(keyOriginalShape + t.Name).([]int32); ok {
			if err := reshape(&all[i], original); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// keyOriginalShape begins the keys under which ComfyUI-GGUF keeps the shapes of
// tensors that it flattens, so that their rows divide into blocks.
const keyOriginalShape = "comfy.gguf.orig_shape."

// reshape gives a tensor another shape of as many elements.
func reshape(t *model.Stored, original []int32) error {
	n, shape := int64(1), make([]int64, len(original))
	for i, d := range original {
		if shape[i] = int64(d); d < 1 || n > t.Elements() {
			n = 0
		}
		n *= shape[i]
	}
	if len(shape) > 5 || n != t.Elements() {
		return fmt.Errorf("tensor %q has the shape %v, which cannot have been %.40q", t.Name, t.Shape, fmt.Sprint(original))
	}
	t.Shape = shape
	return nil
}

// isCheckpoint tells checkpoints from safetensors files, whose header's length
// may begin like anything, but whose header begins with '{'.
func isCheckpoint(data []byte) bool {
	return checkpoint.Looks(data) && (len(data) < 9 || data[8] != '{')
}

func readCheckpoint(m *model.Model, data []byte, metadata map[string]string) ([]model.Stored, error) {
	file, err := checkpoint.ParseFile(data)
	if err != nil {
		return nil, err
	}
	if o := file.Object; o != nil {
		said, warnings, err := family.SaidByObject(o.Class, o.Encoder, o.Modules, o.Fields)
		if err != nil {
			return nil, err
		}
		maps.Copy(metadata, said)
		m.Warnings = append(m.Warnings, warnings...)
	}
	all := make([]model.Stored, len(file.Tensors))
	for i, t := range file.Tensors {
		all[i] = stored(t.Name, t.DType, t.Shape, t.Data)
		if all[i].Type != noType && t.Strides != nil {
			all[i].Tensor = all[i].WithStrides(t)
		}
	}
	return all, nil
}
