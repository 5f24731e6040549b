package sampler

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func processes() map[string]*Process {
	return map[string]*Process{
		"sd":    StableDiffusion(),
		"edm":   EDM(0.002, 80, 0.5),
		"ve":    VESDE(0.01, 50),
		"vp":    VPSDE(),
		"sub":   SubVPSDE(),
		"flow":  Flow(1),
		"flow3": Flow(3),
	}
}

func TestEveryScheduleFallsToZero(t *testing.T) {
	steps := []int{5_000}
	for n := 1; n <= 40; n++ {
		steps = append(steps, n)
	}
	steps = append(steps, 50, 100, 333, 999, 1000, 1001)
	for name, p := range processes() {
		for _, s := range Schedules() {
			for _, n := range steps {
				sigmas, err := s.Sigmas(p, n)
				require.NoError(t, err, "%s of %s, %d steps", s.Name, name, n)
				require.Len(t, sigmas, n+1)
				require.NoError(t, Sigmas(sigmas).Check(), "%s of %s, %d steps", s.Name, name, n)
				require.Zero(t, sigmas[n])
			}
		}
	}
}

func TestSchedulesBeginWithinTheTrainedRange(t *testing.T) {
	p := StableDiffusion()
	for _, s := range Schedules() {
		if s.Name == "ays_svd" || s.Name == "vp" || s.Name == "align_your_steps" || s.Name == "align_your_steps_sdxl" {
			continue // made for other models, or rounded
		}
		sigmas, err := s.Sigmas(p, 20)
		require.NoError(t, err)
		require.LessOrEqual(t, sigmas[0], p.SigmaMax()*(1+1e-6), s.Name)
		require.GreaterOrEqual(t, sigmas[19], p.SigmaMin()*(1-1e-3), s.Name)
	}
}

func TestScheduleRefusesNoSteps(t *testing.T) {
	for _, s := range Schedules() {
		for _, n := range []int{0, -1, math.MinInt, math.MaxInt, maxSteps + 1} {
			_, err := s.Sigmas(StableDiffusion(), n)
			var e *StepsError
			require.ErrorAs(t, err, &e, "%s, %d steps", s.Name, n)
			require.Equal(t, n, e.Steps)
		}
	}
}

func TestSchedulesOfOtherPrograms(t *testing.T) {
	var g struct {
		Schedules []struct {
			Name      string
			N         int
			Fractions bool // of a flow without a shift, not of Stable Diffusion
			Sigmas    []float64
		}
		Quantiles []struct{ A, B, U, X float64 }
	}
	golden(t, "schedules.json", &g)
	require.NotEmpty(t, g.Schedules)
	for _, want := range g.Schedules {
		s, err := LookupSchedule(want.Name)
		require.NoError(t, err)
		process := StableDiffusion()
		if want.Fractions {
			process = Flow(1)
		}
		sigmas, err := s.Sigmas(process, want.N)
		require.NoError(t, err)
		require.Len(t, sigmas, len(want.Sigmas))
		for i, w := range want.Sigmas {
			if !(math.Abs(sigmas[i]-w) <= 3e-6*w) {
				t.Errorf("%s(%d)[%d] = %.9g, want %.9g", want.Name, want.N, i, sigmas[i], w)
			}
		}
	}
	require.NotEmpty(t, g.Quantiles)
	for _, q := range g.Quantiles {
		require.InDelta(t, q.X, betaQuantile(q.U, q.A, q.B), 2e-12)
	}
}

// The tables with all their digits are those that the diffusers library has
// with three decimals.
func TestAlignYourStepsTables(t *testing.T) {
	for i := range 10 {
		require.InDelta(t, aysSD1Rounded[i], aysSD1[i], 0.003)
		require.InDelta(t, aysSDXLRounded[i], aysSDXL[i], 0.004)
	}
}

// A schedule that does not suit a model is refused, with the reason.
func TestSchedulesForAProcess(t *testing.T) {
	of := func(p *Process) (names []string) {
		for _, s := range SchedulesFor(p) {
			names = append(names, s.Name)
		}
		return names
	}
	everywhere := []string{"discrete", "karras", "exponential", "polyexponential", "sgm_uniform", "simple", "trailing", "ddim_uniform", "leading_zero", "beta", "smoothstep", "kl_optimal", "linear_quadratic", "bong_tangent", "consistency", "respaced"}
	require.ElementsMatch(t, append([]string{"ays", "ays_sdxl", "align_your_steps", "align_your_steps_sdxl", "gits", "lcm", "vp"}, everywhere...), of(StableDiffusion()))
	require.ElementsMatch(t, append([]string{"linear", "flux", "flux2", "qwen_image", "qwen_image_comfyui", "qwen_image_sdcpp", "ltx2", "logit_normal", "llada_image"}, everywhere...), of(Flow(3)))
	require.ElementsMatch(t, append([]string{"ays_svd"}, everywhere...), of(EDM(0.002, 700, 0.5)))
	for name, c := range map[string]struct {
		process *Process
		message string
	}{
		"flux":    {StableDiffusion(), "schedule flux is for a flow-matching model, and this is a variance-preserving diffusion (Stable Diffusion)"},
		"gits":    {Flow(1), "schedule gits is for a variance-preserving diffusion (Stable Diffusion), and this is a flow-matching model"},
		"ays_svd": {VPSDE(), "schedule ays_svd is for a diffusion of Karras et al. (EDM) or a variance-exploding diffusion, and this is a variance-preserving diffusion (Stable Diffusion)"},
	} {
		s, err := LookupSchedule(name)
		require.NoError(t, err)
		var e *UnsuitableError
		require.ErrorAs(t, s.Check(c.process), &e)
		require.EqualError(t, e, c.message)
	}
}

func TestTimestepSpacings(t *testing.T) {
	p := StableDiffusion()
	at := func(sigmas []float64) []int {
		var ts []int
		for _, s := range sigmas[:len(sigmas)-1] {
			ts = append(ts, int(math.Round(p.SigmaToT(s))))
		}
		return ts
	}
	// table 2 of Lin et al. 2024 counts from 1
	trailing, err := Trailing(p, 10)
	require.NoError(t, err)
	require.Equal(t, []int{999, 899, 799, 699, 599, 499, 399, 299, 199, 99}, at(trailing))
	leading, err := Leading(p, 0, 10)
	require.NoError(t, err)
	require.Equal(t, []int{900, 800, 700, 600, 500, 400, 300, 200, 100, 0}, at(leading))
	ddim, err := DDIMUniform(p, 30) // ComfyUI's has 31 steps
	require.NoError(t, err)
	require.Equal(t, 958, at(ddim)[0])
	require.Equal(t, 1, at(ddim)[29])
}

func TestCustomScheduleStretches(t *testing.T) {
	schedule, err := FromSigmas([]float64{10, 5, 1, 0})
	require.NoError(t, err)
	same, err := schedule(nil, 3)
	require.NoError(t, err)
	require.Equal(t, Sigmas{10, 5, 1, 0}, same)
	more, err := schedule(nil, 6)
	require.NoError(t, err)
	require.InDelta(t, math.Sqrt(50), more[1], 1e-12)
	require.InDelta(t, 5, more[2], 1e-12)
	_, err = FromSigmas([]float64{1, 2, 0})
	var e *SigmasError
	require.ErrorAs(t, err, &e)
	require.Equal(t, 1, e.Index)
}

func TestBetasOfDiffusers(t *testing.T) {
	var g map[string][]float64
	golden(t, "betas.json", &g)
	of := func(name string, start, end float64) AlphasCumprod {
		alphas, err := NewAlphasCumprod(name, start, end, 1000)
		require.NoError(t, err)
		return alphas
	}
	for name, alphas := range map[string]AlphasCumprod{
		"linear":        of("linear", 0.0001, 0.02),
		"scaled_linear": of("scaled_linear", 0.00085, 0.012),
		"cosine":        of("squaredcos_cap_v2", 0, 0),
		"sigmoid":       of("sigmoid", 0.0001, 0.02),
	} {
		require.NotEmpty(t, g[name])
		for i, want := range g[name] {
			require.InEpsilon(t, want, alphas[i*111], 2e-6, "%s %d", name, i)
		}
	}
	zero := of("scaled_linear", 0.00085, 0.012).ZeroTerminalSNR()
	for i, want := range g["zero_snr"] {
		require.InDelta(t, want, zero[i*111], 1e-6)
	}
	p, err := NewDiscrete(zero)
	require.NoError(t, err)
	require.InDelta(t, 4096, p.SigmaMax(), 0.01)
}

func TestAlphasCumprodRefuses(t *testing.T) {
	for _, c := range []struct {
		name       string
		start, end float64
		n          int
		message    string
	}{
		{"square", 0.1, 0.2, 10, `beta schedule must be linear, scaled_linear, squaredcos_cap_v2 or sigmoid, got "square"`},
		{"linear", 0.1, 1, 10, "beta must be at least 0 and less than 1, got 1"},
		{"linear", math.NaN(), 0.5, 10, "beta must be at least 0 and less than 1, got NaN"},
		{"linear", 0.1, 0.2, 1, "timesteps must be 2 to 1000000, got 1"},
	} {
		_, err := NewAlphasCumprod(c.name, c.start, c.end, c.n)
		require.EqualError(t, err, c.message)
	}
	require.Empty(t, AlphasCumprod(nil).ZeroTerminalSNR())
	_, err := NewDiscrete(AlphasCumprod{0.5})
	require.EqualError(t, err, "alphas_cumprod must be at least 2 numbers, got 1")
}

func TestProcessesInvert(t *testing.T) {
	for name, p := range processes() {
		if name == "flow3" { // not by design: see Flow
			continue
		}
		levels := p.Levels()
		require.Len(t, levels, 1000)
		for _, sigma := range levels {
			require.InEpsilon(t, sigma, p.TToSigma(p.SigmaToT(sigma)), 1e-9, name)
		}
	}
	require.Zero(t, StableDiffusion().SigmaToT(0))
	require.Equal(t, 999.0, StableDiffusion().SigmaToT(math.Inf(1)))
}

func TestDynamicShiftOfFlux(t *testing.T) {
	require.InEpsilon(t, math.Exp(0.5), DynamicShift(256, 0.5, 1.15), 1e-12)
	require.InEpsilon(t, math.Exp(1.15), DynamicShift(4096, 0.5, 1.15), 1e-12)
	require.InEpsilon(t, 0.75, shiftSigma(0.5, 3), 1e-12)
}

// Schedules that shift by themselves do so once, whatever shift the model's flow has.
func TestFlowsAreShiftedOnce(t *testing.T) {
	for _, name := range []string{"flux", "flux2", "ltx2", "logit_normal", "llada_image", "qwen_image"} {
		s, err := LookupSchedule(name)
		require.NoError(t, err)
		want, err := s.Sigmas(Flow(1), 6)
		require.NoError(t, err)
		for _, p := range []*Process{Flow(3), Flow(3.16).WithTerminal(0.02)} {
			got, err := s.Sigmas(p, 6)
			require.NoError(t, err)
			require.Equal(t, want, got, name)
		}
	}
}

func TestDiscreteRefusesBadAlphas(t *testing.T) {
	for _, bad := range [][]float64{nil, {0.5}, {0.5, 0.6}, {0.5, 0}, {1, 0.5}, {0.9, math.NaN()}} {
		_, err := NewDiscrete(bad)
		require.Error(t, err, "%v", bad)
	}
}

func FuzzCustomSchedule(f *testing.F) {
	f.Add([]byte(`[10,5,1,0]`), 7)
	f.Add([]byte(`[1,2]`), 0)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		var levels []float64
		if json.Unmarshal(data, &levels) != nil || n > 5000 {
			return
		}
		schedule, err := FromSigmas(levels)
		if err != nil {
			return
		}
		sigmas, err := schedule(nil, n)
		if err == nil {
			require.Len(t, sigmas, n+1)
			require.NoError(t, Sigmas(sigmas).Check())
		}
	})
}
