// Package embedding trains textual inversions (Gal et al. 2022, arXiv:2208.01618): vectors
// that stand for a new word in the prompts of a model of Stable Diffusion 1.x or 2.x, whose
// own weights stay as they are.
package embedding

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/replace"
	"github.com/sdgo/sdgo/sd/clip"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/train"
	"github.com/sdgo/sdgo/train/data"
	"github.com/sdgo/sdgo/train/latent"
	"github.com/sdgo/sdgo/train/random"
)

// Options say how a word is trained.
type Options struct {
	Word    string // as prompts will have it: letters, digits, - and _
	Vectors int    // 1 to 75
	Init    string // a text whose tokens' embeddings are the first vectors

	latent.Options

	// Templates are prompts with {} for the word, for pictures without a caption. A
	// caption that has no {} gets the word before it.
	Templates []string
}

// Templates are prompts that say nothing of a picture but the word.
func Templates() []string {
	return []string{"a photo of {}", "a rendering of {}", "a cropped photo of {}", "a close-up photo of {}", "a bright photo of {}", "a good photo of {}", "a photo of one {}", "a depiction of {}"}
}

// templateStream is that of the choice of templates.
const templateStream = 100

// Task is the task of training a word: a [train.Task] with one weight, its vectors.
type Task struct {
	m        *latent.Model
	o        Options
	set      *data.Set
	pictures *latent.Pictures
	vectors  [][]float32 // one slice of [Vectors, width]
}

// word is the word as text encoders know it.
type word struct{ t *Task }

func (w word) Name() string { return w.t.o.Word }
func (w word) Length() int  { return w.t.o.Vectors }

func (w word) Vectors(string, int) ([]float32, error) { return w.t.vectors[0], nil }

var wordPattern = regexp.MustCompile(`^[\p{L}\p{N}_-]{1,64}$`)

// Check returns an error for options out of range.
func (o Options) Check(m *latent.Model) error {
	switch {
	case !wordPattern.MatchString(o.Word):
		return fmt.Errorf("the word must be 1 to 64 letters, digits, - and _, got %.80q", o.Word)
	case o.Vectors < 1 || o.Vectors > m.Texts[0].Config.ContextLength-2:
		return fmt.Errorf("vectors must be 1 to %d, got %d", m.Texts[0].Config.ContextLength-2, o.Vectors)
	case len(o.Templates) == 0:
		return errors.New("there must be at least one template")
	}
	for _, text := range o.Templates {
		if !strings.Contains(text, "{}") {
			return fmt.Errorf("a template must have {} for the word, got %.80q", text)
		}
	}
	return o.Options.Check()
}

// New makes the task of a model and a set, whose pictures are encoded at once; progress is
// called after each of them.
func New(ctx context.Context, m *latent.Model, set *data.Set, pixels *data.Pixels, o Options, progress func(done, of int)) (*Task, error) {
	if len(m.Texts) != 1 {
		return nil, errors.New("words can be trained for models with one text encoder: Stable Diffusion 1.x and 2.x")
	}
	if err := o.Check(m); err != nil {
		return nil, err
	}
	t := &Task{m: m, o: o, set: set}
	if err := t.begin(); err != nil {
		return nil, err
	}
	if err := t.checkPrompts(); err != nil {
		return nil, err
	}
	var err error
	t.pictures, err = latent.NewPictures(ctx, m, set, pixels, o.Options, progress)
	return t, err
}

// begin makes the first vectors: the rows of a text's tokens, again and again.
func (t *Task) begin() error {
	rows, err := t.m.Texts[0].Rows(t.o.Init)
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
		chunks, err := t.m.Texts[0].Chunks(latent.Segments(text), t.extras())
		switch {
		case err != nil:
			return err
		case len(chunks) != 1:
			return fmt.Errorf("must be at most %d tokens long with the word: %.80q", t.m.Texts[0].Config.ContextLength-2, text)
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

// Names implements [train.Task].
func (t *Task) Names() []string { return []string{"vectors"} }

// Weights implements [train.Task].
func (t *Task) Weights() [][]float32 { return t.vectors }

// Change implements [train.Task].
func (t *Task) Change(_ context.Context, change func()) error {
	change() // the vectors are an input
	return nil
}

// Gradients implements [train.Task].
func (t *Task) Gradients(ctx context.Context, n uint64, sum [][]float32) (train.Loss, error) {
	b, err := t.pictures.Batch(n)
	if err != nil {
		return train.Loss{}, err
	}
	var prompts []string
	var c []pipeline.Condition
	for k, item := range b.Items {
		text := t.prompt(item, b.Numbers[k])
		e, err := t.m.Encode(ctx, text, t.extras())
		if err != nil {
			return train.Loss{}, err
		}
		prompts, c = append(prompts, text), append(c, t.m.Condition(e, b.Shape))
	}
	each := len(c[0].Inputs[0].Data)
	out, by := make([]float32, len(b.X)), make([]float32, each*len(c))
	if err := t.m.Pipeline.Denoiser.Network().Run(ctx, t.m.Inputs(b, c), []cgo.Output{{Name: "out", Data: out}, {Name: "d:context", Data: by}}); err != nil {
		return train.Loss{}, err
	}
	value, err := b.Loss(out)
	if err != nil {
		return train.Loss{}, err
	}
	for k, text := range prompts {
		g, err := t.m.Texts[0].Gradients(ctx, latent.Segments(text), t.extras(), t.m.TextSeeds(by[k*each:][:each], nil)[0])
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

// Memory is what a step takes beside the model's weights, in bytes.
func (t *Task) Memory(ctx context.Context, _ int) (uint64, error) {
	return t.m.Memory(ctx, t.pictures, []cgo.Output{{Name: "d:context"}}, nil)
}

// Save writes vectors as a file that other programs read, too: kohya's emb_params in
// safetensors. Its type is float32 whatever typ says: they are few.
func (t *Task) Save(_ context.Context, path string, weights [][]float32, _ dtype.Type) error {
	bytes := make([]byte, 4*len(weights[0]))
	if err := dtype.Encode(dtype.F32, bytes, weights[0]); err != nil {
		return err
	}
	shape := []int64{int64(t.o.Vectors), int64(t.m.Texts[0].Config.Width)}
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
