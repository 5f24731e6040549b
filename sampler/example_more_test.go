package sampler_test

import (
	"context"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

// gaussian is the exact denoiser of data with mean m and deviation 0.5.
func gaussian(m float64) sampler.Denoiser {
	return func(_ context.Context, dst, x []float32, sigma float64) error {
		s2 := sigma * sigma
		for i, v := range x {
			dst[i] = float32((0.25*float64(v) + s2*m) / (0.25 + s2))
		}
		return nil
	}
}

// A run of a sampler that is looked up by name, with its own options.
func Example_byName() {
	s, err := sampler.Lookup("sa_solver")
	if err != nil {
		fmt.Println(err)
		return
	}
	schedule, err := sampler.LookupSchedule(s.DefaultSchedule())
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := schedule.Sigmas(sampler.StableDiffusion(), 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise, x := sampler.NewPhilox(7), make([]float32, 10_000)
	sampler.StableDiffusion().InitialNoise(x, nil, sigmas[0], noise)
	err = s.Sample(context.Background(), gaussian(3), x, sigmas, noise, s.Options)
	var mean float64
	for _, v := range x {
		mean += float64(v) / float64(len(x))
	}
	fmt.Printf("%.1f %v\n", mean, err)
	// Output: 3.0 <nil>
}

// The samplers of CFG++ take the unguided prediction out of a slice that they
// share with the guidance.
func ExampleGuidance_Denoiser() {
	s, err := sampler.Lookup("dpmpp_2m_cfg_pp") // as in ComfyUI
	if err != nil {
		fmt.Println(err)
		return
	}
	both := func(ctx context.Context, dst [][]float32, x []float32, sigma float64) error {
		if err := gaussian(3)(ctx, dst[0], x, sigma); err != nil {
			return err
		}
		return gaussian(2)(ctx, dst[1], x, sigma)
	}
	process := sampler.StableDiffusion()
	model, err := sampler.Precondition(process, sampler.PredictEpsilon)
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := sampler.Karras(process, 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	cfg, err := sampler.LookupGuider("cfg")
	if err != nil {
		fmt.Println(err)
		return
	}
	guidance, err := cfg.With(0.6, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float32{-4, 4}
	o := s.Options
	o.Uncond = make([]float32, len(x))
	denoise, err := guidance.Denoiser(sampler.GuidedModel{Denoise: both, Preconditioning: model, Uncond: o.Uncond})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = s.Sample(context.Background(), denoise, x, sigmas, nil, o)
	fmt.Printf("%.1f %v\n", x, err)
	// Output: [4.6 4.8] <nil>
}

// SA-Solver that follows the SDE in every step, without a corrector.
func ExampleSASolverWith() {
	sample := sampler.SASolverWith(sampler.SASolverOptions{
		Predictor: 2,
		Tau:       func(_, _ float64) float64 { return 1 },
	})
	sigmas, err := sampler.Karras(sampler.StableDiffusion(), 30)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise, x := sampler.NewTorch(1), make([]float32, 10_000)
	sampler.StableDiffusion().InitialNoise(x, nil, sigmas[0], noise)
	err = sample(context.Background(), gaussian(-2), x, sigmas, noise, sampler.DefaultOptions())
	var square float64
	for _, v := range x {
		square += (float64(v) + 2) * (float64(v) + 2) / float64(len(x))
	}
	fmt.Printf("%.1f %v\n", math.Sqrt(square), err)
	// Output: 0.5 <nil>
}

// Noise that belongs to noise levels: twice the steps refine the same sample.
func ExampleNewBrownian() {
	run := func(steps int) float32 {
		sigmas, err := sampler.Exponential(sampler.StableDiffusion(), steps)
		if err != nil {
			fmt.Println(err)
		}
		x, noise := []float32{10}, sampler.NewBrownian(3)
		if err := sampler.DPMPP2MSDE(context.Background(), gaussian(0), x, sigmas, noise, sampler.DefaultOptions()); err != nil {
			fmt.Println(err)
		}
		return x[0]
	}
	fmt.Println(math.Abs(float64(run(100)-run(200))) < 0.05)
	// Output: true
}

// A latent consistency model knows the clean sample at any noise level: two
// steps are enough.
func ExampleLCM() {
	process := sampler.StableDiffusion()
	model := func(_ context.Context, dst, x []float32, sigma float64) error {
		for i, v := range x { // of data with mean 0
			dst[i] = float32(float64(v) * 0.5 / math.Sqrt(0.25+sigma*sigma))
		}
		return nil
	}
	sigmas, err := sampler.LCMTimesteps(process, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise, x := sampler.NewTorch(5), make([]float32, 10_000)
	sampler.StableDiffusion().InitialNoise(x, nil, sigmas[0], noise)
	err = sampler.LCM(context.Background(), sampler.Consistency(model, process), x, sigmas, noise, sampler.DefaultOptions())
	var square float64
	for _, v := range x {
		square += float64(v) * float64(v) / float64(len(x))
	}
	fmt.Printf("%.1f %v\n", math.Sqrt(square), err)
	// Output: 0.5 <nil>
}

// A list of noise levels as a schedule: as it is, and stretched to more steps.
func ExampleFromSigmas() {
	schedule, err := sampler.FromSigmas([]float64{14.6, 3, 0.5, 0})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, n := range []int{3, 6} {
		sigmas, err := schedule(nil, n)
		fmt.Printf("%.2f %v\n", sigmas, err)
	}
	// Output:
	// [14.60 3.00 0.50 0.00] <nil>
	// [14.60 6.62 3.00 1.22 0.50 0.16 0.00] <nil>
}

// Two prompts with weights.
func ExampleGuidance_Weighted() {
	composable, err := sampler.LookupGuider("composable")
	if err != nil {
		fmt.Println(err)
		return
	}
	guidance, err := composable.With(7, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	guidance, err = guidance.Weighted(0.5, 0.25)
	if err != nil {
		fmt.Println(err)
		return
	}
	model, err := sampler.Precondition(sampler.StableDiffusion(), sampler.PredictEpsilon)
	if err != nil {
		fmt.Println(err)
		return
	}
	answers := []float32{0, 1, 2} // without a prompt, and with each
	denoise, err := guidance.Denoiser(sampler.GuidedModel{
		Denoise: func(_ context.Context, dst [][]float32, _ []float32, _ float64) error {
			for i, d := range dst {
				d[0] = answers[i]
			}
			return nil
		},
		Preconditioning: model,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	d := []float32{0}
	err = denoise(context.Background(), d, []float32{0}, 1)
	fmt.Println(d[0], err)
	// Output: 7 <nil>
}

// Guidance by the gradient of a classifier, here of one that wants 2.
func ExampleClassifier() {
	grad := func(_ context.Context, dst, x, _ []float32, sigma float64) error {
		v := 0.25 + sigma*sigma // of x; p(y|x) is normal around its prediction
		for i, xi := range x {
			dst[i] = float32((2 - 0.25*float64(xi)/v) / (1 + 0.25*sigma*sigma/v) * 0.25 / v)
		}
		return nil
	}
	guided := sampler.Classifier(gaussian(0), grad, 1)
	sigmas, err := sampler.Karras(sampler.StableDiffusion(), 50)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float32{0}
	err = sampler.Heun(context.Background(), guided, x, sigmas, nil, sampler.DefaultOptions())
	fmt.Printf("%.1f %v\n", x[0], err) // 2·0.25/(0.25 + 1)
	// Output: 0.4 <nil>
}

// What is known of a picture stays as it is.
func ExampleInpaint() {
	x0, mask := []float32{5, 0}, []float32{0, 1} // the second place is to be filled
	sigmas, err := sampler.Karras(sampler.StableDiffusion(), 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	noise, x := sampler.NewTorch(1), make([]float32, 2)
	sampler.StableDiffusion().InitialNoise(x, x0, sigmas[0], noise)
	denoise := sampler.Inpaint(gaussian(3), x0, mask, nil)
	err = sampler.EulerAncestral(context.Background(), denoise, x, sigmas, noise, sampler.DefaultOptions())
	fmt.Printf("%.0f %v\n", x, err)
	// Output: [5 3] <nil>
}
