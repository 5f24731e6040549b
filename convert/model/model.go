// Package model holds what all rooms of package convert share: an open model
// and its tensors, the prefixes of canonical names, the keys of metadata, and
// errors. It knows neither formats of files nor families of models.
package model

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/mmap"
)

// Model is an open model. Its tensors' bytes belong to it and are gone after
// Close; everything else stays. It does not change after it was opened, so
// several goroutines may use it.
type Model struct {
	// Path is what was opened. Format is "safetensors", "diffusers" (a folder),
	// "gguf" or "checkpoint" (PyTorch's).
	Path, Format string

	// Family is the model's family, such as "sd1", "flux" or "lora". Description
	// says in words which model of that family it is, such as "Stable Diffusion
	// 1.x for inpainting".
	Family, Description string

	// Config is what the family reads off names, shapes and metadata: of the
	// families of Stable Diffusion a *family.StableDiffusion. It is nil for
	// families that are only recognised.
	Config any

	// Prediction is what the denoiser predicts, "epsilon", "v" or "sample". It is
	// empty where the file does not say: single files of SD 2.x look the same
	// either way.
	Prediction string

	// NativeSize is the side in pixels of the pictures that the model was
	// trained on. 0 where the family has no such size.
	NativeSize int

	// Guidance is the scale of classifier-free guidance that suits the model
	// best (sdgo.guidance in the metadata), or 0 where the file does not say.
	Guidance float64

	// Merges are the tokenizer's byte-pair merges, "a b", best rank first. nil
	// where the file brings no tokenizer.
	Merges []string

	// T5Tokenizer is the vocabulary of T5's text encoder: a file tokenizer.json of the
	// tokenizers library, or SentencePiece's spiece.model. nil where the file brings none.
	T5Tokenizer []byte

	// QwenTokenizer is the vocabulary of Qwen's text encoder, a file tokenizer.json of the tokenizers library. nil where
	// the file brings none, which then has the published models' own.
	QwenTokenizer []byte

	// AlphasCumprod is the noise schedule in the file: one value for each
	// training timestep, falling. nil where the file brings none.
	AlphasCumprod []float64

	// ZeroSNR says that the noise schedule ends in pure noise (zero terminal SNR, Lin
	// et al. 2024): AlphasCumprod does, or, where it is nil, Stable Diffusion's
	// schedule has to be rescaled.
	ZeroSNR bool

	// EDM is the process of training of a model in continuous time; nil for one that
	// has timesteps. With it, Prediction "epsilon" is the network F of Karras et al.
	EDM *EDM

	// Schedule is the name of the schedule that a run takes which names none. It is
	// empty where the file does not say.
	Schedule string

	// Properties are numbers that tell models of one family apart, of families
	// that have no Config, or one that only models that can be run have.
	Properties []Property

	// Tensors are the weights.
	Tensors []Tensor

	// Marks are tensors that are no weights and tell other programs what the model is
	// by being there, such as "v_pred". What they say is in the fields above.
	Marks []Tensor

	// Warnings are sentences for the user about what the file has and was not read.
	Warnings []string

	// Ignored are the names, as in the file, of tensors that no network uses.
	Ignored []string

	// Unknown are those among Ignored of which it is not known what they are.
	Unknown []string

	// Metadata is what the file says about itself, under the file's own keys. Values has
	// those of a GGUF file's that are no texts, nil for lists that are too long to keep.
	Metadata map[string]string
	Values   map[string]any

	index   map[string]int    // of Tensors, by name
	skipped map[string]string // see Skip
	unknown string            // the warning of Unknown
	files   []File
}

// EDM is a process in continuous time (Karras et al. 2022, arXiv:2206.00364), with
// the lowest and highest noise level of training and the standard deviation of its
// data.
type EDM struct{ SigmaMin, SigmaMax, SigmaData float64 }

// Property is a number that tells a model from others of its family.
type Property struct {
	Name  string // such as "blocks"
	Value int
}

// File is a mapped file of a model.
type File struct {
	*mmap.File
	Name string // relative to the model's folder, with slashes
}

// Part is one network of a model, and what it takes.
type Part struct {
	Name     string               // "text encoder", "UNet", "VAE encoder", "VAE decoder"
	Tensors  int                  // number of tensors
	Elements int64                // number of weights
	Bytes    int64                // their size in the file
	Types    map[dtype.Type]int64 // bytes of each type
}

// Network describes one network of a model.
type Network struct {
	Key     string // in JSON: "text", "unet"
	Name    string // for people: "text encoder", "UNet"
	Config  any    // its hyperparameters
	Summary string // these in one line
}

// Networks describes the networks of a model, if its configuration has a method
// Networks that does.
func Networks(m *Model) []Network {
	if c, ok := m.Config.(interface{ Networks() []Network }); ok {
		return c.Networks()
	}
	return nil
}

// Index is the place of a tensor in Tensors, by its canonical name; -1 if there
// is none.
func (m *Model) Index(name string) int {
	if i, ok := m.index[name]; ok {
		return i
	}
	return -1
}

// Tensor returns the tensor with a canonical name.
func (m *Model) Tensor(name string) (Tensor, bool) {
	if i := m.Index(name); i >= 0 {
		return m.Tensors[i], true
	}
	return Tensor{}, false
}

// Add appends a tensor, whose name no other may have. It is for the code that
// opens models.
func (m *Model) Add(t Tensor) {
	if m.index == nil {
		m.index = map[string]int{}
	}
	m.index[t.Name] = len(m.Tensors)
	m.Tensors = append(m.Tensors, t)
}

// Rename gives the tensor at a place of Tensors another name. It is for the code
// that opens models.
func (m *Model) Rename(i int, name string) {
	delete(m.index, m.Tensors[i].Name)
	m.Tensors[i].Name = name
	m.index[name] = i
}

// Copy is a copy of what code that opens models changes: its fields, tensors and
// metadata, but not their bytes and files.
func (m *Model) Copy() *Model {
	c := *m
	c.Metadata, c.index = maps.Clone(m.Metadata), maps.Clone(m.index)
	c.Tensors, c.Properties, c.Marks = slices.Clone(m.Tensors), slices.Clone(m.Properties), slices.Clone(m.Marks)
	c.Warnings, c.Ignored = slices.Clone(m.Warnings), slices.Clone(m.Ignored)
	c.Unknown, c.skipped = slices.Clone(m.Unknown), maps.Clone(m.skipped)
	return &c
}

// Skip notes that a tensor of the file is no weight, and why. What a network needs under
// its canonical name is then an error that says so; what none needs is only ignored. It is
// for the code that opens models.
func (m *Model) Skip(nameInFile, canonical, why string) {
	if m.skipped == nil {
		m.skipped = map[string]string{}
	}
	m.skipped[canonical] = why
	m.Ignore(nameInFile)
}

// Skipped says why the tensor of a canonical name is no weight; "" if none of that name
// was skipped.
func (m *Model) Skipped(canonical string) string { return m.skipped[canonical] }

// Ignore notes a tensor that belongs to no network, and of which it is not known what
// it is. It is for the code that opens models.
func (m *Model) Ignore(nameInFile string) {
	m.Ignored, m.Unknown = append(m.Ignored, nameInFile), append(m.Unknown, nameInFile)
}

// WarnOfUnknown makes a warning of the tensors that are Unknown, in place of the one that
// it made before. It is for the code that opens models.
func (m *Model) WarnOfUnknown() {
	const most = 3
	if len(m.Unknown) == 0 {
		return
	}
	names := slices.Sorted(slices.Values(m.Unknown))
	text := fmt.Sprintf("%d tensors belong to no network of the model and are ignored: ", len(names))
	if len(names) == 1 {
		text = "1 tensor belongs to no network of the model and is ignored: "
	}
	for i, name := range names[:min(len(names), most)] {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%.80q", name)
	}
	if len(names) > most {
		text += ", …"
	}
	m.Warnings = append(slices.DeleteFunc(slices.Clone(m.Warnings), func(w string) bool { return w == m.unknown }), text)
	m.unknown = text
}

// AddFiles gives the model mapped files, which Close unmaps.
func (m *Model) AddFiles(files ...File) { m.files = append(m.files, files...) }

// Files are the mapped files that the tensors' bytes are in. There are none
// where the model was opened from memory.
func (m *Model) Files() []File { return m.files }

// Close unmaps the files; the tensors, whose bytes they hold, are gone with
// them.
func (m *Model) Close() error {
	var errs []error
	for _, f := range m.files {
		errs = append(errs, f.Close())
	}
	m.files, m.Tensors, m.index = nil, nil, nil
	return errors.Join(errs...)
}

// Intact returns nil as long as all that was read of the tensors' bytes was in
// the model's files. After another program shortened one of them, or the disk
// failed, zeros are read instead, and Intact returns an error: ask it after the
// bytes were used. In programs built without cgo such a read ends the process on
// Unix systems.
func (m *Model) Intact() error {
	for _, f := range m.files {
		if err := f.Intact(); err != nil {
			return err
		}
	}
	return nil
}

// Mapped reports whether bytes are a piece of the model's files, which [Model.Release] gives back.
func (m *Model) Mapped(b []byte) bool {
	return slices.ContainsFunc(m.files, func(f File) bool { return f.Holds(b) })
}

// Release tells the system that a piece of the model's files is not needed for
// now, so that it no longer counts as this process's memory. Bytes of other
// memory are left alone: a checkpoint's tensors may be copies.
func (m *Model) Release(b []byte) {
	for _, f := range m.files {
		f.Release(b)
	}
}
