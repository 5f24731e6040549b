// Convergence draws docs/convergence.svg: the samplers' errors at the end of the
// probability-flow ODE against the number of evaluations.
//
//	go run ./testdata/sampler/convergence > docs/convergence.svg
//
// The data are two Gaussians, whose denoiser and ODE are known in closed form.
package main

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/sdgo/sdgo/sampler"
)

const (
	deviation   = 0.6
	top, bottom = 8.0, 0.2
	count       = 64
)

var evaluations int

func denoise(_ context.Context, dst, x []float32, sigma float64) error {
	evaluations++
	c2, s2 := deviation*deviation, sigma*sigma
	v := c2 + s2
	for i, xi := range x {
		dst[i] = float32((c2*float64(xi) + s2*math.Tanh(float64(xi)/v)) / v)
	}
	return nil
}

// cumulative is the data's cumulative distribution function at a noise level; the ODE
// conserves it.
func cumulative(x, sigma float64) float64 {
	v := math.Sqrt(2 * (deviation*deviation + sigma*sigma))
	return (math.Erfc(-(x-1)/v) + math.Erfc(-(x+1)/v)) / 4
}

func exact(x float64) float64 {
	u := cumulative(-math.Abs(x), top)
	lo, hi := -100.0, 0.0
	for range 100 {
		if mid := (lo + hi) / 2; cumulative(mid, bottom) < u {
			lo = mid
		} else {
			hi = mid
		}
	}
	return math.Copysign(lo, x)
}

// point is one run: evaluations and root mean square error.
type point struct{ n, e float64 }

func run(name string, steps int) point {
	s, err := sampler.Lookup(name)
	if err != nil {
		log.Fatal(err)
	}
	o := s.Options
	o.Eta, o.SNoise = 0, 0
	x, want := make([]float32, count), make([]float64, count)
	for i := range x {
		x[i] = float32(2 * top * (float64(i) + 0.5 - count/2) / count)
		want[i] = exact(float64(x[i]))
	}
	sigmas := make([]float64, steps+1)
	for i := range sigmas {
		sigmas[i] = top * math.Pow(bottom/top, float64(i)/float64(steps))
	}
	evaluations = 0
	if err := s.Sample(context.Background(), denoise, x, sigmas, sampler.NewTorch(0), o); err != nil {
		log.Fatal(err)
	}
	var sum float64
	for i, v := range x {
		sum += (float64(v) - want[i]) * (float64(v) - want[i])
	}
	return point{float64(evaluations), math.Sqrt(sum / count)}
}

// The picture: evaluations from 4 to 128 across, errors from 1 to 1e-6 down.
func px(n float64) float64 { return 70 + 90*math.Log2(n/4) }
func py(e float64) float64 { return 30 - 60*math.Log10(e) }

func main() {
	fmt.Println(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 440" font-family="sans-serif" font-size="12">`)
	fmt.Println(`<rect width="720" height="440" fill="white"/>`)
	for k := 2; k <= 7; k++ {
		n := math.Exp2(float64(k))
		fmt.Printf("<path d=\"M%.0f 30V390\" stroke=\"#ddd\"/><text x=\"%.0f\" y=\"408\" text-anchor=\"middle\">%g</text>\n", px(n), px(n), n)
	}
	for k := 0; k >= -6; k-- {
		e := math.Pow(10, float64(k))
		fmt.Printf("<path d=\"M70 %.0fH520\" stroke=\"#ddd\"/><text x=\"62\" y=\"%.0f\" text-anchor=\"end\">1e%d</text>\n", py(e), py(e)+4, k)
	}
	fmt.Println(`<text x="295" y="430" text-anchor="middle">evaluations of the model</text>`)
	fmt.Println(`<text x="16" y="210" text-anchor="middle" transform="rotate(-90 16 210)">error of the sample</text>`)
	names := []string{"euler", "gradient_estimation", "heun", "dpm2", "dpm++2s_a", "res_2s", "dpm++2m", "deis", "deis_log", "ipndm", "ipndm_v", "plms", "dpm++3m_sde", "lms", "unipc", "sa_solver"}
	for i, name := range names {
		colour := fmt.Sprintf("hsl(%d 75%% %d%%)", i*360/len(names), 35+10*(i%2))
		line := "M"
		for _, steps := range []int{4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128} {
			p := run(name, steps)
			if p.n > 128 || p.n < 4 {
				continue
			}
			line += fmt.Sprintf("%.1f %.1fL", px(p.n), py(min(max(p.e, 1e-6), 1)))
		}
		fmt.Printf("<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", line[:len(line)-1], colour)
		y := 44 + 21*i
		fmt.Printf("<path d=\"M540 %dh24\" stroke=\"%s\" stroke-width=\"3\"/><text x=\"572\" y=\"%d\">%s</text>\n", y-4, colour, y, name)
	}
	fmt.Println("</svg>")
}
