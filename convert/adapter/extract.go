package adapter

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// MaxRank bounds the rank of a LoRA that is extracted.
const MaxRank = 1024

// Extraction says how a LoRA is made of the difference of two models.
type Extraction struct {
	Rank     int                     // 1 to MaxRank; less in layers that are smaller
	Type     dtype.Type              // of its numbers: f32, f16 or bf16
	Progress func(done, total int64) // bytes of the base model that are done, after each tensor, from the caller's goroutine; may be nil
}

// Extracted is a LoRA that was made of the difference of two models.
type Extracted struct {
	Metadata map[string]string
	Tensors  []safetensors.Tensor // under kohya's names
	Layers   int                  // that differ
	Kept     float64              // share of the differences' energy (the sum of all squares) that the LoRA has
	LeftOut  []string             // canonical names of tensors that differ and that no LoRA can change: norms, biases, embeddings
}

// Extract makes a LoRA of what tuned has and base has not: of each linear layer and each
// convolution of the UNet and the text encoders, the best approximation of the difference
// by a product of two matrices of the rank (its truncated singular value decomposition).
// The models must be of one architecture. What is not in both of them is left out; it is
// an error if nothing differs.
func Extract(ctx context.Context, base, tuned *model.Model, o Extraction) (*Extracted, error) {
	if o.Rank < 1 || o.Rank > MaxRank {
		return nil, fmt.Errorf("the rank must be 1 to %d, got %d", MaxRank, o.Rank)
	}
	if o.Type != dtype.F32 && o.Type != dtype.F16 && o.Type != dtype.BF16 {
		return nil, fmt.Errorf("the type of a LoRA must be f32, f16 or bf16, got %s", o.Type)
	}
	layers, err := layersOfBoth(base, tuned)
	if err != nil {
		return nil, err
	}
	x := &extracting{Extraction: o, layers: layers}
	if err := x.run(ctx); err != nil {
		return nil, err
	}
	if x.found.Layers == 0 {
		return nil, fmt.Errorf("%s has the same linear layers and convolutions as %s: there is nothing to extract", tuned.Path, base.Path)
	}
	x.found.Metadata = metadataOf(base, o.Rank)
	if x.energy > 0 {
		x.found.Kept = 1 - x.lost/x.energy
	}
	return &x.found, nil
}

// pair is a tensor of both models.
type pair struct {
	base, tuned model.Tensor
	name        string // of a layer in a LoRA file; "" if no LoRA can change it
}

// layersOfBoth are the tensors of the denoiser and of the text encoders that both models
// have.
func layersOfBoth(base, tuned *model.Model) (all []pair, err error) {
	c, ok := base.Config.(*family.StableDiffusion)
	other, also := tuned.Config.(*family.StableDiffusion)
	if !ok || !also {
		which := base
		if ok {
			which = tuned
		}
		return nil, fmt.Errorf("%s: %s has no LoRAs", which.Path, which.Description)
	}
	if c.Name != other.Name {
		return nil, fmt.Errorf("%s is %s and %s is %s: must be of one architecture", tuned.Path, tuned.Description, base.Path, base.Description)
	}
	names := namesOf(c)
	for _, t := range base.Tensors {
		part := partOf(c, t.Name)
		u, ok := tuned.Tensor(t.Name)
		if !ok || part == "" {
			continue
		}
		if !model.SameShape(t.Shape, u.Shape) {
			return nil, fmt.Errorf("tensor %q is %v in %s and %v in %s: must be of one architecture", t.Name, u.Shape, tuned.Path, t.Shape, base.Path)
		}
		p := pair{base: t, tuned: u}
		if layer, ok := strings.CutSuffix(t.Name, ".weight"); ok && (len(t.Shape) == 2 || len(t.Shape) == 4) && !strings.Contains(layer, "embedding") {
			p.name = names(part, layer)
		}
		all = append(all, p)
	}
	return all, nil
}

// partOf is the network that a tensor belongs to, "" of an autoencoder.
func partOf(c *family.StableDiffusion, name string) Part {
	switch {
	case strings.HasPrefix(name, model.UNetPrefix):
		return UNet
	case c.Text.Prefix != "" && strings.HasPrefix(name, c.Text.Prefix):
		return Text
	case c.Text2.Prefix != "" && strings.HasPrefix(name, c.Text2.Prefix):
		return Text2
	}
	return ""
}

// namesOf gives layers the names that kohya's scripts have for them: the diffusers
// library's, but for Stable Diffusion XL's UNet, which has its own.
func namesOf(c *family.StableDiffusion) func(part Part, layer string) string {
	two := c.Text2.Prefix != ""
	prefixes := map[Part]string{UNet: "lora_unet_", Text: "lora_te_"}
	if two {
		prefixes = map[Part]string{UNet: "lora_unet_", Text: "lora_te1_", Text2: "lora_te2_"}
	}
	diffusers := c.DiffusersNames()
	return func(part Part, layer string) string {
		own := strings.TrimPrefix(layer, model.UNetPrefix)
		if _, library, ok := diffusers(layer + ".weight"); part.IsText() || !two {
			if !ok {
				return ""
			}
			own = strings.TrimSuffix(library, ".weight")
		}
		if part.IsText() {
			own = "text_model." + strings.TrimPrefix(own, "text_model.")
		}
		return prefixes[part] + strings.ReplaceAll(own, ".", "_")
	}
}

// metadataOf are the words by which kohya's scripts and web UIs know a LoRA.
func metadataOf(base *model.Model, rank int) map[string]string {
	c := base.Config.(*family.StableDiffusion)
	version := "sd_v1"
	switch {
	case c.Text2.Prefix != "":
		version = "sdxl_base_v1-0"
	case c.UNet.ContextDim == 1024:
		version = "sd_v2"
	}
	return map[string]string{
		"ss_network_module": "networks.lora", "ss_network_dim": strconv.Itoa(rank), "ss_network_alpha": strconv.Itoa(rank), "ss_base_model_version": version,
	}
}

// extracting is a run of [Extract].
type extracting struct {
	Extraction
	layers       []pair
	found        Extracted
	energy, lost float64
}

// made is what became of one layer.
type made struct {
	differs      bool
	tensors      []safetensors.Tensor
	energy, lost float64
	err          error
}

// run does as many layers at a time as there are processors, and puts them together in
// their order.
func (x *extracting) run(ctx context.Context) error {
	release, err := model.TakeMemory("extracting a LoRA", x.memory())
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]chan made, len(x.layers))
	for i := range results {
		results[i] = make(chan made, 1)
	}
	places := make(chan struct{}, runtime.GOMAXPROCS(0))
	go func() {
		for i, p := range x.layers {
			places <- struct{}{}
			go func() {
				defer func() { <-places }()
				results[i] <- x.layer(ctx, p)
			}()
		}
	}()
	var done, total int64
	for _, p := range x.layers {
		total += p.base.Size()
	}
	for i, p := range x.layers {
		m := <-results[i]
		if m.err != nil && err == nil {
			err = m.err
			cancel(err) // the others end soon, and are waited for
		}
		if err == nil {
			x.add(p, m)
			if done += p.base.Size(); x.Progress != nil {
				x.Progress(done, total)
			}
		}
	}
	return err
}

// memory is what the largest layers take, in bytes: the two weights and their difference
// as floats, on each processor.
func (x *extracting) memory() uint64 {
	var most int64
	for _, p := range x.layers {
		most = max(most, p.base.Elements())
	}
	return uint64(most) * 8 * uint64(runtime.GOMAXPROCS(0))
}

func (x *extracting) add(p pair, m made) {
	switch {
	case !m.differs:
	case m.tensors == nil:
		x.found.LeftOut = append(x.found.LeftOut, p.base.Name)
	default:
		x.found.Layers++
		x.found.Tensors = append(x.found.Tensors, m.tensors...)
		x.energy += m.energy
		x.lost += m.lost
	}
}

// layer approximates the difference of one layer.
func (x *extracting) layer(ctx context.Context, p pair) (m made) {
	defer model.Recovered(p.base.Name, &m.err)
	if ctx.Err() != nil {
		return made{err: context.Cause(ctx)}
	}
	difference, err := floats(p.tuned)
	if err != nil {
		return made{err: err}
	}
	base, err := floats(p.base)
	if err != nil {
		return made{err: err}
	}
	for i, v := range base {
		difference[i] -= v
		m.differs = m.differs || difference[i] != 0
		m.energy += float64(difference[i]) * float64(difference[i])
	}
	if math.IsNaN(m.energy) || math.IsInf(m.energy, 0) {
		return made{err: fmt.Errorf("tensor %q has NaN or infinity", p.base.Name)}
	}
	if !m.differs || p.name == "" {
		return m
	}
	shape := p.base.Shape
	n := int(shape[0])
	f := lowRank(ctx, difference, n, len(difference)/n, x.Rank)
	if ctx.Err() != nil {
		return made{err: context.Cause(ctx)}
	}
	m.lost = f.lost
	r := int64(f.rank)
	down, up := append([]int64{r}, shape[1:]...), []int64{shape[0], r}
	for range shape[2:] {
		up = append(up, 1)
	}
	m.tensors, m.err = x.encoded(p.name, f, down, up)
	return m
}

func (x *extracting) encoded(name string, f factors, down, up []int64) ([]safetensors.Tensor, error) {
	var all []safetensors.Tensor
	for _, t := range []struct {
		name   string
		shape  []int64
		values []float32
	}{{".lora_down.weight", down, f.down}, {".lora_up.weight", up, f.up}, {".alpha", nil, []float32{float32(f.rank)}}} {
		size, _ := x.Type.Size(int64(len(t.values)), int64(len(t.values)))
		data := make([]byte, size)
		if err := dtype.Encode(x.Type, data, t.values); err != nil {
			return nil, fmt.Errorf("%s%s: %w", name, t.name, err)
		}
		all = append(all, safetensors.Tensor{Name: name + t.name, DType: model.WordOf(x.Type), Shape: t.shape, Data: data})
	}
	return all, nil
}
