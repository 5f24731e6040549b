package sampler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// gaussians is a mixture of two Gaussians, ±1 with a deviation, for each
// element on its own: data whose denoiser, distribution and ODE are known.
type gaussians struct{ deviation float64 }

func (g gaussians) denoise(_ context.Context, dst, x []float32, sigma float64) error {
	c2, s2 := g.deviation*g.deviation, sigma*sigma
	v := c2 + s2
	for i, xi := range x {
		dst[i] = float32((c2*float64(xi) + s2*math.Tanh(float64(xi)/v)) / v)
	}
	return nil
}

// cumulative is the distribution's cumulative function at a noise level.
func (g gaussians) cumulative(x, sigma float64) float64 {
	v := math.Sqrt(2 * (g.deviation*g.deviation + sigma*sigma))
	return (math.Erfc(-(x-1)/v) + math.Erfc(-(x+1)/v)) / 4
}

// follow gives where the ODE takes x from one noise level to another: in one
// dimension it keeps the quantile.
func (g gaussians) follow(x, sigma, to float64) float64 {
	sign := math.Copysign(1, x)
	u := g.cumulative(-math.Abs(x), sigma) // in the lower half, where it is exact
	lo, hi := -1e3, 0.0
	for range 100 {
		if mid := (lo + hi) / 2; g.cumulative(mid, to) < u {
			lo = mid
		} else {
			hi = mid
		}
	}
	return -sign * lo
}

func TestSamplersReachTheDistribution(t *testing.T) {
	const count = 8_000
	data := gaussians{0.3}
	for _, s := range Samplers() {
		t.Run(s.Name, func(t *testing.T) {
			n, model, o := 60, Denoiser(data.denoise), s.Options
			switch s.Name {
			case "lcm", "consistency":
				// its model is the map to the end of the ODE
				n, model = 4, func(_ context.Context, dst, x []float32, sigma float64) error {
					for i, v := range x {
						dst[i] = float32(data.follow(float64(v), sigma, 0))
					}
					return nil
				}
			case "tcd":
				o.Eta = 0 // else its model has to be distilled
			case "ddpm", "ddpm_small", "ddpm_large", "pc":
				n = 300
			case "dpm_adaptive":
				o.RTol, o.ATol = 0.005, 0.001
			}
			sigmas := karras(t, n)
			noise := NewTorch(11)
			x := begun(count, sigmas[0], noise)
			require.NoError(t, s.Sample(t.Context(), model, x, sigmas, noise, o))
			// Kolmogorov and Smirnov's test: by chance one in a thousand
			// samples is further off than 1.95/sqrt(count).
			slices.Sort(x)
			var worst float64
			for i, v := range x {
				f := data.cumulative(float64(v), 0)
				worst = max(worst, math.Abs(f-float64(i)/count), math.Abs(f-float64(i+1)/count))
			}
			if limit := 1.95/math.Sqrt(count) + 0.004; !(worst <= limit) {
				t.Errorf("off by %.4f, at most %.4f expected", worst, limit)
			}
		})
	}
}

// errorAfter is the root mean square error on the ODE after steps even in
// log(sigma) of length h, and that length. With a grade g the first g steps
// double from h/2^g and the last g halve: multistep methods begin and end with
// lower orders, whose error would else hide the method's own.
func errorAfter(t *testing.T, s Func, o Options, n, grade int) (e, h float64) {
	const count, top, bottom = 64, 8.0, 0.2
	data := gaussians{0.6}
	x, want := make([]float32, count), make([]float64, count)
	for i := range x {
		x[i] = float32(2 * top * (float64(i) + 0.5 - count/2) / count)
		want[i] = data.follow(float64(x[i]), top, bottom)
	}
	at := make([]float64, n+1)
	for i := range n {
		at[i+1] = at[i] + math.Exp2(-float64(max(grade-i, grade-(n-1-i), 0)))
	}
	sigmas := make([]float64, n+1)
	for i, a := range at {
		sigmas[i] = top * math.Pow(bottom/top, a/at[n])
	}
	require.NoError(t, s(t.Context(), data.denoise, x, sigmas, nil, o))
	var sum float64
	for i, v := range x {
		sum += (float64(v) - want[i]) * (float64(v) - want[i])
	}
	return math.Sqrt(sum / count), math.Log(top/bottom) / at[n]
}

// The order of convergence that each method claims, and how it is measured
// between two numbers of steps. Methods of the registry that are missing draw
// noise whatever their eta (weakOrders), choose their own steps
// (TestTolerances), or are in TestEveryOrderIsMeasured.
var orders = []struct {
	name  string
	claim float64
	order int // option
	grade int
	from  int
	to    int
}{
	{"euler", 1, 0, 0, 80, 160},
	{"euler_a", 1, 0, 0, 80, 160}, // with eta 0, as all of them
	{"euler_cfg++", 1, 0, 0, 80, 160},
	{"euler_a_cfg++", 1, 0, 0, 80, 160},
	{"dpm++2m_cfg++", 2, 0, 0, 40, 80},
	{"dpm++2s_a_cfg++", 2, 0, 0, 40, 80},
	{"res_multistep_cfg++", 2, 0, 0, 40, 80},
	{"res_multistep_a_cfg++", 2, 0, 0, 40, 80},
	{"gradient_estimation_cfg++", 1, 0, 0, 80, 160},
	// Claims no order and has none: its extrapolation moves each step by a
	// tenth of what the slope changes, however many the steps.
	{"cfg++_ud10_ab", 0, 0, 0, 80, 160},
	{"ddim", 1, 0, 0, 80, 160},
	{"ddim_trailing", 1, 0, 0, 80, 160},
	{"gradient_estimation", 1, 0, 0, 80, 160},
	{"tcd", 1, 0, 0, 80, 160},
	{"heun", 2, 0, 0, 40, 80},
	{"dpm2", 2, 0, 0, 40, 80},
	{"restart", 2, 0, 0, 9, 18}, // heun below 20 steps
	{"heun++", 1, 0, 0, 40, 80}, // claims none
	{"seeds_2", 2, 0, 0, 40, 80},
	{"seeds_3", 3, 0, 0, 16, 32},
	{"exp_heun", 2, 0, 0, 40, 80},
	{"exp_heun_sde", 2, 0, 0, 40, 80},
	{"dpm2_a", 2, 0, 0, 40, 80},
	{"res_2s", 2, 0, 0, 40, 80},
	{"dpm++sde", 2, 0, 0, 40, 80},
	{"dpm++2s_a", 2, 0, 0, 40, 80},
	{"dpm++2m", 2, 0, 0, 40, 80},
	{"dpm++2mv2", 2, 0, 0, 40, 80}, // on even steps only
	{"dpm++2m_sde", 2, 0, 0, 40, 80},
	{"dpm++2m_sde_heun", 2, 0, 0, 40, 80},
	{"dpm++2m_sde_bt", 2, 0, 0, 40, 80},
	{"res_multistep", 2, 0, 0, 40, 80},
	{"res_multistep_ancestral", 2, 0, 0, 40, 80},
	{"plms", 2, 0, 0, 40, 80}, // PNDM, theorem 4.2
	{"pndm", 2, 0, 0, 40, 80},
	{"ipndm", 2, 0, 0, 40, 80},
	{"deis", 2, 2, 0, 40, 80},
	{"deis", 2.9, 3, 6, 60, 90}, // 3, which it nears from below: 2.7, 2.8, …
	{"deis_log", 2, 2, 0, 40, 80},
	{"deis_log", 3, 3, 6, 30, 45},
	{"sa_solver", 4, 0, 6, 30, 45}, // the corrector's, where the predictor has 3
	{"sa_solver_pece", 4, 0, 6, 30, 45},
	{"unipc", 2, 2, 6, 30, 45}, // the corrector makes it one more
	{"unipc", 3, 3, 6, 30, 45},
	{"unipc_bh2", 3, 3, 6, 30, 45},
	// Every implementation of this one halves the second difference, and so
	// has a smaller error than a method of second order, but its order.
	{"dpm++3m_sde", 2, 0, 6, 30, 45},
	{"dpm_fast", 3, 0, 0, 32, 50}, // 3 3 … 3 2
	{"lms", 2, 2, 6, 30, 45},
	{"lms", 4, 4, 6, 60, 90},
	{"ipndm_v", 2, 2, 0, 40, 80},
	{"ipndm_v", 3, 4, 0, 80, 160}, // not 4: see IPNDMV
}

func TestOrders(t *testing.T) {
	for _, c := range orders {
		t.Run(fmt.Sprint(c.name, " ", c.order), func(t *testing.T) {
			s, err := Lookup(c.name)
			require.NoError(t, err)
			o := DefaultOptions()
			o.Eta, o.Order = 0, c.order
			e1, h1 := errorAfter(t, s.Sample, o, c.from, c.grade)
			e2, h2 := errorAfter(t, s.Sample, o, c.to, c.grade)
			got := math.Log(e1/e2) / math.Log(h1/h2)
			t.Logf("%s: %.2e, %.2e: order %.2f", c.name, e1, e2, got)
			if !(got >= c.claim-0.2) {
				t.Errorf("order %.2f measured (%.2e, %.2e), %g claimed", got, e1, e2, c.claim)
			}
		})
	}
}

// The error of the samplers that choose their steps falls with the tolerance.
func TestTolerances(t *testing.T) {
	for name, claim := range map[string]float64{"dpm_adaptive": 0.9, "ode": 0.9} {
		s, err := Lookup(name)
		require.NoError(t, err)
		at := func(tolerance float64) float64 {
			o := DefaultOptions()
			o.Eta, o.RTol, o.ATol = 0, tolerance, tolerance
			e, _ := errorAfter(t, s.Sample, o, 10, 0)
			return e
		}
		e1, e2 := at(1e-2), at(1e-4)
		got := math.Log(e1/e2) / math.Log(1e-2/1e-4)
		t.Logf("%s: %.2e, %.2e: tolerance to the %.2f", name, e1, e2, got)
		if !(got >= claim-0.2) {
			t.Errorf("%s: %.2e, %.2e: tolerance to the %.2f, must be %g", name, e1, e2, got, claim)
		}
	}
}

func TestEveryOrderIsMeasured(t *testing.T) {
	measured := map[string]string{
		"dpm_adaptive": "TestTolerances",
		"ode":          "TestTolerances",
		"lcm":          "its model is the solution: any number of steps is exact",
		"consistency":  "the same",
		"pc":           "its corrector's step depends on the noise that was drawn",
	}
	for _, c := range orders {
		measured[c.name] = "orders"
	}
	for _, c := range weakOrders {
		measured[c.name] = "weakOrders"
	}
	every(t, func(t *testing.T, s Sampler) { require.Contains(t, measured, s.Name) })
}
