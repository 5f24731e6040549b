package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sdgo/sdgo/convert/checkpoint"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/mmap"
)

// ErrUnrecognized is in the error for a file that is read but is no model that
// this package knows.
var ErrUnrecognized = errors.New("not a model that is supported")

// Open opens a model that package sd runs: Stable Diffusion 1.x, 2.x, XL or
// XL's refiner. What path is, is found from its contents.
func Open(path string) (_ *Model, err error) {
	defer recovered(path, &err)
	m, err := Load(path)
	if err != nil {
		return nil, err
	}
	return m.runnable()
}

// OpenBytes is Open for a file that is in memory: its name is for messages.
// The bytes must stay as they are until Close.
func OpenBytes(name string, data []byte) (_ *Model, err error) {
	defer recovered(name, &err)
	m := &Model{Path: name}
	if err := m.opened(m.readBytes(data)); err != nil {
		return nil, err
	}
	return m.runnable()
}

// runnable passes on the models that package sd runs and closes the others.
func (m *Model) runnable() (*Model, error) {
	if !isDiffusion(m.Arch) {
		err := fmt.Errorf("%s: %s: %w; Stable Diffusion 1.x, 2.x and XL are", m.Path, m.What, ErrUnrecognized)
		m.Close()
		return nil, err
	}
	if err := m.flatten(); err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return m, nil
}

// Load opens a file of any kind that is recognised, to look at it or to convert
// it.
func Load(path string) (_ *Model, err error) {
	defer recovered(path, &err)
	m, err := read(path)
	if err := m.opened(err); err != nil {
		return nil, err
	}
	return m, nil
}

// recovered turns a panic while a file is read, which is a fault of this package,
// into an error of that file: what is in a file must not end the program. It is
// deferred where files come in.
func recovered(path string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: reading it failed: %v; this is a fault of the program, please report it with the file", path, r)
	}
}

// read reads a file or folder, whose configuration is not worked out yet. It
// gives a model, to be closed, in any case.
func read(path string) (*Model, error) {
	m := &Model{Path: path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return m, trimPath(err)
	case info.IsDir():
		return m, m.openDiffusers()
	}
	return m, m.openFile()
}

// opened works out the configuration of a model whose tensors are read, if
// they are (err), or closes it.
func (m *Model) opened(err error) error {
	if err == nil {
		err = m.detect()
	}
	if changed := m.Intact(); changed != nil { // what else is wrong may come of it
		err = changed
	}
	if err != nil {
		m.Close()
		return fmt.Errorf("%s: %w", m.Path, err)
	}
	return nil
}

// raw is a tensor as a file has it.
type raw struct {
	Tensor
	kind string // the file's word for its type, where Type is not Valid
}

func (m *Model) openFile() error {
	data, err := m.mapFile(m.Path)
	if err != nil {
		return err
	}
	return m.readBytes(data)
}

// mapFile maps a file that is the model, or is in its folder.
func (m *Model) mapFile(path string) ([]byte, error) {
	f, err := mmap.Open(path)
	if err != nil {
		return nil, trimPath(err)
	}
	name, err := filepath.Rel(m.Path, path)
	if err != nil || name == "." {
		name = filepath.Base(path)
	}
	m.maps, m.files = append(m.maps, f), append(m.files, filepath.ToSlash(name))
	return f.Data, nil
}

// readBytes takes in what a file has.
func (m *Model) readBytes(data []byte) (err error) {
	var all []raw
	said := map[string]string{}
	switch {
	case gguf.Looks(data):
		m.Format = "gguf"
		all, err = readGGUF(data, said)
	case isCheckpoint(data):
		m.Format = "checkpoint"
		all, err = readCheckpoint(data)
	default:
		m.Format = "safetensors"
		all, err = readSafetensors(data, said)
	}
	if err != nil {
		return err
	}
	m.Metadata = said
	return m.take(all)
}

// take finds out what a file is and adopts its tensors.
func (m *Model) take(all []raw) error {
	k, err := recognise(all)
	if err != nil {
		return err
	}
	m.Arch, m.What = k.arch, k.what
	if all, err = scaled(all); err != nil {
		return err
	}
	switch k.arch {
	case SD1, SD2:
		return m.adopt(all, canonicalName)
	case SDXL, SDXLRefiner:
		for _, t := range all {
			if t.Name == "v_pred" && m.Metadata[keyPrediction] == "" {
				m.Metadata[keyPrediction] = "v"
			}
		}
		return m.adopt(all, canonicalXLName)
	case ESRGAN:
		err = m.adopt(all, esrganNames(all))
	default:
		if all, err = toOriginal(k.arch, all); err == nil {
			err = m.adopt(all, ownName)
		}
	}
	if err == nil && len(m.Tensors) == 0 {
		err = fmt.Errorf("%s whose %d tensors hold no weights: %w", k.what, len(all), ErrUnrecognized)
	}
	if err == nil {
		m.learn()
	}
	return err
}

// ownName leaves a tensor its name.
func ownName(name string) (string, bool) { return name, name != "" }

// trimPath drops the path that the system's errors begin with: the caller adds
// the model's.
func trimPath(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// types are the types of safetensors files that weights can have.
var types = map[string]dtype.Type{
	"F32": dtype.F32, "F16": dtype.F16, "BF16": dtype.BF16, "F64": dtype.F64,
	"F8_E4M3": dtype.F8_E4M3, "F8_E5M2": dtype.F8_E5M2,
	"I8": dtype.I8, "I16": dtype.I16, "I32": dtype.I32, "I64": dtype.I64,
}

const noType = dtype.Type(1 << 16) // not Valid

func readSafetensors(data []byte, said map[string]string) ([]raw, error) {
	file, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	for k, v := range file.Metadata {
		said[k] = v
	}
	if err := checkSaid(said); err != nil {
		return nil, err
	}
	all := make([]raw, len(file.Tensors))
	for i, t := range file.Tensors {
		typ, ok := types[t.DType]
		if !ok {
			typ = noType
		}
		all[i] = raw{Tensor{Name: t.Name, Type: typ, Shape: t.Shape, Bytes: t.Data}, t.DType}
	}
	return all, nil
}

func readGGUF(data []byte, said map[string]string) ([]raw, error) {
	file, err := gguf.Parse(data)
	if err != nil {
		return nil, err
	}
	for _, kv := range file.Meta {
		most := maxListed
		if kv.Key == keyMerges || kv.Key == keyGGUFMerges {
			most = maxMerges
		}
		said[kv.Key] = textOf(kv.Value, most)
	}
	if err := checkSaid(said); err != nil {
		return nil, err
	}
	all := make([]raw, len(file.Tensors))
	for i, t := range file.Tensors {
		all[i] = raw{Tensor{Name: t.Name, Type: t.Type, Shape: t.Shape, Bytes: t.Data}, t.Type.String()}
		if original, ok := file.Get(keyOriginalShape + t.Name).([]int32); ok {
			if err := all[i].reshape(original); err != nil {
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
func (t *raw) reshape(original []int32) error {
	n, shape := int64(1), make([]int64, len(original))
	for i, d := range original {
		if shape[i] = int64(d); d < 1 || n > t.Elements() {
			n = 0
		}
		n *= shape[i]
	}
	if len(shape) > 4 || n != t.Elements() {
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

func readCheckpoint(data []byte) ([]raw, error) {
	tensors, err := checkpoint.Parse(data)
	if err != nil {
		return nil, err
	}
	all := make([]raw, len(tensors))
	for i, t := range tensors {
		typ, ok := types[t.DType]
		if !ok {
			typ = noType
		}
		all[i] = raw{Tensor{Name: t.Name, Type: typ, Shape: t.Shape, Bytes: t.Data}, t.DType}
		if ok && t.Strides != nil {
			all[i].Bytes, all[i].strided = nil, &strided{t}
		}
	}
	return all, nil
}

// adopt takes tensors in under their canonical names. rename gives the name,
// or "" for a tensor that is passed over, or false for one that is unknown.
func (m *Model) adopt(all []raw, rename func(name string) (string, bool)) error {
	if m.index == nil {
		m.index = map[string]int{}
	}
	all, err := scaled(all)
	if err != nil {
		return err
	}
	var unknown []string
	for _, t := range all {
		if !isDiffusion(m.Arch) && t.isNoWeight() {
			m.Ignored = append(m.Ignored, t.Name)
			continue
		}
		name, ok := rename(t.Name)
		if !ok {
			unknown = append(unknown, t.Name)
			continue
		}
		if name == "" {
			m.Ignored = append(m.Ignored, t.Name)
			continue
		}
		if !t.Type.Float() && t.Scale == nil {
			return fmt.Errorf("tensor %q is of type %s; f32, f16, bf16, f64 or a quantized type is wanted", t.Name, t.kind)
		}
		if len(t.Shape) == 0 && isDiffusion(m.Arch) || len(t.Shape) > 4 || slices.Contains(t.Shape, 0) {
			return fmt.Errorf("tensor %q has the shape %v; one to four dimensions, none of them 0, are wanted", t.Name, t.Shape)
		}
		for _, part := range split(name, t.Tensor) {
			if len(part.Name) > gguf.MaxName {
				return fmt.Errorf("tensor %.60q: a name of %d bytes, at most %d are possible", part.Name, len(part.Name), gguf.MaxName)
			}
			if _, twice := m.index[part.Name]; twice {
				return fmt.Errorf("tensor %q and another one are both %q", t.Name, part.Name)
			}
			m.index[part.Name] = len(m.Tensors)
			m.Tensors = append(m.Tensors, part)
		}
	}
	if len(unknown) > 0 {
		return unknownTensors(unknown, len(all))
	}
	return nil
}

// isNoWeight tells what files of parts hold beside weights: counters and tables
// of positions in whole numbers, and empty marks.
func (t *raw) isNoWeight() bool {
	switch t.kind {
	case "I64", "I32", "BOOL", "i64", "i32":
		return t.Scale == nil
	}
	return slices.Contains(t.Shape, 0)
}

// unknownTensors is the error for what belongs to no network.
func unknownTensors(unknown []string, of int) error {
	slices.Sort(unknown)
	return fmt.Errorf("%d of %d tensors belong to no part of the model: %q; a file with only text encoders, UNet and autoencoder is wanted",
		len(unknown), of, unknown[:min(len(unknown), 3)])
}
