package sampler

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// pixelsGolden are the numbers of testdata/sampler/pixels.py.
type pixelsGolden struct {
	Learned, DDIM map[string]struct {
		Timesteps []int
		X         []float32
	}
	Spacing map[string][]int
	VE, VP  struct {
		Sigmas Sigmas
		X      []float32
	}
}

// pixelNet is the script's model in the process's notation: dst is the clean
// sample, and v the variance where it is not nil.
func pixelNet(p *Preconditioning, v []float32) Denoiser {
	return p.Denoiser(func(_ context.Context, dst, x []float32, t float64) error {
		for i, value := range x {
			dst[i] = float32(0.8*float64(value) + 0.1*math.Sin(3*float64(value)+t/100))
			if v != nil {
				v[i] = float32(math.Cos(2 * float64(value)))
			}
		}
		return nil
	})
}

// pixelStart is the script's start in the process's own scale.
func pixelStart() []float32 {
	x := make([]float32, 32)
	for i := range x {
		x[i] = float32(-2 + 4*float64(i)/31)
	}
	return x
}

func TestLearnedRangeOfDiffusers(t *testing.T) {
	var g pixelsGolden
	golden(t, "pixels.json", &g)
	for name, c := range map[string]struct {
		process *Process
		clip    float64
	}{
		"unclip":         {discrete(t, "squaredcos_cap_v2", 0, 0, 1000), math.Inf(1)},
		"unclip clipped": {discrete(t, "squaredcos_cap_v2", 0, 0, 1000), 1},
		"ddpm":           {discrete(t, "linear", 0.0001, 0.02, 60), math.Inf(1)},
	} {
		t.Run(name, func(t *testing.T) {
			want := g.Learned[name]
			sigmas, err := Respaced(c.process, len(want.Timesteps))
			require.NoError(t, err)
			for i, at := range want.Timesteps {
				require.Equal(t, c.process.Levels()[at], sigmas[i])
			}
			x, o := pixelStart(), DefaultOptions()
			fromVP(x, sigmas[0])
			o.Variance = make([]float32, len(x))
			d := Clip(pixelNet(precondition(t, c.process, PredictEpsilon), o.Variance), c.clip)
			require.NoError(t, lookup(t, "ddpm").Sample(t.Context(), d, x, sigmas, NewTorch(0), o))
			requireClose(t, want.X, x, 2e-5, name)

			o.Variance = o.Variance[1:]
			var e *LengthError
			require.ErrorAs(t, DDPM(t.Context(), d, x, sigmas, NewTorch(0), o), &e)
		})
	}
}

// DDIM of diffusers with use_clipped_model_output, which guided-diffusion's always
// does: the noise is that of the clipped prediction.
func TestClippedDDIMOfDiffusers(t *testing.T) {
	var g pixelsGolden
	golden(t, "pixels.json", &g)
	process := discrete(t, "linear", 0.0001, 0.02, 1000)
	// Its step is a twentieth of all timesteps whatever the spacing, as trailing has it.
	for name, limit := range map[string]func(Denoiser) Denoiser{
		"clip":      func(d Denoiser) Denoiser { return Clip(d, 1) },
		"threshold": func(d Denoiser) Denoiser { return DynamicThreshold(d, 0.9, 1.5, 1) },
	} {
		want := g.DDIM[name]
		sigmas, err := Trailing(process, len(want.Timesteps))
		require.NoError(t, err)
		x := pixelStart()
		fromVP(x, sigmas[0])
		o := DefaultOptions()
		o.Eta = 0
		require.NoError(t, DDIM(t.Context(), limit(pixelNet(precondition(t, process, PredictEpsilon), nil)), x, sigmas, nil, o))
		requireClose(t, want.X, x, 2e-4, name)
	}
}

func TestRespacingOfGuidedDiffusion(t *testing.T) {
	var g pixelsGolden
	golden(t, "pixels.json", &g)
	require.NotEmpty(t, g.Spacing)
	for name, want := range g.Spacing {
		text := strings.Fields(name)
		total := 1000
		if text[0] == "4000" {
			total = 4000
		}
		p := discrete(t, "squaredcos_cap_v2", 0, 0, total)
		s, err := LookupSchedule(text[1])
		require.NoError(t, err, name)
		require.Equal(t, len(want), s.Steps)
		sigmas, err := s.Sigmas(p, s.Steps)
		require.NoError(t, err, name)
		for i, at := range want {
			require.Equal(t, p.Levels()[at], sigmas[len(want)-1-i], "%s, timestep %d", name, i)
		}
		if s.Steps == 250 && text[1] == "250" {
			even, err := Respaced(p, 250)
			require.NoError(t, err)
			require.Equal(t, even, sigmas)
		}
	}
}

func TestRespacingRefuses(t *testing.T) {
	p := StableDiffusion()
	for text, message := range map[string]string{
		"ddim750":        "schedule ddim750: no whole stride leads through 1000 timesteps in 750 steps",
		"ddim5000":       "schedule ddim5000: no whole stride leads through 1000 timesteps in 5000 steps",
		"600,1":          "schedule 600,1: a part of 500 timesteps can't be made in 600 steps",
		"1001":           "schedule 1001: a part of 1000 timesteps can't be made in 1001 steps",
		"0":              `schedule must be timesteps as in 250, 10,15,20 or ddim25, got "0"`,
		"10,,20":         `schedule must be timesteps as in 250, 10,15,20 or ddim25, got "10,,20"`,
		"ddim10,20":      `schedule must be timesteps as in 250, 10,15,20 or ddim25, got "ddim10,20"`,
		"9999999,999999": `schedule must be timesteps as in 250, 10,15,20 or ddim25, got "9999999,999999"`,
		"999999,999999":  "steps must be 1 to 1000000, got 1999998",
	} {
		s, err := LookupSchedule(text)
		if err == nil {
			_, err = s.Sigmas(p, s.Steps)
		}
		require.EqualError(t, err, message, text)
	}
	s, err := Respacing("ddim25")
	require.NoError(t, err)
	_, err = s.Sigmas(p, 20)
	require.EqualError(t, err, "schedule ddim25 has 25 steps, got 20")
	for _, name := range []string{"ddim", "karras25", "ddim x", ""} {
		_, err := Respacing(name)
		require.Error(t, err, name)
	}
}

// The predictor-corrector samplers of score_sde on data that is one Gaussian.
func TestPredictorCorrectorOfScoreSDE(t *testing.T) {
	var g pixelsGolden
	golden(t, "pixels.json", &g)
	gaussian := func(_ context.Context, dst, x []float32, sigma float64) error {
		const mean, spread = 0.3, 0.5
		k := spread * spread / (spread*spread + sigma*sigma)
		for i, v := range x {
			dst[i] = float32(mean + k*(float64(v)-mean))
		}
		return nil
	}
	o := lookup(t, "pc").Options
	x := pixelStart()
	multiply(x, 25)
	o.Process = VESDE(0.01, 50)
	require.NoError(t, PredictorCorrector(t.Context(), gaussian, x, g.VE.Sigmas, NewTorch(0), o))
	requireClose(t, g.VE.X, x, 1e-4, "VE, to the number")

	// VP's own discretization differs in beta²; see PredictorCorrector.
	x = pixelStart()
	fromVP(x, g.VP.Sigmas[0])
	o.Process = VPSDE()
	require.NoError(t, PredictorCorrector(t.Context(), gaussian, x, g.VP.Sigmas, NewTorch(0), o))
	requireClose(t, g.VP.X, x, 0.01, "VP")

	o.Process = VESDE(0.01, 50) // without the corrector's alpha
	y := pixelStart()
	fromVP(y, g.VP.Sigmas[0])
	require.NoError(t, PredictorCorrector(t.Context(), gaussian, y, g.VP.Sigmas, NewTorch(0), o))
	require.Greater(t, apart(g.VP.X, y), 1.5*apart(g.VP.X, x), "alpha matters")
}

// Without corrections what is left is the reverse diffusion, which draws noise in
// all steps but the last.
func TestPredictorAlone(t *testing.T) {
	s, err := lookup(t, "pc").With(map[string]float64{"corrections": 0})
	require.NoError(t, err)
	n := &counter{}
	require.NoError(t, s.Sample(t.Context(), mixture, make([]float32, 24), karras(t, 5), n, s.Options))
	require.Equal(t, 4, n.calls)
	twice, err := s.With(map[string]float64{"corrections": 2})
	require.NoError(t, err)
	require.NoError(t, twice.Sample(t.Context(), mixture, make([]float32, 24), karras(t, 5), n, twice.Options))
	require.Equal(t, 4+14, n.calls)
}

// SigmaToT and TToSigma of the sub-VP SDE, and the scale in which m²·x0² + (1-m²)²
// is the sample's square.
func TestSubVP(t *testing.T) {
	p := SubVPSDE()
	for _, at := range []float64{0.001, 0.1, 0.5, 1} {
		b := 0.1*at + 19.9*at*at/2
		m := math.Exp(-b / 2)
		sigma := p.TToSigma(at)
		require.InEpsilon(t, (1-m*m)/m, sigma, 1e-9)
		require.InEpsilon(t, m, p.Scale(sigma), 1e-9)
		require.InEpsilon(t, at, p.SigmaToT(sigma), 1e-9)
	}
	require.InEpsilon(t, 1/math.Sqrt(10), VPSDE().Scale(3), 1e-12)
	require.Equal(t, 1.0, VESDE(0.01, 50).Scale(3))
}

func TestNetTime(t *testing.T) {
	p := VPSDE()
	q := p.WithNetTime(func(sigma float64) float64 { return 999 * p.SigmaToT(sigma) })
	require.Equal(t, p.SigmaToT(2), p.NetTime(2))
	require.Equal(t, 999*p.SigmaToT(2), q.NetTime(2))
	require.Equal(t, p.SigmaToT(2), q.SigmaToT(2))
}

// A sample of a consistency model is clean at the lowest noise level, where its
// denoiser is the identity.
func TestConsistencyAtItsEnds(t *testing.T) {
	p := precondition(t, EDM(0.002, 80, 0.5), PredictConsistency)
	skip, gain, _ := p.Scalings(0.002)
	require.InDeltaSlice(t, []float64{1, 0}, []float64{skip, gain}, 1e-15)
	for n, want := range map[int]string{1: "[80 0]", 2: "[80 2.515 0]"} {
		sigmas, err := ConsistencyPoints(p.Process(), n)
		require.NoError(t, err)
		text := "[80"
		for _, s := range sigmas[1 : len(sigmas)-1] {
			text += fmt.Sprintf(" %.3f", s)
		}
		require.Equal(t, want, text+" 0]")
	}
}
