// Command customsampler implements a sampler, Ralston's method of second order, and
// compares it with Euler's on a toy model whose exact answer is known.
//
//	go run ./examples/customsampler
//
// A request names its sampler, so package sd runs only samplers in the registry of
// package sampler: see docs/adding-a-sampler.md.
package main

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

// ralston evaluates the slope dx/dsigma at the start of a step and after two thirds of
// it. The step uses a quarter of the first slope and three quarters of the second.
func ralston(ctx context.Context, denoise sampler.Denoiser, x []float32, sigmas sampler.Sigmas, _ sampler.Noise, o sampler.Options) error {
	if err := sigmas.Check(); err != nil {
		return err
	}
	x0, between, x0Between := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
	for i, sigma := range sigmas[:len(sigmas)-1] {
		step, sigmaBetween := sigmas[i+1]-sigma, sigma+(sigmas[i+1]-sigma)*2/3
		if err := denoise(ctx, x0, x, sigma); err != nil {
			return err
		}
		for k := range x {
			between[k] = x[k] + float32(step*2/3/sigma)*(x[k]-x0[k])
		}
		if err := denoise(ctx, x0Between, between, sigmaBetween); err != nil {
			return err
		}
		for k := range x {
			slope := (x[k]-x0[k])/float32(sigma)/4 + (between[k]-x0Between[k])/float32(sigmaBetween)*3/4
			x[k] += float32(step) * slope
		}
		if o.OnStep != nil {
			if err := o.OnStep(sampler.Step{Index: i + 1, Of: len(sigmas) - 1, Sigma: sigma, SigmaNext: sigmas[i+1], X: x, Denoised: x0}); err != nil {
				return err
			}
		}
	}
	return nil
}

// gaussian is the exact denoiser of data with mean 3 and standard deviation 0.5.
func gaussian(_ context.Context, dst, x []float32, sigma float64) error {
	for i, v := range x {
		dst[i] = float32((0.25*float64(v) + sigma*sigma*3) / (0.25 + sigma*sigma))
	}
	return nil
}

func main() {
	for _, steps := range []int{10, 20, 40} {
		sigmas, err := sampler.Karras(sampler.StableDiffusion(), steps)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%d steps:", steps)
		for _, s := range []struct {
			name string
			run  sampler.Func
		}{{"euler", sampler.Euler}, {"ralston", ralston}} {
			x := []float32{float32(3 + sigmas[0])} // one standard deviation of the noise away
			if err := s.run(context.Background(), gaussian, x, sigmas, nil, sampler.DefaultOptions()); err != nil {
				log.Fatal(err)
			}
			exact := 3 + 0.5*sigmas[0]/math.Hypot(0.5, sigmas[0])
			fmt.Printf("  %s is off by %.5f", s.name, math.Abs(float64(x[0])-exact))
		}
		fmt.Println()
	}
}
