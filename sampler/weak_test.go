package sampler

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// impulse is noise that is 1 in one of its draws and 0 in the others.
type impulse struct{ at, calls int }

func (n *impulse) Normal(dst []float32) {
	clear(dst)
	if n.calls == n.at {
		dst[0] = 1
	}
	n.calls++
}

// varianceError is how far the variance of what a stochastic sampler makes is
// from that of its data, one Gaussian. Its denoiser is linear, and so the
// sampler is linear in its start and in each draw of noise: runs in which one of
// them is 1 and the others are 0 give the variance exactly.
func varianceError(t *testing.T, s Sampler, n int) float64 {
	const c2, top, bottom = 0.6 * 0.6, 8.0, 0.2
	denoise := func(_ context.Context, dst, x []float32, sigma float64) error {
		sum2(dst, c2/(c2+sigma*sigma), x, 0, x)
		return nil
	}
	sigmas := make([]float64, n+1)
	for i := range sigmas {
		sigmas[i] = top * math.Pow(bottom/top, float64(i)/float64(n))
	}
	run := func(start float32, draw int) (end float64, draws int) {
		x, noise := []float32{start}, &impulse{at: draw}
		require.NoError(t, s.Sample(t.Context(), denoise, x, sigmas, noise, s.Options))
		return float64(x[0]), noise.calls
	}
	end, draws := run(1, -1)
	variance := end * end * (c2 + top*top)
	for k := range draws {
		end, _ := run(0, k)
		variance += end * end
	}
	return variance - (c2 + bottom*bottom)
}

// The weak order of convergence of the samplers of the reverse SDE, with all
// their noise: that of the method that was made stochastic, or what its noise
// leaves of it. Methods of the registry that are missing choose steps or
// lengths by themselves (restart, pc) or need another model (lcm, tcd).
var weakOrders = []struct {
	name     string
	claim    float64
	from, to int
}{
	{"euler_a", 1, 40, 80}, // Euler and Maruyama's method
	{"ddpm", 1, 40, 80},
	{"ddpm_small", 1, 40, 80},
	{"ddpm_large", 1, 40, 80},
	{"euler_a_cfg++", 1, 40, 80},
	{"dpm++sde", 1, 40, 80}, // the noise of its midpoint is not the step's
	{"dpm2_a", 2, 40, 80},
	{"dpm++2s_a", 2, 40, 80},
	{"dpm++2s_a_cfg++", 2, 40, 80},
	{"res_multistep_ancestral", 2, 40, 80},
	{"res_multistep_a_cfg++", 2, 40, 80},
	{"dpm++2m_sde", 2, 60, 120},
	{"dpm++2m_sde_heun", 2, 40, 80},
	{"dpm++3m_sde", 2, 40, 80}, // see there
	{"seeds_2", 2, 40, 80},
	{"seeds_3", 2, 60, 120},
	{"exp_heun_sde", 2, 40, 80},
	{"er_sde", 2, 20, 40}, // beyond, its integrals of 200 terms show
	{"sa_solver", 2, 40, 80},
	{"sa_solver_pece", 2, 40, 80},
}

func TestWeakOrders(t *testing.T) {
	for _, c := range weakOrders {
		t.Run(c.name, func(t *testing.T) {
			s, err := Lookup(c.name)
			require.NoError(t, err)
			e1, e2 := varianceError(t, s, c.from), varianceError(t, s, c.to)
			got := math.Log(math.Abs(e1/e2)) / math.Log(float64(c.to)/float64(c.from))
			t.Logf("%s: %.2e, %.2e: order %.2f", c.name, e1, e2, got)
			if !(got >= c.claim-0.2) {
				t.Errorf("order %.2f measured (%.2e, %.2e), %g claimed", got, e1, e2, c.claim)
			}
		})
	}
}
