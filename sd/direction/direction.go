// Package direction has directions in the space of a UNet's deepest features, what its
// middle block returns (h-space: Kwon et al. 2022, arXiv:2210.10960): one change of them for
// each timestep. They are found as differences of means and kept in safetensors files.
package direction

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
)

// Limits of a direction.
const (
	MaxTimesteps = 10000
	maxFile      = 4 << 30 // bytes
)

// Direction is a change of features for each of some timesteps.
type Direction struct {
	name      string
	shape     []int     // [channels, height, width]
	timesteps []float64 // falling
	data      []float32 // a change for each
	about     map[string]string
}

// New makes a direction of changes, one after the other, of features [channels, height,
// width] at falling timesteps. about says in words what it is, for its file.
func New(name string, shape []int, timesteps []float64, data []float32, about map[string]string) (*Direction, error) {
	d := &Direction{name: name, shape: slices.Clone(shape), timesteps: slices.Clone(timesteps), data: slices.Clone(data), about: about}
	return d, d.check()
}

func (d *Direction) check() error {
	if len(d.shape) != 3 || slices.Min(d.shape) < 1 {
		return fmt.Errorf("features must have the shape [channels, height, width], got %v", d.shape)
	}
	if n := len(d.timesteps); n < 1 || n > MaxTimesteps {
		return fmt.Errorf("there must be 1 to %d timesteps, got %d", MaxTimesteps, n)
	}
	for i, t := range d.timesteps {
		if math.IsNaN(t) || math.IsInf(t, 0) || i > 0 && t >= d.timesteps[i-1] {
			return fmt.Errorf("timesteps must fall, got %g at %d", t, i)
		}
	}
	if len(d.data)/len(d.timesteps) != d.size() || len(d.data)%len(d.timesteps) != 0 {
		return fmt.Errorf("there must be %d features at each of %d timesteps, got %d", d.size(), len(d.timesteps), len(d.data))
	}
	for i, v := range d.data {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("features must be finite, got %g at timestep %g", v, d.timesteps[i/d.size()])
		}
	}
	return nil
}

func (d *Direction) size() int { return d.shape[0] * d.shape[1] * d.shape[2] }

// Name is that of its file, without folder and extension.
func (d *Direction) Name() string { return d.name }

// Shape is that of the features, [channels, height, width].
func (d *Direction) Shape() []int { return slices.Clone(d.shape) }

// Timesteps is the number of timesteps that it has a change for.
func (d *Direction) Timesteps() int { return len(d.timesteps) }

// Close implements sd.Attachment. There is nothing to close.
func (d *Direction) Close() error { return nil }

// Add adds to dst the change at a timestep times k: linearly between those of its neighbours,
// and before the first and after the last one of these.
func (d *Direction) Add(dst []float32, k, timestep float64) {
	at, found := slices.BinarySearchFunc(d.timesteps, timestep, func(t, want float64) int {
		switch {
		case t > want:
			return -1
		case t < want:
			return 1
		}
		return 0
	})
	if found || at == 0 || at == len(d.timesteps) {
		d.add(dst, k, min(at, len(d.timesteps)-1))
		return
	}
	before, after := d.timesteps[at-1], d.timesteps[at]
	share := (before - timestep) / (before - after)
	d.add(dst, k*(1-share), at-1)
	d.add(dst, k*share, at)
}

func (d *Direction) add(dst []float32, k float64, i int) {
	n := d.size()
	for j, v := range d.data[i*n : (i+1)*n] {
		dst[j] += float32(k * float64(v))
	}
}

const (
	formatKey = "sdgo.format"
	format    = "h-direction 1"
)

// Read reads a file.
func Read(path string) (*Direction, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s: must be a regular file of at most %d bytes", path, int64(maxFile))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	base := filepath.Base(path)
	d, err := parse(strings.TrimSuffix(base, filepath.Ext(base)), data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

func parse(name string, data []byte) (*Direction, error) {
	file, err := safetensors.Parse(data)
	if err != nil {
		return nil, err
	}
	if got := file.Metadata[formatKey]; got != format {
		return nil, fmt.Errorf("is no direction of sdgo direction, whose metadata says %s %q, got %.40q", formatKey, format, got)
	}
	d := &Direction{name: name, about: file.Metadata}
	for _, t := range file.Tensors {
		if t.DType != "F32" {
			return nil, fmt.Errorf("tensor %.40q must be F32, got %s", t.Name, t.DType)
		}
		switch {
		case t.Name == "timesteps" && len(t.Shape) == 1:
			for _, v := range floats(t.Data) {
				d.timesteps = append(d.timesteps, float64(v))
			}
		case t.Name == "h" && len(t.Shape) == 4:
			for _, n := range t.Shape[1:] {
				d.shape = append(d.shape, int(n))
			}
			d.data = floats(t.Data)
		default:
			return nil, fmt.Errorf("tensors must be timesteps [N] and h [N, channels, height, width], got %.40q %v", t.Name, t.Shape)
		}
	}
	return d, d.check()
}

func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

func bytesOf(v []float32) []byte {
	out := make([]byte, 4*len(v))
	for i, f := range v {
		binary.LittleEndian.PutUint32(out[4*i:], math.Float32bits(f))
	}
	return out
}

// Write writes the direction to a file, all or nothing.
func (d *Direction) Write(path string) error {
	if err := d.check(); err != nil {
		return err
	}
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	about := map[string]string{formatKey: format}
	for k, v := range d.about {
		if k != formatKey {
			about[k] = strings.ToValidUTF8(v, "\ufffd")
		}
	}
	times := make([]float32, len(d.timesteps))
	shape := []int64{int64(len(times))}
	for i, t := range d.timesteps {
		times[i] = float32(t)
	}
	all := []safetensors.Tensor{{Name: "timesteps", DType: "F32", Shape: shape, Data: bytesOf(times)}}
	for _, n := range d.shape {
		shape = append(shape[:len(shape):len(shape)], int64(n))
	}
	all = append(all, safetensors.Tensor{Name: "h", DType: "F32", Shape: shape, Data: bytesOf(d.data)})
	if err := safetensors.Write(f, about, all); err != nil {
		return err
	}
	return f.Commit()
}
