// Package convert reads the weights of diffusion models: safetensors files,
// folders in the diffusers library's layout, PyTorch checkpoints and GGUF files.
// It finds out what a model is from the names and shapes of its tensors, gives
// them their canonical names, and writes GGUF and safetensors files.
//
// Files are memory-mapped and never copied as a whole. Everything in them is
// hostile until checked: a damaged or crafted file gives an error that names
// the file and the tensor or field, and costs no more memory than a small
// multiple of its own size. A file that another program shortens while it is
// mapped is an error, too, but on Unix systems without cgo, where it ends the
// process.
//
// The canonical names are those of the original checkpoints of latent
// diffusion (CompVis, Stability AI), which stable-diffusion.cpp's GGUF files
// have too:
//
//	model.diffusion_model.input_blocks.0.0.weight               the UNet
//	first_stage_model.decoder.conv_in.weight                    the autoencoder
//	cond_stage_model.transformer.text_model.embeddings.…        the text encoder
package convert

import (
	"errors"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/mmap"
)

// Prefixes of the parts in canonical names.
const (
	TextPrefix = "cond_stage_model.transformer."
	UNetPrefix = "model.diffusion_model."
	VAEPrefix  = "first_stage_model."

	text1Prefix = "conditioner.embedders.0.transformer." // of SDXL
	text2Prefix = "conditioner.embedders.1.transformer."

	clipLPrefix = "text_encoders.clip_l.transformer." // of SD 3 and FLUX.1
	clipGPrefix = "text_encoders.clip_g.transformer."
	t5Prefix    = "text_encoders.t5xxl.transformer."
)

// Model is an open model. Its tensors' bytes belong to it and are gone after
// Close; everything else stays. It does not change after Open and may be used
// by several goroutines.
type Model struct {
	// Path is what Open was given; Format is "safetensors", "diffusers",
	// "gguf" or "checkpoint" (of PyTorch).
	Path, Format string

	// Arch is the family: SD1, SD2 … What says it in words.
	Arch, What string

	// Variant is what the UNet is for beside drawing from text: "" for nothing
	// else, "inpaint" (its input has a mask and a masked picture's latent, too)
	// or "edit" (a picture's latent, as in instruct-pix2pix).
	Variant string

	// Prediction is what the UNet predicts, "epsilon" or "v", or empty where
	// the file does not say: SD 2.x single files look the same either way.
	Prediction string

	// NativeSize is the side in pixels of the pictures that the model was
	// trained on, if the file says; 512 otherwise.
	NativeSize int

	// Guidance is the classifier-free guidance scale that the model draws best
	// at (sdgo.guidance in the metadata), or 0 where the file does not say.
	Guidance float64

	// What follows is known of the families of Stable Diffusion only.
	Text  TextConfig
	Text2 TextConfig // of SDXL: OpenCLIP ViT-bigG, whose output is joined to Text's; its Layers are 0 elsewhere
	UNet  UNetConfig
	VAE   VAEConfig

	// Merges is the tokenizer that the file brings along: byte-pair merges
	// "a b", best rank first. It is nil where there is none: then it is CLIP's.
	Merges []string

	// AlphasCumprod is the noise schedule that the file brings along, a value
	// for each training timestep, falling; nil where there is none: then it is
	// Stable Diffusion's.
	AlphasCumprod []float64

	// Facts are what is known of a model of another family, in numbers.
	Facts []Fact

	// Tensors are the weights.
	Tensors []Tensor

	// Ignored are the file's names of tensors that no network uses.
	Ignored []string

	// Metadata is what the file says about itself, with the file's own keys.
	Metadata map[string]string

	index map[string]int
	maps  []*mmap.File
	files []string // their names
}

// Tensor is a named array of weights.
type Tensor struct {
	Name  string // canonical
	Type  dtype.Type
	Shape []int64 // PyTorch's order: the last dimension is contiguous

	// Bytes are the tensor's bytes in the file, not a copy. They must not be
	// changed. They are nil where Parts has them in pieces instead, whole rows
	// one after the other: of fused layers that the file has apart.
	Bytes []byte
	Parts [][]byte

	// Scale is what the elements of some 8-bit types are multiplied with: one
	// number, or one for each row (of the first dimension). It is nil elsewhere.
	Scale []float32

	strided *strided // what Bytes would be, if they lie in another order in the file
}

// Native is the type that networks compute with, if the tensor's own is none:
// f32 for f64, f16 for 8-bit types.
func (t Tensor) Native() dtype.Type {
	if t.Scale != nil {
		return dtype.F16
	}
	return t.Type.Native()
}

// runs are the tensor's bytes in as many pieces as they have; of a strided one
// they are in the file's order.
func (t Tensor) runs() [][]byte {
	if t.Parts != nil {
		return t.Parts
	}
	if t.strided != nil {
		return [][]byte{t.strided.Data}
	}
	return [][]byte{t.Bytes}
}

// size is the number of the tensor's bytes.
func (t Tensor) size() (n int64) {
	if t.strided != nil {
		return t.Elements() * t.Type.BlockBytes()
	}
	for _, b := range t.runs() {
		n += int64(len(b))
	}
	return n
}

// Elements is the number of elements.
func (t Tensor) Elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// TextConfig describes a CLIP text encoder.
type TextConfig struct {
	Prefix        string // of its tensors' names
	Vocabulary    int
	ContextLength int // tokens: 77
	Width         int // of a token's embedding: 768, 1024
	Heads         int // of each attention: 12, 16
	FFN           int // width of the hidden layer: 3072, 4096
	Layers        int // that the file has

	// FinalLayer is the layer whose output, through the final norm, conditions
	// the UNet unless clip-skip says otherwise: the last one for SD 1.x, the
	// one before the last of 24 for SD 2.x. Files of SD 2.x without the 24th
	// have 23 and use all of them.
	FinalLayer int

	// ClipSkip is what people call FinalLayer: 1 for the last layer of the
	// encoder as it was trained, 2 for the one before.
	ClipSkip int

	// NoFinalNorm says that what FinalLayer gives does not go through the final
	// norm, as in SDXL.
	NoFinalNorm bool

	Activation string  // "quick_gelu", which is x·σ(1.702x), or "gelu"
	Eps        float64 // of the layer norms

	// Projection names the matrix of the pooled output, if the file has one: P
	// [Width, n] for x·P or, where ProjectionLinear, [n, Width] for x·Pᵀ.
	// Pooled is n.
	Projection       string
	ProjectionLinear bool
	Pooled           int
}

// UNetConfig describes the UNet of latent diffusion.
type UNetConfig struct {
	InChannels       int
	OutChannels      int
	ModelChannels    int   // channels at full resolution: 320
	ChannelMult      []int // channels of each level, in ModelChannels: 1 2 4 4
	NumResBlocks     int   // residual blocks of each level on the way down: 2; one more on the way up
	TransformerDepth []int // transformer blocks after each of them; 0 where a level has no attention
	MiddleDepth      int   // transformer blocks in the middle
	ContextDim       int   // width of the text's embedding; 0 where nothing attends to text
	ADMChannels      int   // width of the vector of sizes and pooled text that SDXL adds to the time's embedding; 0 elsewhere

	// Exactly one of Heads, the same at every level, and HeadDim, of which each
	// level has as many as fit its channels, is not 0.
	Heads, HeadDim int

	// LinearProjection says that the layers around a transformer are linear
	// ([C, C]), as in SD 2.x, and not 1x1 convolutions ([C, C, 1, 1]).
	LinearProjection bool
}

// VAEConfig describes the KL autoencoder of latent diffusion.
type VAEConfig struct {
	ImageChannels int   // 3
	Channels      int   // at full resolution: 128
	ChannelMult   []int // channels of each level, in Channels: 1 2 4 4
	NumResBlocks  int   // residual blocks of each level of the encoder: 2; the decoder has one more
	ZChannels     int   // channels between encoder and decoder: 4
	EmbedDim      int   // channels of the latent: 4
	QuantConv     bool  // whether 1x1 convolutions stand between the two
	HasEncoder    bool

	// ScaleFactor is what latents are multiplied with before the UNet sees
	// them, so that their variance is about 1: 0.18215.
	ScaleFactor float32
}

// Factor is the number of pixels, along each side, to one of the latent: each
// level but one halves the picture.
func (c VAEConfig) Factor() int { return 1 << (len(c.ChannelMult) - 1) }

// Tensor returns the tensor with a canonical name.
func (m *Model) Tensor(name string) (Tensor, bool) {
	if i, ok := m.index[name]; ok {
		return m.Tensors[i], true
	}
	return Tensor{}, false
}

// Close unmaps the files; the tensors, whose bytes they are, go with them.
func (m *Model) Close() error {
	var errs []error
	for _, f := range m.maps {
		errs = append(errs, f.Close())
	}
	m.maps, m.files = nil, nil
	m.Tensors, m.index = nil, nil
	return errors.Join(errs...)
}

// Intact is nil as long as all that was read of the tensors' bytes was in the
// model's files. After one of them became shorter, or could not be read, zeros are
// read in its place, and Intact is an error that says so: whoever uses the bytes asks
// it afterwards. (Without cgo the program ends with a signal instead.)
func (m *Model) Intact() error { return intact(m.maps) }

func intact(maps []*mmap.File) error {
	for _, f := range maps {
		if err := f.Intact(); err != nil {
			return err
		}
	}
	return nil
}

// Part is one network of a model, for people to read.
type Part struct {
	Name     string               // "text encoder", "UNet", "VAE encoder", "VAE decoder"
	Tensors  int                  // number of tensors
	Elements int64                // number of weights
	Bytes    int64                // their size in the file
	Types    map[dtype.Type]int64 // bytes of each type
}

// Parts lists the networks that the model has, with their sizes.
func (m *Model) Parts() []Part {
	parts := []Part{{Name: "text encoder"}, {Name: "text encoder 2"}, {Name: "T5 text encoder"}, {Name: "UNet"}, {Name: "VAE encoder"}, {Name: "VAE decoder"}, {Name: "weights"}}
	switch m.Arch {
	case Flux, SD3, DiT:
		parts[3].Name = "transformer"
	}
	for _, t := range m.Tensors {
		if t.Name == scheduleName {
			continue
		}
		i := partOf(t.Name)
		p := &parts[i]
		if p.Types == nil {
			p.Types = map[dtype.Type]int64{}
		}
		p.Tensors++
		p.Elements += t.Elements()
		p.Bytes += t.size()
		p.Types[t.Type] += t.size()
	}
	present := parts[:0]
	for _, p := range parts {
		if p.Tensors > 0 {
			present = append(present, p)
		}
	}
	return present
}

// partOf is a tensor's place in Parts.
func partOf(name string) int {
	switch {
	case strings.HasPrefix(name, TextPrefix), strings.HasPrefix(name, text1Prefix), strings.HasPrefix(name, clipLPrefix):
		return 0
	case strings.HasPrefix(name, text2Prefix), strings.HasPrefix(name, clipGPrefix):
		return 1
	case strings.HasPrefix(name, t5Prefix):
		return 2
	case strings.HasPrefix(name, UNetPrefix):
		return 3
	case strings.HasPrefix(name, VAEPrefix+"encoder."), strings.HasPrefix(name, VAEPrefix+"quant_conv."):
		return 4
	case strings.HasPrefix(name, VAEPrefix):
		return 5
	}
	return 6
}
