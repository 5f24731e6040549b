// Package read turns files and folders into models: it reads safetensors files,
// GGUF files, PyTorch checkpoints and folders of the diffusers library, asks
// package family what they are, and gives their tensors canonical names.
package read

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/mmap"
)

// Load opens a file or folder of any kind that is recognised, to look at it or to
// convert it.
func Load(path string) (_ *model.Model, err error) {
	defer model.Recovered(path, &err)
	return opened(load(path))
}

// Open opens a file or folder of a family that this module can run.
func Open(path string) (_ *model.Model, err error) {
	defer model.Recovered(path, &err)
	m, err := opened(load(path))
	return prepared(m, 0, err)
}

// OpenControlNet is Open for a ControlNet, which may be in the file of a whole model.
//
// base, which may be nil, opens the model whose UNet the network steers: a Control-LoRA and a file
// of differences take their weights from it.
func OpenControlNet(path string, base func() (*model.Model, error)) (_ *model.Model, err error) {
	defer model.Recovered(path, &err)
	if info, e := os.Stat(path); e != nil || info.IsDir() {
		m, err := Open(path)
		if err != nil {
			return nil, err
		}
		if _, _, err := networkConfig(path); err != nil { // which is only a warning to those who look
			m.Close()
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return m, nil
	}
	m, all, err := Stored(path)
	if err != nil {
		return nil, err
	}
	all = family.OfControlNet(all)
	if what := family.ChangesUNet(all); what != "" && base != nil {
		return openChanged(m, all, base)
	}
	m, err = opened(m, addFile(m, all))
	return prepared(m, 0, err)
}

// openChanged opens a ControlNet that changes a model's UNet. Both files are mapped until it is
// closed.
func openChanged(m *model.Model, all []model.Stored, base func() (*model.Model, error)) (*model.Model, error) {
	of, err := base()
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	m.AddFiles(of.Files()...)
	whole, changes, err := family.ControlOn(all, of)
	if err == nil {
		err = addFile(m, whole)
	}
	if m, err = opened(m, err); err != nil {
		return nil, err
	}
	if m, err = prepared(m, 0, nil); err != nil {
		return nil, err
	}
	if c, ok := m.Config.(*family.ControlNetConfig); ok {
		c.Changes = changes
	}
	return m, nil
}

// OpenBytes is Open for a file that is in memory: its name is for messages. The
// bytes must stay as they are until Close.
func OpenBytes(name string, data []byte) (_ *model.Model, err error) {
	defer model.Recovered(name, &err)
	m := &model.Model{Path: name}
	m, err = opened(m, readBytes(m, data))
	return prepared(m, len(data), err)
}

// load reads a file or folder, whose configuration is not read yet. It returns a
// model, to be closed, in any case.
func load(path string) (*model.Model, error) { return loadBase(path, Components{}) }

// loadBase is load for a model that components are put into. What they bring, a folder
// may lack.
func loadBase(path string, c Components) (*model.Model, error) {
	m := &model.Model{Path: path}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return m, model.WithoutPath(err)
	case info.IsDir():
		return m, readFolder(m, c)
	}
	if err := unfinished(path); err != nil {
		return m, err
	}
	data, err := mapFile(m, path)
	if err != nil {
		return m, err
	}
	return m, asShard(path, readBytes(m, data))
}

// opened reads the configuration of a model whose tensors were read, or closes it
// if they were not (err).
func opened(m *model.Model, err error) (*model.Model, error) {
	if err == nil {
		err = asShard(m.Path, family.Configure(m))
	}
	m.WarnOfUnknown()
	if changed := m.Intact(); changed != nil { // what else is wrong may come of it
		err = changed
	}
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return m, nil
}

// prepared makes a model ready to be run, or closes it. What of it is in memory, and in no
// file, has a size in bytes.
func prepared(m *model.Model, inMemory int, err error) (*model.Model, error) {
	if err != nil {
		return nil, err
	}
	size := int64(inMemory)
	for _, f := range m.Files() {
		size += int64(len(f.Data))
	}
	if err = family.Prepare(m); err == nil {
		err = putInOrder(m, size)
	}
	m.WarnOfUnknown()
	if err != nil {
		m.Close()
		return nil, fmt.Errorf("%s: %w", m.Path, err)
	}
	return m, nil
}

// mapFile maps a file that is the model, or is in its folder.
func mapFile(m *model.Model, path string) ([]byte, error) {
	f, err := mmap.Open(path)
	if err != nil {
		return nil, model.WithoutPath(err)
	}
	name, err := filepath.Rel(m.Path, path)
	if err != nil || name == "." {
		name = filepath.Base(path)
	}
	m.AddFiles(model.File{File: f, Name: filepath.ToSlash(name)})
	return f.Data, nil
}

// putInOrder copies all of a model's tensors whose elements are in another order than
// the shape's, or in several places of the file, as those of fused layers are. The copies
// take no more memory than the file, which is the budget.
func putInOrder(m *model.Model, budget int64) error {
	var copies uint64
	for _, t := range m.Tensors {
		if !t.Whole() {
			copies += uint64(t.Size())
		}
	}
	const what = "tensors whose elements are not in order"
	release, err := model.TakeMemory(what, copies)
	if err != nil {
		return err
	}
	defer release()
	for i, t := range m.Tensors {
		if t.Whole() {
			continue
		}
		if budget -= t.Size(); budget < 0 {
			return fmt.Errorf("%s take more memory than the file itself; converting it puts them in order", what)
		}
		m.Tensors[i] = t.Joined()
	}
	return nil
}

// Stored opens a file of tensors of any kind and returns them under the file's own names,
// whatever they are. The model, to be closed, has the file and its metadata, and no
// tensors.
func Stored(path string) (_ *model.Model, all []model.Stored, err error) {
	defer model.Recovered(path, &err)
	m := &model.Model{Path: path}
	all, err = func() ([]model.Stored, error) {
		info, err := os.Stat(path)
		if err != nil {
			return nil, model.WithoutPath(err)
		}
		if info.IsDir() {
			return nil, fmt.Errorf("it must be a file, got a folder")
		}
		if err := unfinished(path); err != nil {
			return nil, err
		}
		data, err := mapFile(m, path)
		if err != nil {
			return nil, err
		}
		return storedBytes(m, data)
	}()
	if changed := m.Intact(); changed != nil {
		err = changed
	}
	if err != nil {
		m.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, all, nil
}
