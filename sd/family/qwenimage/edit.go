package qwenimage

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/pipeline"
	"github.com/sdgo/sdgo/sd/prompt"
	"github.com/sdgo/sdgo/sd/qwen"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
)

// The template of a prompt with pictures, of whose states those of the first tokens are left out. Qwen-Image-Edit has one picture,
// Edit-2509 and later several with numbers before them.
const (
	beforeEdit = "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), then explain how the user's text instruction should alter or modify the image. Generate a new image that meets the user's requirements while maintaining consistency with the original input where appropriate.<|im_end|>\n<|im_start|>user\n"
	pictured   = "<|vision_start|>" + qwen.PictureToken + "<|vision_end|>"

	droppedEdit = 64
)

// Reference pictures are as large for the transformer as those that it draws, with sides that are multiples of referenceSide, and for
// the text encoder, where there are several, with sides seenPart times as long.
const (
	referenceSide   = 32
	seenPart        = 3. / 8
	referenceAspect = 8 // times that one side is at most longer than the other

	mostNative = 2048 // side of the square of so many pixels, whatever a file says
)

// tower names what editing lacks where the text encoder has no eyes.
const tower = "the vision tower of its text encoder (visual.* in --llm FILE, or --llm-vision FILE, which llama.cpp calls mmproj)"

// numbered reports whether prompts name several pictures, as those of Edit-2509 and later do, which is what a file that does
// not say it is taken for.
func (m *model) numbered() bool { return m.c.Edit != convert.QwenEditOne }

// references are a request's reference pictures.
func references(q *request.Resolved) (all []*image.NRGBA) {
	for i, c := range q.Request.Controls {
		if c.Name == request.Reference && q.ControlPictures[i] != nil {
			all = append(all, q.ControlPictures[i])
		}
	}
	return all
}

// check checks the family's own fields of a request.
func (m *model) check(q *request.Resolved, _ pipeline.Attached, e *request.Error) {
	if q.Refiner != "" {
		e.Add("Refiner", "only Stable Diffusion XL has one")
	}
	all := references(q)
	for _, img := range all {
		if size := img.Rect.Size(); max(size.X, size.Y) > referenceAspect*min(size.X, size.Y) {
			e.Join(request.Problemf("Controls", "reference pictures must have one side at most %d times the other, got %dx%d", referenceAspect, size.X, size.Y))
		}
	}
	asked := slices.ContainsFunc(q.Request.Controls, func(c request.Control) bool { return c.Name == request.Reference })
	switch {
	case !asked && m.c.Edit != "":
		e.Add("Controls", "the model edits pictures: it needs at least one, as a control named %s", request.Reference)
	case asked && m.eyes == nil:
		e.Add("Controls", "reference pictures are looked at by the text encoder, too, and the file lacks %s", tower)
	case asked && !m.kl.CanEncode():
		e.Add("Controls", "reference pictures are encoded, and the model's file has no autoencoder's encoder")
	case len(all) > 1 && !m.numbered():
		e.Add("Controls", "Qwen-Image-Edit looks at one reference picture (Edit-2509 and later at several), got %d", len(all))
	case len(all) > qwen.MaxPictures:
		e.Add("Controls", "there must be at most %d reference pictures, got %d", qwen.MaxPictures, len(all))
	}
	for field, text := range map[string]string{"Prompt": q.Request.Prompt, "NegativePrompt": q.Request.NegativePrompt} {
		if asked && strings.Contains(text, qwen.PictureToken) {
			e.Add(field, "must not have %s, which stands for a reference picture", qwen.PictureToken)
		}
	}
}

// areaOf are the sides, multiples of referenceSide, of so many pixels, in a picture's proportion.
func areaOf(size image.Point, pixels float64) image.Point {
	ratio := float64(size.X) / float64(size.Y)
	width := math.Sqrt(pixels * ratio)
	side := func(v float64) int { return max(1, int(math.RoundToEven(v/referenceSide))) * referenceSide }
	return image.Pt(side(width), side(width/ratio))
}

// sizes are those that the transformer and the text encoder get a picture in.
func (m *model) sizes(size image.Point) (drawn, seen image.Point) {
	native := float64(min(m.host.Weights.NativeSize, mostNative))
	drawn = areaOf(size, native*native)
	if !m.numbered() {
		return drawn, drawn
	}
	return drawn, areaOf(size, native*seenPart*native*seenPart)
}

// scaled is a picture without transparency in a size, to the bit as Pillow has it.
func scaled(img *image.NRGBA, size image.Point) *image.NRGBA {
	return tensor.ResampleBytes(picture.OnWhite(img), tensor.Lanczos, tensor.Pillow, size.X, size.Y)
}

// Encode encodes a prompt, and the reference pictures beside it.
func (m *model) Encode(ctx context.Context, text string, negative bool, q *request.Resolved, with pipeline.Extras, memo pipeline.Memo) (pipeline.Condition, error) {
	all := references(q)
	if len(all) == 0 {
		return m.text.Encode(ctx, text, negative, q, with, memo)
	}
	words, err := pipeline.Remembered(memo, textKey{m, text}, func() (tensor.Tensor, error) { return m.edit(ctx, text, all, with, memo) })
	if err != nil {
		return pipeline.Condition{}, err
	}
	seen, err := pipeline.Remembered(memo, referenceKey{m}, func() ([]engine.Named, error) { return m.encoded(ctx, all) })
	return pipeline.Condition{Inputs: append([]engine.Named{{Name: "context", Shape: words.Shape, Data: words.Data}}, seen...)}, err
}

// What a request keeps the states of a text, its reference pictures, and what the tower sees of them under.
type (
	textKey struct {
		m    *model
		text string
	}
	referenceKey struct{ m *model }
	seenKey      struct{ m *model }
)

// edit are the states of a prompt with pictures.
func (m *model) edit(ctx context.Context, text string, all []*image.NRGBA, with pipeline.Extras, memo pipeline.Memo) (tensor.Tensor, error) {
	instruction := strings.Builder{}
	for k := range all {
		if m.numbered() {
			fmt.Fprintf(&instruction, "Picture %d: ", k+1)
		}
		instruction.WriteString(pictured)
	}
	ids := m.text.Encoder.Tokenizer.Encode(beforeEdit + instruction.String() + prompt.WithoutTags(text) + after)
	texts, err := m.text.Encoder.Pictured(ids, len(all))
	if err != nil {
		return tensor.Tensor{}, request.Problemf("Prompt", "%v", err)
	}
	seen, err := pipeline.Remembered(memo, seenKey{m}, func() ([]qwen.Seen, error) { return m.see(ctx, all, with) })
	if err != nil {
		return tensor.Tensor{}, err
	}
	states, err := m.text.Encoder.EncodePictured(ctx, texts, seen, []int{qwen.Final}, with.Adapters.Text())
	if err != nil {
		return tensor.Tensor{}, err
	}
	s := states[0]
	return tensor.Of(s.Data[droppedEdit*s.Width():], s.Height()-droppedEdit, s.Width()), nil
}

// see is what the tower sees of pictures.
func (m *model) see(ctx context.Context, all []*image.NRGBA, with pipeline.Extras) (seen []qwen.Seen, err error) {
	for _, img := range all {
		_, size := m.sizes(img.Rect.Size())
		one, err := m.eyes.See(ctx, scaled(img, size), with.Adapters.Text())
		if err != nil {
			return nil, err
		}
		seen = append(seen, one)
	}
	return seen, nil
}

// encoded are the tokens of pictures, [tokens, Channels·Patch²], and their sizes in tokens.
func (m *model) encoded(ctx context.Context, all []*image.NRGBA) ([]engine.Named, error) {
	p := m.c.Patch
	var tokens, sizes []float32
	for _, img := range all {
		size, _ := m.sizes(img.Rect.Size())
		e, err := m.kl.Encode(ctx, tensor.FromImage(scaled(img, size)))
		if err != nil {
			return nil, err
		}
		x := e.Mean()
		rows, columns := x.Height()/p, x.Width()/p
		for token := range rows * columns {
			for c := range x.Channels() {
				for k := range p * p {
					y, x0 := token/columns*p+k/p, token%columns*p+k%p
					tokens = append(tokens, x.Data[(c*x.Height()+y)*x.Width()+x0])
				}
			}
		}
		sizes = append(sizes, float32(rows), float32(columns))
	}
	width := m.c.Channels * p * p
	return []engine.Named{{Name: "reference", Shape: []int{len(tokens) / width, width}, Data: tokens}, {Name: "sizes", Shape: []int{len(sizes)}, Data: sizes}}, nil
}

// Chunks and Check are the text encoder's.
func (m *model) Chunks(text string, with pipeline.Extras) (int, error) {
	return m.text.Chunks(text, with)
}
func (m *model) Check(q *request.Resolved, e *request.Error) { m.text.Check(q, e) }

// Idle frees what the text encoder and its tower hold until the next text.
func (m *model) Idle() {
	m.text.Idle()
	if m.eyes != nil {
		m.eyes.Network().Rest()
	}
}
