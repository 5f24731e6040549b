package sampler

// A NamedProcess is a forward process as the registry has it.
type NamedProcess struct {
	Name        string
	Aliases     []string // names in other programs
	Description string   // one line
	New         func() *Process
}

func (p NamedProcess) names() []string { return append([]string{p.Name}, p.Aliases...) }

// Processes returns the usual forward processes, as their papers have them.
func Processes() []NamedProcess {
	betas := func(schedule string, start, end float64) func() *Process {
		return func() *Process {
			alphas, err := NewAlphasCumprod(schedule, start, end, 1000)
			if err != nil {
				panic(err) // constants
			}
			p, err := NewDiscrete(alphas)
			if err != nil {
				panic(err)
			}
			return p
		}
	}
	return []NamedProcess{
		{"linear", []string{"ddpm"}, "linear betas of 1000 steps: DDPM, guided diffusion (Ho et al. 2020)", betas("linear", 0.0001, 0.02)},
		{"cosine", []string{"squaredcos_cap_v2"}, "a squared cosine: improved DDPM (Nichol and Dhariwal 2021)", betas("squaredcos_cap_v2", 0, 0)},
		{"scaled_linear", []string{"sd"}, "linear square roots of betas: latent diffusion, Stable Diffusion (Rombach et al. 2022)", StableDiffusion},
		{"sigmoid", nil, "betas along a sigmoid: GeoDiff", betas("sigmoid", 0.0001, 0.02)},
		{"vp", nil, "the variance-preserving SDE (Song et al. 2021)", VPSDE},
		{"sub-vp", []string{"subvp"}, "the sub-variance-preserving SDE (Song et al. 2021)", SubVPSDE},
		{"ve", nil, "the variance-exploding SDE from 0.01 to 50 (Song et al. 2021)", func() *Process { return VESDE(0.01, 50) }},
		{"edm", nil, "noise from 0.002 to 80 (Karras et al. 2022)", func() *Process { return EDM(0.002, 80, 0.5) }},
		{"flow", []string{"rectified flow"}, "a rectified flow, straight from data to noise (Liu et al. 2022)", func() *Process { return Flow(1) }},
	}
}

// LookupProcess finds a forward process as [Lookup] finds a sampler. Its error lists
// the names that there are.
func LookupProcess(name string) (NamedProcess, error) {
	p, err := find("process", name, Processes(), NamedProcess.names)
	if e, ok := err.(*UnknownError); ok {
		for _, p := range Processes() {
			e.Names = append(e.Names, p.Name)
		}
	}
	return p, err
}

// Times are the noise levels of a process at n even times of its schedule, from the
// clean sample, 0, to the highest; n at least 2.
func (p *Process) Times(n int) ([]float64, error) {
	if n < 2 || n > maxSteps {
		return nil, &StepsError{n, maxSteps}
	}
	first, last := tRange(p)
	out := make([]float64, n)
	for i := 1; i < n; i++ {
		out[i] = p.TToSigma(first + (last-first)*float64(i)/float64(n-1))
	}
	return out, nil
}
