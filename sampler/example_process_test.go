package sampler_test

import (
	"context"
	"fmt"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

// Processes relate a net's timesteps to noise levels.
func ExampleProcess() {
	for _, p := range []*sampler.Process{
		sampler.StableDiffusion(), sampler.VPSDE(), sampler.VESDE(0.01, 50), sampler.EDM(0.002, 80, 0.5), sampler.Flow(3),
	} {
		fmt.Printf("%s: %.4f to %.2f, timestep of 0.5: %.2f\n", p.Kind(), p.SigmaMin(), p.SigmaMax(), p.SigmaToT(0.5))
	}
	// Output:
	// vp: 0.0292 to 14.61, timestep of 0.5: 169.31
	// vp: 0.0105 to 152.17, timestep of 0.5: 0.14
	// ve: 0.0100 to 50.00, timestep of 0.5: 0.46
	// edm: 0.0020 to 80.00, timestep of 0.5: -0.17
	// flow: 0.0030 to 1.00, timestep of 0.5: 500.00
}

// A flow-matching model with a sampler that was made for diffusion.
func ExampleFlow() {
	process := sampler.Flow(3)
	velocity := func(_ context.Context, dst, x []float32, t float64) error {
		for i, v := range x { // data that is 1 everywhere: eps - 1
			dst[i] = (v - 1) / float32(t/1000)
		}
		return nil
	}
	model, err := sampler.Precondition(process, sampler.PredictFlow)
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := sampler.Linear(process, 8)
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := sampler.Lookup("dpm++2m_sde")
	if err != nil {
		fmt.Println(err)
		return
	}
	s.Options.Process = process // which makes it a run on a flow
	x, noise := make([]float32, 2), sampler.NewTorch(1)
	process.InitialNoise(x, nil, sigmas[0], noise)
	err = s.Sample(context.Background(), model.Denoiser(velocity), x, sigmas, noise, s.Options)
	fmt.Printf("%.2f %v\n", x, err)
	// Output: [1.00 1.00] <nil>
}

// FLUX.1's noise levels for a picture of 1024x512 pixels, in two ways.
func ExampleDynamicShift() {
	const tokens = 1024 / 16 * 512 / 16
	a, err := sampler.Linear(sampler.Flow(sampler.DynamicShift(tokens, 0.5, 1.15)), 4)
	fmt.Printf("%.3f %v\n", a, err)
	b, err := sampler.Flux(tokens)(sampler.Flow(1), 4)
	fmt.Printf("%.3f %v\n", b, err)
	// Output:
	// [1.000 0.870 0.691 0.427 0.000] <nil>
	// [1.000 0.870 0.691 0.427 0.000] <nil>
}

// The process of a model for v that was trained with zero terminal SNR, from its
// scheduler_config.json.
func ExampleAlphasCumprod() {
	alphas, err := sampler.NewAlphasCumprod("scaled_linear", 0.00085, 0.012, 1000)
	if err != nil {
		fmt.Println(err)
		return
	}
	process, err := sampler.NewDiscrete(alphas.ZeroTerminalSNR())
	if err != nil {
		fmt.Println(err)
		return
	}
	sigmas, err := sampler.Trailing(process, 4)
	fmt.Printf("%.2f %v\n", sigmas, err)
	// Output: [4096.00 5.40 1.77 0.73 0.00] <nil>
}

// The forward process of training and of img2img, and what a net should
// predict.
func ExamplePreconditioning_Target() {
	process := sampler.StableDiffusion()
	model, err := sampler.Precondition(process, sampler.PredictV)
	if err != nil {
		fmt.Println(err)
		return
	}
	x0, sigma := []float32{1, -1}, 0.75
	x := append([]float32(nil), x0...)
	process.AddNoise(x, sigma, sampler.NewTorch(0))
	v := make([]float32, 2)
	model.Target(v, x0, x, sigma)
	fmt.Printf("%.3f %.3f\n", x, v)
	// Output: [2.156 -1.220] [0.633 0.365]
}

// A model that predicts the variance of its steps besides the clean sample.
func ExampleDDPMLearned() {
	model := func(ctx context.Context, dst, v, x []float32, sigma float64) error {
		for i := range v {
			v[i] = -1 // the variance of the posterior
		}
		return gaussian(3)(ctx, dst, x, sigma)
	}
	process := sampler.StableDiffusion()
	sigmas, err := sampler.Normal(process, 300)
	if err != nil {
		fmt.Println(err)
		return
	}
	x, noise := make([]float32, 10_000), sampler.NewTorch(1)
	process.InitialNoise(x, nil, sigmas[0], noise)
	err = sampler.DDPMLearned(model)(context.Background(), nil, x, sigmas, noise, sampler.DefaultOptions())
	var square float64
	for _, v := range x {
		square += (float64(v) - 3) * (float64(v) - 3) / float64(len(x))
	}
	fmt.Printf("%.1f %v\n", math.Sqrt(square), err)
	// Output: 0.5 <nil>
}

// Guidance by a loss, here of the distance of the first place from 4.
func ExampleLoss() {
	grad := func(_ context.Context, dst, _, denoised []float32, _ float64) error {
		clear(dst)
		dst[0] = 2 * (denoised[0] - 4)
		return nil
	}
	guided := sampler.Loss(gaussian(3), grad, func(float64) float64 { return 0.25 })
	sigmas, err := sampler.Karras(sampler.StableDiffusion(), 20)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := []float32{3, 3}
	err = sampler.Heun(context.Background(), guided, x, sigmas, nil, sampler.DefaultOptions())
	fmt.Println(x[0] > x[1], err)
	// Output: true <nil>
}
