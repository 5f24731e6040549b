package output

import (
	"bytes"
	"fmt"
	"image"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/HugoSmits86/nativewebp"
)

// Animation is a GIF or WebP file that shows pictures one after the other, for
// ever.
type Animation struct {
	path   string
	count  int
	delay  time.Duration
	bounce bool
	frames []*image.NRGBA
}

// IsAnimation reports whether a name is that of an animated file: .gif, or .webp
// without a place for the number of a picture.
func IsAnimation(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".gif":
		return true
	case ".webp":
		return !numberVerb.MatchString(filepath.Base(name))
	}
	return false
}

// NewAnimation makes an animation of count pictures, fps a second. With bounce it
// goes back to the first one again. It makes sure that the file can be created;
// errors are an *[Error].
func NewAnimation(path string, count int, fps float64, bounce bool) (*Animation, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	if err := CheckFolder(path); err != nil {
		return nil, err
	}
	return &Animation{path: path, count: count, delay: time.Duration(float64(time.Second) / fps), bounce: bounce}, nil
}

// Check makes sure that pictures of a size fit in memory together.
func (a *Animation) Check(width, height int) error {
	if int64(width)*int64(height)*int64(a.count) > maxPixels {
		return &Error{Wrong: true, Text: fmt.Sprintf("%d frames of %dx%d are too many for an animated file, which may have %d pixels",
			a.count, width, height, maxPixels)}
	}
	return nil
}

// Put takes the next picture.
func (a *Animation) Put(p Picture) (string, error) {
	a.frames = append(a.frames, p.Image)
	return "", nil
}

// Finish writes the file if it is complete.
func (a *Animation) Finish(complete bool) (path string, pictures int, err error) {
	if !complete {
		return "", 0, nil
	}
	return a.path, len(a.frames), WriteFile(a.path, a.encode)
}

func (a *Animation) encode(w io.Writer) error {
	order := append(make([]*image.NRGBA, 0, 2*len(a.frames)), a.frames...)
	if a.bounce {
		for i := len(a.frames) - 2; i > 0; i-- {
			order = append(order, a.frames[i])
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
	var file bytes.Buffer // EncodeAll does not return a writer's errors
	if err := nativewebp.EncodeAll(&file, &movie, nil); err != nil {
		return err
	}
	_, err := file.WriteTo(w)
	return err
}
