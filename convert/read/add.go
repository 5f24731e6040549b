package read

import (
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// addFile recognises a file by its tensors and adds them to the model.
func addFile(m *model.Model, all []model.Stored) error {
	f, err := family.Recognise(all)
	if err != nil {
		return err
	}
	m.Family, m.Description = f.Name, f.Description
	if all, err = scaled(all); err != nil {
		return err
	}
	mark(m, f.Family, all)
	if f.Strict {
		return add(m, f.Family, all, f.Names(all))
	}
	if all, err = f.Original(all); err == nil {
		err = add(m, f.Family, all, layout.OwnName)
	}
	if err == nil && len(m.Tensors) == 0 {
		err = fmt.Errorf("%s whose %d tensors hold no weights: %w", f.Description, len(all), model.ErrUnrecognized)
	}
	if err == nil {
		family.Describe(m)
	}
	return err
}

// mark notes as metadata what a file's tensors say by being there, where its own
// metadata does not.
func mark(m *model.Model, f *family.Family, all []model.Stored) {
	if f.Marks == nil {
		return
	}
	for key, value := range f.Marks(all) {
		if m.Metadata[key] == "" {
			setMetadata(m, key, value)
		}
	}
}

// add adds tensors to the model under their canonical names.
func add(m *model.Model, f *family.Family, all []model.Stored, rename layout.Rename) error {
	all, err := scaled(all)
	if err != nil {
		return err
	}
	var unknown []string
	for _, t := range all {
		if !f.Strict && isNoWeight(t) {
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
			return fmt.Errorf("tensor %q must be of type f32, f16, bf16, f64 or a quantized one, got %s", t.Name, t.DType)
		}
		if len(t.Shape) == 0 && f.Strict || len(t.Shape) > 4 || slices.Contains(t.Shape, 0) {
			return fmt.Errorf("tensor %q must have one to four dimensions, none of them 0, got the shape %v", t.Name, t.Shape)
		}
		for _, part := range layout.Split(name, t.Tensor) {
			if len(part.Name) > gguf.MaxName {
				return fmt.Errorf("tensor %.60q: its name must be at most %d bytes, got %d", part.Name, gguf.MaxName, len(part.Name))
			}
			if m.Index(part.Name) >= 0 {
				return fmt.Errorf("tensor %q and another one are both %q", t.Name, part.Name)
			}
			m.Add(part)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("%d of %d tensors belong to no network of the model: %q; remove them, or use a file with the model's networks alone",
			len(unknown), len(all), unknown[:min(len(unknown), 3)])
	}
	return nil
}

// isNoWeight tells what files of parts hold beside weights: counters and tables
// of positions in whole numbers, and empty marks.
func isNoWeight(t model.Stored) bool {
	switch t.DType {
	case "I64", "I32", "BOOL", "i64", "i32":
		return t.Scale == nil
	}
	return slices.Contains(t.Shape, 0)
}
