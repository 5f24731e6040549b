package request

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/sdgo/sdgo/sd/picture"
	"github.com/sdgo/sdgo/sd/preprocess"
)

// Control is an attached ControlNet, T2I-Adapter or IP-Adapter and the picture that it makes a request follow.
type Control struct {
	// Name is the network's: its file's, without folder and extension; or Reference, for a picture
	// that models for editing look at (FLUX.2), which needs no network: such pictures keep their size, and
	// have their order.
	Name string

	// Image is the picture, as the network was trained to see it: edges, a depth map, a
	// pose. It is scaled to cover Width x Height and cropped around its middle;
	// transparent pixels become white. nil is the request's own Image. ImageFile is the
	// name of its file: it is read if Image is nil.
	Image     image.Image
	ImageFile string

	// Face is the vector by which a FaceID IP-Adapter sees a face: the numbers that a network for
	// recognizing faces makes of it, InsightFace's normed_embedding of 512. Such a one needs no Image,
	// but for FaceID Plus, whose image encoder sees the face, too. FaceFile is the name of its file, as
	// package sd/face reads it: it is read if Face is empty.
	Face     []float32
	FaceFile string

	// Preprocess makes the picture of Image, as package sd/preprocess names it: "canny",
	// "canny:low=50:high=150", at the size that it is scaled to, in each hires pass anew.
	// "" takes Image as it is.
	Preprocess string

	// Weight is how much the network has to say, 0 to MaxControlWeight: 1 is as it was
	// trained, 0 nothing. nil means 1.
	Weight *float64

	// Start and End are the part of the steps in which it has, 0 to 1: step i of n, from 0
	// on, is in it if i/n is at least Start and (i+1)/n at most End, as in the diffusers
	// library. nil means 0 and 1. Each hires pass counts its own steps.
	Start, End *float64

	// Mode says whether the text or the picture matters more; "" is ControlBalanced.
	Mode ControlMode

	// Type is the kind of the picture, for a ControlNet Union, which takes several; "" is that
	// which Preprocess makes.
	Type ControlType
}

// ControlType is a kind of picture that a ControlNet Union sees.
type ControlType string

// The kinds, in the order in which xinsir's ControlNet++ numbers them.
const (
	ControlPose         ControlType = "openpose"
	ControlDepth        ControlType = "depth"
	ControlSoftEdge     ControlType = "softedge" // HED's and PiDiNet's edges, scribbles
	ControlCanny        ControlType = "canny"    // also line art and straight lines
	ControlNormal       ControlType = "normal"
	ControlSegmentation ControlType = "segmentation"
	ControlTile         ControlType = "tile"    // of ProMax
	ControlInpaint      ControlType = "inpaint" // of ProMax
)

// ControlTypes are all kinds, by their numbers.
func ControlTypes() []ControlType {
	return []ControlType{ControlPose, ControlDepth, ControlSoftEdge, ControlCanny, ControlNormal, ControlSegmentation, ControlTile, ControlInpaint}
}

// Kind is the number of the picture's kind; -1 if nothing says it.
func (c Control) Kind() int {
	kind := c.Type
	if kind == "" && c.Preprocess != "" {
		if p, err := preprocess.Parse(c.Preprocess); err == nil {
			kind = map[string]ControlType{"canny": ControlCanny, "lineart": ControlCanny, "scribble": ControlSoftEdge, "blur": ControlTile, "tile": ControlTile, "inpaint": ControlInpaint}[p.Name]
		}
	}
	return slices.Index(ControlTypes(), kind)
}

// Reference is the name of a control that is a picture to look at.
const Reference = "reference"

// checkReference refuses what a picture to look at can't have.
func (c Control) checkReference(field func(string) string, e *Error) {
	weight, start, end := c.Numbers()
	switch {
	case c.Name != Reference:
	case weight != 1:
		e.Add(field("Weight"), "must be 1: models see references as they are, got %g", weight)
	case start != 0 || end != 1:
		e.Add(field("Start"), "must be 0, and End 1: models see references in all steps, got %g and %g", start, end)
	case c.Mode != "" && c.Mode != ControlBalanced:
		e.Add(field("Mode"), "must be balanced: models see references as they are, got %s", c.Mode)
	case len(c.Face) > 0:
		e.Add(field("Face"), "must be empty: models see references as they are")
	case c.Preprocess != "":
		e.Add(field("Preprocess"), "must be empty: models see references as they are, got %.40s", c.Preprocess)
	}
}

// ControlMode is AUTOMATIC1111's control mode: how a ControlNet's outputs are weighted.
type ControlMode string

// The modes. The outputs for a UNet's outer blocks, of which the first is for the finest
// details, weigh less than those for inner ones in all but the first mode.
const (
	ControlBalanced ControlMode = "balanced" // all the same
	ControlPrompt   ControlMode = "prompt"   // the prompt is more important: 0.825 to the power of 12, 11 … 0
	ControlNetwork  ControlMode = "control"  // the network is: the same, and only where there is a prompt
	ControlGuess    ControlMode = "guess"    // the diffusers library's guess mode: 0.1 to 1, and only where there is a prompt
)

// Limits of a request's ControlNets.
const (
	MaxControls      = 16
	MaxControlWeight = 10
	MaxFace          = 1 << 14 // numbers of a face's vector
)

// Numbers are the weight and the part of the steps, with defaults.
func (c Control) Numbers() (weight, start, end float64) {
	weight, end = 1, 1
	for _, n := range []struct{ from, to *float64 }{{c.Weight, &weight}, {c.Start, &start}, {c.End, &end}} {
		if n.from != nil {
			*n.to = *n.from
		}
	}
	return weight, start, end
}

// resolveControls checks the ControlNets, and converts their pictures.
func (q *Resolved) resolveControls(e *Error) {
	all := q.Request.Controls
	q.ControlPictures, q.ControlFaces, q.Request.Controls = nil, nil, nil
	if len(all) > MaxControls {
		e.Add("Controls", "must be at most %d, got %d", MaxControls, len(all))
		return
	}
	for i, c := range all {
		field := func(name string) string { return fmt.Sprintf("Controls[%d].%s", i, name) }
		if c.Name == "" {
			e.Add(field("Name"), "must be that of an attached ControlNet")
		}
		weight, start, end := c.Numbers()
		checkFloat(e, field("Weight"), weight, 0, MaxControlWeight)
		checkFloat(e, field("Start"), start, 0, 1)
		checkFloat(e, field("End"), end, 0, 1)
		if start >= end && !math.IsNaN(start+end) {
			e.Add(field("End"), "must be after Start, %g, got %g", start, end)
		}
		switch c.Mode {
		case "", ControlBalanced, ControlPrompt, ControlNetwork, ControlGuess:
		default:
			e.Add(field("Mode"), "must be %s, %s, %s or %s, got %.40q", ControlBalanced, ControlPrompt, ControlNetwork, ControlGuess, c.Mode)
		}
		c.checkReference(field, e)
		if c.Type != "" && !slices.Contains(ControlTypes(), c.Type) {
			e.Add(field("Type"), "must be one of %v, got %.40q", ControlTypes(), c.Type)
		}
		if c.Preprocess != "" {
			p, err := preprocess.Parse(c.Preprocess)
			switch {
			case err != nil:
				e.Add(field("Preprocess"), "%v", err)
			case p.Masks() && q.Mask == nil:
				e.Add(field("Preprocess"), "%s needs a request with a mask", p.Name)
			}
		}
		checkFace(c.Face, field("Face"), e)
		q.ControlPictures = append(q.ControlPictures, controlPicture(c, q.Image, field("Image"), e))
		q.ControlFaces = append(q.ControlFaces, slices.Clone(c.Face))
		c.Image, c.Face = nil, nil
		q.Request.Controls = append(q.Request.Controls, c)
	}
}

// checkFace checks the numbers of a face's vector, if there is one.
func checkFace(face []float32, field string, e *Error) {
	if len(face) > MaxFace {
		e.Add(field, "must be at most %d numbers, got %d", MaxFace, len(face))
		return
	}
	var sum float64
	for i, v := range face {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			e.Add(field, "must be finite, got %g at %d", v, i)
			return
		}
		sum += math.Abs(float64(v))
	}
	if len(face) > 0 && sum == 0 {
		e.Add(field, "must not be zeros, which stand for no face")
	}
}

// controlPicture is the picture of a ControlNet: its own, or the one to begin with. nil if
// there is none.
func controlPicture(c Control, begin *image.NRGBA, field string, e *Error) *image.NRGBA {
	switch {
	case c.Image != nil:
		img, err := picture.NRGBA(c.Image)
		if err != nil {
			e.Add(field, "%v", err)
		}
		return img
	case begin == nil && len(c.Face) == 0:
		e.Add(field, "needs a picture: there is neither one of its own nor one to begin with (FaceID needs a face in place of one)")
	}
	return begin
}
