// Package request has requests, events and results as plain data. A [Request] has no
// open model and runs nothing. [Request.Resolve] fills in a model's defaults and checks
// everything that can be checked without the model.
package request

import (
	"image"
	"math"
)

// RandomSeed as [Request.Seed] draws a seed, which the result reports.
const RandomSeed = -1

// Limits of a request.
const (
	MaxSteps = 1000
	MaxSide  = 8192 // pixels
	MaxCount = 1024 // pictures

	// MaxTokenMerging bounds [Request.TokenMerging], as in AUTOMATIC1111.
	MaxTokenMerging = 0.9

	// MaxStages bounds [Request.Stages].
	MaxStages = 8

	// MaxNoiseLevel bounds [Request.NoiseLevel].
	MaxNoiseLevel = 999
	maxScale      = 1000
)

// RNG names a random number generator for noise. With the same one, and the same seed,
// sampler and model, other programs make the same picture.
type RNG string

// The generators.
const (
	TorchRNG  RNG = "torch"  // PyTorch's CPU generator: diffusers, ComfyUI
	PhiloxRNG RNG = "philox" // CUDA's generator: AUTOMATIC1111, stable-diffusion.cpp
)

// MaskFill says what inpainting begins with (AUTOMATIC1111: masked content).
type MaskFill string

// What the masked part of a picture begins with. It matters the less the larger Strength
// is.
const (
	MaskOriginal MaskFill = "original" // the picture
	MaskFilled   MaskFill = "fill"     // the colours around the mask, blurred over it
	MaskNoise    MaskFill = "noise"    // the latent of MaskFilled, replaced by the seed's noise
	MaskNothing  MaskFill = "nothing"  // the same, replaced by zeros
)

// Request describes pictures to generate. Its zero value, with a prompt, is a sensible
// request. It names other open models that it uses, which must be attached to the model
// that draws.
type Request struct {
	// Prompt and NegativePrompt are in AUTOMATIC1111's grammar: (word:1.3),
	// ((word)), [word], BREAK, [a:b:0.4], [a|b], and backslashes before literal
	// brackets (package prompt). The prompt may be empty.
	Prompt, NegativePrompt string

	// Class says what a class-conditional model draws, in place of a prompt: a number
	// from 0 on, or a name, of those of the model's file, else, with 1000 classes,
	// ImageNet's. Of a model whose class is continuous it is a number from 0 to 1. Empty
	// draws without a class, where the model was trained to.
	Class string

	// Stages name attached models that enlarge the picture one after the other, each
	// with the request's class, seed, sampler and guidance, at its native size: a
	// cascade. StageSteps is the number of steps of each, up to MaxSteps; 0 means Steps.
	// KeepStages asks for a StageDraft event with the picture before each.
	Stages     []string
	StageSteps int
	KeepStages bool

	// NoiseLevel adds noise to a picture that is to be enlarged, an Image or one of a
	// cascade, before that: conditioning augmentation (Ho et al. 2022, arXiv:2106.15282),
	// which hides what is wrong with it. It is a timestep of the forward process of the
	// model that enlarges, 1 to 999 of 1000, and 0 adds none; of the x4 upscaler one of the
	// picture's own process, 0 to 350, which the network is told. nil means 0, or 20 of the x4 upscaler.
	// The noise comes from the picture's seed.
	NoiseLevel *int

	// Width and Height are in pixels, multiples of the model's alignment (8), up to
	// MaxSide. 0 means the model's native size, or with an Image that picture's size,
	// to the nearest multiple, and scaled down if a side is more than twice the native
	// one.
	Width, Height int

	// Image is the init image (img2img); nil starts from noise alone. It is scaled to
	// cover Width x Height and cropped around its middle; transparent pixels become
	// white. A model that enlarges pictures takes it for the picture to enlarge, at the
	// size that it has. ImageFile is the name of its file: it is read if Image is nil,
	// and written into the result's parameters.
	Image     image.Image
	ImageFile string

	// Strength is the denoising strength, 0 to 1: of Steps steps the last
	// int(Steps·Strength)+1 are made. nil means 0.75. See [Float].
	Strength *float64

	// ImageGuidance is the image guidance scale of a model for editing
	// (instruct-pix2pix), 0 to 1000; other models take none. nil means 1.5.
	ImageGuidance *float64

	// Mask is the inpainting mask: white pixels of Image are regenerated, black ones
	// stay exactly as they are; nil is white everywhere. It has Image's size. MaskFile
	// is its file's name, as ImageFile is Image's.
	Mask     image.Image
	MaskFile string

	// MaskGrow widens the white parts of Mask by a number of pixels, or narrows them if
	// it is negative: -1024 to 1024. Then MaskBlur softens their edges with a Gaussian
	// of that radius, 0 to 256 pixels.
	MaskGrow int
	MaskBlur float64

	// MaskFill is what the masked part of Image is replaced by before it is encoded;
	// empty means MaskOriginal.
	MaskFill MaskFill

	// Canvas, in place of a Mask, is the size of a larger picture for outpainting: Image
	// is put in its middle, and the rest is generated. Both sides are multiples of the
	// alignment, and at least the picture's. The zero size is none.
	Canvas image.Point

	// MaskFeather is the width in pixels, inside the mask's edge, over which the old
	// picture fades into the new one, 0 to 256; nil means 4. At most half of the mask's
	// depth is used.
	MaskFeather *int

	// OnlyMasked generates the part of Image around the mask at Width x Height, and
	// puts it back: the result has Image's own size (A1111: inpaint area "only
	// masked"). The part contains all pixels of the mask that are not black and
	// MaskPadding pixels around them, 0 to 4096 (nil means 32), and is extended to the
	// aspect ratio of Width x Height. Both zero mean the model's native area, in the
	// part's aspect ratio.
	OnlyMasked  bool
	MaskPadding *int

	// Steps is the number of denoising steps, 1 to MaxSteps; 0 means as many as the name
	// of the Schedule says ("250", "ddim25"), else the model's, else 20.
	Steps int

	// Guidance is the classifier-free guidance scale (Ho & Salimans 2022), 0 to 1000: 1
	// follows the prompt and ignores the negative one, 0 ignores the prompt. nil means
	// the model file's own scale, else 7. See [Float].
	Guidance *float64

	// Guider is the kind of guidance, as package sampler's Guiders lists them; empty
	// means "cfg". GuiderOptions are its numbers by name, such as "phi" of
	// "cfg_rescale"; all kinds take "start", "stop", "sigma_min" and "sigma_max", the
	// interval outside of which there is no guidance (Kynkäänniemi et al. 2024,
	// arXiv:2404.07724).
	Guider        string
	GuiderOptions map[string]float64

	// Sampler and Schedule are names that package sampler knows, a schedule's also one
	// of its Respacing. Empty means the model's, if it has one, else
	// "euler_a" and the sampler's DefaultSchedule, nearly always "discrete".
	Sampler, Schedule string

	// SamplerOptions are the sampler's own parameters by name, if it takes them:
	// "eta", "s_noise", "s_churn", "s_tmin", "s_tmax", "order", "snr", "corrections",
	// "rtol", "atol".
	SamplerOptions map[string]float64

	// DeepCache n, if above 1, computes the UNet's inner blocks only in every n-th
	// evaluation. Those between reuse their output, and take about a tenth of the time
	// (Ma et al. 2024, arXiv:2312.00858). The picture changes: docs/performance.md
	// says how much.
	DeepCache int

	// TokenMerging is the part of an image's tokens, 0 to 0.9, that self-attention of a UNet's
	// first level that attends averages with similar ones: faster from 512x512 on (Bolya and
	// Hoffman 2023, arXiv:2303.17604; token merging ratio of AUTOMATIC1111). At most three of
	// four merge, so more than 0.75 is 0.75. Only on the CPU. The picture changes:
	// docs/performance.md says how much.
	TokenMerging float64

	// Cache names a step cache, as package sampler's StepCaches lists them, which leaves
	// out evaluations of the model whose answers it can tell from earlier ones; empty is
	// none. CacheOptions are its numbers by name, such as "threshold" of "easy". It begins
	// anew in each hires pass, and where a refiner takes over. The picture changes:
	// docs/performance.md says how much.
	Cache        string
	CacheOptions map[string]float64

	// ZeroSNR rescales the model's noise schedule to zero terminal SNR (Lin et al. 2024,
	// arXiv:2305.08891), for a model that was trained so and whose file does not say
	// it. Such models predict v. With it the default schedule is "trailing" and the
	// default guidance "cfg_rescale" with phi 0.7, as for files that say it.
	ZeroSNR bool

	// Seed is the seed of the first picture; picture i of a request has
	// Seed + i. RandomSeed draws one.
	Seed int64

	// UnsignedSeed says that Seed has the 64 bits of a seed from 0 to 2^64-1, as
	// ComfyUI and torch.manual_seed have them: uint64(Seed) is the seed, and -1 is
	// 2^64-1. Without it a seed is 0 to 2^63-1. SetSeed sets both.
	UnsignedSeed bool

	// RNG is the generator of noise; empty means TorchRNG.
	RNG RNG

	// Interpolate, if not nil, draws pictures between this request's and others.
	Interpolate *Interpolation

	// ClipSkip n leaves out the text encoder's last n-1 layers. 0 means the model's
	// own: 1 for SD 1.x, 2 for SD 2.x and XL.
	ClipSkip int

	// OriginalSize, TargetSize and CropTopLeft are SDXL's micro-conditions (diffusers:
	// original_size, target_size, crops_coords_top_left): a training picture's size
	// before scaling, its final size, and the top left corner of its crop. Zero sizes
	// mean Width x Height. Other models take none of them.
	OriginalSize, TargetSize image.Point
	CropTopLeft              image.Point

	// AestheticScore and NegativeAestheticScore are SDXL's refiner's conditions for the
	// prompt and the negative one, 0 to 10; nil means 6 and 2.5.
	AestheticScore, NegativeAestheticScore *float64

	// Adapters are attached adapters, such as LoRAs, that change the model's networks
	// for this request: at most MaxAdapters. The prompt may name further ones, as in
	// AUTOMATIC1111: <lora:name:0.8>, or <lora:name:0.5:0.8> with a strength for the text
	// encoders and one for the denoiser. A refiner gets none.
	Adapters []Adapter

	// Controls are attached ControlNets with the pictures that the request follows: at most
	// MaxControls. What several add is summed. A refiner gets none.
	Controls []Control

	// Classifier names an attached classifier of noisy pictures whose gradient guides the
	// model (Dhariwal and Nichol 2021, arXiv:2105.05233): towards ClassifierClass, a number
	// or a name, or if that is empty towards Class. ClassifierScale is how strongly, 0 to
	// MaxClassifierScale; nil means 1. Samplers of ancestral steps (ddpm, ddpm_small,
	// ddpm_large) shift the mean of each step, others the noise that is predicted.
	Classifier, ClassifierClass string
	ClassifierScale             *float64

	// Guides are what the pictures are guided towards without training, at most
	// MaxGuides. GuideMethod is how, as package sampler's LossMethods lists them; empty
	// means "moments", or "mpgd" where one of them is a classifier. GuideOptions are its
	// numbers by name, such as "scale" and "noise".
	Guides       []Guide
	GuideMethod  string
	GuideOptions map[string]float64

	// Edits are concepts that the picture is moved towards or away from while it is drawn,
	// at most MaxEdits: semantic guidance (SEGA: Brack et al. 2023, arXiv:2301.12247). It is
	// added to the guidance of any kind. EditMomentum, 0 to 1, is the share of earlier steps'
	// changes that is added to a step's, and EditBeta, 0 to 1, how much of them is remembered
	// from step to step; nil means 0.1 and 0.4.
	Edits                  []Edit
	EditMomentum, EditBeta *float64

	// Directions are attached directions of the UNet's deepest features that are added to
	// them: at most MaxDirections. A refiner gets none.
	Directions []Direction

	// Refiner names an attached model of SDXL's family that makes the last steps:
	// those after the fraction RefinerAt, 0 to 1, of Steps (nil means 0.8). Empty is
	// none.
	Refiner   string
	RefinerAt *float64

	// Hires are further passes over the picture at larger sizes. A Refiner is used
	// only in the last one. KeepHiresInput asks for a StageDraft event with the picture
	// before each pass.
	Hires          []HiresPass
	KeepHiresInput bool

	// TAESD names an attached tiny autoencoder that decodes the pictures and previews
	// in place of the model's own; with TAESDPreviewOnly it decodes only previews.
	// Empty is none.
	TAESD            string
	TAESDPreviewOnly bool

	// PreviewEvery n asks for a preview after every n steps, up to MaxSteps; 0 is none.
	// With TAESD it has the picture's size; without, it takes no time and has one pixel
	// for each latent pixel. PreviewNoisy shows the noisy sample itself, in the scale of
	// the model's process, in place of what the model predicts of it.
	PreviewEvery int
	PreviewNoisy bool

	// Count is the number of pictures, 1 to MaxCount; 0 means 1.
	Count int

	// OnEvent, if not nil, receives progress events, one at a time, while Generate
	// waits. If it returns an error or panics, the request stops with that error. It
	// must not close the model, nor call it at [StageUpload]. It is not part of the
	// request's data.
	OnEvent func(Event) error `json:"-"`
}

// HiresPass is a further pass over a picture (AUTOMATIC1111: "Hires. fix"). The picture
// is upscaled and then partly denoised again, so that it gets the details of its new
// size and keeps its composition.
type HiresPass struct {
	// Scale is the factor for both sides, which are rounded down to multiples of the
	// alignment. 0 means 2, or Width and Height.
	Scale float64

	// Width and Height, multiples of the alignment, are the size instead of a Scale:
	// the picture is scaled to cover it and cropped around its middle.
	Width, Height int

	// Upscaler names a filter or an attached ESRGAN; empty means "latent",
	// AUTOMATIC1111's "Latent": bilinear interpolation of the latent.
	Upscaler string

	// Strength is the denoising strength, 0 to 1: the larger, the earlier in the
	// schedule the steps begin. 0 makes no steps. nil means 0.7. See [Float].
	Strength *float64

	// Steps is the number of steps that are made, whatever the strength; 0 means
	// Request.Steps.
	Steps int

	// Sampler, Schedule and Guidance are for this pass; their zero values mean
	// those of the request. A sampler other than the request's has no options.
	Sampler, Schedule string
	Guidance          *float64
}

// MaxHires bounds the number of a request's [HiresPass]es.
const MaxHires = 16

// Interpolation is another prompt or seed, and how far towards it a request's pictures are.
type Interpolation struct {
	// Prompt, if not nil, is the other prompt. The embeddings of both are interpolated
	// linearly.
	Prompt *string

	// Seed, if not nil, is the other picture's first seed, which counts up with the
	// request's. The initial noise of both is interpolated spherically (slerp), as in
	// AUTOMATIC1111's variation seeds; later noise is the request's own.
	Seed *int64

	// UnsignedSeed is for this Seed what [Request.UnsignedSeed] is for the other.
	UnsignedSeed bool

	// At is the position, 0 (the request's own picture) to 1 (the other).
	At float64
}

// SetSeed makes the seed any number of 64 bits.
func (r *Request) SetSeed(seed uint64) { r.Seed, r.UnsignedSeed = int64(seed), isUnsigned(seed) }

// SetSeed makes the other picture's seed any number of 64 bits.
func (t *Interpolation) SetSeed(seed uint64) {
	bits := int64(seed)
	t.Seed, t.UnsignedSeed = &bits, isUnsigned(seed)
}

// isUnsigned reports whether a seed is beyond the numbers of an int64.
func isUnsigned(seed uint64) bool { return seed > math.MaxInt64 }

// Float returns a pointer for the optional numbers of a request: Guidance: Float(7.5).
func Float(v float64) *float64 { return &v }

// Int returns a pointer for the optional integers of a request.
func Int(v int) *int { return &v }
