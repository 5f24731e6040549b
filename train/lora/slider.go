package lora

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/train/latent"
)

// Slider makes the LoRA a concept slider (Gandikota et al. 2023, arXiv:2311.12092): what the
// network predicts for a picture's caption is moved, by Eta times the difference between two
// prompts, to
//
//	ε(caption) + Eta·(ε(Positive) - ε(Negative))
//
// where ε is the network's without the LoRA. The noisy pictures are those of the set, where the
// paper's are partly drawn ones.
type Slider struct {
	Positive, Negative string
	Eta                float64 // above 0, at most 100; the authors' examples have 1 to 4
}

func (o Options) checkSlider() error {
	s := o.Slider
	switch {
	case s == nil:
		return nil
	case strings.TrimSpace(s.Positive) == strings.TrimSpace(s.Negative):
		return fmt.Errorf("a slider needs two prompts that differ, got %.40q twice", s.Positive)
	case !(s.Eta > 0 && s.Eta <= 100):
		return fmt.Errorf("eta must be above 0, at most 100, got %g", s.Eta)
	case o.Text:
		return fmt.Errorf("a slider does not change the text encoders")
	case o.CaptionDrop > 0:
		return fmt.Errorf("a slider is trained with its captions alone: the share without one must be 0, got %g", o.CaptionDrop)
	}
	return nil
}

// slide replaces the targets of a batch with its samples' texts by those of the slider.
func (t *Task) slide(ctx context.Context, b *latent.Batch, texts []string) error {
	predict := func(encoded func(k int) latent.Encoded) ([]float32, error) {
		var c []pipeline.Condition
		for k := range texts {
			c = append(c, t.m.Condition(encoded(k), b.Shape))
		}
		out, d := make([]float32, len(b.X)), t.m.Pipeline.Denoiser
		return out, d.Network().Run(ctx, d.Inputs(b.Shape, b.X, b.Times, c), []cgo.Output{{Name: "out", Data: out}})
	}
	target, err := predict(func(k int) latent.Encoded { return t.captions.Encoded(texts[k]) })
	if err != nil {
		return err
	}
	var ends [2][]float32
	for i := range ends {
		if ends[i], err = predict(func(int) latent.Encoded { return t.ends[i] }); err != nil {
			return err
		}
	}
	for i, v := range target {
		b.Target[i] = float32(float64(v) + t.o.Slider.Eta*(float64(ends[0][i])-float64(ends[1][i])))
	}
	return nil
}
