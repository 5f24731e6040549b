package cli

import (
	"errors"
	"fmt"
	"image"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
)

// The files request*.go make requests from flags, jobs.go and job.go make flags from
// jobs, and params.go makes JSON from what a picture was made with. No other code of
// this package knows a request's fields by their flags.

// requestFields says which flag sets a field of a request.
var requestFields = map[string]string{
	"Prompt": "prompt", "NegativePrompt": "negative", "Width": "width", "Height": "height",
	"Steps": "steps", "Guidance": "cfg-scale", "Sampler": "sampler", "Schedule": "schedule",
	"Seed": "seed", "RNG": "rng", "ClipSkip": "clip-skip", "DeepCache": "deep-cache", "Count": "count",
	"Image": "input", "Mask": "mask", "Strength": "strength", "ImageGuidance": "image-cfg-scale",
	"MaskFeather": "mask-feather", "MaskGrow": "mask-grow", "MaskBlur": "mask-blur", "Canvas": "canvas", "OnlyMasked": "only-masked", "MaskPadding": "mask-padding",
	"OriginalSize": "original-size", "TargetSize": "target-size", "CropTopLeft": "crop",
	"AestheticScore": "aesthetic", "NegativeAestheticScore": "negative-aesthetic", "Refiner": "refiner", "RefinerAt": "refiner-at",
	"Hires": "hires", "TAESD": "taesd", "TAESDPreviewOnly": "taesd-preview-only", "PreviewEvery": "preview-every",
	"Interpolate": "to", "Interpolate.Prompt": "to", "Interpolate.Seed": "to-seed",
}

// requestError puts the problems of a request in terms of the flags that set its
// fields; other errors stay as they are.
func requestError(f *flags, err error) error {
	var e *sd.RequestError
	if !errors.As(err, &e) {
		return err
	}
	all := make([]report.Problem, len(e.Problems))
	for i, p := range e.Problems {
		all[i] = report.Problem{Flag: p.Field, Message: p.Text}
		name, ok := requestFields[p.Field]
		if !ok {
			name, ok = stageField(p.Field)
		}
		if ok {
			all[i].Flag = f.name(name)
		}
	}
	return report.Usage(all...)
}

// requestFlags are the flags of a request that every command that draws has.
func requestFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.IntFlag{Name: "width", Aliases: []string{"W"}, Usage: "`PIXELS` a multiple of 8 (default: the model's, or the initial picture's)"},
		&urfave.IntFlag{Name: "height", Aliases: []string{"H"}, Usage: "`PIXELS` a multiple of 8 (default: the model's, or the initial picture's)"},
		&urfave.IntFlag{Name: "steps", Value: 20, Usage: "`N` denoising steps (default: 20)"},
		&urfave.Float64Flag{Name: "cfg-scale", Usage: "`X` how strictly to follow the prompt; 1 is without guidance (default: the model's, or 7)"},
		&urfave.StringFlag{Name: "sampler", Value: "euler_a", Usage: "`NAME` (default: euler_a; sdgo samplers lists them)"},
		&urfave.StringFlag{Name: "schedule", Usage: "`NAME` of the noise levels (default: discrete, or what the sampler needs)"},
		&urfave.Int64Flag{Name: "seed", Aliases: []string{"s"}, Value: sd.RandomSeed, Usage: "`N` the same seed gives the same picture (default: -1, random)"},
		&urfave.StringFlag{Name: "rng", Value: string(sd.TorchRNG), Usage: "`NAME` the generator of noise: torch (diffusers, ComfyUI) or philox (AUTOMATIC1111) (default: torch)"},
		&urfave.IntFlag{Name: "clip-skip", Usage: "`N` leave out the text encoder's last N-1 layers (default: the model's)"},
		&urfave.IntFlag{Name: "deep-cache", Usage: "`N` compute the inner blocks in every Nth step only: faster, but another picture"},
		&urfave.IntFlag{Name: "count", Aliases: []string{"b"}, Value: 1, Usage: "`N` pictures of each prompt, with consecutive seeds (default: 1)"},
	}
}

// newRequest makes a request from flags, except the prompt, further passes and
// previews. open reads pictures.
func newRequest(f *flags, open opener) (sd.Request, error) {
	q, err := basicRequest(f)
	if err == nil {
		err = setXL(f, &q)
	}
	if err == nil {
		err = setPictures(f, &q, open)
	}
	return q, err
}

// basicRequest reads the flags of requestFlags. A zero that the user wrote is an
// error here, because the request would take it for its default.
func basicRequest(f *flags) (sd.Request, error) {
	q := sd.Request{
		NegativePrompt: f.string("negative"),
		Width:          f.int("width"), Height: f.int("height"),
		Steps: f.int("steps"), Sampler: f.string("sampler"), Schedule: f.string("schedule"),
		Seed: f.int64("seed"), RNG: sd.RNG(f.string("rng")),
		ClipSkip: f.int("clip-skip"), DeepCache: f.int("deep-cache"), Count: f.int("count"),
	}
	if f.set("cfg-scale") {
		q.Guidance = sd.Float(f.number("cfg-scale"))
	}
	sides := fmt.Sprintf("must be a multiple of 8 from 8 to %d, got 0", sd.MaxSide)
	wrong := problems{flags: f}
	for _, one := range []struct {
		flag string
		zero bool
		text string
	}{
		{"width", q.Width == 0, sides},
		{"height", q.Height == 0, sides},
		{"steps", q.Steps == 0, fmt.Sprintf("must be 1 to %d, got 0", sd.MaxSteps)},
		{"count", q.Count == 0, fmt.Sprintf("must be 1 to %d, got 0", sd.MaxCount)},
		{"clip-skip", q.ClipSkip == 0, "must be 1 or more, got 0"},
		{"deep-cache", q.DeepCache == 0, fmt.Sprintf("must be 1 (off) to %d, got 0", sd.MaxSteps)},
		{"sampler", q.Sampler == "", "must be a name; sdgo samplers lists them"},
		{"schedule", q.Schedule == "", "must be a name; sdgo samplers lists them"},
		{"rng", q.RNG == "", "must be torch or philox"},
	} {
		if one.zero && f.set(one.flag) {
			wrong.add(one.flag, "%s", one.text)
		}
	}
	if columns := f.int("grid"); f.set("grid") && (columns < 1 || columns > sd.MaxCount) {
		wrong.add("grid", "must be 1 to %d columns, got %d", sd.MaxCount, columns)
	}
	return q, wrong.err()
}

// xlFlags are for models of Stable Diffusion XL's family only.
func xlFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "refiner", Usage: "`FILE` the model of Stable Diffusion XL that makes the last steps"},
		&urfave.Float64Flag{Name: "refiner-at", Value: 0.8, Usage: "`X` the fraction of the steps after which it does (default: 0.8)"},
		&urfave.StringFlag{Name: "original-size", Usage: "`WxH` a condition of SDXL: the picture's size before it was scaled (default: its size)"},
		&urfave.StringFlag{Name: "target-size", Usage: "`WxH` a condition of SDXL: the picture's size (default: its size)"},
		&urfave.StringFlag{Name: "crop", Usage: "`X,Y` a condition of SDXL: the crop's top left corner (default: 0,0)"},
		&urfave.Float64Flag{Name: "aesthetic", Value: 6, Usage: "`X` a condition of SDXL's refiner: the aesthetic score, 0 to 10 (default: 6)"},
		&urfave.Float64Flag{Name: "negative-aesthetic", Value: 2.5, Usage: "`X` the same for the negative prompt (default: 2.5)"},
	}
}

// setXL puts the flags of xlFlags into a request.
func setXL(f *flags, q *sd.Request) error {
	wrong := problems{flags: f}
	for _, one := range []struct {
		flag, separator, want string
		to                    *image.Point
	}{
		{"original-size", "x", "a width and a height such as 1024x1024", &q.OriginalSize},
		{"target-size", "x", "a width and a height such as 1024x1024", &q.TargetSize},
		{"crop", ",", "the left and the top pixel, such as 0,0", &q.CropTopLeft},
	} {
		if !f.set(one.flag) {
			continue
		}
		var ok bool
		if *one.to, ok = pair(f.string(one.flag), one.separator); !ok {
			wrong.add(one.flag, "must be %s, got %.40q", one.want, f.string(one.flag))
		}
	}
	for flag, to := range map[string]**float64{"aesthetic": &q.AestheticScore, "negative-aesthetic": &q.NegativeAestheticScore, "refiner-at": &q.RefinerAt} {
		if f.set(flag) {
			*to = sd.Float(f.number(flag))
		}
	}
	if f.set("refiner-at") && !f.set("refiner") {
		wrong.add("refiner-at", "needs --refiner")
	}
	if f.set("refiner") && f.string("refiner") == "" {
		wrong.add("refiner", "must be the name of a file")
	}
	return wrong.err()
}

// pair reads two whole numbers, not negative.
func pair(text, separator string) (p image.Point, ok bool) {
	a, b, ok := strings.Cut(text, separator)
	x, err := strconv.ParseUint(a, 10, 31)
	y, err2 := strconv.ParseUint(b, 10, 31)
	return image.Pt(int(x), int(y)), ok && err == nil && err2 == nil
}
