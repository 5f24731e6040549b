// Package family says what a model is: for each family of models one file, with
// one entry of the table in table.go, tells how its files are recognised, how its
// configuration is read, how its tensors are renamed, and what is written about
// it. Nothing outside this package asks which family a model is of.
package family

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/convert/layout"
	"github.com/sdgo/sdgo/convert/model"
)

// Family is all that is known about a family of models. Only Name and Looks are
// needed; what a family has no use for stays empty.
type Family struct {
	// Name is what metadata and programs call the family: "sd1", "lora".
	Name string

	// Looks are the ways in which its files can look, tried in order.
	Looks []Look

	// Owns, if not nil, says which tensors are the family's, by their names. A file is of
	// the family only if they hold at least half of its numbers: other models may have
	// a stray tensor that looks like this family's.
	Owns func(name string) bool

	// Fits, if not nil, says whether the shapes are such a file's, too.
	Fits func(all []model.Stored) bool

	// Guess recognises what no name tells, after all Looks of all families
	// failed. It returns the description, or "".
	Guess func(all []model.Stored) string

	// Runs says that this module can run the family, on its own or beside another
	// model. Such a family has Read.
	Runs bool

	// Alone says that only its network runs: nothing draws with it yet. It is not
	// among the families that are said to be supported.
	Alone bool

	// Strict says that every tensor of a file has its place: one that is unknown,
	// missing or of another shape is an error as soon as the file is opened. The
	// files of other families can always be looked at and converted, and what
	// Read refuses is an error only when the model is opened to be run.
	Strict bool

	// Names returns the function that gives tensors their canonical names, with
	// no prefix unless the family is Strict; nil if they have these already.
	Names func(all []model.Stored) layout.Rename

	// Says is what tensors of a file say by being there, as metadata. What the file's
	// own metadata says wins.
	Says func(all []model.Stored) map[string]string

	// Fused are the layers of the original layout, for families that the
	// diffusers library has in pieces. Its files are told by what a name in them
	// contains: InPieces, or "transformer_blocks." if that is empty.
	Fused    []layout.Fusion
	InPieces string

	// Rewrite gives tensors of another layout the canonical names and forms, where
	// neither names nor rows alone do.
	Rewrite func(all []model.Stored) ([]model.Stored, error)

	// Folder is the family's model in the diffusers library's layout, for families
	// that the components in model_index.json tell. Folders of other families are
	// recognised by the tensors of their denoiser.
	Folder *Folder

	// Settings reads what the configuration files of a diffusers folder say and
	// shapes do not, as metadata, and warns of what it does not know. json reads one
	// of them, if it is there.
	Settings func(json func(path string, to any) error) (said map[string]string, warnings []string, err error)

	// Tokenizer is the folder, in a diffusers folder, of the byte-pair merges.
	Tokenizer string

	// T5Tokenizer is the folder, in a diffusers folder, of T5's vocabulary.
	T5Tokenizer string

	// QwenTokenizer is the folder, in a diffusers folder, of Qwen's vocabulary.
	QwenTokenizer string

	// Read reads the configuration off the model's tensors and metadata, for
	// Model.Config, and sets the model's Prediction, NativeSize and the like.
	Read func(r *Reader) any

	// Complete gives the tensors the names that the networks ask for, before the
	// model is run, where files may have others.
	Complete func(m *model.Model) error

	// Lacks says which networks a file of the family lacks to be run, and what adds
	// them.
	Lacks func(m *model.Model) string

	// Properties finds numbers that tell models of the family apart, and words
	// for the description.
	Properties func(d *Describer)

	// Metadata adds to the metadata of a file that is written.
	Metadata func(m *model.Model, add func(key string, value any))

	// Architecture is what files call the family, if not by its name.
	Architecture func(m *model.Model) string

	// Groups are tensors that are listed together, tried in order; nil means those
	// of most models.
	Groups []Group

	// Role is the place that a file of the family takes in a model that is put
	// together from several.
	Role Role

	// PartName returns the function that renames tensors of a file of this Role to
	// the names in a whole model; nil if these are the canonical ones.
	PartName func(all []model.Stored) layout.Rename

	// Slots are the places in a model of this family that is put together. nil
	// if none can be.
	Slots func(given Given) Slots

	// TextPrefix is where a text encoder's tensors go in a diffusers folder that
	// is recognised by its denoiser; nil leaves it to the folder's name.
	TextPrefix func(all []model.Stored) string

	// Precise are parts of the names of matrices that are never quantized, in
	// models of any family.
	Precise []string
}

// Look is one way in which files of a family can look.
type Look struct {
	Description string

	// Names are those of tensors that must all be there; after "!" of those that must
	// not. "*" stands for any text.
	Names []string
}

// Folder is a model in the diffusers library's layout.
type Folder struct {
	Components []string // that model_index.json must have
	Parts      []FolderPart
}

// FolderPart is one network's place in a diffusers folder.
type FolderPart struct {
	Folder string
	Base   string // of the name of its file, which may be in shards
	Names  func(all []model.Stored) layout.Rename
}

// Names that the files of weights have in diffusers folders.
const (
	TextFile = "model"                   // of text encoders
	NetFile  = "diffusion_pytorch_model" // of other networks
)

// Recognised is what a file was recognised as.
type Recognised struct {
	*Family
	Description string
}

// Original gives the tensors of a file of one part the original layout's names,
// if they have the diffusers library's, and puts fused layers together. Names
// that no table has stay as they are.
func (f *Family) Original(all []model.Stored) ([]model.Stored, error) {
	if f.Rewrite != nil {
		return f.Rewrite(all)
	}
	if f.Fused != nil && layout.Contains(all, cmp.Or(f.InPieces, "transformer_blocks.")) {
		return layout.Fuse(all, f.Fused)
	}
	if f.Names != nil && !f.Strict {
		if rename := f.Names(all); rename != nil {
			return layout.Renamed(all, rename), nil
		}
	}
	return all, nil
}

// Configure reads the model's configuration, if its family has one. Of a family
// that is not strict, a model that can't be run has none.
func Configure(m *model.Model) error { return configure(Lookup(m.Family), m) }

func configure(f *Family, m *model.Model) error {
	if f == nil || f.Read == nil {
		return nil
	}
	trial := m.Copy() // what fails leaves the model as it was
	config, err := read(f, trial)
	switch {
	case err == nil:
		trial.Config = config
		*m = *trial
	case !f.Strict:
		return nil
	}
	return err
}

// Prepare makes a model that was loaded ready to be run. Families that this
// module can't run are an error.
func Prepare(m *model.Model) (err error) {
	f := Lookup(m.Family)
	if f != nil && f.Lacks != nil {
		return fmt.Errorf("%s: %w without %s", m.Description, model.ErrUnrecognized, f.Lacks(m))
	}
	if f == nil || !f.Runs {
		return fmt.Errorf("%s: %w; supported are %s", m.Description, model.ErrUnrecognized, strings.Join(running(), ", "))
	}
	if f.Complete != nil {
		if err := f.Complete(m); err != nil {
			return err
		}
	}
	if m.Config == nil {
		m.Config, err = read(f, m)
	}
	return err
}

func read(f *Family, m *model.Model) (any, error) {
	r := &Reader{Model: m}
	config := f.Read(r)
	if r.err != nil {
		return nil, r.err
	}
	return config, nil
}

// running describes the families that can be run, whole models first.
func running() (all []string) {
	for _, strict := range []bool{true, false} {
		for _, f := range table {
			if f.Runs && !f.Alone && f.Strict == strict {
				all = append(all, f.Looks[0].Description)
			}
		}
	}
	return all
}

// AddMetadata adds what a file that is written says about its model.
func AddMetadata(m *model.Model, add func(key string, value any)) {
	architecture := m.Family
	if f := Lookup(m.Family); f != nil {
		if f.Architecture != nil {
			architecture = f.Architecture(m)
		}
		if f.Metadata != nil {
			f.Metadata(m, add)
		}
	}
	add(model.KeyArchitecture, architecture)
	for _, p := range m.Properties {
		add("sdgo."+m.Family+"."+p.Name, uint32(p.Value))
	}
}

// IsPrecise reports whether a matrix of this name is never quantized: a table that
// is looked up and not multiplied, or one of the first and last layers, which
// every step depends on. The names are stable-diffusion.cpp's, so that its files
// and this module's hold the same numbers.
func IsPrecise(name string) bool {
	for _, f := range table {
		for _, part := range f.Precise {
			if strings.Contains(name, part) {
				return true
			}
		}
	}
	return false
}
