package cli

import (
	"errors"
	"fmt"
	"image"
	"strconv"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
	"github.com/sdgo/sdgo/sd/picture"
)

// Bounds of what can be done to a mask, in pixels.
const (
	maxGrow = 1024
	maxBlur = 256
)

// pictureFlags name the pictures that a request begins with.
var pictureFlags = []string{"input", "mask"}

func strengthUsage(standard string) string {
	return "`X` how much of it is painted anew, 0 to 1 (default: " + standard + ")"
}

func inputFlags(strength float64) []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "input", Aliases: []string{"i"}, Usage: "`FILE` the picture to begin with: PNG, JPEG, WebP, GIF or BMP; - is standard input"},
		&urfave.Float64Flag{Name: "strength", Value: strength, Usage: strengthUsage(fmt.Sprint(strength))},
	}
}

func (r *run) img2img() *urfave.Command {
	return &urfave.Command{
		Name:      "img2img",
		Usage:     "makes pictures from a picture and a text",
		UsageText: "img2img -m MODEL -i PICTURE -p PROMPT [flags]",
		HideHelp:  true,
		Flags: drawFlags(append(append(inputFlags(0.75),
			&urfave.Float64Flag{Name: "image-cfg-scale", Usage: "`X` how strictly a model for editing (instruct-pix2pix) keeps to the picture (default: 1.5)"}), hiresFlags()...)...),
		Action: r.runDraw,
		Description: `
Examples:
  sdgo img2img -m sd15.safetensors -i sketch.png -p "a lighthouse at dusk, oil painting" -o lighthouse.png
  sdgo img2img -m sd15.safetensors -i photo.jpg -p "a watercolour" --strength 0.4 -W 768 -H 512
  sdgo img2img -m instruct-pix2pix.safetensors -i photo.jpg -p "make it snow" --image-cfg-scale 1.2`,
	}
}

func (r *run) inpaint() *urfave.Command {
	flags := append(inputFlags(1),
		&urfave.StringFlag{Name: "mask", Usage: "`FILE` white where to paint anew, black where the picture stays"},
		&urfave.IntFlag{Name: "mask-grow", Usage: "`PIXELS` widen the mask's white parts, or narrow them if negative"},
		&urfave.Float64Flag{Name: "mask-blur", Usage: "`PIXELS` soften the mask's edges"},
		&urfave.IntFlag{Name: "mask-feather", Value: 4, Usage: "`PIXELS` inside the mask's edge over which old and new are mixed (default: 4)"},
		&urfave.BoolFlag{Name: "only-masked", Usage: "paint just the part around the mask, at -W x -H, and put it back into the picture"},
		&urfave.IntFlag{Name: "mask-padding", Value: 32, Usage: "`PIXELS` around the mask that --only-masked takes along (default: 32)"},
		&urfave.StringFlag{Name: "canvas", Usage: "`WxH` put the picture in the middle of so many pixels and paint what is around it"})
	return &urfave.Command{
		Name:      "inpaint",
		Usage:     "paints parts of a picture anew, or beyond its edges",
		UsageText: "inpaint -m MODEL -i PICTURE --mask MASK -p PROMPT [flags]",
		HideHelp:  true,
		Flags:     drawFlags(flags...),
		Action:    r.runDraw,
		Description: `
Examples:
  sdgo inpaint -m sd15.safetensors -i room.png --mask window.png -p "a round window" --mask-grow 8 --mask-blur 4
  sdgo inpaint -m sd15.safetensors -i crowd.jpg --mask face.png -p "a smiling face" --only-masked -o crowd-2.jpg
  sdgo inpaint -m sd15.safetensors -i room.png --canvas 768x512 -p "a wide room"`,
	}
}

// pictures reads the pictures that a request begins with.
func (r *run) pictures(c *urfave.Context, q *sd.Request) (err error) {
	if findFlag(c.Command, "input") == nil {
		return nil
	}
	if !c.IsSet("input") {
		return usagef("no picture: -i FILE names the one to begin with")
	}
	if c.String("input") == "-" && (c.String("prompt") == "-" || c.String("prompts") == "-") {
		return usagef("%s - and the prompt both want standard input", r.flagName("input"))
	}
	if q.Image, err = r.readPicture("input", c.String("input")); err != nil {
		return err
	}
	q.Strength = sd.Float(c.Float64("strength"))
	if c.IsSet("image-cfg-scale") {
		q.ImageGuidance = sd.Float(c.Float64("image-cfg-scale"))
	}
	if findFlag(c.Command, "mask") == nil {
		return nil
	}
	return r.mask(c, q)
}

// readPicture reads the picture that a flag names.
func (r *run) readPicture(flag, name string) (image.Image, error) {
	if name == "-" {
		img, err := picture.Read(r.in)
		if err != nil {
			return nil, fmt.Errorf("%s -: %w", r.flagName(flag), err)
		}
		return img, nil
	}
	open := r.open
	if open == nil {
		open = func(name string) (image.Image, error) { return picture.Open(name) }
	}
	img, err := open(name)
	if err != nil {
		return nil, fmt.Errorf("%s %w", r.flagName(flag), err)
	}
	return img, nil
}

// mask makes a request's mask of inpaint's flags.
func (r *run) mask(c *urfave.Context, q *sd.Request) error {
	grow, blur := c.Int("mask-grow"), c.Float64("mask-blur")
	var problems []problem
	if grow < -maxGrow || grow > maxGrow {
		problems = append(problems, problem{r.flagName("mask-grow"), fmt.Sprintf("%d, %d to %d wanted", grow, -maxGrow, maxGrow)})
	}
	if !(blur >= 0 && blur <= maxBlur) {
		problems = append(problems, problem{r.flagName("mask-blur"), fmt.Sprintf("%g, 0 to %d wanted", blur, maxBlur)})
	}
	if len(problems) > 0 {
		return usageProblems(problems)
	}
	var mask *image.Gray
	switch canvas := c.IsSet("canvas"); {
	case canvas && c.IsSet("mask"):
		return usagef("%s and %s both say what to paint; one of them is wanted", r.flagName("mask"), r.flagName("canvas"))
	case canvas:
		size, err := canvasSize(c.String("canvas"), q.Image.Bounds().Size())
		if err != nil {
			return usagef("%s %s: %v", r.flagName("canvas"), c.String("canvas"), err)
		}
		if q.Image, mask, err = picture.Canvas(q.Image, size.X, size.Y); err != nil {
			return err
		}
	case !c.IsSet("mask"):
		return usagef("no mask: --mask FILE says what to paint anew, in white (--canvas WxH paints around the picture)")
	default:
		img, err := r.readPicture("mask", c.String("mask"))
		if err != nil {
			return err
		}
		if mask, err = picture.Mask(img); err != nil {
			return err
		}
	}
	if grow != 0 {
		mask = picture.Grow(mask, grow)
	}
	if blur > 0 {
		mask = picture.Blur(mask, blur)
	}
	q.Mask, q.OnlyMasked = mask, c.Bool("only-masked")
	for name, to := range map[string]**int{"mask-feather": &q.MaskFeather, "mask-padding": &q.MaskPadding} {
		if n := c.Int(name); c.IsSet(name) {
			*to = &n
		}
	}
	return nil
}

// canvasSize reads the size of a canvas for a picture.
func canvasSize(text string, picture image.Point) (size image.Point, err error) {
	w, h, ok := strings.Cut(text, "x")
	if size.X, err = strconv.Atoi(w); err == nil {
		size.Y, err = strconv.Atoi(h)
	}
	if !ok || err != nil {
		return size, errors.New("a width and a height are wanted, as in 768x512")
	}
	low := image.Pt((picture.X+7)/8*8, (picture.Y+7)/8*8)
	for _, side := range []struct{ have, low int }{{size.X, low.X}, {size.Y, low.Y}} {
		if side.have < side.low || side.have > sd.MaxSide || side.have%8 != 0 {
			return size, fmt.Errorf("multiples of 8 from the picture's %dx%d to %d are wanted", low.X, low.Y, sd.MaxSide)
		}
	}
	if size == picture {
		return size, errors.New("there is nothing to paint around a picture of that size")
	}
	return size, nil
}
