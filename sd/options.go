package sd

import (
	"errors"
	"fmt"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
)

// Options says how a model is opened. The zero value is fast and exact for
// the file's own types.
type Options struct {
	// Threads is the number of CPU threads; 0, and more than there are processors,
	// mean one for each physical core that the process may use: its affinity, its
	// control group's share of time and its limit of threads count. Fewer are used
	// where the system makes no more.
	Threads int

	// Backend is the device to compute on, as `sdgo devices` lists them: "cpu",
	// "cuda0", "vulkan0", "metal"; or one for each part, as in
	// "unet=cuda0,text=cpu,vae=cuda0" (upscale is the part of upscalers). Empty
	// or "auto", and parts that are left out, take the best GPU that the model
	// fits on, else the CPU.
	Backend string

	// Type converts the weights while loading: f32, f16, bf16, q8_0, q4_0 or
	// another that ggml quantizes to. Empty uses them as they are in the file,
	// without a copy.
	Type string

	// VAE, CLIPL, CLIPG, T5 and LLM are files to take the autoencoder and the text encoders
	// from, in place of those of the model's file, or where that has none: a file of
	// the network alone, a folder of the diffusers library's, or a whole model.
	// CLIPL is the text encoder of SD 1.x and 2.x and the first one of SDXL, CLIPG
	// SDXL's second and its refiner's only one. T5 is that of Stable Diffusion 3 and FLUX.1,
	// LLM the Qwen3 of Z-Image and FLUX.2 klein and the Qwen2.5-VL of Qwen-Image, LLMVision the
	// vision tower of that, where its file has none. [Open] alone takes them.
	VAE, CLIPL, CLIPG, T5, LLM, LLMVision string

	// T5Tokenizer is the file of T5's vocabulary, where the model's file or folder has none: tokenizer.json of the
	// tokenizers library, or SentencePiece's spiece.model. [Open] alone takes it.
	T5Tokenizer string

	// CLIPVision is the file of the image encoder of CLIP by which an IP-Adapter sees
	// pictures. [OpenControl] alone takes it.
	CLIPVision string

	// ControlBase is the file of the model whose UNet a Control-LoRA changes, or a ControlNet's
	// file of differences; of a built-in one its name after BuiltinPrefix. [OpenControl] alone takes it.
	ControlBase string

	// Prediction is what the UNet predicts, "epsilon", "v" or "sample". Empty takes what
	// the file says; where it says nothing, as SD 2.x files do, a trial run of
	// the UNet tells.
	Prediction string

	// Kernels chooses the CPU operators: empty for the fastest of this library's
	// kernels, or the name of one instruction set's: "generic", "avx2",
	// "avx-vnni", "avx512", "avx512-vnni" or "amx"; or "ggml" for ggml's own
	// operators, which are slow and simple. [Kernels] says which a machine has. The
	// environment variable SDGO_KERNELS is its default.
	Kernels string

	// Batch is how many pictures go through the denoiser at once, where memory
	// allows, 1 to MaxBatch: of one request's and of those that [Model.GenerateAll] is
	// given. The pictures are the same. 0 means 1, which is as fast on a CPU.
	Batch int

	// MaxWaiting is how many requests wait at most for [Model.Submit] to begin them,
	// 1 to MaxQueue; 0 means 256. Further ones are refused with [ErrBusy].
	MaxWaiting int

	// Precision is how precisely the denoiser is computed on the CPU: Exact, which empty
	// means, or Fast.
	Precision string

	// MaxMemory bounds the memory that a model takes, in bytes: on the CPU that
	// of decoding a picture, beside the weights, and half of it that of weights which are
	// kept as the kernels read them, so that steps need not convert them; on a GPU all of it. Larger
	// pictures are decoded in tiles; where a GPU's memory is not enough for the
	// UNet's weights, they come to it in groups while it computes. 0 means what
	// the device has free.
	MaxMemory uint64

	// Warn, if not nil, receives messages for the user that are no errors, one
	// sentence each, from any goroutine. If it panics, that is the error of the
	// call.
	Warn func(text string)

	// Offload keeps the weights of text encoders and autoencoder in the host's
	// memory and brings them to the GPU when they are needed, for as long.
	Offload bool
}

// Tiers of [Options.Precision].
const (
	// Exact computes with numbers of 16 bits or more: pictures at 60 dB or more to those
	// of float32 arithmetic.
	Exact = engine.Exact
	// Fast multiplies numbers of 8 bits in linear layers and small convolutions, where the
	// processor does so faster (AVX-512 VNNI, AVX-VNNI): a step takes less time, and pictures
	// are at 35 dB or more to those of float32 (docs/performance.md). Elsewhere, and for
	// float32 weights, it is Exact.
	Fast = engine.Fast
)

// MaxBatch bounds [Options.Batch].
const MaxBatch = 64

// MaxQueue bounds [Options.MaxWaiting].
const MaxQueue = 1 << 20

// engine are the options of networks, of whatever kind.
func (o Options) engine() engine.Options {
	return engine.Options{Threads: o.Threads, Backend: o.Backend, Type: o.Type, Kernels: o.Kernels,
		MaxMemory: o.MaxMemory, Precision: o.Precision, Warn: o.Warn, Offload: o.Offload}
}

// pipeline are the options of a family.
func (o Options) pipeline() pipeline.Options {
	return pipeline.Options{Prediction: o.Prediction, Batch: o.Batch}
}

// Alone are the options without the files that a model is put together from: for a network
// beside it.
func (o Options) Alone() Options {
	o.VAE, o.CLIPL, o.CLIPG, o.T5, o.LLM, o.LLMVision, o.T5Tokenizer = "", "", "", "", "", "", ""
	return o
}

// components are the files that a model is put together from.
func (o Options) components(path string) convert.Components {
	return convert.Components{Model: path, VAE: o.VAE, CLIPL: o.CLIPL, CLIPG: o.CLIPG, T5: o.T5, LLM: o.LLM, LLMVision: o.LLMVision, T5Tokenizer: o.T5Tokenizer}
}

// checkAlone is check for a network that nothing is put into.
func (o Options) checkAlone() error {
	if o.components("") != (convert.Components{}) {
		return errors.New("VAE, CLIPL, CLIPG, T5, T5Tokenizer, LLM and LLMVision are parts of a model, and this is one network")
	}
	return o.check()
}

func (o Options) check() error {
	if o.Batch < 0 || o.Batch > MaxBatch {
		return fmt.Errorf("batch must be 1 to %d, or 0 for 1, got %d", MaxBatch, o.Batch)
	}
	if o.MaxWaiting < 0 || o.MaxWaiting > MaxQueue {
		return fmt.Errorf("waiting requests must be 1 to %d, or 0 for 256, got %d", MaxQueue, o.MaxWaiting)
	}
	if o.CLIPVision != "" {
		return errors.New("CLIPVision is what OpenControl takes for an IP-Adapter")
	}
	if o.ControlBase != "" {
		return errors.New("ControlBase is what OpenControl takes for a Control-LoRA")
	}
	switch o.Prediction {
	case "", "epsilon", "v", "sample":
		return nil
	}
	return fmt.Errorf(`prediction must be "epsilon", "v" or "sample", got %q`, o.Prediction)
}

// Kernels says which CPU operators a model computes with whose [Options] name
// those: the name itself, or, for an empty one, that of the environment variable
// SDGO_KERNELS, else the fastest kernels that this machine can run. It is an error
// where the name is unknown, or the processor lacks the instructions.
func Kernels(name string) (string, error) { return engine.Kernels(name) }

// CheckBackend says what is wrong with an [Options.Backend], whose devices this
// machine must have; nil if nothing is.
func CheckBackend(backend string) error { return engine.CheckBackend(backend) }
