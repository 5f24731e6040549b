package cli

import (
	"context"
	"fmt"
	"image"
	"path/filepath"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/embedding"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/loss"
)

func trainEmbeddingCommand() *command {
	return &command{
		name:     "train embedding",
		usage:    "trains a word that stands for what some pictures show",
		synopsis: "train embedding PICTURES -m MODEL --word WORD [-o FOLDER] [flags]",
		flags: append(trainFlags(trainDefaults{steps: 1000, batch: 1, rate: 5e-3, samples: 4}),
			&urfave.StringFlag{Name: "model", Aliases: []string{"m"}, Usage: "`FILE` the model, of Stable Diffusion 1.x or 2.x"},
			&urfave.StringFlag{Name: "word", Usage: "`WORD` as prompts will have it"},
			&urfave.StringFlag{Name: "init", Usage: "`TEXT` what the pictures show, whose vectors the word begins with, such as toy"},
			&urfave.IntFlag{Name: "vectors", Value: 4, Usage: "`N` vectors of the word (default: 4)"},
			&urfave.IntFlag{Name: "size", Usage: "`PIXELS` the sides of square pictures; others have as many pixels (default: the model's)"},
			&urfave.GenericFlag{Name: "template", Value: &texts{}, Usage: "`TEXT` a prompt with {} for the word, for pictures without a caption; may be repeated"},
			&urfave.Float64Flag{Name: "min-snr", Usage: "`GAMMA` of the weights of noise levels; 0: all count the same (default: 0)"},
		),
		run:     runTrainEmbedding,
		events:  true,
		patient: true,
		description: `
Three to six pictures of one thing are enough. The word is the result's file's name.

Examples:
  sdgo train embedding toy/ -m sd15.safetensors --word my-toy --init toy -o run
  sdgo txt2img -m sd15.safetensors --embedding-dir run -p "my-toy on a beach"`,
	}
}

func runTrainEmbedding(ctx context.Context, p *program, f *flags) error {
	o, seed, err := startTraining(f, "model", "word", "init")
	if err != nil {
		return err
	}
	if !f.set("average") {
		o.Average = 0 // of a word that moves far in few steps
	}
	l, err := openLatentSet(ctx, f)
	if err != nil {
		return err
	}
	defer l.model.Close()
	m, set, pixels := l.model, l.set, l.pixels
	e := embedding.Options{Word: f.string("word"), Vectors: f.int("vectors"), Init: f.string("init"), Templates: f.texts("template"), Options: latentOptions(f, seed)}
	if len(e.Templates) == 0 {
		e.Templates = embedding.Templates()
	}
	if err := e.Check(m); err != nil {
		return report.Usagef("%v", err)
	}
	task, err := embedding.New(ctx, m, set, pixels, e, encoding(p, f))
	if err != nil {
		return err
	}
	t := &training{p: p, f: f, task: task, kind: "embedding", file: e.Word + ".safetensors"}
	t.drawing = t.drawWord
	return t.run(ctx, o, map[string]string{"data": pixels.Hash(set), "model": m.Hash(), "word": e.Word, "vectors": fmt.Sprint(e.Vectors), "min-snr": f.text("min-snr"), "templates": strings.Join(e.Templates, "\n")})
}

func latentOptions(f *flags, seed uint64) latent.Options {
	return latent.Options{Seed: seed, Batch: f.int("batch"), Draw: trainDraw(f), Noise: loss.Options{Gamma: f.number("min-snr")}}
}

// loadBuckets reads pictures of any shape.
func loadBuckets(ctx context.Context, f *flags, m *latent.Model, set *data.Set) (*data.Pixels, error) {
	size := f.int("size")
	if !f.set("size") {
		size = m.Size()
	}
	multiple := m.Multiple()
	buckets, err := data.Buckets(size, multiple, min(size, max(multiple, size/2)), 2*size)
	if err != nil {
		return nil, f.problem("size", "%v", err)
	}
	return set.Load(ctx, buckets)
}

// drawWord draws with the word.
func (t *training) drawWord(ctx context.Context) ([]*image.NRGBA, error) {
	m, err := sd.Open(t.f.string("model"), samplesOptions(t.f))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	e, err := sd.OpenEmbedding(t.modelPath())
	if err != nil {
		return nil, err
	}
	if err := m.Attach(e); err != nil {
		return nil, err
	}
	var requests []sd.Request
	for i := range t.f.int("samples") {
		requests = append(requests, sd.Request{Prompt: "a photo of " + t.f.string("word"), Seed: int64(i + 1), Width: t.f.int("size"), Height: t.f.int("size")})
	}
	return drawAll(ctx, m, requests)
}

// modelPath is the result's.
func (t *training) modelPath() string { return filepath.Join(t.f.string("output"), t.file) }
