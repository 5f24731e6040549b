// Package convert reads the weights of diffusion models: safetensors files,
// folders in the diffusers library's layout, PyTorch checkpoints and GGUF files.
// It finds out what a model is from the names and shapes of its tensors, gives
// them their canonical names, and writes GGUF and safetensors files.
//
// This package is the face of several: everything that programs need is here, as
// functions and as names of types. The packages below it are
//
//   - convert/model: an open model and its tensors;
//   - convert/family: the families of models, one file each;
//   - convert/layout: names of tensors in the layouts of other programs;
//   - convert/read: files and folders into models;
//   - convert/write: models into files, quantizing, comparing;
//   - convert/gguf, convert/safetensors, convert/checkpoint, convert/dtype: formats
//     of files and types of numbers.
//
// Files are memory-mapped and never copied as a whole. Everything in them is
// hostile until checked: a damaged or crafted file gives an error that names
// the file and the tensor or field, and takes no more memory than a small
// multiple of its own size. A file that another program shortens while it is
// mapped is an error, too, except on Unix systems without cgo, where it ends the
// process.
//
// The canonical names are those of the original checkpoints of latent diffusion
// (CompVis, Stability AI), which stable-diffusion.cpp's GGUF files have, too:
//
//	model.diffusion_model.input_blocks.0.0.weight               the UNet
//	first_stage_model.decoder.conv_in.weight                    the autoencoder
//	cond_stage_model.transformer.text_model.embeddings.…        the text encoder
package convert

import (
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/write"
)

// Open models, and what they consist of.
type (
	// Model is an open model: what it is, its configuration, and its tensors,
	// whose bytes belong to it and are gone after Close. It does not change after
	// it was opened, so several goroutines may use it.
	Model = model.Model

	// Tensor is a named array of weights: its type, its shape in PyTorch's order,
	// and its bytes in the file.
	Tensor = model.Tensor

	// EDM is the process of training of a model in continuous time.
	EDM = model.EDM

	// Property is a number that tells a model from others of its family.
	Property = model.Property

	// Part is one network of a model, and what it takes; see [Parts].
	Part = model.Part

	// Network describes one network of a model; see [Networks].
	Network = model.Network
)

// Configurations: what a family reads off names, shapes and metadata, in
// Model.Config. See [ConfigAs].
type (
	// StableDiffusion is the configuration (a pointer to it) of the families
	// [SD1], [SD2], [SDXL] and [SDXLRefiner].
	StableDiffusion = family.StableDiffusion

	// TextConfig describes a CLIP text encoder.
	TextConfig = family.TextConfig

	// UNetConfig describes the UNet of latent diffusion.
	UNetConfig = family.UNetConfig

	// VAEConfig describes the autoencoder of latent diffusion.
	VAEConfig = family.VAEConfig

	// T5Config (a pointer to it) is the configuration of T5's text encoders, and QwenConfig
	// that of Qwen's text stacks.
	T5Config   = family.T5Config
	QwenConfig = family.QwenConfig

	// QwenVisionConfig is the configuration of the vision tower of Qwen2.5-VL.
	QwenVisionConfig = family.QwenVisionConfig

	// ZImageConfig (a pointer to it) is that of Z-Image.
	ZImageConfig = family.ZImageConfig

	// FluxModel is the configuration (a pointer to it) of the families [Flux] and [Chroma], with
	// FluxConfig, that of the transformer; SD3Model is that of [SD3], with MMDiTConfig.
	FluxModel   = family.FluxModel
	FluxConfig  = family.FluxConfig
	SD3Model    = family.SD3Model
	MMDiTConfig = family.MMDiTConfig

	// Flux2Config (a pointer to it) is that of FLUX.2.
	Flux2Config = family.Flux2Config

	// QwenImageConfig (a pointer to it) is that of Qwen-Image.
	QwenImageConfig = family.QwenImageConfig

	// Flow says how a model of flow matching shifts its noise levels, DynamicShift how
	// by the picture's size.
	Flow         = family.Flow
	DynamicShift = family.DynamicShift

	// TAESDConfig is the configuration (a pointer to it) of tiny autoencoders.
	TAESDConfig = family.TAESDConfig

	// ControlNetConfig is the configuration (a pointer to it) of ControlNets.
	ControlNetConfig = family.ControlNetConfig

	// T2IAdapterConfig is the configuration (a pointer to it) of T2I-Adapters.
	T2IAdapterConfig = family.T2IAdapterConfig

	// IPAdapterConfig is the configuration (a pointer to it) of IP-Adapters, and
	// CLIPVisionConfig that of CLIP's image encoders.
	IPAdapterConfig  = family.IPAdapterConfig
	CLIPVisionConfig = family.CLIPVisionConfig

	// ESRGANConfig is the configuration (a pointer to it) of upscalers, and SRVGGConfig
	// that of compact ones.
	ESRGANConfig = family.ESRGANConfig
	SRVGGConfig  = family.SRVGGConfig

	// HEDConfig is the configuration (a pointer to it) of edge detectors.
	HEDConfig = family.HEDConfig

	// Pixel is the configuration (a pointer to it) of models that draw without text:
	// of the families [PixelUNet] and [DiT].
	Pixel = family.Pixel

	// DeepFloydModel is that (a pointer to it) of the family [DeepFloyd].
	DeepFloydModel = family.DeepFloydModel

	// PixelProcess says how such a model was trained to remove noise.
	PixelProcess = family.Process

	// PixelUNetConfig describes a UNet without text, DiTConfig a diffusion transformer.
	PixelUNetConfig = family.PixelUNetConfig
	DiTConfig       = family.DiTConfig

	// Weight is the name and shape of a weight that a network needs, as the
	// configurations' methods Weights list them.
	Weight = family.Weight
)

// Options and results.
type (
	// Components are the files that [Assemble] puts a model together from.
	Components = read.Components

	// Options say how [Convert] writes a model.
	Options = write.Options

	// Quantizer converts rows of numbers to a quantized type. cgo.Quantize is
	// one.
	Quantizer = write.Quantizer

	// Rule gives tensors a type by their names; see [ParseRule].
	Rule = write.Rule

	// Change is what [Convert] makes of one tensor.
	Change = write.Change

	// Deviation is how far a converted tensor is from its source; see [Verify].
	Deviation = write.Deviation

	// NotFiniteError says that a tensor has elements that are NaN or infinite.
	NotFiniteError = model.NotFiniteError
)

// ErrUnrecognized is in the error for a file that could be read, but is no model
// of a supported kind, or not of the kind that was asked for.
var ErrUnrecognized = model.ErrUnrecognized

// Families that package sd runs, as Model.Family names them. The others are in
// package convert/family.
const (
	SD1         = family.SD1         // Stable Diffusion 1.x
	SD2         = family.SD2         // Stable Diffusion 2.x
	SDXL        = family.SDXL        // Stable Diffusion XL
	SDXLRefiner = family.SDXLRefiner // its refiner
	PixelUNet   = family.PixelUNet   // UNets without text: ADM, DDPM, consistency models …
	DiT         = family.DiT         // diffusion transformers by class
	DeepFloyd   = family.DeepFloyd   // DeepFloyd IF's stages on pixels
	Flux        = family.Flux        // FLUX.1
	Chroma      = family.Chroma      // Chroma
	SD3         = family.SD3         // Stable Diffusion 3 and 3.5
	ZImage      = family.ZImage      // Z-Image, base and Turbo
	Flux2       = family.Flux2       // FLUX.2 klein
	QwenImage   = family.QwenImage   // Qwen-Image, and -Edit
	TAESD       = family.TAESD       // tiny autoencoder
	ControlNet  = family.ControlNet  // ControlNet, beside a model
	T2IAdapter  = family.T2IAdapter  // T2I-Adapter, likewise
	IPAdapter   = family.IPAdapter   // IP-Adapter, likewise
	CLIPVision  = family.CLIPVision  // image encoder of CLIP, beside an IP-Adapter
	ESRGAN      = family.ESRGAN      // upscaler
	HED         = family.HED         // edge detector
	VAE         = family.VAE         // autoencoder alone, which a model may be opened with
	CLIP        = family.CLIP        // text encoder of CLIP alone, likewise
	T5          = family.T5          // T5 alone, likewise
	Qwen        = family.Qwen        // Qwen's text stack alone, likewise
	QwenVision  = family.QwenVision  // the vision tower of Qwen2.5-VL in a file of its own
)

// What the configuration of models without text says, by the names that it has for it.
const (
	ClassIndex = family.ClassIndex // classes are numbers from 0 on
	ClassValue = family.ClassValue // a class is a number from 0 to 1

	ProcessDDPM        = family.ProcessDDPM
	ProcessConsistency = family.ProcessConsistency
	ProcessVE          = family.ProcessVE
	ProcessVP          = family.ProcessVP
	ProcessSubVP       = family.ProcessSubVP
	ProcessEDM         = family.ProcessEDM

	// PixelLabels is the key of metadata with the names of the classes, a list in JSON.
	PixelLabels = family.PixelLabels
)

// Prefixes of the networks' canonical names.
const (
	TextPrefix    = model.TextPrefix    // text encoder of SD 1.x and 2.x
	Text1Prefix   = model.Text1Prefix   // first text encoder of SDXL, the only one of its refiner
	Text2Prefix   = model.Text2Prefix   // second text encoder of SDXL
	UNetPrefix    = model.UNetPrefix    // UNet
	ControlPrefix = model.ControlPrefix // ControlNet
	VAEPrefix     = model.VAEPrefix     // both halves of the autoencoder
	T5Prefix      = model.T5Prefix      // T5's text encoder
)

// Kinds of IP-Adapters, IPAdapterConfig.Kind.
const (
	IPBasic    = family.IPBasic
	IPPlus     = family.IPPlus
	IPFull     = family.IPFull
	IPFace     = family.IPFace
	IPFacePlus = family.IPFacePlus
)

// Statistics of FLUX.2's packed latents: tensors of the mean and of the variance, and what is added to that.
const (
	Flux2Mean     = family.Flux2Mean
	Flux2Variance = family.Flux2Variance
	Flux2Eps      = family.Flux2Eps

	// The ways in which a prompt of Qwen-Image-Edit names pictures: one, or several with numbers.
	QwenEditOne     = family.QwenEditOne
	QwenEditSeveral = family.QwenEditSeveral

	// Pixels along a side of a patch of Qwen2.5-VL's vision tower, the frames that a picture is, patches along a token's side, and
	// tokens along a window's.
	VisionPatch  = family.VisionPatch
	VisionFrames = family.VisionFrames
	VisionMerged = family.VisionMerged
	VisionWindow = family.VisionWindow
)

// Codebook is the tensor with the codes of an autoencoder that has them.
const Codebook = family.Codebook
