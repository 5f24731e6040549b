package embedding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	"io"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd/autoencoder"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/loss"
	"github.com/sdgo/sdgo/train/random"
)

// Options say how a word is trained.
type Options struct {
	Word    string // as prompts will have it: letters, digits, - and _
	Vectors int    // 1 to 75
	Init    string // a text whose tokens' embeddings are the first vectors
	Seed    uint64
	Batch   int

	// Templates are prompts with {} for the word, for pictures without a caption. A
	// caption that has no {} gets the word before it.
	Templates []string

	Draw  data.Draw
	Noise loss.Options // Process and Prediction are the model's
}

// Templates are prompts that say nothing of a picture but the word.
func Templates() []string {
	return []string{"a photo of {}", "a rendering of {}", "a cropped photo of {}", "a close-up photo of {}", "a bright photo of {}", "a good photo of {}", "a photo of one {}", "a depiction of {}"}
}

// Streams of random numbers of a sample.
const (
	pictureStream = 10 + iota
	noiseStream
	latentStream
	templateStream
)

// Task is the task of training a word: a [train.Task] with one weight, its vectors.
type Task struct {
	m       *Model
	o       Options
	set     *data.Set
	pixels  *data.Pixels
	order   *data.Order
	noise   *loss.Noiser
	vectors [][]float32               // one slice of [Vectors, width]
	latents [][2]autoencoder.Encoding // of each item, as it is and mirrored
}

// word is the word as text encoders know it.
type word struct{ t *Task }

func (w word) Name() string { return w.t.o.Word }
func (w word) Length() int  { return w.t.o.Vectors }

func (w word) Vectors(string, int) ([]float32, error) { return w.t.vectors[0], nil }

var wordPattern = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,64}$`)

// Check returns an error for options out of range.
func (m *Model) Check(o Options) error {
	switch {
	case !wordPattern.MatchString(o.Word):
		return fmt.Errorf("the word must be 1 to 64 letters, digits, - and _, got %.80q", o.Word)
	case o.Vectors < 1 || o.Vectors > m.text.Config.ContextLength-2:
		return fmt.Errorf("vectors must be 1 to %d, got %d", m.text.Config.ContextLength-2, o.Vectors)
	case o.Batch < 1 || o.Batch > 1<<10:
		return fmt.Errorf("a batch must be 1 to %d, got %d", 1<<10, o.Batch)
	case len(o.Templates) == 0:
		return errors.New("there must be at least one template")
	}
	for _, text := range o.Templates {
		if !strings.Contains(text, "{}") {
			return fmt.Errorf("a template must have {} for the word, got %.80q", text)
		}
	}
	return o.Draw.Check()
}

// New makes the task of a model and a set, whose pictures are encoded at once; progress is
// called after each of them.
func New(ctx context.Context, m *Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Task, error) {
	if err := m.Check(o); err != nil {
		return nil, err
	}
	t := &Task{m: m, o: o, set: set, pixels: pixels}
	name, err := m.predicts(ctx)
	if err != nil {
		return nil, err
	}
	t.o.Noise.Process, t.o.Noise.Prediction = m.pipeline.Denoiser.Process(), sampler.Prediction(name)
	if t.noise, err = loss.NewNoiser(t.o.Noise); err != nil {
		return nil, err
	}
	if t.order, err = data.NewOrder(o.Seed, o.Batch, pixels.Bucket); err != nil {
		return nil, err
	}
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.checkPrompts(); err != nil {
		return nil, err
	}
	return t, t.encode(ctx, progress)
}

// begin makes the first vectors: the rows of a text's tokens, again and again.
func (t *Task) begin() error {
	rows, err := t.m.text.Rows(t.o.Init)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return errors.New("the text to begin with must have at least one token")
	}
	var all []float32
	for i := range t.o.Vectors {
		all = append(all, rows[i%len(rows)]...)
	}
	t.vectors = [][]float32{all}
	return nil
}

// checkPrompts makes sure that every prompt has the word and fits in one chunk.
func (t *Task) checkPrompts() error {
	check := func(text string) error {
		chunks, err := t.m.text.Chunks(segments(text), t.extras())
		switch {
		case err != nil:
			return err
		case len(chunks) != 1:
			return fmt.Errorf("must be at most %d tokens long with the word: %.80q", t.m.text.Config.ContextLength-2, text)
		case len(chunks[0].Places) == 0: // its tokens were joined to others
			return fmt.Errorf("must have white space around the word: %.80q", text)
		}
		return nil
	}
	for _, template := range t.o.Templates {
		if err := check(t.fill(template)); err != nil {
			return fmt.Errorf("template %w", err)
		}
	}
	for i, item := range t.set.Items {
		if item.Caption == "" {
			continue
		}
		if err := check(t.prompt(i, 0)); err != nil {
			return fmt.Errorf("%s: its caption %w", item.Path, err)
		}
	}
	return nil
}

func (t *Task) extras() clip.Extras { return clip.Extras{Words: []clip.Word{word{t}}} }

// segments are a text as it is: a caption's parentheses are no weights.
func segments(text string) []prompt.Segment { return []prompt.Segment{{Text: text, Weight: 1}} }

func (t *Task) fill(template string) string { return strings.ReplaceAll(template, "{}", t.o.Word) }

// prompt is the text of an item; number chooses the template.
func (t *Task) prompt(item int, number uint64) string {
	caption := t.set.Items[item].Caption
	switch {
	case caption == "":
		return t.fill(t.o.Templates[random.New(t.o.Seed, number, templateStream).IntN(len(t.o.Templates))])
	case strings.Contains(caption, "{}"):
		return t.fill(caption)
	}
	return t.o.Word + ", " + caption
}

// encode makes the latents of all pictures.
func (t *Task) encode(ctx context.Context, progress func(done, of int)) error {
	for i := range t.set.Items {
		size := t.pixels.Buckets[t.pixels.Bucket[i]]
		x := tensor.New(3, size.Y, size.X)
		var both [2]autoencoder.Encoding
		for mirrored := range both {
			if mirrored == 1 && !t.o.Draw.Flip {
				break
			}
			t.pixels.Picture(x.Data, nil, i, data.Draw{Background: t.o.Draw.Background}, random.New(t.o.Seed, uint64(i), pictureStream))
			if mirrored == 1 {
				mirror(x)
			}
			var err error
			if both[mirrored], err = t.m.pipeline.Autoencoder.Encode(ctx, x); err != nil {
				return fmt.Errorf("%s: %w", t.set.Items[i].Path, err)
			}
		}
		t.latents = append(t.latents, both)
		progress(i+1, len(t.set.Items))
	}
	return nil
}

func mirror(x tensor.Tensor) {
	w := x.Width()
	for at := 0; at < len(x.Data); at += w {
		row := x.Data[at : at+w]
		for i := range w / 2 {
			row[i], row[w-1-i] = row[w-1-i], row[i]
		}
	}
}

// Names implements [train.Task].
func (t *Task) Names() []string { return []string{"vectors"} }

// Weights implements [train.Task].
func (t *Task) Weights() [][]float32 { return t.vectors }

// Change implements [train.Task].
func (t *Task) Change(_ context.Context, change func()) error {
	change() // the vectors are an input
	return nil
}

// batch is what a batch is made of.
type batch struct {
	x, target []float32
	times     []float32
	weights   []float64
	prompts   []string
	c         []pipeline.Condition
	shape     []int
}

// draw makes a batch.
func (t *Task) draw(ctx context.Context, n uint64) (*batch, error) {
	b := &batch{}
	for k, item := range t.order.Batch(n) {
		number := n*uint64(t.o.Batch) + uint64(k)
		mirrored := 0
		if t.o.Draw.Flip {
			mirrored = random.New(t.o.Seed, number, pictureStream).IntN(2)
		}
		x0 := t.latents[item][mirrored].Sample(random.New(t.o.Seed, number, latentStream))
		r := random.New(t.o.Seed, number, noiseStream)
		sigma := t.noise.Sigma(r)
		eps, x, target := x0.Like(), x0.Like(), x0.Like()
		t.noise.Noise(eps.Data, x0.Shape[0], r)
		if err := t.noise.Mix(x.Data, target.Data, x0.Data, eps.Data, sigma); err != nil {
			return nil, err
		}
		b.x, b.target, b.shape = append(b.x, x.Data...), append(b.target, target.Data...), x0.Shape
		b.times, b.weights = append(b.times, float32(t.noise.Time(sigma))), append(b.weights, t.noise.Weight(sigma))
		text := t.prompt(item, number)
		e, err := t.m.text.Encode(ctx, segments(text), 0, t.extras())
		if err != nil {
			return nil, err
		}
		b.prompts = append(b.prompts, text)
		b.c = append(b.c, pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: e.Tokens.Shape, Data: e.Tokens.Data}}})
	}
	return b, nil
}

// inputs are the UNet's.
func (t *Task) inputs(b *batch) []cgo.Input {
	return t.m.pipeline.Denoiser.Inputs(b.shape, b.x, b.times, b.c)
}

// Gradients implements [train.Task].
func (t *Task) Gradients(ctx context.Context, n uint64, sum [][]float32) (train.Loss, error) {
	b, err := t.draw(ctx, n)
	if err != nil {
		return train.Loss{}, err
	}
	in, net := t.inputs(b), t.m.pipeline.Denoiser.Network()
	out, seed := make([]float32, len(b.x)), make([]float32, len(b.x))
	if err := net.Run(ctx, in, []cgo.Output{{Name: "out", Data: out}}); err != nil {
		return train.Loss{}, err
	}
	value, err := loss.MSE(seed, out, b.target, b.weights)
	if err != nil {
		return train.Loss{}, err
	}
	each := len(b.c[0].Inputs[0].Data)
	by := make([]float32, each*len(b.c))
	in = append(in, cgo.Input{Name: "d_out", Shape: tensor.Batch(len(b.c), b.shape), F32: seed})
	if err := net.Run(ctx, in, []cgo.Output{{Name: "d:context", Data: by}}); err != nil {
		return train.Loss{}, err
	}
	for k, text := range b.prompts {
		g, err := t.m.text.Gradients(ctx, segments(text), t.extras(), by[k*each:][:each])
		if err != nil {
			return train.Loss{}, err
		}
		for i, v := range g[0] {
			sum[0][i] += v
		}
	}
	return train.Loss{Value: value}, nil
}

// Elements is the number of weights that are trained, which are all.
func (t *Task) Elements() (all, trained int) { return len(t.vectors[0]), len(t.vectors[0]) }

// Hash is a hash of the vectors.
func (t *Task) Hash() string {
	h := sha256.New()
	fmt.Fprint(h, t.vectors[0])
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Memory is what a step takes beside the model's weights, in bytes: of the largest bucket.
func (t *Task) Memory(ctx context.Context, _ int) (uint64, error) {
	largest := image.Point{}
	for _, i := range t.pixels.Bucket {
		if s := t.pixels.Buckets[i]; s.X*s.Y > largest.X*largest.Y {
			largest = s
		}
	}
	shape := t.m.pipeline.Denoiser.Latent(largest.X, largest.Y)
	c := pipeline.Condition{Inputs: []engine.Named{{Name: "context", Shape: []int{t.m.text.Config.ContextLength, t.m.config.UNet.ContextDim}}}}
	b := &batch{shape: shape, times: make([]float32, t.o.Batch)}
	for range t.o.Batch {
		b.c = append(b.c, c)
	}
	in, net := t.inputs(b), t.m.pipeline.Denoiser.Network()
	forward, err := net.Estimate(ctx, in, []cgo.Output{{Name: "out"}})
	if err != nil {
		return 0, err
	}
	in = append(in, cgo.Input{Name: "d_out", Shape: tensor.Batch(t.o.Batch, shape)})
	backward, err := net.Estimate(ctx, in, []cgo.Output{{Name: "d:context"}})
	return forward + backward, err
}

// Save writes vectors as a file that other programs read, too: kohya's emb_params in
// safetensors. Its type is float32 whatever typ says: they are few.
func (t *Task) Save(_ context.Context, path string, weights [][]float32, _ dtype.Type) error {
	bytes := make([]byte, 4*len(weights[0]))
	if err := dtype.Encode(dtype.F32, bytes, weights[0]); err != nil {
		return err
	}
	shape := []int64{int64(t.o.Vectors), int64(t.m.text.Config.Width)}
	f, err := replace.Create(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	var w io.Writer = f
	if err := safetensors.Write(w, map[string]string{"format": "pt"}, []safetensors.Tensor{{Name: "emb_params", DType: "F32", Shape: shape, Data: bytes}}); err != nil {
		return err
	}
	return f.Commit()
}

// Close does nothing: the model is the caller's.
func (t *Task) Close() {}
