package sampler

// samplers is the registry of samplers, in the order in which they are listed.
func samplers() []Sampler {
	full := DefaultOptions()
	still := DefaultOptions()
	still.Eta = 0
	return []Sampler{
		{"euler", []string{"k_euler", "EulerDiscreteScheduler"},
			"first order, one evaluation a step; simple and dependable",
			"discrete", false, still, Euler},
		{"euler_a", []string{"euler_ancestral", "k_euler_a", "k_euler_ancestral", "EulerAncestralDiscreteScheduler"},
			"euler with fresh noise in each step; varied, changes with the step count",
			"discrete", true, full, EulerAncestral},
		{"heun", []string{"k_heun", "HeunDiscreteScheduler"},
			"second order, two evaluations a step; accurate and slow",
			"discrete", false, still, Heun},
		{"ddim", []string{"DDIMScheduler"},
			"DDIM: euler in the notation of the first latent diffusion models",
			"discrete", false, still, DDIM},
		{"dpm++2m", []string{"dpmpp_2m", "k_dpmpp_2m", "dpm++ 2m", "DPMSolverMultistepScheduler"},
			"DPM-Solver++(2M): second order from one evaluation a step; sharp in 15 to 25 steps",
			"karras", false, still, DPMPP2M},
		{"dpm2", []string{"dpm_2", "k_dpm_2", "KDPM2DiscreteScheduler"},
			"midpoint method in log sigma, two evaluations a step",
			"discrete", false, still, DPM2},
		{"dpm2_a", []string{"dpm_2_ancestral", "dpm2 a", "k_dpm_2_a", "k_dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"},
			"dpm2 with fresh noise in each step",
			"discrete", true, full, DPM2Ancestral},
	}
}
