package convert

import (
	"fmt"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
)

// Open opens a model that package sd runs, alone or beside another: Stable
// Diffusion 1.x, 2.x, XL or XL's refiner, a TAESD autoencoder or an ESRGAN
// upscaler. What path is, is found from its contents. The model's Config is set,
// and the bytes of all tensors are in order. Anything else is an
// [ErrUnrecognized].
func Open(path string) (*Model, error) { return read.Open(path) }

// OpenControlNet is [Open] for a ControlNet: a file or folder of its own, or the file of a
// whole model that brings one along. base, which may be nil, opens the model whose UNet the network
// steers, for files that lack what it has.
func OpenControlNet(path string, base func() (*Model, error)) (*Model, error) {
	return read.OpenControlNet(path, base)
}

// ChangesUNet says what the file of a ControlNet is that takes weights from a model's UNet and
// is nothing without it: a Control-LoRA, or differences; "" of any other file of tensors.
func ChangesUNet(path string) (what string, err error) {
	m, all, err := read.Stored(path)
	if err != nil {
		return "", err
	}
	defer m.Close()
	return family.ChangesUNet(all), nil
}

// OpenBytes is [Open] for a file that is in memory: its name is for messages. The
// bytes must stay as they are until Close.
func OpenBytes(name string, data []byte) (*Model, error) { return read.OpenBytes(name, data) }

// OpenAssembled is [Open] for a model some of whose networks are in other files: it is
// [Assemble] and makes the model ready to be run.
func OpenAssembled(c Components) (*Model, error) { return read.OpenAssembled(c) }

// OpenBytesAssembled is [OpenAssembled] for a model that is in memory, as for
// [OpenBytes], under the name of c.Model; the components are in files.
func OpenBytesAssembled(data []byte, c Components) (*Model, error) {
	return read.OpenBytesAssembled(data, c)
}

// Load opens a file or folder of any kind that is recognised, to look at it or to
// convert it.
func Load(path string) (*Model, error) { return read.Load(path) }

// Assemble is [Load] for a model that is put together from several files. Of
// two that have the same component, the one that is named for it wins.
func Assemble(c Components) (*Model, error) { return read.Assemble(c) }

// NewT2IAdapterConfig describes a T2I-Adapter for grey pictures that fits a UNet: with
// features for as many of its levels as the layout can have, and a number of residual blocks
// for each.
func NewT2IAdapterConfig(u UNetConfig, blocks int) (*T2IAdapterConfig, error) {
	return family.NewT2IAdapterConfig(u, blocks)
}

// ConfigAs returns a model's configuration as a type, such as
// *[StableDiffusion]. A model that has no configuration of that type is an
// [ErrUnrecognized]; expected says in the error what should have been opened.
func ConfigAs[C any](m *Model, expected string) (config C, err error) {
	config, ok := m.Config.(C)
	if !ok {
		return config, kindError(fmt.Sprintf("%s: %s; expected %s", m.Path, m.Description, expected))
	}
	return config, nil
}

// kindError says that a model is of another kind than expected.
type kindError string

func (e kindError) Error() string { return string(e) }

func (e kindError) Is(target error) bool { return target == ErrUnrecognized }

// Parts lists the networks of a model with what they take. Weights that belong to
// none of them are one more part.
func Parts(m *Model) []Part { return family.Parts(m) }

// Networks describes the networks of a model that has a Config, for people and
// programs to read.
func Networks(m *Model) []Network { return model.Networks(m) }

// DiffusersNames returns a function that gives a weight's folder and its name in
// the diffusers library's layout, as the library's newest version writes them:
// the inverse of reading such a folder. It knows the families of Stable Diffusion.
func DiffusersNames(m *Model) func(name string) (folder, diffusersName string, ok bool) {
	if c, ok := m.Config.(*StableDiffusion); ok {
		return c.DiffusersNames()
	}
	return func(string) (string, string, bool) { return "", "", false }
}
