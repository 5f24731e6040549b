package control

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/adapter"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tensor"
)

// IPAdapter is an open IP-Adapter (Ye et al. 2023, arXiv:2308.06721), with the image encoder of
// CLIP by which it sees pictures, if it sees any. Its methods may be called from any goroutine. It must
// stay open as long as a model uses it.
type IPAdapter struct {
	host   *engine.Host
	net    *engine.Network
	config *convert.IPAdapterConfig
	vision *vision          // nil of one that sees faces' vectors alone
	lora   *adapter.Adapter // of faces, for the UNet's attention; nil if there is none
}

// vision is an image encoder of CLIP.
type vision struct {
	host   *engine.Host
	net    *engine.Network
	config *convert.CLIPVisionConfig
}

// openVision opens an image encoder.
func openVision(path string, o engine.Options) (*vision, error) {
	if path == "" {
		return nil, errors.New("an IP-Adapter needs an image encoder of CLIP: name its file (--clip-vision, Options.CLIPVision)")
	}
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	v := &vision{host: h}
	if v.config, err = convert.ConfigAs[*convert.CLIPVisionConfig](h.Weights, "an image encoder of CLIP"); err == nil {
		err = h.Place(v.setUp, v.demands)
	}
	if err != nil {
		h.Abandon()
		return nil, err
	}
	return v, nil
}

func (v *vision) setUp() (err error) {
	v.net, err = v.host.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "the image encoder", Arch: "clip_vision", Params: v.config.Params(), Lazy: true})
	if err != nil {
		return fmt.Errorf("%s: %w", v.host.Weights.Path, err)
	}
	return nil
}

func (v *vision) input(pixels []float32) cgo.Input {
	return cgo.Input{Name: "picture", Shape: tensor.Batch(1, []int{3, v.config.Side, v.config.Side}), F32: pixels}
}

func (v *vision) demands() ([]engine.Demand, error) {
	d, ok, err := engine.DemandOf(v.net, "embedding", v.input(nil))
	if !ok {
		return nil, err
	}
	return []engine.Demand{d}, nil
}

// Means and deviations of the colours that CLIP was trained on.
var (
	clipMean      = [3]float32{0.48145466, 0.4578275, 0.40821073}
	clipDeviation = [3]float32{0.26862954, 0.26130258, 0.27577711}
)

// see is a picture as the encoder takes it: the shorter side scaled, the middle cut out.
func (v *vision) see(img *image.NRGBA) []float32 {
	side := v.config.Side
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if w < h {
		w, h = side, max(side, side*h/w)
	} else {
		w, h = max(side, side*w/h), side
	}
	if img.Rect.Size() != image.Pt(w, h) {
		img = imaging.Resize(img, w, h, imaging.CatmullRom)
	}
	left, top := (w-side)/2, (h-side)/2
	out := make([]float32, 3*side*side)
	for y := range side {
		for x := range side {
			at := img.Pix[(top+y)*img.Stride+4*(left+x):]
			for c := range 3 {
				out[(c*side+y)*side+x] = (float32(at[c])/255 - clipMean[c]) / clipDeviation[c]
			}
		}
	}
	return out
}

// output is the embedding or the states of what the encoder sees.
func (v *vision) output(ctx context.Context, name string, pixels []float32) (cgo.Input, error) {
	shape := []int{v.config.Projection}
	if name == "hidden" {
		n := v.config.Side / v.config.Patch
		shape = []int{n*n + 1, v.config.Width}
	}
	out := tensor.New(shape...)
	err := v.net.RunFinite(ctx, []cgo.Input{v.input(pixels)}, []cgo.Output{{Name: name, Data: out.Data}})
	return cgo.Input{Name: name, Shape: out.Batch(1), F32: out.Data}, err
}

func (a *IPAdapter) setUp() (err error) {
	a.net, err = a.host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the IP-Adapter", Arch: "ip_adapter", Params: a.config.Params()})
	if err != nil {
		return fmt.Errorf("%s: %w", a.host.Weights.Path, err)
	}
	if a.config.LoRA > 0 {
		file, err := convert.FaceAdapter(a.host.Weights)
		if err != nil {
			return err
		}
		a.lora = adapter.Of(file)
	}
	if a.vision == nil {
		return nil
	}
	have := a.vision.config.Projection
	if a.config.Kind != convert.IPBasic {
		have = a.vision.config.Width
	}
	if have != a.config.ClipWidth {
		return fmt.Errorf("%s: the adapter needs an image encoder that gives %d numbers, got one that gives %d (%s)", a.host.Weights.Path, a.config.ClipWidth, have, a.vision.host.Weights.Path)
	}
	return nil
}

func (a *IPAdapter) demands() ([]engine.Demand, error) {
	var in []cgo.Input
	if a.config.Kind == convert.IPBasic {
		in = append(in, cgo.Input{Name: "embedding", Shape: []int64{1, int64(a.config.ClipWidth)}})
	} else if a.config.SeesPictures() {
		in = append(in, cgo.Input{Name: "hidden", Shape: []int64{1, 257, int64(a.config.ClipWidth)}})
	}
	if a.config.SeesFaces() {
		in = append(in, cgo.Input{Name: "face", Shape: []int64{1, int64(a.config.Face)}})
	}
	d, ok, err := engine.DemandOf(a.net, "key.0", in...)
	if !ok {
		return nil, err
	}
	return []engine.Demand{d}, nil
}

// Misfit says why a UNet can't attend to what the adapter makes of pictures; "" if it can.
func (a *IPAdapter) Misfit(u convert.UNetConfig) string { return a.config.Misfit(u) }

// Host is the network's host; nil of a zero value, which was never opened.
func (a *IPAdapter) Host() *engine.Host {
	if a == nil {
		return nil
	}
	return a.host
}

// Name is the network's name in requests: its file's, without folder and extension.
func (a *IPAdapter) Name() string {
	if a.Host() == nil {
		return ""
	}
	return a.host.Name
}

// Network is the network.
func (a *IPAdapter) Network() *engine.Network { return a.net }

// Face is the length of the vector that the adapter takes of a face; 0 of one that sees none.
func (a *IPAdapter) Face() int { return a.config.Face }

// SeesPictures reports whether the adapter sees pictures; FaceID sees faces' vectors alone.
func (a *IPAdapter) SeesPictures() bool { return a.config.SeesPictures() }

// LoRA are the changes to the UNet's attention that FaceID comes with; nil if there are none. It
// is open as long as the adapter is.
func (a *IPAdapter) LoRA() *adapter.Adapter { return a.lora }

// Close waits for the requests that use the network, frees it and its image encoder and
// unmaps the files. Closing again does nothing.
func (a *IPAdapter) Close() error {
	if a.Host() == nil {
		return nil
	}
	err := a.host.Close()
	if a.lora != nil {
		err = errors.Join(err, a.lora.Close())
	}
	if a.vision != nil {
		err = errors.Join(err, a.vision.host.Close())
	}
	return err
}

// abandon gives back what an adapter holds that could not be opened.
func (a *IPAdapter) abandon() {
	if a.vision != nil {
		a.vision.host.Abandon()
	}
}

// Picture are keys and values of a picture for the layers of a UNet that attend to the
// text: inputs of the UNet without the batch axis.
type Picture []engine.Named

// Encode makes the keys and values of an opaque picture, of a face's vector, or of both, whichever
// the adapter sees, with the values multiplied by a weight, and those of predictions without the
// prompt, as the diffusers library has them: of an embedding of zeros, the states of a picture of
// zeros, a face of zeros.
func (a *IPAdapter) Encode(ctx context.Context, img *image.NRGBA, face []float32, weight float64) (cond, uncond Picture, err error) {
	with, without, err := a.seen(ctx, img)
	if err != nil {
		return nil, nil, err
	}
	if a.config.SeesFaces() {
		if len(face) != a.config.Face {
			return nil, nil, fmt.Errorf("%s: a face's vector must have %d numbers, got %d", a.host.Weights.Path, a.config.Face, len(face))
		}
		in := cgo.Input{Name: "face", Shape: []int64{1, int64(len(face))}, F32: face}
		with = append(with, in)
		in.F32 = make([]float32, len(face))
		without = append(without, in)
	}
	if cond, err = a.keys(ctx, with, weight); err == nil {
		uncond, err = a.keys(ctx, without, weight)
	}
	return cond, uncond, err
}

// seen is what the image encoder makes of a picture, and what stands for none.
func (a *IPAdapter) seen(ctx context.Context, img *image.NRGBA) (with, without []cgo.Input, err error) {
	if !a.config.SeesPictures() {
		return nil, nil, nil
	}
	output := "embedding"
	if a.config.Kind != convert.IPBasic {
		output = "hidden"
	}
	in, err := a.vision.output(ctx, output, a.vision.see(img))
	if err != nil {
		return nil, nil, err
	}
	none := cgo.Input{Name: output, Shape: in.Shape, F32: make([]float32, len(in.F32))}
	if a.config.Kind != convert.IPBasic {
		if none, err = a.vision.output(ctx, output, make([]float32, 3*a.vision.config.Side*a.vision.config.Side)); err != nil {
			return nil, nil, err
		}
	}
	return []cgo.Input{in}, []cgo.Input{none}, nil
}

// keys runs the adapter.
func (a *IPAdapter) keys(ctx context.Context, in []cgo.Input, weight float64) (all Picture, err error) {
	tokens := a.config.Tokens
	if a.config.Kind == convert.IPFull {
		tokens = int(in[0].Shape[1])
	}
	var outputs []cgo.Output
	for k, channels := range a.config.Layers {
		for _, what := range []string{"key", "value"} {
			n := engine.Named{Name: fmt.Sprintf("picture_%s.%d", what, k), Shape: []int{tokens, channels}, Data: make([]float32, tokens*channels)}
			all = append(all, n)
			outputs = append(outputs, cgo.Output{Name: fmt.Sprintf("%s.%d", what, k), Data: n.Data})
		}
	}
	if err := a.net.RunFinite(ctx, in, outputs); err != nil {
		return nil, err
	}
	for i := 1; i < len(all); i += 2 {
		for k := range all[i].Data {
			all[i].Data[k] *= float32(weight)
		}
	}
	return all, nil
}

// PictureInputs are the keys and values of a batch as inputs of a UNet, of the layers that
// uses says.
func PictureInputs(batch []Picture, uses func(layer int) bool) (all []cgo.Input) {
	if len(batch) == 0 {
		return nil
	}
	for i, first := range batch[0] {
		if !uses(i / 2) {
			continue
		}
		in := cgo.Input{Name: first.Name, Shape: tensor.Batch(len(batch), first.Shape), F32: make([]float32, 0, len(batch)*len(first.Data))}
		for _, one := range batch {
			in.F32 = append(in.F32, one[i].Data...)
		}
		all = append(all, in)
	}
	return all
}
