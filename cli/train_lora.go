package cli

import (
	"context"
	"fmt"
	"image"
	"maps"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/lora"
)

func trainLoRACommand() *command {
	return &command{
		name:     "train lora",
		usage:    "trains a LoRA of a model's UNet and text encoders",
		synopsis: "train lora PICTURES -m MODEL [--caption TEXT] [-o FOLDER] [flags]",
		flags: append(trainFlags(trainDefaults{steps: 1500, batch: 1, rate: 1e-4, samples: 4}),
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the model, of Stable Diffusion 1.x, 2.x or XL; it may be quantized"},
			&urfave.StringFlag{Name: "caption", Usage: "`TEXT` the prompt of pictures without one"},
			&urfave.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` of samples (default: the first picture's)"},
			&urfave.IntFlag{Name: "rank", Value: 8, Usage: "`N` of the products, 1 to 128 (default: 8)"},
			&urfave.Float64Flag{Name: "alpha", Usage: "`X` whose share of the rank is a factor of the products (default: the rank)"},
			&urfave.StringFlag{Name: "layers", Value: lora.Attention, Usage: "`NAME` attention, or transformer, which has the feed-forward layers, too (default: attention)"},
			&urfave.BoolFlag{Name: "text-encoder", Usage: "change the text encoders, too"},
			&urfave.Float64Flag{Name: "caption-drop", Value: 0.1, Usage: "`X` share of samples that are trained with an empty prompt (default: 0.1)"},
			&urfave.StringFlag{Name: "positive", Usage: "`TEXT` train a concept slider: what more of it is to look like, with --negative; the pictures are what it is seen in"},
			&urfave.StringFlag{Name: "negative", Usage: "`TEXT` what less of it is to look like"},
			&urfave.Float64Flag{Name: "eta", Value: 1, Usage: "`X` how far a slider of strength 1 goes, above 0, at most 100 (default: 1)"},
			&urfave.IntFlag{Name: "size", Usage: "`PIXELS` the sides of square pictures; others have as many pixels (default: the model's)"},
			&urfave.Float64Flag{Name: "min-snr", Value: 5, Usage: "`GAMMA` of the weights of noise levels; 0: all count the same (default: 5)"},
			&urfave.Float64Flag{Name: "noise-offset", Usage: "`X` of the noise that all pixels have in common, 0 to 1 (default: 0)"},
		),
		run:     runTrainLoRA,
		events:  true,
		patient: true,
		description: `
The result, lora.safetensors, has kohya's names, which all programs read.

Examples:
  sdgo train lora toy/ -m sd15.safetensors --caption "a photo of sks toy" --size 256 --segments 4 -o run
  sdgo txt2img -m sd15.safetensors --lora run/lora.safetensors -p "a photo of sks toy on a beach"
  sdgo train lora faces/ -m sd15.safetensors --caption "a face" --positive "a very old face" --negative "a very young face" -o run`,
	}
}

func runTrainLoRA(ctx context.Context, p *program, f *flags) error {
	o, seed, err := startTraining(f, "model")
	if err != nil {
		return err
	}
	if !f.set("average") {
		o.Average = 0
	}
	l := lora.Options{Rank: f.int("rank"), Alpha: f.number("alpha"), Layers: f.string("layers"), Text: f.bool("text-encoder"), Caption: strings.TrimSpace(f.string("caption")), CaptionDrop: f.number("caption-drop"), Options: latentOptions(f, seed)}
	l.Noise.NoiseOffset = f.number("noise-offset")
	said := map[string]string{}
	if l.Slider, err = slider(f); err != nil {
		return err
	}
	if s := l.Slider; s != nil {
		said["positive"], said["negative"], said["eta"] = s.Positive, s.Negative, fmt.Sprint(s.Eta)
		if !f.set("caption-drop") {
			l.CaptionDrop = 0
		}
		if !f.set("min-snr") { // predictions are compared, at all noise levels alike
			l.Noise.Gamma = 0
		}
	}
	if err := l.Check(); err != nil {
		return report.Usagef("%v", err)
	}
	if typ, err := dtype.Parse(f.string("type")); err != nil || typ != dtype.F16 && typ != dtype.F32 && typ != dtype.BF16 {
		return f.problem("type", "must be f16, f32 or bf16, got %.20q", f.string("type"))
	}
	s, err := openLatentSet(ctx, f)
	if err != nil {
		return err
	}
	defer s.model.Close()
	task, err := lora.New(ctx, s.model, s.set, s.pixels, l, encoding(p, f))
	if err != nil {
		return err
	}
	t := &training{p: p, f: f, task: task, kind: "lora", file: "lora.safetensors"}
	t.drawing = func(ctx context.Context) ([]*image.NRGBA, error) { return t.drawLoRA(ctx, s.set, l.Caption) }
	maps.Copy(said, map[string]string{"data": s.pixels.Hash(s.set), "model": s.model.Hash(), "rank": fmt.Sprint(l.Rank), "alpha": fmt.Sprint(l.Alpha), "layers": l.Layers, "text-encoder": fmt.Sprint(l.Text),
		"caption": l.Caption, "caption-drop": fmt.Sprint(l.CaptionDrop), "min-snr": f.text("min-snr"), "noise-offset": f.text("noise-offset")})
	return t.run(ctx, o, said)
}

// slider is the one that is trained; nil for a LoRA of pictures.
func slider(f *flags) (*lora.Slider, error) {
	switch {
	case f.set("positive") && f.set("negative"):
		return &lora.Slider{Positive: f.string("positive"), Negative: f.string("negative"), Eta: f.number("eta")}, nil
	case f.set("positive") || f.set("negative") || f.set("eta"):
		return nil, report.Usagef("a slider needs both %s and %s", f.name("positive"), f.name("negative"))
	}
	return nil, nil
}

// latentSet is what is trained on latents.
type latentSet struct {
	model  *latent.Model
	set    *data.Set
	pixels *data.Pixels
}

// openLatentSet opens the pictures and the model of a training for Stable Diffusion.
func openLatentSet(ctx context.Context, f *flags) (s latentSet, err error) {
	if s.set, err = data.Open(f.args[0]); err != nil {
		return s, err
	}
	if s.set.Classes != nil {
		return s, fmt.Errorf("%s: pictures have captions here, and no classes: must be one folder", f.args[0])
	}
	s.model, err = latent.Open(f.string("model"), latent.Device{Threads: f.int("threads"), Backend: f.string("backend"), Segments: f.int("segments")})
	if err != nil {
		return s, err
	}
	if s.pixels, err = loadBuckets(ctx, f, s.model, s.set); err == nil && s.pixels.Masks {
		err = fmt.Errorf("%s: masks are for models on pixels", f.args[0])
	}
	if err != nil {
		s.model.Close()
	}
	return s, err
}

// encoding reports how many pictures are encoded, every two seconds.
func encoding(p *program, f *flags) func(done, of int) {
	style, w := p.style(f)
	shown := p.now()
	return func(done, of int) {
		if style != report.Lines && style != report.Bars || done < of && p.since(shown) < lineEvery {
			return
		}
		shown = p.now()
		fmt.Fprintf(w, "encoded %d/%d\n", done, of)
	}
}

// drawLoRA draws with the LoRA.
func (t *training) drawLoRA(ctx context.Context, set *data.Set, caption string) ([]*image.NRGBA, error) {
	m, err := sd.Open(t.f.string("model"), samplesOptions(t.f))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	a, err := sd.OpenAdapter(t.modelPath())
	if err != nil {
		return nil, err
	}
	defer a.Close()
	if err := m.Attach(a); err != nil {
		return nil, err
	}
	prompt := t.f.string("prompt")
	if prompt == "" {
		if prompt = set.Items[0].Caption; prompt == "" {
			prompt = caption
		}
	}
	var requests []sd.Request
	for i := range t.f.int("samples") {
		requests = append(requests, sd.Request{Prompt: prompt, Seed: int64(i + 1), Width: t.f.int("size"), Height: t.f.int("size"), Adapters: []sd.RequestAdapter{{Name: a.Name()}}})
	}
	return drawAll(ctx, m, requests)
}
