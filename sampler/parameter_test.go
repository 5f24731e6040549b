package sampler

import (
	"errors"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWith(t *testing.T) {
	s := lookup(t, "euler")
	churned, err := s.With(map[string]float64{"s_churn": 5, "s_tmin": 0.5, "s_tmax": 3, "s_noise": 1.01})
	require.NoError(t, err)
	require.Equal(t, Options{SChurn: 5, STMin: 0.5, STMax: 3, SNoise: 1.01, RTol: 0.05, ATol: 0.0078, SNR: 0.16, Corrections: 1}, churned.Options)
	require.True(t, churned.Stochastic)
	require.False(t, s.Stochastic, "the original stays")
	require.Zero(t, s.Options.SChurn)

	again, err := churned.With(map[string]float64{"s_noise": 1})
	require.NoError(t, err)
	require.Equal(t, 5.0, again.Options.SChurn, "what is not given stays")

	lms, err := lookup(t, "lms").With(map[string]float64{"order": 2})
	require.NoError(t, err)
	require.Equal(t, 2, lms.Options.Order)
	require.Equal(t, 4, lookup(t, "lms").Options.Order)

	ode, err := lookup(t, "ode").With(map[string]float64{"rtol": 0.01, "atol": 0.1})
	require.NoError(t, err)
	require.Equal(t, []float64{0.01, 0.1}, []float64{ode.Options.RTol, ode.Options.ATol})

	still, err := lookup(t, "euler_a").With(map[string]float64{"eta": 0})
	require.NoError(t, err)
	require.False(t, still.Stochastic)
	require.NoError(t, still.Sample(t.Context(), mixture, make([]float32, 4), karras(t, 3), nil, still.Options), "needs no noise then")
}

func TestWithRefuses(t *testing.T) {
	for _, c := range []struct {
		sampler, name string
		value         float64
		message       string
	}{
		{"euler", "eta", 1, "euler takes no eta; it takes s_churn, s_tmin, s_tmax and s_noise"},
		{"dpm++2m", "eta", 1, "dpm++2m takes no eta; it takes no parameters"},
		{"lcm", "order", 1, "lcm takes no order; it takes s_noise"},
		{"unipc", "ordre", 1, "unipc takes no ordre; it takes order"},
		{"tcd", "eta", 2, "eta must be 0 to 1 with tcd, got 2"},
		{"euler_a", "eta", -0.5, "eta must be 0 to 100 with euler_a, got -0.5"},
		{"euler_a", "s_noise", math.NaN(), "s_noise must be 0 to 100 with euler_a, got NaN"},
		{"lms", "order", 5, "order must be a whole number, 1 to 4 with lms, got 5"},
		{"lms", "order", 2.5, "order must be a whole number, 1 to 4 with lms, got 2.5"},
		{"dpm_adaptive", "order", 1, "order must be a whole number, 2 to 3 with dpm_adaptive, got 1"},
		{"heun", "s_tmin", math.Inf(1), "s_tmin must be finite with heun, got +Inf"},
		{"heun", "s_tmax", -1, "s_tmax must be 0 or more with heun, got -1"},
	} {
		_, err := lookup(t, c.sampler).With(map[string]float64{c.name: c.value})
		require.EqualError(t, err, c.message)
		var e *ParameterError
		require.ErrorAs(t, err, &e)
		require.Equal(t, c.name, e.Name)
	}
	_, err := lookup(t, "heun").With(map[string]float64{"s_tmin": 5, "s_tmax": 3})
	require.EqualError(t, err, "s_tmin must be at most s_tmax, 3, with heun, got 5")

	// Every problem is reported, in a fixed order.
	_, err = lookup(t, "euler_a").With(map[string]float64{"s_noise": -1, "order": 2, "eta": -1, "atol": 1})
	require.EqualError(t, err, `eta must be 0 to 100 with euler_a, got -1
s_noise must be 0 to 100 with euler_a, got -1
euler_a takes no atol; it takes eta and s_noise
euler_a takes no order; it takes eta and s_noise`)
}

func TestParametersAreConsistent(t *testing.T) {
	every(t, func(t *testing.T, s Sampler) {
		var names []string
		for _, p := range s.Parameters {
			require.NotContains(t, names, p.Name)
			names = append(names, p.Name)
			require.NotEmpty(t, p.Help)
			require.NoError(t, p.check(s.Name, p.Default))
			require.NoError(t, p.check(s.Name, p.Min))
			require.Error(t, p.check(s.Name, math.Nextafter(p.Min, -1)))
		}
		same, err := s.With(nil)
		require.NoError(t, err)
		require.Equal(t, s.Stochastic, same.Stochastic)
		require.Equal(t, s.Options, same.Options)
	})
}

// A sampler takes the parameters that it says, which change its samples, and
// no others.
func TestParametersMatter(t *testing.T) {
	others := map[string]float64{"eta": 0.6, "s_noise": 0.9, "s_churn": 5, "s_tmin": 3, "s_tmax": 2, "order": 0, "rtol": 0.2, "atol": 0.2, "snr": 0.1, "corrections": 2}
	run := func(t *testing.T, s Sampler, o Options) []float32 {
		sigmas := karras(t, 20)
		noise := NewTorch(1)
		x := begun(24, sigmas[0], noise)
		require.NoError(t, s.Sample(t.Context(), mixture, x, sigmas, noise, o))
		return x
	}
	every(t, func(t *testing.T, s Sampler) {
		for name, v := range others {
			takes := s.has(name)
			o := s.Options
			switch name { // those that have nothing to do without another
			case "s_tmin", "s_tmax":
				o.SChurn = 5
			case "order":
				v = float64(max(o.Order-1, 2))
				if o.Order == 2 {
					v = 1
				}
			case "s_noise":
				o.SChurn = 5
				if o.Eta == 0 && takes {
					o.Eta = 0.5
				}
			}
			if name == "s_noise" && !takes {
				o.SChurn = 0
			}
			before := run(t, s, o)
			o.set(name, v)
			if takes {
				require.NotEqual(t, before, run(t, s, o), name)
				continue
			}
			require.Equal(t, before, run(t, s, o), name)
		}
	})
}

// No tolerance at all can't be met, which adaptive samplers say.
func TestNoToleranceEnds(t *testing.T) {
	for _, name := range []string{"dpm_adaptive", "ode"} {
		s, err := lookup(t, name).With(map[string]float64{"rtol": 0, "atol": 0})
		require.NoError(t, err)
		x := begun(8, 10, NewTorch(1))
		err = s.Sample(t.Context(), mixture, x, []float64{10, 1, 0}, nil, s.Options)
		require.Truef(t, errors.Is(err, ErrStuck), "%s: %v", name, err)
	}
}
