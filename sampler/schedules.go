package sampler

// schedules is the registry of schedules, in the order in which they are
// listed.
func schedules() []Schedule {
	return []Schedule{
		{"discrete", []string{"normal", "default", "automatic", "linspace"},
			"timesteps evenly from the last to the first", Normal},
		{"karras", nil,
			"sigma^(1/7) evenly: more steps at low noise (Karras et al. 2022)", Karras},
		{"exponential", nil,
			"log sigma evenly", Exponential},
		{"polyexponential", nil,
			"a polynomial in log sigma, here of degree 1", func(p Process, n int) ([]float64, error) { return Polyexponential(p, 1, n) }},
	}
}
