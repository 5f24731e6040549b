// Package pipeline has the contracts of model families and the one loop that draws
// with all of them: condition, start, sample, decode; hires passes, inpainting, a
// refiner, batches. It asks the contracts and never which family it is.
package pipeline

import (
	"context"
	"sync/atomic"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/classifier"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/direction"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
)

// Pipeline is an open model as the loop sees it.
type Pipeline struct {
	Host        *engine.Host
	Conditioner Conditioner
	Denoiser    Denoiser
	Autoencoder autoencoder.Autoencoder
	Defaults    request.Defaults
	Parts       request.Parts // files in place of the model's own networks, for the parameters of pictures

	// Check checks what the family itself asks of a request, and may change what the
	// family has no use for.
	Check func(q *request.Resolved, with Attached, e *request.Error)

	// Concat, if not nil, prepares the channels that the denoiser sees beside the
	// latent of a picture to begin with: the input "concat" of its conditions,
	// [ConcatChannels, h, w].
	Concat         func(ctx context.Context, s *Source) (Draw, error)
	ConcatChannels int

	// Low, if not nil, draws what the denoiser sees of a picture to enlarge, which has no
	// transparency: the input "low" of its conditions. Where there is no picture, it is one to
	// measure with. LowFirst says that its noise comes before that of the latent in a
	// seed's stream.
	Low      func(q *request.Resolved) Draw
	LowFirst bool

	// EditsImages says that a picture is a condition and not the beginning of
	// sampling. The denoiser then answers three times, for nothing, for the picture,
	// and for the picture and the text (Brooks et al. 2023, arXiv:2211.09800).
	EditsImages bool

	// SeesReferences says that conditions are made of the pictures of controls that are
	// called [request.Reference], too.
	SeesReferences bool

	// EmbedsGuidance says that the guidance scale is one of the inputs of a condition. The
	// denoiser then answers once (Meng et al. 2023, arXiv:2210.03142).
	EmbedsGuidance bool

	// UnitStart says that sampling from nothing begins with noise of variance 1 in the
	// network's scale, as in the diffusers library ([sampler.Process.UnitNoise]).
	UnitStart bool

	// Output says what the autoencoder's pixels are: the zero value is pictures.
	Output Output

	// ProcessFor, if not nil, is the denoiser's process for a request: in models of flow
	// matching, whose noise levels are shifted by the picture's size (and in FLUX.2 by the steps).
	ProcessFor func(q *request.Resolved) *sampler.Process

	// Sample is the name of the denoiser's output; "" is "out".
	Sample string

	// LearnsVariance says that the output has twice the latent's channels: the second
	// half is where the variance of a step is between its bounds, -1 to 1 (Nichol and
	// Dhariwal 2021, arXiv:2102.09672, section 3.1).
	LearnsVariance bool

	// Limit, if not nil, keeps the guided prediction of the clean sample within what
	// pictures can be.
	Limit func(sampler.Denoiser) sampler.Denoiser

	// Textless says that no text tells what is drawn: a class does, or nothing. Classes
	// is how many there are, and Names what they are called.
	Textless bool
	Classes  int
	Names    []string

	// LatentRGB makes previews without a network; nil finds it out when it is first
	// needed.
	LatentRGB *autoencoder.LatentRGB

	// Batch is how many pictures go through the denoiser at once, where memory
	// allows; 0 is 1.
	Batch int

	rgb    Once[autoencoder.LatentRGB]
	sets   adapter.Sets
	passes atomic.Uint64
}

// Init makes a pipeline ready for use, after its fields are set.
func (p *Pipeline) Init() { p.rgb = NewOnce[autoencoder.LatentRGB]() }

// Options are the caller's for a family.
type Options struct {
	Prediction string // what the denoiser predicts: "epsilon", "v", or "" for what the file says
	Batch      int    // of the pipeline
}

// Family makes the pipeline of a model of one family.
type Family func(h *engine.Host, o Options) (*Pipeline, error)

// Passes is how many times the denoiser has run, each time for a batch.
func (p *Pipeline) Passes() uint64 { return p.passes.Load() }

// Condition is what the denoiser is given beside the latent and the timestep for one
// answer. The loop passes its inputs on unread; conditions of the same shapes share a
// batch. One without inputs is a denoiser's without conditions.
type Condition struct {
	Inputs []engine.Named
}

// Conditions are those of one phase; nil where no answer is asked for.
type Conditions struct {
	Cond, Uncond *Condition

	// And are several conditions in place of Cond, which is the first of them, or one
	// with a weight. They have the same shapes.
	And []Weighted

	// Edits are the concepts of semantic guidance, one for each of the request's.
	Edits []*Condition
}

// Weighted is one of the conditions of composable diffusion (Liu et al. 2022,
// arXiv:2206.01714).
type Weighted struct {
	Condition *Condition
	Weight    float64
}

// Phase is what guides the steps up to Until, counted from 1, after the phase before.
// The last one reaches to the end.
type Phase struct {
	Until int

	// Conditions puts them together when the phase is reached.
	Conditions func() Conditions
}

// Steps is a range of the steps that are made: (After, Until].
type Steps struct{ After, Until int }

// Reaches reports whether any of the steps is in (after, until].
func (s Steps) Reaches(after, until int) bool { return until > s.After && after < s.Until }

// Needs says which conditions guidance asks about.
type Needs struct{ Cond, Uncond bool }

// Memo keeps what a request has computed for its further passes.
type Memo map[any]any

// Remembered is what a text with a key becomes: what the memo has, else what encode makes of
// it, which the memo, if there is one, keeps.
func Remembered[T any](memo Memo, key any, encode func() (T, error)) (T, error) {
	if known, ok := memo[key].(T); ok {
		return known, nil
	}
	made, err := encode()
	if err == nil && memo != nil {
		memo[key] = made
	}
	return made, err
}

// Conditioner turns a request into conditions.
type Conditioner interface {
	// Conditions are those of the steps that the model makes: of others they need not
	// be there, and those that needs leaves out are nil.
	Conditions(ctx context.Context, q *request.Resolved, with Extras, steps Steps, needs Needs, memo Memo) ([]Phase, error)

	// Check checks what conditions are made of, before any work.
	Check(q *request.Resolved, with Extras, e *request.Error)
}

// Denoiser is the network that predicts the noise, and how it is called.
type Denoiser interface {
	Network() *engine.Network

	// Latent is the shape of the latent of a picture.
	Latent(width, height int) []int

	// Process is how noise is added to samples.
	Process() *sampler.Process

	// Prediction is what the network predicts. It may have to run the network to
	// find out.
	Prediction(ctx context.Context) (sampler.Prediction, error)

	// Inputs are the network's inputs for a batch: in x the latents one after the
	// other, for each a timestep in t, and conditions of the same shapes in c. x may
	// be nil, to estimate. Its output is "out", and "perturbed" where it has
	// perturbed attention.
	Inputs(shape []int, x, t []float32, c []Condition) []cgo.Input

	// CachesInner reports whether the network has the output and the input "deep",
	// which DeepCache reuses, and the outputs "stem" and "first".
	CachesInner() bool

	// Perturbs reports whether the network has the output "perturbed": what it
	// predicts with the identity in place of the inner self-attention (Ahn et al.
	// 2024, arXiv:2403.17377).
	Perturbs() bool
}

// Attached are the open models that a request may name.
type Attached struct {
	Models   map[string]*Pipeline // refiners and stages
	TAESDs   map[string]*autoencoder.TAESD
	ESRGANs  map[string]Enlarger
	Adapters map[string]*adapter.Adapter
	Words    map[string]*adapter.Embedding
	Controls map[string]control.Network

	Classifiers map[string]*classifier.Classifier
	Directions  map[string]*direction.Direction
}
