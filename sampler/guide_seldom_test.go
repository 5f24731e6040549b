package sampler

import (
	"context"
	"math"
	"testing"
)

// Guidance with every=3 asks for the unconditional prediction in evaluations 0, 3, 6 …; the
// evaluations between use the last difference.
func TestEvery(t *testing.T) {
	for _, name := range []string{"cfg", "apg", "cfg_rescale", "mimic", "cfg_zero_star", "dynamic_thresholding"} {
		guider, err := LookupGuider(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := guider.With(5, map[string]float64{"every": 0}); err == nil {
			t.Errorf("%s: every=0 is no error", name)
		}
		if _, err := guider.With(5, map[string]float64{"every": 1.5}); err == nil {
			t.Errorf("%s: every=1.5 is no error", name)
		}
	}
	guider, err := LookupGuider("cfg")
	if err != nil {
		t.Fatal(err)
	}
	g, err := guider.With(5, map[string]float64{"every": 3})
	if err != nil {
		t.Fatal(err)
	}
	// The conditional prediction at evaluation n is n + 1, the unconditional one half of it.
	n, asked := 0, []bool{}
	model := func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
		asked = append(asked, dst[1] != nil)
		dst[0][0] = float32(n + 1)
		if dst[1] != nil {
			dst[1][0] = float32(n+1) / 2
		}
		n++
		return nil
	}
	preconditioning, err := Precondition(StableDiffusion(), PredictEpsilon)
	if err != nil {
		t.Fatal(err)
	}
	d, err := g.Denoiser(GuidedModel{Denoise: model, Preconditioning: preconditioning})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 7 {
		y := []float32{0}
		if err := d(context.Background(), y, []float32{1}, 1); err != nil {
			t.Fatal(err)
		}
		cond := float64(i + 1)
		difference := float64(i/3*3+1) / 2 // of the last evaluation of both
		if want := cond + 4*difference; math.Abs(float64(y[0])-want) > 1e-6 {
			t.Errorf("evaluation %d: got %g, must be %g", i, y[0], want)
		}
		if asked[i] != (i%3 == 0) {
			t.Errorf("evaluation %d asks for the unconditional prediction: %v", i, asked[i])
		}
	}
}

// every=1 is guidance as it is without the parameter.
func TestEveryOneIsPlain(t *testing.T) {
	guider, err := LookupGuider("cfg")
	if err != nil {
		t.Fatal(err)
	}
	g, err := guider.With(5, nil)
	if err != nil {
		t.Fatal(err)
	}
	if g.Parameters["every"] != 1 {
		t.Errorf("every is %g, must be 1", g.Parameters["every"])
	}
}
