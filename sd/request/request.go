// Package request describes what is to be drawn, and what came of it, as plain data: a
// [Request] holds no open model and runs nothing. [Request.Resolve] fills in the
// defaults of a model and checks everything that can be checked without it.
package request

import "image"

// RandomSeed as [Request.Seed] draws a seed, which the result reports.
const RandomSeed = -1

// Limits of a request.
const (
	MaxSteps = 1000
	MaxSide  = 8192 // pixels
	MaxCount = 1024 // pictures
	maxScale = 1000
)

// RNG names a generator of noise: with the same name, seed, sampler and model
// the program that it comes from makes the same picture.
type RNG string

// The generators.
const (
	TorchRNG  RNG = "torch"  // PyTorch's CPU generator: diffusers, ComfyUI
	PhiloxRNG RNG = "philox" // CUDA's generator: AUTOMATIC1111, stable-diffusion.cpp
)

// Request describes pictures to generate. Its zero value, with a prompt, is a
// sensible request. Other open models that it uses are named, as they are attached
// to the model that draws.
type Request struct {
	// Prompt and NegativePrompt are in AUTOMATIC1111's grammar: (word:1.3),
	// ((word)), [word], BREAK, [a:b:0.4], [a|b], and backslashes before literal
	// brackets (package prompt). An empty prompt is a prompt.
	Prompt, NegativePrompt string

	// Width and Height are in pixels, multiples of the model's alignment (8). 0
	// means the size that the model was trained at, or with an Image that picture's,
	// to the nearest multiple; a picture with a side more than twice as long as those
	// that the model was trained on is brought down to such a length.
	Width, Height int

	// Image is the picture to begin with, and nil is noise alone. It is scaled
	// to cover Width x Height and cropped around its middle; what is
	// transparent becomes white. ImageFile is the name of its file: it is read
	// where Image is nil, and stands in the result's parameters.
	Image     image.Image
	ImageFile string

	// Strength is how much of Image is replaced, 0 to 1: of Steps steps the last
	// int(Steps·Strength)+1 are made. nil means 0.75. See [Float].
	Strength *float64

	// ImageGuidance is the guidance scale with which a model for editing
	// (instruct-pix2pix) keeps to Image, 0 to 1000; other models take none. nil means
	// 1.5.
	ImageGuidance *float64

	// Mask is white where Image is to be painted anew and black where it stays
	// as it is, to the pixel; nil is white everywhere. It has Image's size. MaskFile
	// is to Mask as ImageFile to Image.
	Mask     image.Image
	MaskFile string

	// MaskGrow widens the white parts of Mask by so many pixels, or narrows them if
	// it is negative: -1024 to 1024. Then MaskBlur softens their edges with a
	// Gaussian of that radius, 0 to 256 pixels.
	MaskGrow int
	MaskBlur float64

	// Canvas, in place of a Mask, puts Image in the middle of so many pixels, and what
	// is around it is painted (outpainting). Both sides are multiples of the
	// alignment, and at least the picture's. The zero size is none.
	Canvas image.Point

	// MaskFeather is over how many pixels inside the mask's edge the old picture
	// fades into the new one, 0 to 256; nil means 4, and at most half of how deep the
	// mask is.
	MaskFeather *int

	// OnlyMasked paints the part of Image around the mask at Width x Height,
	// and puts it back: the result has Image's own size. That part is what is
	// not black in the mask and MaskPadding pixels around it, 0 to 4096 (nil means
	// 32), and more where the proportions of Width x Height ask for it. Both zero
	// mean the model's own size, in the part's proportions.
	OnlyMasked  bool
	MaskPadding *int

	// Steps is the number of denoising steps, 1 to MaxSteps; 0 means 20.
	Steps int

	// Guidance is the classifier-free guidance scale (Ho & Salimans 2022), 0 to 1000: 1
	// follows the prompt without contrast to the negative prompt, 0 ignores it.
	// nil means what the model's file says, else 7. See [Float].
	Guidance *float64

	// Guider is the kind of guidance, as package sampler's Guiders lists them; empty
	// means "cfg". GuiderOptions are its numbers by name, such as "phi" of
	// "cfg_rescale"; all kinds take "start", "stop", "sigma_min" and "sigma_max", the
	// interval outside of which the prompt is followed without guidance (Kynkäänniemi
	// et al. 2024, arXiv:2404.07724).
	Guider        string
	GuiderOptions map[string]float64

	// Sampler and Schedule are names that package sampler knows. Empty means
	// "euler_a" and the sampler's DefaultSchedule, nearly always "discrete".
	Sampler, Schedule string

	// SamplerOptions are the sampler's own numbers by name, of those that it takes:
	// "eta", "s_noise", "s_churn", "s_tmin", "s_tmax", "order", "rtol", "atol".
	SamplerOptions map[string]float64

	// DeepCache n, if above 1, computes the UNet's inner blocks in every n-th
	// evaluation only and reuses what they gave in those between, which then take
	// about a tenth of the time (Ma et al. 2024, arXiv:2312.00858). The picture
	// is another one: docs/performance.md says how different.
	DeepCache int

	// Seed is the seed of the first picture; picture i of a request has
	// Seed + i. RandomSeed draws one.
	Seed int64

	// RNG is the generator of noise; empty means TorchRNG.
	RNG RNG

	// Interpolate, if not nil, draws pictures between this request's and others.
	Interpolate *Interpolation

	// ClipSkip n takes the text encoder's state before its last n-1 layers. 0
	// means what the model was trained with: 1 for SD 1.x, 2 for SD 2.x and XL.
	ClipSkip int

	// OriginalSize, TargetSize and CropTopLeft are the micro-conditions of models of
	// SDXL's family: the size that a picture had before training scaled it, the size
	// that it has, and the pixel of the scaled original that is its left top corner.
	// The zero sizes mean Width x Height. Other models take none of it.
	OriginalSize, TargetSize image.Point
	CropTopLeft              image.Point

	// AestheticScore and NegativeAestheticScore are what SDXL's refiner is told,
	// with the prompt and the negative one, from 0 to 10; nil means 6 and 2.5.
	AestheticScore, NegativeAestheticScore *float64

	// Refiner names an attached model of SDXL's family that makes the last steps:
	// those after the fraction RefinerAt, 0 to 1, of Steps (nil means 0.8). Empty is
	// none.
	Refiner   string
	RefinerAt *float64

	// Hires are further passes over the picture, which make it larger. A Refiner
	// takes part in the last one alone. KeepHiresInput asks for a StageDraft event
	// with the picture before each.
	Hires          []HiresPass
	KeepHiresInput bool

	// TAESD names an attached tiny autoencoder that decodes the pictures, and
	// previews, in place of the model's own. TAESDPreviewOnly leaves the pictures to
	// that. Empty is none.
	TAESD            string
	TAESDPreviewOnly bool

	// PreviewEvery asks for a preview after each so many steps, up to MaxSteps; 0 is
	// none. With TAESD it has the picture's size; without, it takes no time and has a
	// pixel for a latent one.
	PreviewEvery int

	// Count is the number of pictures, 1 to MaxCount; 0 means 1.
	Count int

	// OnEvent, if not nil, is told of progress, one event after the other, while
	// Generate waits. An error that it returns ends the request, and so does a
	// panic. It must not call the model at [StageUpload], nor close it. It is no part
	// of the request's data.
	OnEvent func(Event) error `json:"-"`
}

// HiresPass is a further pass over a picture, which AUTOMATIC1111 calls
// "Hires. fix": it is made larger and then partly denoised again, so that it gets
// the details of its new size and keeps the composition of its old one.
type HiresPass struct {
	// Scale is how many times wider and higher the picture becomes, to the
	// alignment's multiple that is not above it. 0 means 2, or Width and Height.
	Scale float64

	// Width and Height, multiples of the alignment, are the size instead of a Scale:
	// the picture is made to cover it and cropped around its middle.
	Width, Height int

	// Upscaler names a filter or an attached ESRGAN; empty means "latent",
	// AUTOMATIC1111's "Latent": bilinear interpolation of the latent.
	Upscaler string

	// Strength is how much is replaced, 0 to 1: the larger, the earlier in the
	// schedule the steps begin. 0 makes no steps. nil means 0.7. See [Float].
	Strength *float64

	// Steps is the number of steps that are made, whatever the strength; 0 means
	// Request.Steps.
	Steps int

	// Sampler, Schedule and Guidance are for this pass; their zero values mean
	// those of the request.
	Sampler, Schedule string
	Guidance          *float64
}

// MaxHires bounds the number of a request's [HiresPass]es.
const MaxHires = 16

// Interpolation is another picture, and how far on the way to it a request's are.
type Interpolation struct {
	// Prompt, if not nil, is the other picture's. The conditions of both are mixed
	// along a straight line.
	Prompt *string

	// Seed, if not nil, is the other picture's first seed, counted up with the
	// request's. The initial noise is on the arc between both (slerp), as for
	// AUTOMATIC1111's variation seeds; later noise is the request's own.
	Seed *int64

	// At is how far along the way, 0 (the request's own picture) to 1.
	At float64
}

// Float is for the optional numbers of a request: Guidance: Float(7.5).
func Float(v float64) *float64 { return &v }

// Int is for the optional whole numbers of a request.
func Int(v int) *int { return &v }
