package sampler

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNameWithSchedule(t *testing.T) {
	s, err := Lookup("DPM++ 2M SDE Karras")
	require.NoError(t, err)
	require.Equal(t, "dpm++2m_sde", s.Name)
	require.Equal(t, "karras", s.Schedule)
	s, err = Lookup("k_euler_exponential")
	require.NoError(t, err)
	require.Equal(t, "exponential", s.Schedule)
}

func TestUnknownNamesSuggestTheNearest(t *testing.T) {
	var e *UnknownError
	_, err := Lookup("eulr_a")
	require.ErrorAs(t, err, &e)
	require.Equal(t, UnknownError{Kind: "sampler", Name: "eulr_a", Nearest: "euler_a"}, *e)
	require.EqualError(t, err, `unknown sampler "eulr_a"; did you mean "euler_a"?`)
	_, err = LookupSchedule("karas")
	require.ErrorAs(t, err, &e)
	require.Equal(t, UnknownError{Kind: "schedule", Name: "karas", Nearest: "karras"}, *e)
	for _, odd := range []string{"", " ", "\xff\xfe", strings.Repeat("euler ", 10_000)} {
		_, err := Lookup(odd)
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Nearest)
	}
}

func TestRegistryIsConsistent(t *testing.T) {
	seen := map[string]string{}
	claim := func(kind, name, by string) {
		key := kind + fold(name)
		if other, ok := seen[key]; ok {
			require.Equal(t, other, by, "both claim %s", name)
		}
		seen[key] = by
	}
	for _, s := range Samplers() {
		claim("sampler ", s.Name, s.Name)
		for _, a := range s.Aliases {
			claim("sampler ", a, s.Name)
		}
		require.NotNil(t, s.Func, s.Name)
		require.NotEmpty(t, s.Description, s.Name)
		require.NotContains(t, s.Description, "\n")
		require.NoError(t, s.Options.check())
		_, err := LookupSchedule(s.Schedule)
		require.NoError(t, err, s.Name)
	}
	for _, s := range Schedules() {
		claim("schedule ", s.Name, s.Name)
		for _, a := range s.Aliases {
			claim("schedule ", a, s.Name)
		}
		require.NotNil(t, s.Sigmas, s.Name)
		require.NotEmpty(t, s.Description, s.Name)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("DPM++ 2M Karras")
	f.Add("eulr")
	f.Fuzz(func(t *testing.T, name string) {
		if s, err := Lookup(name); err == nil {
			require.NotNil(t, s.Func)
		}
		if s, err := LookupSchedule(name); err == nil {
			require.NotNil(t, s.Sigmas)
		}
		if g, err := LookupGuider(name); err == nil {
			require.NotNil(t, g.New)
		}
	})
}

// A run that names no schedule takes "discrete", unless the sampler is for
// certain noise levels or its name ends in a schedule.
func TestDefaultSchedule(t *testing.T) {
	for name, want := range map[string]string{
		"euler_a": "discrete", "dpm++2m": "discrete", "ddim": "discrete", "ddim_trailing": "simple",
		"lcm": "lcm", "TCDScheduler": "lcm", "DPM++ 2M Karras": "karras", "DPM++ 3M SDE Exponential": "exponential",
	} {
		s, err := Lookup(name)
		require.NoError(t, err)
		require.Equal(t, want, s.DefaultSchedule(), name)
	}
	for _, s := range Samplers() {
		_, err := LookupSchedule(s.DefaultSchedule())
		require.NoError(t, err, s.Name)
	}
}
