package qwen

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// MaxAspect bounds how many times longer than the other one a side of a picture may be, as transformers has it.
const MaxAspect = 200

// tokenSide is a token's, in pixels, and the base that of the angles of the tower's rotary embedding.
const (
	tokenSide  = convert.VisionPatch * convert.VisionMerged
	visionBase = 10000
)

// Means and deviations of the colours that CLIP, and the tower, were trained on.
var (
	mean      = [3]float32{0.48145466, 0.4578275, 0.40821073}
	deviation = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// Seen is what the tower makes of a picture: Rows times Columns tokens, row by row, [tokens, Width of the text stack].
type Seen struct {
	Tokens        tensor.Tensor
	Rows, Columns int
}

// Tower is the vision tower of Qwen2.5-VL. Its methods may be called from any goroutine.
type Tower struct {
	Config convert.QwenVisionConfig

	net *engine.Network
}

// OpenTower creates the tower of a model, whose names have the prefix. On a GPU its weights are uploaded by the first
// picture.
func OpenTower(h *engine.Host, prefix string, c convert.QwenVisionConfig) (*Tower, error) {
	net, err := h.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "the vision tower", Arch: "qwen_vision", Prefix: prefix, Params: c.Params(), Lazy: true})
	if err != nil {
		return nil, err
	}
	return &Tower{Config: c, net: net}, nil
}

// Network is the tower's network.
func (t *Tower) Network() *engine.Network { return t.net }

// Size is what a picture is scaled to, in pixels: sides that are whole tokens, and a number of pixels within bounds
// (transformers' smart_resize).
func (t *Tower) Size(size image.Point) (image.Point, error) {
	w, h := float64(size.X), float64(size.Y)
	if size.X < 1 || size.Y < 1 || max(w, h)/min(w, h) > MaxAspect {
		return image.Point{}, fmt.Errorf("a picture must have one side at most %d times the other, got %dx%d", MaxAspect, size.X, size.Y)
	}
	whole := func(round func(float64) float64, side float64) int { return int(round(side/tokenSide)) * tokenSide }
	out := image.Pt(whole(math.RoundToEven, w), whole(math.RoundToEven, h))
	switch area := out.X * out.Y; {
	case area > t.Config.MostPixels:
		by := math.Sqrt(w * h / float64(t.Config.MostPixels))
		out = image.Pt(max(tokenSide, whole(math.Floor, w/by)), max(tokenSide, whole(math.Floor, h/by)))
	case area < t.Config.LeastPixels:
		by := math.Sqrt(float64(t.Config.LeastPixels) / (w * h))
		out = image.Pt(whole(math.Ceil, w*by), whole(math.Ceil, h*by))
	}
	return out, nil
}

// See looks at an opaque picture.
func (t *Tower) See(ctx context.Context, img *image.NRGBA, with *engine.Adaptation) (Seen, error) {
	size, err := t.Size(img.Rect.Size())
	if err != nil {
		return Seen{}, err
	}
	s := Seen{Rows: size.Y / tokenSide, Columns: size.X / tokenSide}
	all := windowsOf(s.Rows, s.Columns)
	got := tensor.New(s.Rows*s.Columns, t.Config.Out)
	in := t.inputs(all, tensor.ResampleBytes(img, tensor.BicubicAntialias, tensor.Torch, size.X, size.Y))
	if err := t.net.RunFinite(ctx, in, []cgo.Output{{Name: "tokens", Data: got.Data}}, with); err != nil {
		return Seen{}, err
	}
	s.Tokens = got.Like()
	i, width := 0, t.Config.Out
	for _, w := range all {
		for _, place := range w.tokens {
			to := place.Y*s.Columns + place.X
			copy(s.Tokens.Data[to*width:][:width], got.Data[i*width:])
			i++
		}
	}
	return s, nil
}

// windows are those of one size, whose tokens at these columns and rows attend to each other, window after window.
type windows struct {
	each   int // tokens of a window
	tokens []image.Point
}

// windowsOf are a picture's windows: whole ones, those at the right, at the bottom, and in the corner, which may be
// smaller. There may be none of some.
func windowsOf(rows, columns int) (all [4]windows) {
	const side = convert.VisionWindow
	for top := 0; top < rows; top += side {
		for left := 0; left < columns; left += side {
			height, width := min(side, rows-top), min(side, columns-left)
			kind := 0
			if width < side {
				kind++
			}
			if height < side {
				kind += 2
			}
			all[kind].each = width * height
			for y := range height {
				for x := range width {
					all[kind].tokens = append(all[kind].tokens, image.Pt(left+x, top+y))
				}
			}
		}
	}
	return all
}

// inputs are the network's for windows of a picture, which is nil where only their shapes count.
func (t *Tower) inputs(all [4]windows, img *image.NRGBA) (in []cgo.Input) {
	const merged, numbers = convert.VisionMerged, 3 * convert.VisionFrames * convert.VisionPatch * convert.VisionPatch
	axis := t.Config.Width / t.Config.Heads / 2 // channels that turn by a row, and by a column
	var cos, sin []float32
	for kind, w := range all {
		if w.each == 0 {
			continue
		}
		patches := merged * merged * w.each
		one := cgo.Input{Name: fmt.Sprintf("windows.%d", kind), Shape: []int64{int64(len(w.tokens) / w.each), int64(patches), numbers}}
		for _, token := range w.tokens {
			for k := range merged * merged {
				row, column := merged*token.Y+k/merged, merged*token.X+k%merged
				for _, place := range []int{row, column} {
					for j := range axis / 2 {
						angle := float64(place) * math.Pow(visionBase, -2*float64(j)/float64(axis))
						cos, sin = append(cos, float32(math.Cos(angle))), append(sin, float32(math.Sin(angle)))
					}
				}
				if img != nil {
					one.F32 = appendPatch(one.F32, img, row*convert.VisionPatch, column*convert.VisionPatch)
				}
			}
		}
		in = append(in, one)
	}
	shape := []int64{int64(len(cos) / axis), int64(axis)}
	return append(in, cgo.Input{Name: "cos", Shape: shape, F32: cos}, cgo.Input{Name: "sin", Shape: shape, F32: sin})
}

// appendPatch appends the numbers of a patch: of each colour both frames, which are the same.
func appendPatch(to []float32, img *image.NRGBA, top, left int) []float32 {
	const side = convert.VisionPatch
	for c := range 3 {
		from := len(to)
		for y := range side {
			for x := range side {
				v := img.Pix[(top+y)*img.Stride+4*(left+x)+c]
				to = append(to, (float32(v)/255-mean[c])/deviation[c])
			}
		}
		for range convert.VisionFrames - 1 {
			to = append(to, to[from:from+side*side]...)
		}
	}
	return to
}

// Demand is the tower's memory on a GPU for a picture of so many pixels; ok is false on the CPU.
func (t *Tower) Demand(width, height int) (d engine.Demand, ok bool, err error) {
	return engine.DemandOf(t.net, "tokens", t.inputs(windowsOf(height/tokenSide, width/tokenSide), nil)...)
}
