package job

import (
	"image"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/sd/request"
)

// A Field is a field of [request.Request] and everything that is said of it: on
// command lines, in JSON, in the parameters of pictures and in the documentation. A
// field of the request's hires passes is one for all of them.
type Field struct {
	Path    string   // in Request, such as "Guidance", "Interpolate.At" or "Hires.Scale"
	Also    []string // paths of what the same value sets
	Flag    string   // long name
	Short   string   // one letter, or ""
	Key     string   // in JSON: the flag in snake case
	PassKey string   // in an object of the JSON list "hires", for a hires pass's
	Object  string   // the JSON object that has the value under the end of Path; Key is accepted, too
	A1111   string   // key in AUTOMATIC1111's layout; "" for what has none there, or is no part of a picture
	API     string   // name in AUTOMATIC1111's API, if that has one
	Kind    Kind
	List    bool   // whether a flag takes a list with commas, with a value for each hires pass
	Arg     string // what help calls the value
	Range   string
	Default string // in words
	Help    string
	For     Command // the commands that have the flag

	begins map[Command]begin // what commands begin with where that is not the zero value
	of     access[request.Request]
	text   func(Field, *request.Request) []kv // how it is written in AUTOMATIC1111's layout, if not as a key and a value
	read   func(Field, *reading)              // and read

	// Of a field of hires passes, for which of is made of these.
	pass    access[request.HiresPass]
	from    access[request.Request]   // the request's field that a pass takes which has none; empty without one
	instead string                    // of a list that says how many passes there are: the flag whose list does so, too,
	apart   access[request.HiresPass] // and what that sets
}

// begin is what a command begins with.
type begin struct {
	value string // of the flag
	text  string // in place of Default
}

// kv is a setting in AUTOMATIC1111's layout.
type kv struct{ key, value string }

// Fields returns the table, in the order in which flags are listed and set. A field
// is added by an entry here, and by nothing else: flags, JSON, the parameters in
// pictures and docs/requests.md follow.
func Fields() []Field {
	all := table()
	for i := range all {
		f := &all[i]
		if f.pass.set != nil {
			f.of, f.List = eachPass(f.pass, f.instead, f.apart), true
		}
		f.Kind = f.of.kind
		if f.Range == "" {
			f.Range = f.of.bounds
		}
		f.Key = strings.ReplaceAll(f.Flag, "-", "_")
		if f.List && f.PassKey == "" {
			f.PassKey = strings.TrimPrefix(f.Key, "hires_")
		}
	}
	return all
}

const (
	maxScale = 1000 // of guidance
	sides    = "multiples of the model's alignment (8), up to 8192"
)

type req = request.Request

// table are the fields as they are written down.
func table() []Field {
	scale := plain(factor(request.MaxSide), func(h *request.HiresPass) *float64 { return &h.Scale })
	passSize := joined(size(1, request.MaxSide),
		func(h *request.HiresPass) image.Point { return image.Pt(h.Width, h.Height) },
		func(h *request.HiresPass, p image.Point) { h.Width, h.Height = p.X, p.Y })
	steps := plain(whole(1, request.MaxSteps), func(r *req) *int { return &r.Steps })
	guidance := optional(decimal(0, maxScale), func(r *req) **float64 { return &r.Guidance })
	samplers := plain(samplerName(), func(r *req) *string { return &r.Sampler })
	schedules := plain(scheduleName(), func(r *req) *string { return &r.Schedule })
	return slices.Concat([]Field{
		// What to draw.
		{
			Path: "Prompt", Flag: "prompt", Short: "p", API: "prompt", Arg: "TEXT", For: Texts,
			Help: "what to draw",
			of:   always(plain(longText(), func(r *req) *string { return &r.Prompt })),
			text: noSetting, read: nothing,
		},
		{
			Path: "NegativePrompt", Flag: "negative", Short: "n", API: "negative_prompt", Arg: "TEXT", For: Texts,
			Help: "what not to draw",
			of:   plain(longText(), func(r *req) *string { return &r.NegativePrompt }),
			text: noSetting, read: nothing,
		},

		{
			Path: "Class", Flag: "class", A1111: "Class", Arg: "CLASS", For: Sample | Batch,
			Help: "what to draw, of models by class: a number, or a name of the model's or ImageNet's; none is no class", Default: "none",
			of: plain(name[string](KindText, "a class", nil), func(r *req) *string { return &r.Class }),
		},

		// The picture to begin with.
		{
			Path: "ImageFile", Flag: "input", Short: "i", A1111: "Init image", API: "init_images", Arg: "FILE", For: Img2Img | Inpaint | Batch | Sample,
			Help: "the picture to begin with: PNG, JPEG, WebP, GIF or BMP",
			of:   plain(fileName(), func(r *req) *string { return &r.ImageFile }),
			text: baseName, read: readBaseName,
		},
		{
			Path: "Strength", Flag: "strength", A1111: "Denoising strength", API: "denoising_strength", Arg: "X", For: Img2Img | Inpaint | Batch | Sample,
			Help: "how much of the picture is replaced", Default: "0.75",
			begins: map[Command]begin{Inpaint: {"1", "1"}, Batch: {"", "0.75, with a mask 1"}},
			of:     optional(decimal(0, 1), func(r *req) **float64 { return &r.Strength }),
		},
		{
			Path: "ImageGuidance", Flag: "image-cfg-scale", A1111: "Image CFG scale", API: "image_cfg_scale", Arg: "X", For: Img2Img | Inpaint | Batch,
			Help: "how closely a model for editing (instruct-pix2pix) keeps to the picture", Default: "1.5",
			of: optional(decimal(0, maxScale), func(r *req) **float64 { return &r.ImageGuidance }),
		},

		// What of it to repaint.
		{
			Path: "MaskFile", Flag: "mask", A1111: "Mask image", API: "mask", Arg: "FILE", For: Inpaint | Batch,
			Help: "white where the picture is repainted, black where it stays",
			of:   plain(fileName(), func(r *req) *string { return &r.MaskFile }),
			text: baseName, read: readBaseName,
		},
		{
			Path: "MaskGrow", Flag: "mask-grow", A1111: "Mask grow", Arg: "PIXELS", For: Inpaint | Batch,
			Help: "widen the mask's white parts, or narrow them if negative", Default: "0",
			of: plain(whole(-1024, 1024), func(r *req) *int { return &r.MaskGrow }),
		},
		{
			Path: "MaskBlur", Flag: "mask-blur", A1111: "Mask blur", API: "mask_blur", Arg: "PIXELS", For: Inpaint | Batch,
			Help: "then soften its edges with a Gaussian of that radius", Default: "0",
			of: plain(decimal(0, 256), func(r *req) *float64 { return &r.MaskBlur }),
		},
		{
			Path: "MaskFeather", Flag: "mask-feather", A1111: "Mask feather", Arg: "PIXELS", For: Inpaint | Batch,
			Help: "inside the mask's edge over which the old picture fades into the new one", Default: "4, at most half of how deep the mask is",
			of: optional(whole(0, 256), func(r *req) **int { return &r.MaskFeather }),
		},
		{
			Path: "MaskFill", Flag: "mask-fill", A1111: "Masked content", API: "inpainting_fill", Arg: "NAME", For: Inpaint | Batch,
			Help: "what the masked part begins with: the picture itself, the colours around it, noise, or nothing", Default: "original",
			of:   plain(oneOf(request.MaskOriginal, request.MaskFilled, request.MaskNoise, request.MaskNothing), func(r *req) *request.MaskFill { return &r.MaskFill }),
			read: readMaskFill,
		},
		{
			Path: "OnlyMasked", Flag: "only-masked", A1111: "Inpaint area", API: "inpaint_full_res", For: Inpaint | Batch,
			Help: "draw only the part around the mask, at width x height, and put it back into the picture",
			of:   plain(truth(), func(r *req) *bool { return &r.OnlyMasked }),
			text: inpaintArea, read: readInpaintArea,
		},
		{
			Path: "MaskPadding", Flag: "mask-padding", A1111: "Masked area padding", API: "inpaint_full_res_padding", Arg: "PIXELS", For: Inpaint | Batch,
			Help: "around the mask that only-masked takes along", Default: "32",
			of: optional(whole(0, 4096), func(r *req) **int { return &r.MaskPadding }),
		},
		{
			Path: "Canvas", Flag: "canvas", A1111: "Canvas", Arg: "WxH", For: Inpaint | Batch,
			Help: "in place of a mask: put the picture in the middle of so many pixels and draw around it", Range: sides,
			of: plain(size(1, request.MaxSide), func(r *req) *image.Point { return &r.Canvas }),
		},

		// How it is drawn.
		{
			Path: "Width", Flag: "width", Short: "W", A1111: "Size", API: "width", Arg: "PIXELS", For: All,
			Help: "the picture's width", Range: sides, Default: "the model's, or that of the picture to begin with",
			of:   plain(whole(1, request.MaxSide), func(r *req) *int { return &r.Width }),
			text: sizeText, read: readSize,
		},
		{
			Path: "Height", Flag: "height", Short: "H", A1111: "Size", API: "height", Arg: "PIXELS", For: All,
			Help: "and its height", Range: sides, Default: "the model's, or that of the picture to begin with",
			of:   plain(whole(1, request.MaxSide), func(r *req) *int { return &r.Height }),
			text: noSetting, read: nothing,
		},
		{
			Path: "Steps", Flag: "steps", A1111: "Steps", API: "steps", Arg: "N", For: All,
			Help: "denoising steps", Default: "20, or what the name of the schedule says",
			of: steps,
		},
		{
			Path: "Guidance", Flag: "cfg-scale", A1111: "CFG scale", API: "cfg_scale", Arg: "X", For: All,
			Help: "how closely to follow the prompt; 1 is without guidance", Default: "the model's, or 7",
			of: guidance,
		},
		{
			Path: "Sampler", Flag: "sampler", A1111: "Sampler", API: "sampler_name", Arg: "NAME", For: All,
			Help: "the sampler, by the name that sdgo samplers lists or another program has for it", Default: "euler_a",
			of:   samplers,
			text: samplerText, read: readSampler,
		},
		{
			Path: "Schedule", Flag: "schedule", A1111: "Schedule type", API: "scheduler", Arg: "NAME", For: All,
			Help: "the schedule of the noise levels, by such a name", Default: "discrete, or what the sampler needs",
			of:   schedules,
			text: scheduleText, read: readSchedule,
		},
	}, samplerOptions(), []Field{
		{
			Path: "Guider", Also: []string{"GuiderOptions.*"}, Flag: "guidance", A1111: "Guidance", Arg: "NAME[:PARAMETER=X,…]", For: All,
			Help: "the kind of guidance and its numbers, which sdgo samplers lists, such as apg or cfg_rescale:phi=0.7", Default: "cfg",
			of:   guidanceKind(),
			text: guidanceText, read: readGuidance,
		},
		{
			Path: "Seed", Flag: "seed", Short: "s", A1111: "Seed", API: "seed", Arg: "N", For: All,
			Also: []string{"UnsignedSeed"},
			Help: "the same seed gives the same picture; -1 draws one", Range: "0 to 2^64-1, or -1", Default: "0; of commands a random one",
			begins: map[Command]begin{All: {"-1", "-1, random"}},
			of:     always(firstSeed()),
		},
		{
			Path: "RNG", Flag: "rng", A1111: "RNG", Arg: "NAME", For: All,
			Help: "whose seeds: torch (diffusers, ComfyUI) or philox (AUTOMATIC1111)", Default: "torch",
			of:   plain(oneOf(request.TorchRNG, request.PhiloxRNG), func(r *req) *request.RNG { return &r.RNG }),
			text: rngText, read: readRNG,
		},
		{
			Path: "ZeroSNR", Flag: "zero-snr", A1111: "Noise Schedule", For: All,
			Help: "rescale the noise schedule to zero terminal SNR, for a model that was trained so and whose file does not say it",
			of:   plain(truth(), func(r *req) *bool { return &r.ZeroSNR }),
			text: noiseScheduleText, read: readNoiseSchedule,
		},
		{
			Path: "ClipSkip", Flag: "clip-skip", A1111: "Clip skip", API: "clip_skip", Arg: "N", For: Texts,
			Help: "leave out the text encoder's last N-1 layers", Default: "what the model was trained with",
			of: plain(atLeast(1), func(r *req) *int { return &r.ClipSkip }),
		},
		{
			Path: "DeepCache", Flag: "deep-cache", A1111: "Deep cache", Arg: "N", For: Texts,
			Help: "compute the inner blocks in every Nth step only: faster, another picture", Default: "1, in every step",
			of: plain(whole(1, request.MaxSteps), func(r *req) *int { return &r.DeepCache }),
		},
		{
			Path: "TokenMerging", Flag: "token-merging", A1111: "Token merging ratio", Arg: "X", For: Texts,
			Help: "average this part of similar tokens in self-attention, at most 0.75: faster from 512x512 on, another picture", Default: "0, none",
			of: plain(decimal(0, request.MaxTokenMerging), func(r *req) *float64 { return &r.TokenMerging }),
		},
		{
			Path: "Cache", Also: []string{"CacheOptions.*"}, Flag: "cache", A1111: "Step cache", Arg: "NAME[:PARAMETER=X,…]", For: All,
			Help: "leave out evaluations of the network that earlier ones tell: easy, taylor or first_block, with its numbers, such as easy:threshold=0.05: faster, another picture", Default: "none",
			of: stepCache(),
		},
		{
			Path: "Count", Flag: "count", Short: "b", A1111: "Count", API: "n_iter", Arg: "N", For: All &^ Interpolate,
			Help: "pictures, with seeds one after the other", Default: "1",
			of:   plain(whole(1, request.MaxCount), func(r *req) *int { return &r.Count }),
			text: countText, read: readCount,
		},

		// On the way to another picture.
		{
			Path: "Interpolate.Prompt", Flag: "to", A1111: "Towards", Arg: "TEXT", For: Interpolate | Batch,
			Help: "the prompt of the picture at the other end",
			of:   other(optional(longText(), func(t *request.Interpolation) **string { return &t.Prompt })),
		},
		{
			Path: "Interpolate.Seed", Flag: "to-seed", A1111: "Variation seed", API: "subseed", Arg: "N", For: Interpolate | Batch,
			Also: []string{"Interpolate.UnsignedSeed"},
			Help: "its seed", Range: "0 to 2^64-1",
			of: other(otherSeed()),
		},
		{
			Path: "Interpolate.At", Flag: "at", A1111: "Variation seed strength", API: "subseed_strength", Arg: "X", For: Batch,
			Help: "how far on the way to it: 0 is the picture itself", Default: "0",
			of:   other(always(plain(decimal(0, 1), func(t *request.Interpolation) *float64 { return &t.At }))),
			text: interpolationAt, read: readInterpolationAt,
		},

		// Hires passes. AUTOMATIC1111 has one; the keys of a further one begin with
		// "Hires 2", "Hires 3" …
		{
			Path: "Hires.Scale", Flag: "hires", PassKey: "scale", A1111: "Hires upscale", API: "hr_scale", Arg: "FACTOR", For: Txt2Img | Img2Img | Batch,
			Help: "a second pass at a larger size, such as 2x; 1.5x,2x are two more passes", Default: "2, where there is a pass",
			pass: scale, instead: "hires-size", apart: passSize,
		},
		{
			Path: "Hires.Width", Also: []string{"Hires.Height"}, Flag: "hires-size", A1111: "Hires resize", API: "hr_resize_x", Arg: "WxH", For: Txt2Img | Img2Img | Batch,
			Help: "the same to a size, such as 1024x1536", Range: sides,
			pass: passSize, instead: "hires", apart: scale,
		},
		{
			Path: "Hires.Upscaler", Flag: "hires-upscaler", A1111: "Hires upscaler", API: "hr_upscaler", Arg: "NAME", For: Txt2Img | Img2Img | Batch,
			Help: "how the picture is enlarged: a filter, or an ESRGAN network", Default: "latent",
			pass: plain(name[string](KindText, "an upscaler", nil), func(h *request.HiresPass) *string { return &h.Upscaler }),
		},
		{
			Path: "Hires.Strength", Flag: "hires-strength", A1111: "Hires denoising strength", API: "denoising_strength", Arg: "X", For: Txt2Img | Img2Img | Batch,
			Help: "how much of the enlarged picture is replaced", Default: "0.7",
			pass: optional(decimal(0, 1), func(h *request.HiresPass) **float64 { return &h.Strength }),
		},
		{
			Path: "Hires.Steps", Flag: "hires-steps", A1111: "Hires steps", API: "hr_second_pass_steps", Arg: "N", For: Txt2Img | Img2Img | Batch,
			Help: "steps that are made, whatever the strength", Default: "as many as steps",
			from: steps,
			pass: plain(whole(1, request.MaxSteps), func(h *request.HiresPass) *int { return &h.Steps }),
		},
		{
			Path: "Hires.Sampler", Flag: "hires-sampler", A1111: "Hires sampler", API: "hr_sampler_name", Arg: "NAME", For: Txt2Img | Img2Img | Batch,
			Help: "its sampler", Default: "that of sampler, with its schedule",
			from: samplers,
			pass: plain(samplerName(), func(h *request.HiresPass) *string { return &h.Sampler }),
		},
		{
			Path: "Hires.Schedule", Flag: "hires-schedule", A1111: "Hires schedule type", API: "hr_scheduler", Arg: "NAME", For: Txt2Img | Img2Img | Batch,
			Help: "its schedule", Default: "that of schedule; with hires-sampler what that sampler needs",
			from: schedules,
			pass: plain(scheduleName(), func(h *request.HiresPass) *string { return &h.Schedule }),
		},
		{
			Path: "Hires.Guidance", Flag: "hires-cfg-scale", A1111: "Hires CFG Scale", API: "hr_cfg", Arg: "X", For: Txt2Img | Img2Img | Batch,
			Help: "how closely it follows the prompt", Default: "that of cfg-scale",
			from: guidance,
			pass: optional(decimal(0, maxScale), func(h *request.HiresPass) **float64 { return &h.Guidance }),
		},
		{
			Path: "KeepHiresInput", Flag: "save-stages", For: Txt2Img | Img2Img | Batch,
			Help: "save the picture before each pass, too",
			of:   plain(truth(), func(r *req) *bool { return &r.KeepHiresInput }),
		},

		{
			Path: "Adapters.Name", Also: []string{"Adapters.Strength", "Adapters.TextStrength"}, Flag: "lora", A1111: "LoRA", Arg: "FILE[:STRENGTH[:TEXT]],…", For: Texts,
			Help: "adapters such as LoRAs, with their strengths for the denoiser and the text encoders", Default: "1, and the same for the text encoders",
			of: adapters(),
		},
	}, controlFlags(), guideFlags(), editFlags(), directionFlags(), []Field{
		// Models that enlarge what was drawn.
		{
			Path: "Stages", Flag: "stages", A1111: "Stages", Arg: "FILE[,FILE…]", For: Txt2Img | Sample | Batch,
			Help: "models that enlarge the picture, one after the other",
			of:   namesOf("a model", request.MaxStages, func(r *req) *[]string { return &r.Stages }),
		},
		{
			Path: "StageSteps", Flag: "stage-steps", A1111: "Stage steps", Arg: "N", For: Txt2Img | Sample | Batch,
			Help: "steps of each of them", Default: "as many as steps",
			of: plain(whole(1, request.MaxSteps), func(r *req) *int { return &r.StageSteps }),
		},
		{
			Path: "NoiseLevel", Flag: "noise-level", A1111: "Noise level", Arg: "N", For: Txt2Img | Sample | Img2Img | Batch,
			Help: "noise on a picture that is enlarged, a timestep of the model's", Default: "0, none; 20 of the x4 upscaler, 250 of DeepFloyd IF",
			of: optional(whole(0, request.MaxNoiseLevel), func(r *req) **int { return &r.NoiseLevel }),
		},
		{
			Path: "KeepStages", Flag: "save-each-stage", For: Txt2Img | Sample | Batch,
			Help: "save the picture before each of them, too",
			of:   plain(truth(), func(r *req) *bool { return &r.KeepStages }),
		},

		// Models of Stable Diffusion XL's family.
		{
			Path: "Refiner", Flag: "refiner", A1111: "Refiner", API: "refiner_checkpoint", Arg: "FILE", For: Texts,
			Help: "the model of Stable Diffusion XL that makes the last steps",
			of:   plain(name[string](KindFile, "a model", nil), func(r *req) *string { return &r.Refiner }),
			read: readRefiner,
		},
		{
			Path: "RefinerAt", Flag: "refiner-at", A1111: "Refiner switch at", API: "refiner_switch_at", Arg: "X", For: Texts,
			Help: "the fraction of the steps after which it does", Default: "0.8",
			of: optional(decimal(0, 1), func(r *req) **float64 { return &r.RefinerAt }),
		},
		{
			Path: "OriginalSize", Flag: "original-size", A1111: "Original size", Arg: "WxH", For: Texts,
			Help: "what SDXL is given as a picture's size before it was scaled", Default: "width x height",
			of: plain(size(0, request.MaxSide), func(r *req) *image.Point { return &r.OriginalSize }),
		},
		{
			Path: "TargetSize", Flag: "target-size", A1111: "Target size", Arg: "WxH", For: Texts,
			Help: "what SDXL is given as its size", Default: "width x height",
			of: plain(size(0, request.MaxSide), func(r *req) *image.Point { return &r.TargetSize }),
		},
		{
			Path: "CropTopLeft", Flag: "crop", A1111: "Crop top left", Arg: "X,Y", For: Texts,
			Help: "what SDXL is given as the left top corner of its crop", Default: "0,0",
			of:   plain(corner(request.MaxSide), func(r *req) *image.Point { return &r.CropTopLeft }),
			text: cropText, read: readCrop,
		},
		{
			Path: "AestheticScore", Flag: "aesthetic", A1111: "Aesthetic score", Arg: "X", For: Texts,
			Help: "the score that SDXL's refiner is given", Default: "6",
			of: optional(decimal(0, 10), func(r *req) **float64 { return &r.AestheticScore }),
		},
		{
			Path: "NegativeAestheticScore", Flag: "negative-aesthetic", A1111: "Negative aesthetic score", Arg: "X", For: Texts,
			Help: "the same with the negative prompt", Default: "2.5",
			of: optional(decimal(0, 10), func(r *req) **float64 { return &r.NegativeAestheticScore }),
		},

		// How it is decoded and shown.
		{
			Path: "TAESD", Flag: "taesd", A1111: "TAESD", Arg: "FILE", For: All &^ Interpolate,
			Help: "a tiny autoencoder that decodes the pictures, and previews, in a fraction of the time",
			of:   plain(name[string](KindFile, "a tiny autoencoder", nil), func(r *req) *string { return &r.TAESD }),
			text: taesdText, read: readTAESD,
		},
		{
			Path: "TAESDPreviewOnly", Flag: "taesd-preview-only", For: Txt2Img | Img2Img | Inpaint | Sample,
			Help: "it decodes previews alone",
			of:   plain(truth(), func(r *req) *bool { return &r.TAESDPreviewOnly }),
		},
		{
			Path: "PreviewEvery", Flag: "preview-every", Arg: "N", For: Txt2Img | Img2Img | Inpaint | Sample,
			Help: "a preview after every N steps", Default: "none",
			of: plain(whole(1, request.MaxSteps), func(r *req) *int { return &r.PreviewEvery }),
		},
		{
			Path: "PreviewNoisy", Flag: "preview-noisy", For: Sample,
			Help: "previews of the noisy picture itself, and not of what the model predicts of it",
			of:   plain(truth(), func(r *req) *bool { return &r.PreviewNoisy }),
		},
	})
}
