package cli

import (
	"context"
	"fmt"
	"image"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/train/control"
)

func trainAdapterCommand() *command {
	return &command{
		name:     "train adapter",
		usage:    "trains a T2I-Adapter, which makes a model follow edges or another control picture",
		synopsis: "train adapter PICTURES -m MODEL [--preprocess canny] [-o FOLDER] [flags]",
		flags: append(trainFlags(trainDefaults{steps: 5000, batch: 4, rate: 1e-3, samples: 4}),
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the model, of Stable Diffusion 1.x, 2.x or XL; it may be quantized"},
			&urfave.StringFlag{Name: "preprocess", Value: "canny", Usage: "`NAME` how control pictures are made of the pictures, as in --control-preprocess (default: canny)"},
			&urfave.StringFlag{Name: "caption", Usage: "`TEXT` the prompt of pictures without one"},
			&urfave.IntFlag{Name: "blocks", Value: 2, Usage: "`N` residual blocks of each feature, 1 to 8 (default: 2)"},
			&urfave.Float64Flag{Name: "caption-drop", Value: 0.1, Usage: "`X` share of samples that are trained with an empty prompt (default: 0.1)"},
			&urfave.IntFlag{Name: "size", Usage: "`PIXELS` the sides of square pictures; others have as many pixels (default: the model's)"},
			&urfave.Float64Flag{Name: "min-snr", Usage: "`GAMMA` of the weights of noise levels; 0: all count the same (default: 0)"},
		),
		run:     runTrainAdapter,
		events:  true,
		patient: true,
		description: `
The result, adapter.safetensors, is used as a ControlNet is.

Examples:
  sdgo train adapter photos/ -m sd15.safetensors --preprocess canny --size 256 -o run
  sdgo txt2img -m sd15.safetensors --control run/adapter.safetensors --control-image photo.png --control-preprocess canny -p "a lighthouse"`,
	}
}

func runTrainAdapter(ctx context.Context, p *program, f *flags) error {
	o, seed, err := startTraining(f, "model")
	if err != nil {
		return err
	}
	edges, err := preprocess.Parse(f.string("preprocess"))
	if err != nil {
		return f.problem("preprocess", "%v", err)
	}
	if typ, err := dtype.Parse(f.string("type")); err != nil || typ != dtype.F16 && typ != dtype.F32 && typ != dtype.BF16 {
		return f.problem("type", "must be f16, f32 or bf16, got %.20q", f.string("type"))
	}
	a := control.Options{Blocks: f.int("blocks"), Caption: strings.TrimSpace(f.string("caption")), CaptionDrop: f.number("caption-drop"), Options: latentOptions(f, seed), Device: trainNetwork(f)}
	a.Control = func(img image.Image) (*image.NRGBA, error) { return edges.Apply(img, 0) }
	if err := a.Check(); err != nil {
		return report.Usagef("%v", err)
	}
	s, err := openLatentSet(ctx, f)
	if err != nil {
		return err
	}
	defer s.model.Close()
	task, err := control.New(ctx, s.model, s.set, s.pixels, a, encoding(p, f))
	if err != nil {
		return err
	}
	defer task.Close()
	t := &training{p: p, f: f, task: task, kind: "adapter", file: "adapter.safetensors"}
	t.drawing = func(ctx context.Context) ([]*image.NRGBA, error) { return t.drawControlled(ctx, s, a) }
	return t.run(ctx, o, map[string]string{"data": s.pixels.Hash(s.set), "model": s.model.Hash(), "preprocess": edges.String(), "blocks": fmt.Sprint(a.Blocks),
		"caption": a.Caption, "caption-drop": fmt.Sprint(a.CaptionDrop), "min-snr": f.text("min-snr")})
}

// drawControlled draws what the first pictures show, by their control pictures.
func (t *training) drawControlled(ctx context.Context, s latentSet, a control.Options) ([]*image.NRGBA, error) {
	m, err := sd.Open(t.f.string("model"), samplesOptions(t.f))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	c, err := sd.OpenControl(t.modelPath(), samplesOptions(t.f))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := m.Attach(c); err != nil {
		return nil, err
	}
	var requests []sd.Request
	for i := range t.f.int("samples") {
		item := i % len(s.set.Items)
		img, err := a.Control(s.pixels.Image(item))
		if err != nil {
			return nil, err
		}
		prompt := s.set.Items[item].Caption
		if prompt == "" {
			prompt = a.Caption
		}
		requests = append(requests, sd.Request{Prompt: prompt, Seed: int64(i + 1), Width: img.Rect.Dx(), Height: img.Rect.Dy(),
			Controls: []sd.RequestControl{{Name: c.Name(), Image: img}}})
	}
	return drawAll(ctx, m, requests)
}
