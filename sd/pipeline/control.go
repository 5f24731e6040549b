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
	"github.com/sdgo/sdgo/sd/preprocess"
	"github.com/sdgo/sdgo/sd/request"
	"github.com/sdgo/sdgo/sd/tensor"
	"github.com/sdgo/sdgo/sd/upscale"
)

// Steered is a denoiser that ControlNets and T2I-Adapters can steer: its network has their
// outputs as inputs.
type Steered interface {
	// CheckControl says why a network can't steer the denoiser; "" if it can.
	CheckControl(c control.Network) string

	// Levels is the number of resolutions of the denoiser's network.
	Levels() int

	// AttendsInLastBlock reports whether the k-th of the layers that attend to the text is in
	// the last block, which is computed beside what is kept of inner blocks.
	AttendsInLastBlock(k int) bool
}

// attachControls finds the ControlNets and T2I-Adapters that a request names.
func attachControls(d *Drawing, with Attached, e *request.Error) {
	d.controls = nil
	pictures := 0
	for i, c := range d.Controls {
		field := fmt.Sprintf("Controls[%d].Name", i)
		found := with.Controls[c.Name]
		steered, ok := d.model.Denoiser.(Steered)
		switch {
		case c.Name == request.Reference && !d.model.SeesReferences:
			e.Add(field, "the model does not look at reference pictures")
		case c.Name == request.Reference: // which the family's conditions are made of
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
			checkKind(i, c, found, e)
			if ip, ok := found.(*control.IPAdapter); ok {
				checkFace(d, i, ip, e)
				if pictures++; pictures > 1 {
					e.Add(field, "at most one IP-Adapter is possible")
				}
				if c.Preprocess != "" {
					e.Add(fmt.Sprintf("Controls[%d].Preprocess", i), "must be empty with an IP-Adapter, which sees pictures as they are, got %.40s", c.Preprocess)
				}
				if c.Mode != "" && c.Mode != request.ControlBalanced {
					e.Add(fmt.Sprintf("Controls[%d].Mode", i), "must be balanced with an IP-Adapter, got %s", c.Mode)
				}
			} else if len(d.ControlFaces[i]) > 0 {
				e.Add(fmt.Sprintf("Controls[%d].Face", i), "is for FaceID IP-Adapters, and %.80s is none", c.Name)
			}
			if _, ok := found.(*control.T2IAdapter); ok && c.Mode == request.ControlGuess {
				e.Add(fmt.Sprintf("Controls[%d].Mode", i), "guess is for ControlNets, and %.80s is a T2I-Adapter", c.Name)
			} else if p, err := preprocess.Parse(c.Preprocess); ok && err == nil && p.Masks() {
				e.Add(fmt.Sprintf("Controls[%d].Preprocess", i), "%s is for ControlNets, and %.80s is a T2I-Adapter", p.Name, c.Name)
			}
		}
		d.controls = append(d.controls, found)
	}
	for i := range d.passes {
		d.passes[i].drawing.controls = d.controls
	}
}

// checkKind checks that the kind of a picture is said where the network needs it.
func checkKind(i int, c request.Control, found control.Network, e *request.Error) {
	field, kinds := fmt.Sprintf("Controls[%d].Type", i), 0
	if net, ok := found.(*control.ControlNet); ok {
		kinds = net.Types()
	}
	switch kind := c.Kind(); {
	case kinds == 0 && c.Type != "":
		e.Add(field, "is for a ControlNet Union, and %.80s is none", c.Name)
	case kinds > 0 && kind < 0:
		e.Add(field, "must say what the picture is, since %.80s is a ControlNet Union: one of %v", c.Name, request.ControlTypes()[:min(kinds, len(request.ControlTypes()))])
	case kinds > 0 && kind >= kinds:
		e.Add(field, "%s is not among the %d kinds of pictures that %.80s knows", request.ControlTypes()[kind], kinds, c.Name)
	}
}

// checkFace checks that an IP-Adapter gets the face and the picture that it sees, and no others.
func checkFace(d *Drawing, i int, ip *control.IPAdapter, e *request.Error) {
	c, got, img := d.Controls[i], len(d.ControlFaces[i]), d.ControlPictures[i]
	field := fmt.Sprintf("Controls[%d].Face", i)
	switch need := ip.Face(); {
	case need == 0 && got > 0:
		e.Add(field, "is for FaceID IP-Adapters; %.80s sees pictures alone", c.Name)
	case need > 0 && got == 0:
		e.Add(field, "is missing: %.80s sees a face by the %d numbers that a network for recognizing faces, such as InsightFace's, makes of it", c.Name, need)
	case need > 0 && got != need:
		e.Add(field, "must have the %d numbers that %.80s takes, got %d", need, c.Name, got)
	case !ip.SeesPictures() && img != nil && img != d.Image:
		e.Add(fmt.Sprintf("Controls[%d].Image", i), "must not be there: %.80s sees the face's vector alone", c.Name)
	case ip.SeesPictures() && img == nil:
		e.Add(fmt.Sprintf("Controls[%d].Image", i), "is missing: %.80s sees the picture of the face, too", c.Name)
	}
}

// steer is a ControlNet or a T2I-Adapter of a drawing, with the picture that it sees,
// encoded.
type steer struct {
	start, end float64

	// net is the ControlNet; nil of a T2I-Adapter. cond and uncond are factors of its
	// outputs, for predictions with the prompt and without; nil are all 1.
	net          *control.ControlNet
	hint         tensor.Tensor
	cond, uncond []float32
	kind         int // of the picture, of a ControlNet Union

	// features are a T2I-Adapter's, without features of predictions without the prompt; nil of
	// a ControlNet, or where there are none.
	features, without []tensor.Tensor

	// picture and blank are an IP-Adapter's, with the prompt and without; nil of others.
	picture, blank control.Picture
}

// steersOf encodes the pictures of a drawing's ControlNets. Those that have nothing to say
// are left out.
func steersOf(ctx context.Context, p *Pipeline, d Drawing) (all []steer, err error) {
	for i, c := range d.Controls {
		weight, start, end := c.Numbers()
		if weight == 0 || c.Name == request.Reference {
			continue
		}
		s := steer{start: start, end: end}
		if net, ok := d.controls[i].(*control.IPAdapter); ok {
			if s.picture, s.blank, err = net.Encode(ctx, seenBy(net, d.ControlPictures[i]), d.ControlFaces[i], weight); err != nil {
				return nil, err
			}
			all = append(all, s)
			continue
		}
		picture, release, err := controlPicture(p, d, i)
		if err != nil {
			return nil, err
		}
		switch net := d.controls[i].(type) {
		case *control.ControlNet:
			s.net = net
			mode := c.Mode
			if net.Pools() && mode == request.ControlGuess { // as in the diffusers library
				mode = request.ControlBalanced
			}
			if s.cond, s.uncond = factors(mode, weight, net.Outputs()); net.Pools() {
				s.uncond = make([]float32, net.Outputs())
			}
			if net.Types() > 0 {
				s.kind = c.Kind()
			}
			s.hint, err = net.Hint(ctx, picture, s.kind)
		case *control.T2IAdapter:
			if s.features, err = net.Encode(ctx, picture); err == nil {
				s.features, s.without = softened(c.Mode, weight, s.features)
			}
		}
		release()
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// seenBy is the picture that an IP-Adapter sees; nil of one that sees faces' vectors alone.
func seenBy(net *control.IPAdapter, img *image.NRGBA) *image.NRGBA {
	if !net.SeesPictures() {
		return nil
	}
	return opaque(imaging.Clone(img))
}

// controlPicture is the picture of the i-th of a drawing's networks, [3, H, W] in [0, 1].
func controlPicture(p *Pipeline, d Drawing, i int) (picture tensor.Tensor, release func(), err error) {
	shape := p.Denoiser.Latent(d.Width, d.Height)
	width, height := shape[2]*control.Factor, shape[1]*control.Factor
	if release, err = p.Host.TakePixels(width, height, engine.TensorPixel+3*engine.PicturePixel); err != nil {
		return picture, nil, err
	}
	target := image.Pt(width, height)
	if d.OnlyMasked {
		target = d.Image.Rect.Size()
	}
	img, masks, err := preprocessed(d.Controls[i].Preprocess, d.ControlPictures[i], target)
	if err != nil {
		release()
		return picture, nil, request.Problemf(fmt.Sprintf("Controls[%d].Preprocess", i), "%v", err)
	}
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
	picture = tensor.New(3, height, width)
	n := width * height
	for k := range n {
		for channel := range 3 {
			picture.Data[channel*n+k] = float32(img.Pix[4*k+channel]) / 255
		}
	}
	if masks && d.Mask != nil {
		maskOut(picture, fitImage(d, imaging.Clone(d.Mask)))
	}
	return picture, release, nil
}

// maskOut makes what a mask paints -1, as inpaint ControlNets were trained to see it. The
// mask is scaled to the picture's size where a denoiser rounds that up.
func maskOut(picture tensor.Tensor, mask *image.NRGBA) {
	height, width := picture.Shape[1], picture.Shape[2]
	if mask.Rect.Size() != image.Pt(width, height) {
		mask = imaging.Resize(mask, width, height, imaging.NearestNeighbor)
	}
	n := width * height
	for k := range n {
		if mask.Pix[4*k] > 127 {
			for channel := range 3 {
				picture.Data[channel*n+k] = -1
			}
		}
	}
}

// preprocessed is what a preprocessor, if there is one, makes of a picture that will be scaled
// to cover a size. masks says that the mask is to be taken away from it.
func preprocessed(name string, img *image.NRGBA, cover image.Point) (out *image.NRGBA, masks bool, err error) {
	if name == "" {
		return img, false, nil
	}
	p, err := preprocess.Parse(name)
	if err != nil || p.Masks() {
		return img, err == nil, err
	}
	resolution := 0
	if size := img.Rect.Size(); p.Scales() && p.Resolution() == 0 && size != cover {
		k := max(float64(cover.X)/float64(size.X), float64(cover.Y)/float64(size.Y))
		resolution = int(min(max(math.Ceil(k*float64(min(size.X, size.Y))), preprocess.MinResolution), preprocess.MaxResolution))
	}
	out, err = p.Apply(img, resolution)
	return out, false, err
}

// softFeatures are AUTOMATIC1111's soft weights of a T2I-Adapter's features, the finest
// first.
var softFeatures = []float64{0.25, 0.62, 0.825, 1}

// softened are a T2I-Adapter's features as a mode weighs them, and those for predictions
// without the prompt.
func softened(mode request.ControlMode, weight float64, features []tensor.Tensor) (cond, uncond []tensor.Tensor) {
	for i, f := range features {
		factor := weight
		if mode == request.ControlPrompt || mode == request.ControlNetwork {
			factor *= softFeatures[min(i, len(softFeatures)-1)]
		}
		scaled := f.Like()
		for k, v := range f.Data {
			scaled.Data[k] = float32(factor) * v
		}
		cond = append(cond, scaled)
	}
	if mode == request.ControlNetwork {
		return cond, nil
	}
	return cond, cond
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
	for i, takesPart := range s.parts() {
		if takesPart {
			all = append(all, s.all[i])
		}
	}
	return all
}

// parts say which of all take part in the current step.
func (s *steering) parts() []bool {
	if s == nil {
		return nil
	}
	out := make([]bool, len(s.all))
	i, n := float64(*s.made), float64(s.of)
	for k, one := range s.all {
		out[k] = i/n >= one.start && (i+1)/n <= one.end
	}
	return out
}

// controlNets are the ControlNets among what is active.
func controlNets(all []steer) (nets []*control.ControlNet) {
	for _, s := range all {
		if s.net != nil {
			nets = append(nets, s.net)
		}
	}
	return nets
}

// items are what the ControlNets need for one prediction.
func items(all []steer, uncond bool) (each []control.Item) {
	for _, s := range all {
		if s.net == nil {
			continue
		}
		item := control.Item{Hint: s.hint, Scale: s.cond, Kind: s.kind}
		if uncond {
			item.Scale = s.uncond
		}
		each = append(each, item)
	}
	return each
}

// features are the sum of what the T2I-Adapters add to one prediction.
func features(all []steer, uncond bool) (sum []tensor.Tensor) {
	for _, s := range all {
		own := s.features
		if uncond {
			own = s.without
		}
		switch {
		case sum == nil:
			sum = own
		case own != nil:
			sum = control.Sum(sum, own)
		}
	}
	return sum
}

// pictureOf is what the IP-Adapter gives one prediction; nil where none takes part.
func pictureOf(all []steer, uncond bool) control.Picture {
	for _, s := range all {
		if s.picture != nil && uncond {
			return s.blank
		} else if s.picture != nil {
			return s.picture
		}
	}
	return nil
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
	if steered, ok := p.Denoiser.(Steered); ok {
		if !shallow {
			more = append(more, in.features.Inputs(steered.Levels())...)
		}
		if in.tokens > 0 {
			more = append(more, control.PictureInputs(in.pictures, func(k int) bool { return !shallow || steered.AttendsInLastBlock(k) })...)
		}
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
	for _, one := range d.controls {
		net, ok := one.(*control.ControlNet)
		if !ok { // it runs once
			continue
		}
		need, err := net.Estimate(ctx, n, shape[1], shape[2], tokens)
		if err != nil {
			return 0, err
		}
		sum += need
	}
	return sum, nil
}
