// Package lora trains LoRAs (Hu et al. 2022, arXiv:2106.09685) of the UNet of Stable
// Diffusion 1.x and 2.x: products of two thin matrices beside the weights of its
// transformers, which stay as they are, mapped from the file and quantized.
package lora

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/random"
)

// Layers that are changed.
const (
	Attention   = "attention"   // queries, keys, values and outputs of attention, as the diffusers library's trainer
	Transformer = "transformer" // the feed-forward layers, too, as kohya's scripts
)

var patterns = map[string]*regexp.Regexp{
	Attention:   regexp.MustCompile(`\.transformer_blocks\.\d+\.attn[12]\.(to_q|to_k|to_v|to_out\.0)\.weight$`),
	Transformer: regexp.MustCompile(`\.transformer_blocks\.\d+\.(attn[12]\.(to_q|to_k|to_v|to_out\.0)|ff\.net\.(0\.proj|2))\.weight$`),
}

// Options say how a LoRA is trained.
type Options struct {
	Rank   int     // 1 to 128
	Alpha  float64 // the factor of the product is Alpha/Rank; 0 is Rank
	Layers string  // Attention or Transformer

	// Caption is the prompt of pictures without one. CaptionDrop is the share of samples
	// that are trained with an empty prompt, so that guidance works as before.
	Caption     string
	CaptionDrop float64

	latent.Options
}

// Check returns an error for options out of range.
func (o Options) Check() error {
	switch {
	case o.Rank < 1 || o.Rank > 128:
		return fmt.Errorf("the rank must be 1 to 128, got %d", o.Rank)
	case !(o.Alpha >= 0 && o.Alpha <= 1e4):
		return fmt.Errorf("alpha must be 0 to 10000, got %g", o.Alpha)
	case patterns[o.Layers] == nil:
		return fmt.Errorf("layers must be %s or %s, got %.40q", Attention, Transformer, o.Layers)
	case !(o.CaptionDrop >= 0 && o.CaptionDrop < 1):
		return fmt.Errorf("the share of samples without a caption must be 0 to below 1, got %g", o.CaptionDrop)
	}
	return o.Options.Check()
}

// Streams of random numbers: of which captions are dropped, and of the first numbers.
const (
	dropStream  = 100
	firstStream = 101
)

// Task is the task of training a LoRA: a [train.Task].
type Task struct {
	m        *latent.Model
	o        Options
	set      *data.Set
	pictures *latent.Pictures
	texts    map[string]tensor.Tensor // encoded prompts

	layers  []layer
	factors *engine.Factors
	names   []string    // layer.down, layer.up
	weights [][]float32 // the numbers of factors
	scratch [][]float32
}

// layer is a layer that is changed.
type layer struct {
	weight  string // the network's name of its weight
	key     string // kohya's name of the layer
	in, out int64
	points  bool // the file has a 1x1 convolution
}

// New makes the task of a model and a set, whose pictures and captions are encoded at once;
// progress is called after each picture.
func New(ctx context.Context, m *latent.Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Task, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	if o.Alpha == 0 {
		o.Alpha = float64(o.Rank)
	}
	t := &Task{m: m, o: o, set: set, texts: map[string]tensor.Tensor{}}
	for i, item := range set.Items {
		if t.caption(i) == "" {
			return nil, fmt.Errorf("%s: has no caption, and there is none for all pictures", item.Path)
		}
	}
	if err := t.find(); err != nil {
		return nil, err
	}
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	if err := t.encode(ctx); err != nil {
		return nil, err
	}
	var err error
	t.pictures, err = latent.NewPictures(ctx, m, set, pixels, o.Options, progress)
	return t, err
}

func (t *Task) caption(item int) string {
	if c := t.set.Items[item].Caption; c != "" {
		return c
	}
	return t.o.Caption
}

// text is what a sample of an item is trained with.
func (t *Task) text(item int, number uint64) string {
	if t.o.CaptionDrop > 0 && random.New(t.o.Seed, number, dropStream).Float64() < t.o.CaptionDrop {
		return ""
	}
	return t.caption(item)
}

// find finds the layers that are changed, by the names of the model's weights.
func (t *Task) find() error {
	source := t.m.Host.Weights
	theirs := convert.DiffusersNames(source)
	for _, x := range source.Tensors {
		name, ok := strings.CutPrefix(x.Name, convert.UNetPrefix)
		if !ok || !patterns[t.o.Layers].MatchString(name) {
			continue
		}
		_, known, ok := theirs(x.Name)
		if !ok || len(x.Shape) < 2 {
			return fmt.Errorf("tensor %q has no name of the diffusers library's", x.Name)
		}
		key := "lora_unet_" + strings.ReplaceAll(strings.TrimSuffix(known, ".weight"), ".", "_")
		t.layers = append(t.layers, layer{name, key, x.Shape[1], x.Shape[0], len(x.Shape) == 4})
	}
	if len(t.layers) == 0 {
		return errors.New("the model has no transformers that a LoRA could change")
	}
	slices.SortFunc(t.layers, func(a, b layer) int { return strings.Compare(a.key, b.key) })
	return nil
}

// begin makes the first numbers: the product of each layer is zero, and its first factor
// uniform within 1/sqrt(in), as PEFT and kohya's scripts have it.
func (t *Task) begin(ctx context.Context) error {
	var all []engine.Factor
	for i, l := range t.layers {
		down, up := make([]float32, int64(t.o.Rank)*l.in), make([]float32, l.out*int64(t.o.Rank))
		limit := 1 / math.Sqrt(float64(l.in))
		random.New(t.o.Seed, uint64(i), firstStream).Uniform(down, -limit, limit)
		all = append(all, engine.Factor{Weight: l.weight, Rank: t.o.Rank, Scale: t.o.Alpha / float64(t.o.Rank), Down: down, Up: up})
		t.names = append(t.names, l.weight+".down", l.weight+".up")
		t.weights = append(t.weights, down, up)
		t.scratch = append(t.scratch, make([]float32, len(down)), make([]float32, len(up)))
	}
	var err error
	t.factors, err = engine.NewFactors(ctx, t.m.Pipeline.Denoiser.Network(), all)
	return err
}

// encode encodes all captions and the empty one, once. They must fit in one chunk, so that
// samples of a batch have one shape.
func (t *Task) encode(ctx context.Context) error {
	all := []string{""}
	for i := range t.set.Items {
		all = append(all, t.caption(i))
	}
	for i, text := range all {
		if _, ok := t.texts[text]; ok {
			continue
		}
		e, err := t.m.Text.Encode(ctx, latent.Segments(text), 0, clip.Extras{})
		if err == nil && e.Tokens.Height() != t.m.Text.Config.ContextLength {
			err = fmt.Errorf("its caption must be at most %d tokens long", t.m.Text.Config.ContextLength-2)
		}
		if err != nil && i > 0 {
			return fmt.Errorf("%s: %w", t.set.Items[i-1].Path, err)
		}
		if err != nil {
			return err
		}
		t.texts[text] = e.Tokens
	}
	return nil
}

// Names implements [train.Task].
func (t *Task) Names() []string { return t.names }

// Weights implements [train.Task].
func (t *Task) Weights() [][]float32 { return t.weights }

// Change implements [train.Task].
func (t *Task) Change(ctx context.Context, change func()) error {
	change()
	return t.factors.Update(ctx)
}

// Gradients implements [train.Task].
func (t *Task) Gradients(ctx context.Context, n uint64, sum [][]float32) (train.Loss, error) {
	b, err := t.pictures.Batch(n)
	if err != nil {
		return train.Loss{}, err
	}
	var c []pipeline.Condition
	for k, item := range b.Items {
		c = append(c, latent.Condition(t.texts[t.text(item, b.Numbers[k])]))
	}
	in := t.m.Inputs(b, c)
	out, seed := make([]float32, len(b.X)), make([]float32, len(b.X))
	if err := t.factors.Run(ctx, in, []cgo.Output{{Name: "out", Data: out}}); err != nil {
		return train.Loss{}, err
	}
	value, err := loss.MSE(seed, out, b.Target, b.Weights)
	if err != nil {
		return train.Loss{}, err
	}
	in = append(in, cgo.Input{Name: "d_out", Shape: tensor.Batch(len(c), b.Shape), F32: seed})
	gradients := make([]cgo.Output, len(t.names))
	for i, name := range t.names {
		gradients[i] = cgo.Output{Name: "d:adapter:" + name, Data: t.scratch[i]}
	}
	if err := t.factors.Run(ctx, in, gradients); err != nil {
		return train.Loss{}, err
	}
	for i, g := range t.scratch {
		for k, v := range g {
			sum[i][k] += v
		}
	}
	return train.Loss{Value: value}, nil
}

// Elements is the number of weights that are trained, which are all of the LoRA's.
func (t *Task) Elements() (all, trained int) {
	for _, w := range t.weights {
		all += len(w)
	}
	return all, all
}

// Hash is a hash of the numbers.
func (t *Task) Hash() string {
	h := sha256.New()
	for _, w := range t.weights {
		for _, v := range w {
			fmt.Fprintf(h, "%x,", math.Float32bits(v))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Memory is what a step takes beside the model's weights, with a number of states for each
// weight of the LoRA, in bytes.
func (t *Task) Memory(ctx context.Context, states int) (uint64, error) {
	var gradients []string
	for _, name := range t.names {
		gradients = append(gradients, "d:adapter:"+name)
	}
	bytes, err := t.m.Memory(ctx, t.pictures, gradients, t.factors)
	all, _ := t.Elements()
	return bytes + 4*uint64(all)*uint64(4+states), err
}

// Save writes the LoRA under kohya's names, which every program reads. The type is f16, f32
// or bf16.
func (t *Task) Save(_ context.Context, path string, weights [][]float32, typ dtype.Type) error {
	names := map[dtype.Type]string{dtype.F16: "F16", dtype.F32: "F32", dtype.BF16: "BF16"}
	if names[typ] == "" {
		return fmt.Errorf("the type of a LoRA must be f16, f32 or bf16, got %v", typ)
	}
	var tensors []safetensors.Tensor
	add := func(name string, shape []int64, values []float32) error {
		size := 2
		if typ == dtype.F32 {
			size = 4
		}
		x := safetensors.Tensor{Name: name, DType: names[typ], Shape: shape, Data: make([]byte, size*len(values))}
		tensors = append(tensors, x)
		return dtype.Encode(typ, x.Data, values)
	}
	rank := int64(t.o.Rank)
	for i, l := range t.layers {
		down, up := []int64{rank, l.in}, []int64{l.out, rank}
		if l.points {
			down, up = append(down, 1, 1), append(up, 1, 1)
		}
		if err := errors.Join(add(l.key+".alpha", nil, []float32{float32(t.o.Alpha)}), add(l.key+".lora_down.weight", down, weights[2*i]),
			add(l.key+".lora_up.weight", up, weights[2*i+1])); err != nil {
			return err
		}
	}
	metadata := map[string]string{"format": "pt", "ss_network_module": "networks.lora", "ss_network_dim": strconv.Itoa(t.o.Rank),
		"ss_network_alpha": strconv.FormatFloat(t.o.Alpha, 'g', -1, 64)}
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	var w io.Writer = f
	if err := safetensors.Write(w, metadata, tensors); err != nil {
		return err
	}
	return f.Commit()
}

// Close does nothing: the model is the caller's.
func (t *Task) Close() {}
