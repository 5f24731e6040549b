package sd

import (
	"cmp"
	"fmt"
	"maps"
	"sync"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/annotate"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/classifier"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/family/deepfloyd"
	"github.com/sdgo/sdgo/sd/family/flux"
	"github.com/sdgo/sdgo/sd/family/flux2"
	"github.com/sdgo/sdgo/sd/family/pixel"
	"github.com/sdgo/sdgo/sd/family/qwenimage"
	"github.com/sdgo/sdgo/sd/family/sd3"
	"github.com/sdgo/sdgo/sd/family/sdxl"
	"github.com/sdgo/sdgo/sd/family/stablediffusion"
	"github.com/sdgo/sdgo/sd/family/zimage"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/upscale"
)

// families are the model families that can be drawn with, by convert's names.
var families = map[string]pipeline.Family{
	convert.SD1:         stablediffusion.Open,
	convert.SD2:         stablediffusion.Open,
	convert.SDXL:        sdxl.Open,
	convert.SDXLRefiner: sdxl.Open,
	convert.PixelUNet:   pixel.Open,
	convert.DiT:         pixel.Open,
	convert.DeepFloyd:   deepfloyd.Open,
	convert.Flux:        flux.Open,
	convert.Chroma:      flux.Open,
	convert.SD3:         sd3.Open,
	convert.ZImage:      zimage.Open,
	convert.Flux2:       flux2.Open,
	convert.QwenImage:   qwenimage.Open,
}

// Model is an open model. Its methods may be called from any goroutine. The zero
// value is a closed one.
type Model struct {
	pipeline *pipeline.Pipeline
	queue    *pipeline.Queue

	mutex    sync.Mutex
	attached pipeline.Attached // never changed, but replaced
}

// Open opens a model: a .safetensors file or a PyTorch checkpoint in the original
// layout, a folder in the diffusers library's layout, or a .gguf file. The weights
// stay in the file, mapped into memory; each network is set up when it is first
// needed.
//
// An empty path opens the first model that package builtin brings along, in programs
// that import it, and BuiltinPrefix with a name the one that is called so.
func Open(path string, o Options) (*Model, error) {
	switch b, err := builtinOf(path); {
	case err != nil:
		return nil, err
	case b != nil:
		return open(b.name, o, func() (*convert.Model, error) { return convert.OpenBytesAssembled(b.data, o.components(b.name)) })
	}
	return open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.OpenAssembled(o.components(path)) })
}

func open(name string, o Options, read func() (*convert.Model, error)) (*Model, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	h, err := engine.Open(name, o.engine(), read)
	if err != nil {
		return nil, err
	}
	p, err := openFamily(h, o.pipeline())
	if err != nil {
		h.Abandon()
		return nil, fmt.Errorf("%s: %w", h.Weights.Path, err)
	}
	p.Parts = o.parts()
	return &Model{pipeline: p, queue: pipeline.NewQueue(p, cmp.Or(o.MaxWaiting, 256))}, nil
}

func openFamily(h *engine.Host, o pipeline.Options) (*pipeline.Pipeline, error) {
	family := families[h.Weights.Family]
	switch {
	case family != nil:
	case h.Weights.Family == convert.TAESD:
		return nil, fmt.Errorf("%s: it decodes the pictures of another model, beside which --taesd takes it (OpenTAESD)", h.Weights.Description)
	case h.Weights.Family == convert.ESRGAN:
		return nil, fmt.Errorf("%s: it enlarges pictures, with upscale -m or --hires-upscaler (OpenESRGAN)", h.Weights.Description)
	case h.Weights.Family == convert.HED:
		return nil, fmt.Errorf("%s: it finds the edges of pictures, with preprocess hed -m (OpenHED)", h.Weights.Description)
	default:
		return nil, fmt.Errorf("%s: this family can be converted and not drawn with yet", h.Weights.Description)
	}
	return family(h, o)
}

// host is nil of a zero value, which was never opened.
func (m *Model) host() *engine.Host {
	if m == nil || m.pipeline == nil {
		return nil
	}
	return m.pipeline.Host
}

// Name is the model's name in the parameters of pictures: its file's, without
// folder and ending.
func (m *Model) Name() string {
	if m.host() == nil {
		return ""
	}
	return m.host().Name
}

// Threads is the number of CPU threads that the model computes with.
func (m *Model) Threads() int {
	if m.host() == nil {
		return 0
	}
	return m.host().Threads()
}

// NativeSize is the side of the pictures that the model was trained on, in
// pixels; 0 of a zero value.
func (m *Model) NativeSize() int {
	if m.host() == nil {
		return 0
	}
	return m.pipeline.Defaults.Side
}

// TakesText reports whether a request's Prompt says what the model draws. Others draw by
// class, or freely.
func (m *Model) TakesText() bool { return m.host() != nil && !m.pipeline.Textless }

// Enlarges reports whether the model enlarges pictures: a request's Image is what it enlarges.
func (m *Model) Enlarges() bool { return m.host() != nil && m.pipeline.Defaults.Enlarges }

// Classes is the number of classes that a request's Class may name, 0 of models without,
// and what they are called, where they have names. The names must not be changed.
func (m *Model) Classes() (n int, names []string) {
	if m.host() == nil {
		return 0, nil
	}
	return m.pipeline.Classes, m.pipeline.Names
}

// Process is how the model was trained to remove noise; nil of a zero value.
func (m *Model) Process() *sampler.Process {
	if m.host() == nil {
		return nil
	}
	return m.pipeline.Denoiser.Process()
}

// Close frees the networks and unmaps the file, after the calls in progress; a
// callback of theirs would wait for itself. Further calls return [ErrClosed]; to
// close again does nothing.
func (m *Model) Close() error {
	if m.host() == nil {
		return nil
	}
	return m.host().Close()
}

// ESRGAN makes pictures larger with a network of ESRGAN's family.
type ESRGAN = upscale.ESRGAN

// Bounds of an upscaler: sides of its tiles, and of an upscaled picture, in pixels.
const (
	MinTile     = upscale.MinTile
	MaxTile     = upscale.MaxTile
	MaxUpscaled = upscale.MaxUpscaled
)

// OpenESRGAN opens an upscaler: RRDBNet of ESRGAN, Real-ESRGAN or BSRGAN, or a compact
// network of Real-ESRGAN, as .pth, .safetensors or .gguf file.
func OpenESRGAN(path string, o Options) (*ESRGAN, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return upscale.OpenESRGAN(path, o.engine())
}

// Upscalers are the names of the filters that [HiresPass.Upscaler] knows beside those
// of attached networks, the default first.
func Upscalers() []string { return upscale.Filters() }

// HED finds the soft edges of pictures, for ControlNets.
type HED = annotate.HED

// OpenHED opens an edge detector, ControlNet's annotator ControlNetHED.pth or a file with its
// names.
func OpenHED(path string, o Options) (*HED, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return annotate.OpenHED(path, o.engine())
}

// TAESD is a tiny autoencoder, which stands in for the large one of a model.
type TAESD = autoencoder.TAESD

// OpenTAESD opens a tiny autoencoder: the author's taesd_decoder or
// taesd_encoder, or the diffusers library's AutoencoderTiny, which is both.
func OpenTAESD(path string, o Options) (*TAESD, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return autoencoder.OpenTAESD(path, o.engine())
}

// Adapter is an open file of changes to a model's weights, such as a LoRA.
type Adapter = adapter.Adapter

// OpenAdapter opens a file of changes to weights: LoRA, LoCon, LoHa, LoKr, (IA)³, GLoRA,
// OFT, BOFT, DoRA and plain differences, in the layouts of kohya's scripts, LyCORIS, PEFT,
// the diffusers library, ComfyUI and cloneofsimo's lora.
func OpenAdapter(path string) (*Adapter, error) { return adapter.Open(path) }

// AdapterNames are the names of adapters in a prompt, as in <lora:name:0.8>.
func AdapterNames(text string) []string { return pipeline.AdapterNames(text) }

// AdapterAlias is the name that its trainer gave a file of an adapter, of which only the
// header is read; "" if there is none.
func AdapterAlias(path string) string { return convert.AdapterAlias(path) }

// Control is an open network that makes a model follow a picture: a *[ControlNet], a
// *[T2IAdapter] or an *[IPAdapter].
type Control = control.Network

// ControlNet is an open ControlNet (Zhang et al. 2023).
type ControlNet = control.ControlNet

// T2IAdapter is an open T2I-Adapter (Mou et al. 2023).
type T2IAdapter = control.T2IAdapter

// IPAdapter is an open IP-Adapter (Ye et al. 2023), with the image encoder by which it sees
// pictures.
type IPAdapter = control.IPAdapter

// OpenControl opens a ControlNet, a T2I-Adapter or an IP-Adapter, whichever a file is. An
// IP-Adapter needs an image encoder of CLIP, [Options.CLIPVision]; a Control-LoRA, and a file of differences,
// the model whose UNet it changes, [Options.ControlBase].
func OpenControl(path string, o Options) (Control, error) {
	with := control.Files{CLIPVision: o.CLIPVision}
	if base := o.ControlBase; base != "" {
		with.Base = func() (*convert.Model, error) { return OpenWeights(base) }
	}
	o.CLIPVision, o.ControlBase = "", ""
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return control.Open(path, with, o.engine())
}

// OpenControlNet opens a ControlNet for Stable Diffusion 1.x, 2.x or XL, in the original
// layout or the diffusers library's, or that of a checkpoint which brings one along.
func OpenControlNet(path string, o Options) (*ControlNet, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return control.OpenControlNet(path, o.engine())
}

// OpenT2IAdapter opens a T2I-Adapter for Stable Diffusion 1.x, 2.x or XL, full or light, in
// its authors' layout or the diffusers library's.
func OpenT2IAdapter(path string, o Options) (*T2IAdapter, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return control.OpenT2IAdapter(path, o.engine())
}

// Classifier is an open classifier of noisy pictures, whose gradient guides models.
type Classifier = classifier.Classifier

// Attack is projected gradient descent against a [Classifier].
type Attack = classifier.Attack

// OpenClassifier opens a classifier of noisy pictures: guided-diffusion's, or one of sdgo
// train classifier.
func OpenClassifier(path string, o Options) (*Classifier, error) {
	if err := o.checkAlone(); err != nil {
		return nil, err
	}
	return classifier.Open(path, o.engine(), pixel.Process)
}

// Embedding is a textual inversion: a word for prompts with vectors of its own.
type Embedding = adapter.Embedding

// OpenEmbedding reads a textual inversion of AUTOMATIC1111, the diffusers library, kohya's
// scripts or SDXL.
func OpenEmbedding(path string) (*Embedding, error) { return adapter.OpenEmbedding(path) }

// Attach lets requests name other open models: a *Model as [Request.Refiner] or one of
// [Request.Stages], a *TAESD as [Request.TAESD], an *ESRGAN as [HiresPass.Upscaler], an
// *Adapter in [Request.Adapters] or the prompt, a [Control] in [Request.Controls], a
// *Classifier as [Request.Classifier] or in [Request.Guides], by their Name or that of
// [Named], a *Direction in [Request.Directions]. An *Embedding is a word of all prompts. They must stay open as long as requests
// name them. It is an error if another one of the same
// kind and name is attached, or an upscaler has the name of one of [Upscalers].
func (m *Model) Attach(others ...Attachment) error {
	if m.host() == nil {
		return ErrClosed
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	a := m.attached
	for _, o := range others {
		var err error
		name := o.Name()
		if n, ok := o.(named); ok {
			o = n.Attachment
		}
		switch o := o.(type) {
		case *Model:
			if o.host() == nil {
				return ErrClosed
			}
			a.Models, err = with(a.Models, name, o.pipeline)
		case *TAESD:
			a.TAESDs, err = with(a.TAESDs, name, o)
		case *ESRGAN:
			if _, ok := upscale.LookupFilter(name); ok {
				return fmt.Errorf("%q is the name of a filter; a network's file must have another", name)
			}
			a.ESRGANs, err = with(a.ESRGANs, name, pipeline.Enlarger(o))
		case *Adapter:
			a.Adapters, err = with(a.Adapters, name, o)
		case Control:
			a.Controls, err = with(a.Controls, name, o)
		case *Classifier:
			a.Classifiers, err = with(a.Classifiers, name, o)
		case *Embedding:
			a.Words, err = with(a.Words, name, o)
		case *Direction:
			a.Directions, err = with(a.Directions, name, o)
		default:
			err = fmt.Errorf("attached models must be a *Model, *TAESD, *ESRGAN, *Adapter, *Embedding, *ControlNet, *T2IAdapter, *IPAdapter, *Classifier or *Direction, got %T", o)
		}
		if err != nil {
			return err
		}
	}
	m.attached = a
	return nil
}

// Attachment is an open model that [Model.Attach] takes.
type Attachment interface {
	Name() string
	Close() error
}

// with is a copy of a map with one more.
func with[T comparable](all map[string]T, name string, one T) (map[string]T, error) {
	if known, ok := all[name]; ok && known != one {
		return nil, fmt.Errorf("another model %.80q is attached already", name)
	}
	if name == "" {
		return nil, ErrClosed
	}
	all = maps.Clone(all)
	if all == nil {
		all = map[string]T{}
	}
	all[name] = one
	return all, nil
}

// others are the attached models, as they are now.
func (m *Model) others() pipeline.Attached {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.attached
}
