package cli

import (
	"bytes"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/HugoSmits86/nativewebp"
	urfave "github.com/urfave/cli/v2"

	"github.com/sdgo/sdgo/sd"
)

// animation is a file that frames go into.
type animation struct {
	path   string
	delay  time.Duration
	bounce bool
	frames []sd.Image
}

// animationOf is the animated file that -o names; nil for one file a frame.
func animationOf(c *urfave.Context) *animation {
	switch ext := strings.ToLower(filepath.Ext(c.String("output"))); {
	case ext == ".gif", ext == ".webp" && !numberVerb.MatchString(filepath.Base(c.String("output"))):
		return &animation{path: c.String("output"), delay: time.Duration(float64(time.Second) / c.Float64("fps")), bounce: c.Bool("bounce")}
	}
	return nil
}

// encode writes the frames as an animated GIF or WebP that goes on for ever.
func (a *animation) encode(w io.Writer) error {
	order := make([]*image.NRGBA, 0, 2*len(a.frames))
	for _, f := range a.frames {
		order = append(order, f.Image)
	}
	if a.bounce {
		for i := len(a.frames) - 2; i > 0; i-- {
			order = append(order, a.frames[i].Image)
		}
	}
	if strings.EqualFold(filepath.Ext(a.path), ".gif") {
		g := gif.GIF{}
		for _, img := range order {
			p := image.NewPaletted(img.Rect, palette.Plan9)
			draw.FloydSteinberg.Draw(p, img.Rect, img, image.Point{})
			g.Image = append(g.Image, p)
			g.Delay = append(g.Delay, max(1, int(a.delay/(10*time.Millisecond))))
		}
		return gif.EncodeAll(w, &g)
	}
	movie := nativewebp.Animation{}
	for _, img := range order {
		movie.Images = append(movie.Images, img)
		movie.Durations = append(movie.Durations, uint(a.delay/time.Millisecond))
		movie.Disposals = append(movie.Disposals, 0)
	}
	var file bytes.Buffer // it does not tell of a writer's errors
	if err := nativewebp.EncodeAll(&file, &movie, nil); err != nil {
		return err
	}
	_, err := file.WriteTo(w)
	return err
}
