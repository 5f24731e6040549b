package read

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/gguf"
	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// addFile recognises a file by its tensors and adds them to the model.
func addFile(m *model.Model, all []model.Stored) error {
	all, marks, err := family.TakeMarks(all)
	if err != nil {
		return err
	}
	f, err := family.Recognise(all)
	if err != nil {
		return err
	}
	if err := addMarks(m, marks); err != nil {
		return err
	}
	m.Family, m.Description = f.Name, f.Description
	if all, err = scaled(f.Family, all); err != nil {
		return err
	}
	says(m, f.Family, all)
	if f.Strict {
		return add(m, f.Family, all, beside(m, f.Names(all)))
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

// says notes as metadata what a file's tensors say by being there, where its own
// metadata does not.
func says(m *model.Model, f *family.Family, all []model.Stored) {
	if f.Says == nil {
		return
	}
	for key, value := range f.Says(all) {
		if m.Metadata[key] == "" {
			setMetadata(m, key, value)
		}
	}
}

// beside makes a function that renames tensors of a whole file ignore those that it does
// not know: they are beside the networks.
func beside(m *model.Model, rename layout.Rename) layout.Rename {
	return func(name string) (string, bool) {
		to, ok := rename(name)
		if !ok {
			m.Unknown = append(m.Unknown, name)
			return "", true
		}
		return to, true
	}
}

// add adds tensors to the model under their canonical names.
func add(m *model.Model, f *family.Family, all []model.Stored, rename layout.Rename) error {
	all, err := scaled(f, all)
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
		if !ok && (!t.Type.Float() && t.Scale == nil || slices.Contains(t.Shape, 0)) { // no network's weight can be like it
			m.Ignore(t.Name)
			continue
		}
		if !ok {
			unknown = append(unknown, t.Name)
			continue
		}
		if name == "" {
			m.Ignored = append(m.Ignored, t.Name)
			continue
		}
		why := ""
		if !t.Type.Float() && t.Scale == nil {
			why = fmt.Sprintf("tensor %q must be of type f32, f16, bf16, f64 or a quantized one, got %s", t.Name, t.DType)
		} else if len(t.Shape) == 0 && f.Strict || len(t.Shape) > 4 || slices.Contains(t.Shape, 0) {
			why = fmt.Sprintf("tensor %q must have one to four dimensions, none of them 0, got the shape %v", t.Name, t.Shape)
		}
		if why != "" && f.Strict && (!t.Type.Float() || slices.Contains(t.Shape, 0)) { // perhaps a mark, which no network needs
			m.Skip(t.Name, name, why)
			continue
		}
		if why != "" {
			return errors.New(why)
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

// addMarks gives a model the tensors that are marks, and what they say as metadata.
// What the file's own metadata says wins.
func addMarks(m *model.Model, marks []model.Tensor) error {
	said, err := family.SaidByMarks(marks)
	if err != nil {
		return err
	}
	m.Marks = append(m.Marks, marks...)
	for key, value := range said {
		if m.Metadata[key] == "" {
			setMetadata(m, key, value)
		}
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
