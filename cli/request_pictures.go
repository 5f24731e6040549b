package cli

import (
	"errors"
	"fmt"
	"image"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/cli/report"
	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

// Bounds of what can be done to a mask, in pixels.
const (
	maxGrow = 1024
	maxBlur = 256
)

// pictureFlags name the pictures that a request reads.
var pictureFlags = []string{"input", "mask"}

// opener reads the picture that a flag names. Its errors begin with the name.
type opener func(name string) (image.Image, error)

// inputFlags are for an initial picture.
func inputFlags(strength float64) []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` the initial picture: PNG, JPEG, WebP, GIF or BMP; - is standard input"},
		&urfave.Float64Flag{Name: "strength", Value: strength, Usage: strengthUsage(fmt.Sprint(strength))},
	}
}

func strengthUsage(standard string) string {
	return "`X` denoising strength: how much of the picture changes, 0 to 1 (default: " + standard + ")"
}

// maskFlags are for a mask.
func maskFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "mask", Usage: "`FILE` white where to repaint, black where the picture stays"},
		&urfave.IntFlag{Name: "mask-grow", Usage: "`PIXELS` widen the mask's white parts, or narrow them if negative"},
		&urfave.Float64Flag{Name: "mask-blur", Usage: "`PIXELS` soften the mask's edges"},
		&urfave.IntFlag{Name: "mask-feather", Value: 4, Usage: "`PIXELS` inside the mask's edge over which old and new are blended (default: 4)"},
		&urfave.BoolFlag{Name: "only-masked", Usage: "repaint just the part around the mask, at -W x -H, and put it back into the picture"},
		&urfave.IntFlag{Name: "mask-padding", Value: 32, Usage: "`PIXELS` around the mask that --only-masked includes (default: 32)"},
		&urfave.StringFlag{Name: "canvas", Usage: "`WxH` put the picture in the middle of so many pixels and paint what is around it"},
	}
}

// setPictures reads the initial picture of a request, and its mask.
func setPictures(f *flags, q *sd.Request, open opener) (err error) {
	if !f.has("input") {
		return nil
	}
	if !f.set("input") {
		return report.Usagef("no picture: -i FILE names the initial one")
	}
	if f.string("input") == "-" && (f.string("prompt") == "-" || f.string("prompts") == "-") {
		return report.Usagef("%s - and the prompt both read standard input", f.name("input"))
	}
	if q.Image, err = open(f.string("input")); err != nil {
		return fmt.Errorf("%s %w", f.name("input"), err)
	}
	q.Strength = sd.Float(f.number("strength"))
	if f.set("image-cfg-scale") {
		q.ImageGuidance = sd.Float(f.number("image-cfg-scale"))
	}
	if !f.has("mask") {
		return nil
	}
	return setMask(f, q, open)
}

// setMask makes a request's mask from the flags of maskFlags.
func setMask(f *flags, q *sd.Request, open opener) error {
	grow, blur := f.int("mask-grow"), f.number("mask-blur")
	wrong := problems{flags: f}
	if grow < -maxGrow || grow > maxGrow {
		wrong.add("mask-grow", "must be %d to %d, got %d", -maxGrow, maxGrow, grow)
	}
	if !(blur >= 0 && blur <= maxBlur) {
		wrong.add("mask-blur", "must be 0 to %d, got %g", maxBlur, blur)
	}
	if err := wrong.err(); err != nil {
		return err
	}
	mask, err := readMask(f, q, open)
	if err != nil {
		return err
	}
	if grow != 0 {
		mask = picture.Grow(mask, grow)
	}
	if blur > 0 {
		mask = picture.Blur(mask, blur)
	}
	q.Mask, q.OnlyMasked = mask, f.bool("only-masked")
	for flag, to := range map[string]**int{"mask-feather": &q.MaskFeather, "mask-padding": &q.MaskPadding} {
		if n := f.int(flag); f.set(flag) {
			*to = &n
		}
	}
	return nil
}

// readMask reads a mask, or puts the picture on a canvas and masks what is around it.
func readMask(f *flags, q *sd.Request, open opener) (mask *image.Gray, err error) {
	switch canvas := f.set("canvas"); {
	case canvas && f.set("mask"):
		return nil, report.Usagef("%s and %s both say what to paint; use one of them", f.name("mask"), f.name("canvas"))
	case canvas:
		size, err := canvasSize(f.string("canvas"), q.Image.Bounds().Size())
		if err != nil {
			return nil, report.Usagef("%s %s: %v", f.name("canvas"), f.string("canvas"), err)
		}
		q.Image, mask, err = picture.Canvas(q.Image, size.X, size.Y)
		return mask, err
	case !f.set("mask"):
		return nil, report.Usagef("no mask: --mask FILE says what to repaint, in white (--canvas WxH paints around the picture)")
	}
	img, err := open(f.string("mask"))
	if err != nil {
		return nil, fmt.Errorf("%s %w", f.name("mask"), err)
	}
	return picture.Mask(img)
}

// canvasSize reads the size of a canvas for a picture.
func canvasSize(text string, picture image.Point) (size image.Point, err error) {
	w, h, ok := strings.Cut(text, "x")
	if size.X, err = strconv.Atoi(w); err == nil {
		size.Y, err = strconv.Atoi(h)
	}
	if !ok || err != nil {
		return size, errors.New("must be a width and a height such as 768x512")
	}
	low := image.Pt((picture.X+7)/8*8, (picture.Y+7)/8*8)
	for _, side := range []struct{ have, low int }{{size.X, low.X}, {size.Y, low.Y}} {
		if side.have < side.low || side.have > sd.MaxSide || side.have%8 != 0 {
			return size, fmt.Errorf("must be multiples of 8 from the picture's %dx%d to %d", low.X, low.Y, sd.MaxSide)
		}
	}
	if size == picture {
		return size, errors.New("there is nothing to paint around a picture of that size")
	}
	return size, nil
}
