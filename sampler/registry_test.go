package sampler

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesOfOtherPrograms(t *testing.T) {
	for want, names := range map[string][]string{
		// ComfyUI; stable-diffusion.cpp; AUTOMATIC1111's web UI
		"euler":                   {"euler", "Euler", "k_euler"},
		"euler_a":                 {"euler_ancestral", "euler_a", "Euler a", "EULER A"},
		"heun":                    {"heun", "Heun"},
		"dpm2":                    {"dpm_2", "dpm2", "DPM2"},
		"dpm2_a":                  {"dpm_2_ancestral", "DPM2 a"},
		"lms":                     {"lms", "LMS"},
		"dpm_fast":                {"dpm_fast", "DPM fast"},
		"dpm_adaptive":            {"dpm_adaptive", "DPM adaptive"},
		"dpm++2s_a":               {"dpmpp_2s_ancestral", "dpm++2s_a", "DPM++ 2S a"},
		"dpm++sde":                {"dpmpp_sde", "dpmpp_sde_gpu", "DPM++ SDE"},
		"dpm++2m":                 {"dpmpp_2m", "dpm++2m", "DPM++ 2M"},
		"dpm++2mv2":               {"dpm++2mv2"},
		"dpm++2m_sde":             {"dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "dpm++2m_sde", "dpm++2m_sde_bt", "DPM++ 2M SDE"},
		"dpm++2m_sde_heun":        {"dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "DPM++ 2M SDE Heun"},
		"dpm++3m_sde":             {"dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "DPM++ 3M SDE"},
		"ddpm":                    {"ddpm"},
		"lcm":                     {"lcm", "LCM"},
		"ipndm":                   {"ipndm"},
		"ipndm_v":                 {"ipndm_v"},
		"deis":                    {"deis"},
		"res_multistep":           {"res_multistep"},
		"res_multistep_ancestral": {"res_multistep_ancestral"},
		"res_2s":                  {"res_2s"},
		"gradient_estimation":     {"gradient_estimation", "euler_ge"},
		"er_sde":                  {"er_sde"},
		"seeds_2":                 {"seeds_2"},
		"seeds_3":                 {"seeds_3"},
		"exp_heun":                {"exp_heun_2_x0"},
		"exp_heun_sde":            {"exp_heun_2_x0_sde"},
		"heun++":                  {"heunpp2"},
		"euler_cfg++":             {"euler_cfg_pp", "DDIM CFG++"},
		"euler_a_cfg++":           {"euler_ancestral_cfg_pp", "euler_a_cfg_pp"},
		"ddim":                    {"ddim", "DDIM", "DDIMScheduler"},
		"ddim_trailing":           {"ddim_trailing"},
		"plms":                    {"PLMS"},
		"unipc":                   {"uni_pc", "UniPC"},
		"unipc_bh2":               {"uni_pc_bh2"},
		"tcd":                     {"tcd"},
		"restart":                 {"Restart"},
	} {
		for _, name := range names {
			s, err := Lookup(name)
			require.NoError(t, err)
			require.Equal(t, want, s.Name, name)
		}
	}
	for want, names := range map[string][]string{
		"discrete":         {"normal", "discrete", "Uniform", "Automatic"},
		"karras":           {"karras", "Karras"},
		"exponential":      {"exponential", "Exponential"},
		"polyexponential":  {"Polyexponential"},
		"sgm_uniform":      {"sgm_uniform", "SGM Uniform"},
		"simple":           {"simple", "Simple"},
		"ddim_uniform":     {"ddim_uniform", "DDIM"},
		"beta":             {"beta", "Beta"},
		"linear_quadratic": {"linear_quadratic"},
		"kl_optimal":       {"kl_optimal", "KL Optimal"},
		"ays":              {"ays", "Align Your Steps"},
		"gits":             {"gits"},
		"smoothstep":       {"smoothstep"},
		"lcm":              {"lcm"},
		"bong_tangent":     {"bong_tangent"},
		"linear":           {"flux", "flux2"},
	} {
		for _, name := range names {
			s, err := LookupSchedule(name)
			require.NoError(t, err)
			require.Equal(t, want, s.Name, name)
		}
	}
}

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
	require.Equal(t, UnknownError{"sampler", "eulr_a", "euler_a"}, *e)
	require.EqualError(t, err, `unknown sampler "eulr_a"; did you mean "euler_a"?`)
	_, err = LookupSchedule("karas")
	require.ErrorAs(t, err, &e)
	require.Equal(t, UnknownError{"schedule", "karas", "karras"}, *e)
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
		require.NotNil(t, s.Sample, s.Name)
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

func TestDistance(t *testing.T) {
	require.Equal(t, 3, distance("kitten", "sitting"))
	require.Equal(t, 5, distance("", "heunp"))
	require.Equal(t, 0, distance("heun", "heun"))
}

func FuzzLookup(f *testing.F) {
	f.Add("DPM++ 2M Karras")
	f.Add("eulr")
	f.Fuzz(func(t *testing.T, name string) {
		if s, err := Lookup(name); err == nil {
			require.NotNil(t, s.Sample)
		}
		if s, err := LookupSchedule(name); err == nil {
			require.NotNil(t, s.Sigmas)
		}
	})
}

// A run that names no schedule takes "discrete", unless the sampler knows
// only its own noise levels or its name says another.
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
