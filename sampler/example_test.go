package sampler_test

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

// net is a tiny epsilon-predicting model of data that is 1 everywhere: what is
// not 1 in its input must be noise.
func net(_ context.Context, dst, x []float32, t float64) error {
	sigma := sampler.StableDiffusion().TToSigma(t)
	for i, v := range x {
		dst[i] = float32((float64(v)*math.Sqrt(1+sigma*sigma) - 1) / sigma)
	}
	return nil
}

// From noise to a sample, in the five parts that every run has.
func Example() {
	process := sampler.StableDiffusion()
	model, err := sampler.Precondition(process, sampler.PredictEpsilon)
	if err != nil {
		fmt.Println(err)
		return
	}
	denoise := model.Denoiser(net)
	sigmas, err := sampler.Karras(process, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise := sampler.NewTorch(42)
	x := make([]float32, 4)
	process.InitialNoise(x, nil, sigmas[0], noise)
	err = sampler.DPMPP2M(context.Background(), denoise, x, sigmas, noise, sampler.DefaultOptions())
	fmt.Printf("%.3f %v\n", x, err)
	// Output: [1.000 1.000 1.000 1.000] <nil>
}

func ExampleLookup() {
	s, err := sampler.Lookup("DPM++ 2M Karras") // as in AUTOMATIC1111's web UI
	fmt.Println(s.Name, s.Schedule, err)
	_, err = sampler.Lookup("eulr")
	fmt.Println(err)
	// Output:
	// dpm++2m karras <nil>
	// unknown sampler "eulr"; did you mean "euler"?
}

func ExampleSchedule() {
	s, err := sampler.LookupSchedule("karras")
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := s.Sigmas(sampler.StableDiffusion(), 5)
	fmt.Printf("%.3f %v\n", sigmas, err)
	// Output: [14.615 4.797 1.274 0.248 0.029 0.000] <nil>
}

// A noise generator is torch's to the bit, and continues where it stopped.
func ExampleNewTorch() {
	noise := sampler.NewTorch(42)
	x := make([]float32, 16)
	noise.Normal(x)
	fmt.Println(x[:3])
	// Output: [1.9269153 1.4872841 0.9007172]
}

// The pictures of a batch have the seeds 7, 8 and 9.
func ExampleNewBatch() {
	batch, single := make([]float32, 3*16), make([]float32, 16)
	sampler.NewBatch(7, 3, sampler.NewPhilox).Normal(batch)
	sampler.NewPhilox(8).Normal(single)
	fmt.Println(batch[16] == single[0], batch[31] == single[15])
	// Output: true true
}

// Guidance combines a model's answers to several conditions, and wrappers wrap
// again: here predictions are clipped to the range of pixels.
func ExampleCFG() {
	model := func(_ context.Context, dst [][]float32, x []float32, sigma float64) error {
		for i, answer := range []float32{0.5, 0.25} { // cond and uncond
			for k := range dst[i] {
				dst[i][k] = answer
			}
		}
		return nil
	}
	denoise := sampler.Clip(sampler.CFG(model, 7), 1)
	x, d := []float32{0}, []float32{0}
	err := denoise(context.Background(), d, x, 2.5)
	fmt.Println(d[0], err)
	// Output: 1 <nil>
}

// Guidance by name: what it needs to know of the model, its numbers, and a
// denoiser of one run.
func ExampleGuider() {
	pag, err := sampler.LookupGuider("pag")
	if err != nil {
		fmt.Println(err)
		return
	}
	guidance, err := pag.With(5, map[string]float64{"pag_scale": 2, "stop": 0.5})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(guidance.Needs(false))

	process := sampler.StableDiffusion()
	model, err := sampler.Precondition(process, sampler.PredictEpsilon)
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := sampler.Karras(process, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	answers := []float32{0.5, 0.25, 0.125} // cond, uncond and perturbed
	denoise, err := guidance.Denoiser(sampler.GuidedModel{
		Denoise: func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
			for i, d := range dst {
				for k := range d {
					d[k] = answers[i]
				}
			}
			return nil
		},
		Preconditioning: model,
		Sigmas:          sigmas,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range []int{4, 5} {
		d := []float32{0}
		err := denoise(context.Background(), d, []float32{0}, sigmas[step])
		fmt.Println(d[0], err)
	}
	_, err = pag.With(5, map[string]float64{"pag_scale": -1, "eta": 1})
	fmt.Println(err)
	// Output:
	// [cond uncond perturbed]
	// 2.25 <nil>
	// 0.5 <nil>
	// pag_scale must be 0 to 100 with pag, got -1
	// pag takes no eta; it takes pag_scale, pag_start, pag_stop, start, stop, sigma_min and sigma_max
}

// A sampler's own numbers by name, and its refusal of others.
func ExampleSampler_With() {
	s, err := sampler.Lookup("euler_a")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range s.Parameters {
		fmt.Printf("%s: %s, normally %g\n", p.Name, p.Range(), p.Default)
	}
	s, err = s.With(map[string]float64{"eta": 0.5})
	fmt.Println(s.Options.Eta, err)
	_, err = s.With(map[string]float64{"s_churn": 5})
	fmt.Println(err)
	// Output:
	// eta: 0 to 100, normally 1
	// s_noise: 0 to 100, normally 1
	// 0.5 <nil>
	// euler_a takes no s_churn; it takes eta and s_noise
}

// A step's prediction of the clean sample is a preview, and an error from
// OnStep ends the run.
func ExampleOptions() {
	process := sampler.StableDiffusion()
	sigmas, err := sampler.Normal(process, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	enough := errors.New("enough")
	o := sampler.DefaultOptions()
	o.OnStep = func(s sampler.Step) error {
		fmt.Printf("%d of %d: sigma %.2f, preview %.2f\n", s.Index, s.Of, s.SigmaNext, s.Denoised[0])
		if s.Index == 2 {
			return enough
		}
		return nil
	}
	model, err := sampler.Precondition(process, sampler.PredictEpsilon)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float32{20}
	err = sampler.Euler(context.Background(), model.Denoiser(net), x, sigmas, nil, o)
	fmt.Println(err)
	// Output:
	// 1 of 4: sigma 2.92, preview 1.00
	// 2 of 4: sigma 0.93, preview 1.00
	// enough
}

// An image is taken to noise and back.
func ExampleInvert() {
	process := sampler.StableDiffusion()
	denoise := func(_ context.Context, dst, x []float32, sigma float64) error {
		for i, v := range x { // data with deviation 1
			dst[i] = v / float32(1+sigma*sigma)
		}
		return nil
	}
	sigmas, err := sampler.Karras(process, 500)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float32{0.8, -0.3}
	o := sampler.DefaultOptions()
	o.Eta = 0
	err = sampler.Invert(context.Background(), denoise, x, sigmas, o)
	fmt.Printf("%.0f %v\n", x, err)
	err = sampler.DDIM(context.Background(), denoise, x, sigmas, nil, o)
	fmt.Printf("%.2f %v\n", x, err)
	// Output:
	// [12 -4] <nil>
	// [0.80 -0.30] <nil>
}

// Variation seeds: a fifth of the way from one seed's noise to another's.
func ExampleSlerp() {
	a, b := make([]float32, 64), make([]float32, 64)
	sampler.NewTorch(1).Normal(a)
	sampler.NewTorch(2).Normal(b)
	sampler.Slerp(a, a, b, 0.2)
	var square float64
	for _, v := range a {
		square += float64(v) * float64(v)
	}
	fmt.Println(math.Sqrt(square/64) > 0.9)
	// Output: true
}
