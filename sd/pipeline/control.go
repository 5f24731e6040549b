package pipeline

import (
	"context"
	"fmt"
	"image"
	"maps"
	"math"
	"slices"

	"github.com/disintegration/imaging"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/control"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// Steered is a denoiser that ControlNets can steer: its network has their outputs as
// inputs.
type Steered interface {
	// CheckControl says why a ControlNet can't steer the denoiser; "" if it can.
	CheckControl(c *control.ControlNet) string
}

// attachControls finds the ControlNets that a request names.
func attachControls(d *Drawing, with Attached, e *request.Error) {
	d.controls = nil
	for i, c := range d.Controls {
		field := fmt.Sprintf("Controls[%d].Name", i)
		found := with.Controls[c.Name]
		steered, ok := d.model.Denoiser.(Steered)
		switch {
		case !ok:
			e.Add(field, "the model can't be steered by ControlNets")
		case c.Name == "": // which is reported
		case found == nil && len(with.Controls) == 0:
			e.Add(field, "%.80q: no ControlNet is attached", c.Name)
		case found == nil:
			all := slices.Sorted(maps.Keys(with.Controls))
			e.Add(field, "no ControlNet %.80q is attached; there are %.200q", c.Name, all[:min(len(all), 5)])
		default:
			if why := steered.CheckControl(found); why != "" {
				e.Add(field, "%.80s does not go with the model: %s", c.Name, why)
			}
		}
		d.controls = append(d.controls, found)
	}
	for i := range d.passes {
		d.passes[i].drawing.controls = d.controls
	}
}

// steer is a ControlNet of a drawing, with the picture that it sees, encoded.
type steer struct {
	net        *control.ControlNet
	hint       tensor.Tensor
	start, end float64

	// cond and uncond are factors of its outputs, for predictions with the prompt and
	// without; nil are all 1.
	cond, uncond []float32
}

// steersOf encodes the pictures of a drawing's ControlNets. Those that have nothing to say
// are left out.
func steersOf(ctx context.Context, p *Pipeline, d Drawing) (all []steer, err error) {
	for i, c := range d.Controls {
		weight, start, end := c.Numbers()
		if weight == 0 {
			continue
		}
		s := steer{net: d.controls[i], start: start, end: end}
		s.cond, s.uncond = factors(c.Mode, weight, s.net.Outputs())
		if s.hint, err = hintOf(ctx, p, d, i); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// hintOf encodes the picture of the i-th ControlNet.
func hintOf(ctx context.Context, p *Pipeline, d Drawing, i int) (tensor.Tensor, error) {
	shape := p.Denoiser.Latent(d.Width, d.Height)
	width, height := shape[2]*control.Factor, shape[1]*control.Factor
	release, err := p.Host.TakePixels(width, height, engine.TensorPixel+3*engine.PicturePixel)
	if err != nil {
		return tensor.Tensor{}, err
	}
	defer release()
	img := d.ControlPictures[i]
	if d.OnlyMasked { // it shows the same as the picture to begin with
		whole := fit(img, d.Image.Rect.Dx(), d.Image.Rect.Dy())
		img = imaging.Crop(whole, d.MaskRegion)
		if img.Rect.Size() != image.Pt(width, height) {
			img = upscale.Resize(img, width, height, imaging.Lanczos)
		}
	} else {
		img = fit(img, width, height)
	}
	img = opaque(img)
	picture := tensor.New(3, height, width)
	n := width * height
	for k := range n {
		for channel := range 3 {
			picture.Data[channel*n+k] = float32(img.Pix[4*k+channel]) / 255
		}
	}
	return d.controls[i].Hint(ctx, picture)
}

// softest is the factor by which AUTOMATIC1111's soft weights fall from output to output,
// and softOutputs the number of outputs that they are made for.
const (
	softest     = 0.825
	softOutputs = 13
)

// factors are those of a mode for n outputs, the finest first.
func factors(mode request.ControlMode, weight float64, n int) (cond, uncond []float32) {
	cond = make([]float32, n)
	for i := range cond {
		scale := 1.0
		switch mode {
		case request.ControlPrompt, request.ControlNetwork:
			scale = math.Pow(softest, float64(max(softOutputs-1-i, 0)))
		case request.ControlGuess:
			scale = math.Pow(10, float64(i)/float64(n-1)-1)
		}
		cond[i] = float32(weight * scale)
	}
	switch mode {
	case request.ControlNetwork, request.ControlGuess:
		return cond, make([]float32, n)
	}
	if !slices.ContainsFunc(cond, func(v float32) bool { return v != 1 }) {
		cond = nil
	}
	return cond, cond
}

// steering are the ControlNets of a run.
type steering struct {
	all  []steer
	made *int // steps
	of   int
}

// active are those that have something to say in the current step: what the diffusers
// library's pipelines call controlnet_keep.
func (s *steering) active() (all []steer) {
	if s == nil {
		return nil
	}
	i, n := float64(*s.made), float64(s.of)
	for _, one := range s.all {
		if i/n >= one.start && (i+1)/n <= one.end {
			all = append(all, one)
		}
	}
	return all
}

// networks are those of some ControlNets.
func networks(all []steer) (nets []*control.ControlNet) {
	for _, s := range all {
		nets = append(nets, s.net)
	}
	return nets
}

// items are what the networks need for one prediction.
func items(all []steer, uncond bool) (each []control.Item) {
	for _, s := range all {
		item := control.Item{Hint: s.hint, Scale: s.cond}
		if uncond {
			item.Scale = s.uncond
		}
		each = append(each, item)
	}
	return each
}

// runControls runs the ControlNets of an evaluation and returns what they add, as further inputs
// of the denoiser. With shallow it is what the first skip gets alone. release frees it.
func runControls(ctx context.Context, p *Pipeline, in evaluation, inputs []cgo.Input, shallow bool) (more []cgo.Input, release func(), err error) {
	var sum control.Residuals
	x := cgo.Input{Name: "x", Shape: tensor.Batch(len(in.t), in.shape), F32: in.x}
	for i, net := range in.controls {
		column := make([]control.Item, len(in.items))
		for k := range in.items {
			column[k] = in.items[k][i]
		}
		if !slices.ContainsFunc(column, control.Item.Counts) {
			continue
		}
		next, err := net.Run(ctx, x, inputs, column, sum, shallow)
		sum.Close()
		if err != nil {
			return nil, nil, err
		}
		sum = next
	}
	more, err = sum.On(p.Denoiser.Network().Device())
	if err != nil {
		sum.Close()
		return nil, nil, err
	}
	return more, sum.Close, nil
}

// controlMemory is what a step of n latents takes for a drawing's ControlNets, in bytes.
func controlMemory(ctx context.Context, p *Pipeline, d Drawing, n int, c Condition) (sum uint64, err error) {
	shape, tokens := p.Denoiser.Latent(d.Width, d.Height), 1
	for _, in := range c.Inputs {
		if in.Name == "context" {
			tokens = in.Shape[0]
		}
	}
	for _, net := range d.controls {
		need, err := net.Estimate(ctx, n, shape[1], shape[2], tokens)
		if err != nil {
			return 0, err
		}
		sum += need
	}
	return sum, nil
}
