package sampler

import (
	"context"
	"errors"
	"math"
)

// A LossMethod is a way to guide towards a small loss of the clean sample, without any
// training, as the registry has it ([LossMethods]).
type LossMethod struct {
	Name        string
	Aliases     []string
	Description string // one line
	// Backward is whether it needs the derivative of the model.
	Backward bool
	// LinearOnly is whether it takes linear measurements alone.
	LinearOnly bool
	Parameters []Parameter

	moments bool // weighs the direction by the covariance along it
	// direction writes to v the gradient of the guides by the clean sample around x0.
	direction func(l *lossRun, ctx context.Context, v, x0 []float32, sigma float64) (float64, error)
}

// With returns the method with parameters by name; those that are not given have their
// defaults. The error joins a [*ParameterError] for each problem.
func (m LossMethod) With(parameters map[string]float64) (LossGuidance, error) {
	all, err := fill(m.Name, m.Parameters, parameters)
	if err == nil {
		err = ordered(m.Name, all, "start", "stop")
	}
	if err != nil {
		return LossGuidance{}, err
	}
	return LossGuidance{Method: m, Parameters: all}, nil
}

func (m LossMethod) names() []string { return append([]string{m.Name}, m.Aliases...) }

// LookupLossMethod finds a method by name, as [Lookup] finds a sampler.
func LookupLossMethod(name string) (LossMethod, error) {
	m, err := find("loss guidance", name, LossMethods(), LossMethod.names)
	if unknown := (*UnknownError)(nil); errors.As(err, &unknown) {
		for _, m := range LossMethods() {
			unknown.Names = append(unknown.Names, m.Name)
		}
	}
	return m, err
}

// LossMethods lists the methods.
func LossMethods() []LossMethod {
	noise := Parameter{Name: "noise", Default: 0.05, Min: 1e-4, Max: 100, Help: "standard deviation of a measurement's noise, where pixels are -1 to 1"}
	deviation := Parameter{Name: "deviation", Default: 0.5, Min: 1e-3, Max: 100, Help: "standard deviation of clean samples: about 0.5 of pixels, 1 of latents"}
	all := []LossMethod{
		{
			Name: "moments", Aliases: []string{"mmps", "MomentMatching"}, Backward: true, LinearOnly: true,
			Description: "moment matching (Rozet et al. 2024): linear measurements, with the covariance that the model's derivative tells",
			Parameters:  []Parameter{noise, deviation}, direction: residuals, moments: true,
		},
		{
			Name: "pigdm", Aliases: []string{"pi_gdm", "PseudoinverseGuidance"}, Backward: true, LinearOnly: true,
			Description: "pseudoinverse guidance (Song et al. 2023): linear measurements in closed form",
			Parameters:  []Parameter{noise, deviation}, direction: closedCovariance,
		},
		{
			Name: "dps", Aliases: []string{"DiffusionPosteriorSampling"}, Backward: true,
			Description: "diffusion posterior sampling (Chung et al. 2023): the gradient at the prediction",
			Parameters: []Parameter{noise, {Name: "zeta", Max: 100,
				Help: "the paper's step of zeta along the gradient of the residual's norm; 0 is the gradient of the likelihood itself"}},
			direction: atPrediction,
		},
		{
			Name: "lgd", Aliases: []string{"lgd_mc", "LossGuidedDiffusion"}, Backward: true,
			Description: "loss-guided diffusion (Song et al. 2023): Monte Carlo around the prediction, with the softmax of the losses",
			Parameters: []Parameter{noise, deviation,
				{Name: "samples", Default: 10, Min: 1, Max: 10000, Integer: true, Help: "of the prediction, in each step"},
				{Name: "diagonal", Default: 1, Max: 1, Integer: true, Help: "1 weighs the elements of a measurement one by one; 0 all together, of which one sample decides in many dimensions"}},
			direction: monteCarlo,
		},
		{
			Name: "universal", Aliases: []string{"ugd", "UniversalGuidance"}, Backward: true,
			Description: "universal guidance (Bansal et al. 2023): the gradient at the prediction, inner steps on it, and recurrence",
			Parameters: []Parameter{noise, deviation,
				{Name: "inner", Default: 2, Max: 100, Integer: true, Help: "steps on the prediction itself (backward guidance)"},
				{Name: "rate", Default: 0.1, Max: 100, Help: "how far each of them goes along the gradient, times the prediction's variance"}},
			direction: atPrediction,
		},
		{
			Name: "mpgd", Aliases: []string{"ManifoldPreservingGuidance"},
			Description: "manifold preserving guidance (He et al. 2024): no backward pass through the model",
			Parameters:  []Parameter{noise, deviation}, direction: projected,
		},
	}
	for i := range all {
		recurrence := 1.0
		if all[i].Name == "universal" {
			recurrence = 2
		}
		all[i].Parameters = append([]Parameter{{Name: "scale", Default: 1, Max: math.MaxFloat32, Help: "of the gradient; 1 is exact for likelihoods"}}, append(all[i].Parameters,
			Parameter{Name: "recurrence", Default: recurrence, Min: 1, Max: 100, Integer: true, Help: "how often each step is made, with fresh noise in between"},
			Parameter{Name: "start", Max: 1, Help: "fraction of the steps after which it starts"},
			Parameter{Name: "stop", Default: 1, Max: 1, Help: "fraction of the steps after which it stops"})...)
	}
	return all
}
