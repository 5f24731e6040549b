package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/train/optim"
)

// Keys of a checkpoint's metadata.
const (
	keyVersion  = "sdgo.train.version"
	keyStep     = "sdgo.train.step"
	keySettings = "sdgo.train.settings"
	keyPart     = "sdgo.train." // a part's numbers, and the names of its slices
)

// version is that of checkpoints: another one is refused.
const version = "1"

func (r *run) statePath() string { return filepath.Join(r.o.Folder, "state.safetensors") }

// settings are all that the next steps depend on.
func (r *run) settings() map[string]string {
	all := maps.Clone(r.o.Settings)
	if all == nil {
		all = map[string]string{}
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	all["accumulate"], all["rate"], all["clip"], all["average"] = strconv.Itoa(r.o.Accumulate), number(r.o.Rate), number(r.o.Clip), number(r.o.Average)
	all["schedule"], all["warmup"], all["optimizer"] = r.o.Schedule, strconv.Itoa(r.o.Warmup), fmt.Sprintf("%T", r.o.Optimizer)
	if r.o.Schedule != "constant" { // whose rate does not depend on the end
		all["steps"] = strconv.Itoa(r.o.Steps)
	}
	return all
}

// checkpoint writes the state.
func (r *run) checkpoint() error {
	settings, err := json.Marshal(r.settings())
	if err != nil {
		return err
	}
	metadata := map[string]string{keyVersion: version, keyStep: strconv.Itoa(r.step), keySettings: string(settings)}
	var tensors []safetensors.Tensor
	add := func(prefix string, all [][]float32) (err error) {
		for i, values := range all {
			t := safetensors.Tensor{Name: prefix + r.task.Names()[i], DType: "F32", Shape: []int64{int64(len(values))}, Data: make([]byte, 4*len(values))}
			err = errors.Join(err, dtype.Encode(dtype.F32, t.Data, values))
			tensors = append(tensors, t)
		}
		return err
	}
	if err := add("weight.", r.task.Weights()); err != nil {
		return err
	}
	for name, s := range r.states() {
		p := part{s.Numbers, slices.Sorted(maps.Keys(s.Slices))}
		text, err := json.Marshal(p)
		if err != nil {
			return err
		}
		metadata[keyPart+name] = string(text)
		for _, slice := range p.Slices {
			if err := add(name+"."+slice+".", s.Slices[slice]); err != nil {
				return err
			}
		}
	}
	slices.SortStableFunc(tensors, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	return writeFile(r.statePath(), func(w io.Writer) error { return safetensors.Write(w, metadata, tensors) })
}

// part is what the metadata says of the state of an optimizer or an average.
type part struct {
	Numbers map[string]float64 `json:"numbers"`
	Slices  []string           `json:"slices"`
}

// states are those of the parts that have one.
func (r *run) states() map[string]optim.State {
	all := map[string]optim.State{"optimizer": r.o.Optimizer.State()}
	if r.average != nil {
		all["average"] = r.average.State()
	}
	return all
}

// writeFile puts a file in place when it is complete.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Commit()
}

// restore continues from the checkpoint.
func (r *run) restore(ctx context.Context) error {
	data, err := r.readState()
	if err != nil {
		return err
	}
	file, err := safetensors.Parse(data)
	if err != nil {
		return err
	}
	if v := file.Metadata[keyVersion]; v != version {
		return fmt.Errorf("is no checkpoint of this program: its version must be %s, got %.20q", version, v)
	}
	var settings map[string]string
	if err := json.Unmarshal([]byte(file.Metadata[keySettings]), &settings); err != nil {
		return fmt.Errorf("its settings: %w", err)
	}
	if err := sameSettings(settings, r.settings()); err != nil {
		return err
	}
	step, err := strconv.Atoi(file.Metadata[keyStep])
	if err != nil || step < 0 || step > r.o.Steps {
		return fmt.Errorf("its step must be 0 to %d, got %.20q", r.o.Steps, file.Metadata[keyStep])
	}
	tensors := map[string]safetensors.Tensor{}
	for _, t := range file.Tensors {
		tensors[t.Name] = t
	}
	weights, err := r.read(tensors, "weight.")
	if err != nil {
		return err
	}
	if err := r.task.Change(ctx, func() {
		for i, w := range weights {
			copy(r.task.Weights()[i], w)
		}
	}); err != nil {
		return err
	}
	r.step = step
	if err := r.restorePart(file, tensors, "optimizer", r.o.Optimizer.Restore); err != nil || r.average == nil {
		return err
	}
	return r.restorePart(file, tensors, "average", r.average.Restore)
}

// readState reads the checkpoint's bytes, which are a few times the weights' at most.
func (r *run) readState() ([]byte, error) {
	info, err := os.Stat(r.statePath())
	if err != nil {
		return nil, err
	}
	limit := int64(safetensors.MaxHeader)
	for _, w := range r.task.Weights() {
		limit += 8 * 4 * int64(len(w))
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("must be a file of at most %d bytes for these weights, got %d", limit, info.Size())
	}
	return os.ReadFile(r.statePath())
}

// sameSettings returns an error that names the settings that differ.
func sameSettings(was, is map[string]string) error {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(union(was, is))) {
		if was[name] != is[name] {
			all = append(all, fmt.Sprintf("%s was %.60q and is %.60q", name, was[name], is[name]))
		}
	}
	if all == nil {
		return nil
	}
	return fmt.Errorf("the training began with other settings: %s", strings.Join(all, ", "))
}

func union(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// read reads a slice for each weight.
func (r *run) read(tensors map[string]safetensors.Tensor, prefix string) ([][]float32, error) {
	out := make([][]float32, len(r.task.Names()))
	for i, name := range r.task.Names() {
		t, ok := tensors[prefix+name]
		n := len(r.task.Weights()[i])
		if !ok || t.DType != "F32" || len(t.Data) != 4*n {
			return nil, fmt.Errorf("tensor %q must have %d elements of type F32", prefix+name, n)
		}
		out[i] = make([]float32, n)
		if err := dtype.Float32(dtype.F32, out[i], t.Data); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *run) restorePart(file *safetensors.File, tensors map[string]safetensors.Tensor, name string, restore func(optim.State) error) error {
	var p part
	if err := json.Unmarshal([]byte(file.Metadata[keyPart+name]), &p); err != nil {
		return fmt.Errorf("what it says of its %s: %w", name, err)
	}
	s := optim.State{Numbers: p.Numbers, Slices: map[string][][]float32{}}
	for _, slice := range p.Slices {
		values, err := r.read(tensors, name+"."+slice+".")
		if err != nil {
			return err
		}
		s.Slices[slice] = values
	}
	if err := restore(s); err != nil {
		return fmt.Errorf("its %s: %w", name, err)
	}
	return nil
}
