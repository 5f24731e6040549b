package sd

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/job"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
)

// What tests look at inside a model.

func (m *Model) unet() *engine.Network { return m.pipeline.Denoiser.Network() }

func (m *Model) kl() *autoencoder.KL { return m.pipeline.Autoencoder.(*autoencoder.KL) }

// texts are the text encoders.
func (m *Model) texts() (all []*engine.Network) {
	for _, n := range m.host().Networks() {
		if n.Role() == engine.RoleText {
			all = append(all, n)
		}
	}
	return all
}

// resolved checks a request with the model.
func (m *Model) resolved(r Request) (pipeline.Drawing, error) { return m.resolve(r, m.others()) }

// conditions are those of a prompt: the first phase's.
func conditionsOf(t *testing.T, m *Model, r Request) pipeline.Conditions {
	t.Helper()
	d, err := m.resolved(r)
	require.NoError(t, err)
	phases, err := m.pipeline.Conditioner.Conditions(t.Context(), &d.Resolved, d.ExtrasOf(m.pipeline), pipeline.Steps{Until: MaxSteps}, pipeline.Needs{Cond: true, Uncond: true}, nil)
	require.NoError(t, err)
	return phases[0].Conditions()
}

// latentOf is the latent of a request's picture, and what its steps give.
func latentOf(t *testing.T, m *Model, r Request, onStep func(sampler.Step) error) tensor.Tensor {
	t.Helper()
	d, err := m.resolved(r)
	require.NoError(t, err)
	if onStep == nil {
		onStep = func(sampler.Step) error { return nil }
	}
	latent, err := m.pipeline.Latent(context.Background(), d, onStep)
	require.NoError(t, err)
	return latent
}

// attach attaches models and returns the name of the last one.
func attach(t *testing.T, m *Model, others ...Attachment) string {
	t.Helper()
	require.NoError(t, m.Attach(others...))
	return others[len(others)-1].Name()
}

func text(p Params) string { return job.Text(p, Version) }

// withoutEncoder opens a tiny model whose file has the autoencoder's decoder alone.
func withoutEncoder(t *testing.T, o Options) *Model {
	t.Helper()
	m, err := Open(rewrite(t, func(f *safetensors.File) {
		f.Tensors = slices.DeleteFunc(f.Tensors, func(x safetensors.Tensor) bool {
			return strings.HasPrefix(x.Name, "first_stage_model.encoder.") || strings.HasPrefix(x.Name, "first_stage_model.quant_conv.")
		})
	}), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// config is the configuration of the model's file.
func (m *Model) config() *convert.StableDiffusion {
	return m.host().Weights.Config.(*convert.StableDiffusion)
}
