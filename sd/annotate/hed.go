// Package annotate makes control pictures out of ordinary ones with networks of their own, as
// package preprocess does without any: soft edges (HED).
package annotate

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/tensor"
)

// HED finds soft edges (Xie and Tu 2015, arXiv:1504.06375): the pictures for ControlNets of soft
// edges and scribbles. Its methods may be called from any goroutine.
type HED struct {
	host   *engine.Host
	net    *engine.Network
	config *convert.HEDConfig
}

// OpenHED opens a network with the names of ControlNet's annotator (ControlNetHED.pth).
func OpenHED(path string, o engine.Options) (*HED, error) {
	h, err := engine.Open(engine.NameOf(path), o, func() (*convert.Model, error) { return convert.Open(path) })
	if err != nil {
		return nil, err
	}
	d := &HED{host: h}
	if d.config, err = convert.ConfigAs[*convert.HEDConfig](h.Weights, "an edge detector (HED)"); err == nil {
		err = h.Place(d.setUp, d.demands)
	}
	if err != nil {
		h.Abandon()
		return nil, err
	}
	return d, nil
}

func (d *HED) setUp() (err error) {
	d.net, err = d.host.NewNetwork(engine.Spec{Role: engine.RoleUpscale, Title: "the edge detector", Arch: "hed", Params: d.config.Params()})
	if err != nil {
		return fmt.Errorf("%s: %w", d.host.Weights.Path, err)
	}
	return nil
}

// demands are the network's memory for a picture of 512 x 512 pixels.
func (d *HED) demands() ([]engine.Demand, error) {
	need, ok, err := engine.DemandOf(d.net, "edge.0", cgo.Input{Name: "picture", Shape: []int64{1, 3, 512, 512}})
	if !ok {
		return nil, err
	}
	return []engine.Demand{need}, nil
}

// Host is the network's host; nil of a zero value, which was never opened.
func (d *HED) Host() *engine.Host {
	if d == nil {
		return nil
	}
	return d.host
}

// Close waits for the calls in progress, frees the network and unmaps the file. Closing again
// does nothing.
func (d *HED) Close() error {
	if d.Host() == nil {
		return nil
	}
	return d.host.Close()
}

// Apply makes the picture of edges, white on black, of the same size. Transparent parts count as
// white. The network's edges of all sizes are scaled to the picture's and averaged, before the
// sigmoid.
func (d *HED) Apply(ctx context.Context, img image.Image) (*image.NRGBA, error) {
	release, err := engine.Use(d.Host())
	if err != nil {
		return nil, err
	}
	defer release()
	if ctx == nil {
		return nil, engine.ErrNilContext
	}
	src, err := picture.NRGBA(img)
	if err != nil {
		return nil, err
	}
	width, height := src.Rect.Dx(), src.Rect.Dy()
	free, err := d.host.TakePixels(width, height, 3*engine.TensorPixel+engine.PicturePixel)
	if err != nil {
		return nil, err
	}
	defer free()
	in := pixels(src)
	outputs, edges := make([]cgo.Output, len(d.config.Widths)), make([]tensor.Tensor, len(d.config.Widths))
	w, h := width, height
	for k := range edges {
		edges[k] = tensor.New(1, h, w)
		outputs[k] = cgo.Output{Name: fmt.Sprintf("edge.%d", k), Data: edges[k].Data}
		w, h = (w+1)/2, (h+1)/2
	}
	if err := d.net.RunFinite(ctx, []cgo.Input{{Name: "picture", Shape: in.Batch(1), F32: in.Data}}, outputs); err != nil {
		return nil, err
	}
	sum := edges[0]
	for _, e := range edges[1:] {
		for i, v := range e.Resample(tensor.Bilinear, height, width).Data {
			sum.Data[i] += v
		}
	}
	out := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i, v := range sum.Data {
		p := 1 / (1 + math.Exp(-float64(v)/float64(len(edges))))
		grey := uint8(math.RoundToEven(255 * p))
		copy(out.Pix[4*i:], []uint8{grey, grey, grey, 255})
	}
	return out, nil
}

// pixels are a picture's colours over white, [3, H, W], 0 to 255.
func pixels(img *image.NRGBA) tensor.Tensor {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	t := tensor.New(3, height, width)
	for y := range height {
		for x := range width {
			p := img.Pix[y*img.Stride+4*x:]
			alpha := float32(p[3]) / 255
			for c := range 3 {
				t.Data[(c*height+y)*width+x] = float32(math.Round(float64(float32(p[c])*alpha + 255*(1-alpha))))
			}
		}
	}
	return t
}
