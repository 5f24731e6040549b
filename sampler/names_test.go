package sampler

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every name of a sampler or a schedule in three other programs, each followed by
// ours.
var otherPrograms = []struct {
	program             string // and where its lists are
	samplers, schedules []string
}{
	{
		"ComfyUI 0.36: KSAMPLER_NAMES, SAMPLER_NAMES and SCHEDULER_HANDLERS of comfy/samplers.py",
		[]string{
			"euler", "euler", "euler_cfg_pp", "euler_cfg++", "euler_ancestral", "euler_a", "euler_ancestral_cfg_pp", "euler_a_cfg++", "heun", "heun", "heunpp2", "heun++",
			"exp_heun_2_x0", "exp_heun", "exp_heun_2_x0_sde", "exp_heun_sde", "dpm_2", "dpm2", "dpm_2_ancestral", "dpm2_a", "lms", "lms", "dpm_fast", "dpm_fast", "dpm_adaptive", "dpm_adaptive",
			"dpmpp_2s_ancestral", "dpm++2s_a", "dpmpp_2s_ancestral_cfg_pp", "dpm++2s_a_cfg++", "dpmpp_sde", "dpm++sde", "dpmpp_sde_gpu", "dpm++sde",
			"dpmpp_2m", "dpm++2m", "dpmpp_2m_cfg_pp", "dpm++2m_cfg++", "dpmpp_2m_sde", "dpm++2m_sde", "dpmpp_2m_sde_gpu", "dpm++2m_sde",
			"dpmpp_2m_sde_heun", "dpm++2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpm++2m_sde_heun", "dpmpp_3m_sde", "dpm++3m_sde",
			"dpmpp_3m_sde_gpu", "dpm++3m_sde", "ddpm", "ddpm", "lcm", "lcm", "ipndm", "ipndm", "ipndm_v", "ipndm_v", "deis", "deis", "cfgpp_ud10_ab", "cfg++_ud10_ab", "res_multistep", "res_multistep",
			"res_multistep_cfg_pp", "res_multistep_cfg++", "res_multistep_ancestral", "res_multistep_ancestral",
			"res_multistep_ancestral_cfg_pp", "res_multistep_a_cfg++", "gradient_estimation", "gradient_estimation",
			"gradient_estimation_cfg_pp", "gradient_estimation_cfg++", "er_sde", "er_sde", "seeds_2", "seeds_2", "seeds_3", "seeds_3", "sa_solver", "sa_solver", "sa_solver_pece", "sa_solver_pece", "ddim", "ddim", "uni_pc", "unipc",
			"uni_pc_bh2", "unipc_bh2",
		},
		[]string{
			"simple", "simple", "sgm_uniform", "sgm_uniform", "karras", "karras", "exponential", "exponential", "ddim_uniform", "ddim_uniform", "beta", "beta", "normal", "discrete", "linear_quadratic", "linear_quadratic", "kl_optimal", "kl_optimal",
		},
	},
	{
		"AUTOMATIC1111's web UI 1.10: samplers and their aliases of modules/sd_samplers_kdiffusion.py, _timesteps.py and _lcm.py, modules/sd_schedulers.py",
		[]string{
			"DPM++ 2M", "dpm++2m", "DPM++ SDE", "dpm++sde", "DPM++ 2M SDE", "dpm++2m_sde", "DPM++ 2M SDE Heun", "dpm++2m_sde_heun", "DPM++ 2S a", "dpm++2s_a", "DPM++ 3M SDE", "dpm++3m_sde",
			"Euler a", "euler_a", "Euler", "euler", "LMS", "lms", "Heun", "heun", "DPM2", "dpm2", "DPM2 a", "dpm2_a", "DPM fast", "dpm_fast", "DPM adaptive", "dpm_adaptive", "Restart", "restart",
			"DDIM", "ddim", "DDIM CFG++", "euler_cfg++", "PLMS", "plms", "UniPC", "unipc", "LCM", "lcm",
			"k_dpmpp_2m", "dpm++2m", "k_dpmpp_sde", "dpm++sde", "k_dpmpp_2m_sde", "dpm++2m_sde", "k_dpmpp_2m_sde_heun", "dpm++2m_sde_heun", "k_dpmpp_2s_a", "dpm++2s_a", "k_dpmpp_3m_sde", "dpm++3m_sde",
			"k_euler_a", "euler_a", "k_euler_ancestral", "euler_a", "k_euler", "euler", "k_lms", "lms", "k_heun", "heun", "k_dpm_2", "dpm2", "k_dpm_2_a", "dpm2_a", "k_dpm_fast", "dpm_fast", "k_dpm_ad", "dpm_adaptive", "restart", "restart",
			"ddim", "ddim", "ddim_cfgpp", "euler_cfg++", "plms", "plms", "unipc", "unipc", "k_lcm", "lcm",
		},
		[]string{
			"Automatic", "discrete", "Uniform", "discrete", "Karras", "karras", "Exponential", "exponential", "Polyexponential", "polyexponential", "SGM Uniform", "sgm_uniform", "SGMUniform", "sgm_uniform",
			"KL Optimal", "kl_optimal", "Align Your Steps", "align_your_steps", "Simple", "simple", "Normal", "discrete", "DDIM", "ddim_uniform", "Beta", "beta",
		},
	},
	{
		"stable-diffusion.cpp of October 2026: sample_method_to_str and scheduler_to_str of src/stable-diffusion.cpp",
		[]string{
			"euler", "euler", "euler_a", "euler_a", "heun", "heun", "dpm2", "dpm2", "dpm++2s_a", "dpm++2s_a", "dpm++2m", "dpm++2m", "dpm++2mv2", "dpm++2mv2", "ipndm", "ipndm", "ipndm_v", "ipndm_v", "lcm", "lcm", "ddim_trailing", "ddim_trailing", "tcd", "tcd", "res_multistep", "res_multistep", "res_2s", "res_2s", "er_sde", "er_sde",
			"euler_cfg_pp", "euler_cfg++", "euler_a_cfg_pp", "euler_a_cfg++", "euler_ge", "gradient_estimation", "dpm++2m_sde", "dpm++2m_sde", "dpm++2m_sde_bt", "dpm++2m_sde_bt", "lms", "lms",
		},
		[]string{
			"discrete", "discrete", "normal", "discrete", "karras", "karras", "exponential", "exponential", "ays", "ays", "gits", "gits", "sgm_uniform", "sgm_uniform", "simple", "simple", "smoothstep", "smoothstep", "kl_optimal", "kl_optimal", "lcm", "lcm", "bong_tangent", "bong_tangent", "ltx2", "ltx2", "logit_normal", "logit_normal", "flux2", "flux2", "flux", "flux",
			"beta", "beta", "llada_image", "llada_image",
		},
	},
}

func TestNamesOfOtherPrograms(t *testing.T) {
	for _, p := range otherPrograms {
		require.NotEmpty(t, p.samplers)
		for i := 0; i < len(p.samplers); i += 2 {
			s, err := Lookup(p.samplers[i])
			require.NoError(t, err, p.program)
			require.Equal(t, p.samplers[i+1], s.Name, "%s of %s", p.samplers[i], p.program)
		}
		require.NotEmpty(t, p.schedules)
		for i := 0; i < len(p.schedules); i += 2 {
			s, err := LookupSchedule(p.schedules[i])
			require.NoError(t, err, p.program)
			require.Equal(t, p.schedules[i+1], s.Name, "%s of %s", p.schedules[i], p.program)
		}
	}
}

// "Automatic" is the schedule that modules/sd_samplers_kdiffusion.py has for the
// sampler.
func TestAutomaticSchedule(t *testing.T) {
	for name, want := range map[string]string{
		"DPM++ 2M": "karras", "DPM++ SDE": "karras", "DPM++ 2M SDE": "exponential", "DPM++ 2M SDE Heun": "exponential",
		"DPM++ 2S a": "karras", "DPM++ 3M SDE": "exponential", "Euler a": "discrete", "Euler": "discrete", "LMS": "discrete",
		"Heun": "discrete", "DPM2": "karras", "DPM2 a": "karras", "Restart": "karras",
	} {
		s, err := Lookup(name)
		require.NoError(t, err)
		schedule, err := s.LookupSchedule("Automatic")
		require.NoError(t, err)
		require.Equal(t, want, schedule.Name, name)
		schedule, err = s.LookupSchedule("Simple")
		require.NoError(t, err)
		require.Equal(t, "simple", schedule.Name)
	}
}

// The diffusers library's classes.
func TestNamesOfDiffusers(t *testing.T) {
	for name, want := range map[string]string{
		"DDIMScheduler": "ddim", "DDPMScheduler": "ddpm", "DEISMultistepScheduler": "deis_log",
		"DPMSolverMultistepScheduler": "dpm++2m", "DPMSolverSDEScheduler": "dpm++sde", "DPMSolverSinglestepScheduler": "dpm++2s_a",
		"EulerAncestralDiscreteScheduler": "euler_a", "EulerDiscreteScheduler": "euler", "FlowMatchEulerDiscreteScheduler": "euler",
		"HeunDiscreteScheduler": "heun", "IPNDMScheduler": "ipndm", "KDPM2AncestralDiscreteScheduler": "dpm2_a",
		"KDPM2DiscreteScheduler": "dpm2", "LCMScheduler": "lcm", "CMStochasticIterativeScheduler": "consistency", "LMSDiscreteScheduler": "lms", "PNDMScheduler": "plms",
		"SASolverScheduler": "sa_solver", "ScoreSdeVeScheduler": "pc", "TCDScheduler": "tcd", "UniPCMultistepScheduler": "unipc",
	} {
		s, err := Lookup(name)
		require.NoError(t, err)
		require.Equal(t, want, s.Name)
	}
}
