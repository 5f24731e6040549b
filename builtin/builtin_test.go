package builtin_test

import (
	"bufio"
	"context"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/disintegration/imaging"
	"github.com/stretchr/testify/require"

	_ "github.com/sdgo/sdgo/builtin"
	"github.com/sdgo/sdgo/sd"
)

// Pictures are compared at a quarter of their size, in cells of 4x4 pixels.
const (
	cell = 4
	side = 128 / cell
)

// thing is one of things.txt, with its picture from the sheet that
// training/thumbnails.py makes.
type thing struct {
	icon   string
	sprite image.Image
}

func things(t *testing.T) []thing {
	f, err := os.Open("testdata/things.png")
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	sheet := img.(*image.NRGBA)
	var list []thing
	for _, line := range fileLines(t, "../training/things.txt") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		icon, _, _ := strings.Cut(line, "\t")
		at := image.Pt(len(list)%20*32, len(list)/20*32)
		list = append(list, thing{icon, sheet.SubImage(image.Rectangle{at, at.Add(image.Pt(32, 32))})})
	}
	require.GreaterOrEqual(t, len(list), 300)
	return list
}

func fileLines(t *testing.T, path string) (lines []string) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	require.NoError(t, s.Err())
	return lines
}

// layout is the size and centre, in pixels, of the thing that a prompt names
// (training/scenes.py).
func layout(prompt string) (size, x, y int) {
	has := func(words string) bool { return strings.Contains(prompt, words) }
	switch small := has("small "); {
	case small && has("on the right"):
		return 46, 98, 64
	case has("on the left"):
		return 64, 36, 64
	case small:
		return 50, 64, 64
	case has("big "):
		return 112, 64, 64
	}
	return 88, 64, 64
}

// small downscales a picture to cells, RGB.
type small [side * side * 3]float32

func shrink(img image.Image) (s small) {
	cells := imaging.Resize(img, side, side, imaging.Box)
	for i := range side * side {
		for c := range 3 {
			s[3*i+c] = float32(cells.Pix[4*i+c])
		}
	}
	return s
}

// background is the median colour of a picture's frame, 4 pixels wide.
func background(img *image.NRGBA) color.NRGBA {
	var channels [3][]uint8
	for y := range 128 {
		for x := range 128 {
			if min(x, y, 127-x, 127-y) < 4 {
				at := img.PixOffset(x, y)
				for c := range 3 {
					channels[c] = append(channels[c], img.Pix[at+c])
				}
			}
		}
	}
	median := func(v []uint8) uint8 { slices.Sort(v); return v[len(v)/2] }
	return color.NRGBA{median(channels[0]), median(channels[1]), median(channels[2]), 255}
}

// distance is the squared difference between a picture and a sprite on a plain
// ground, as a training scene would have it, in cells.
func distance(picture *small, ground color.NRGBA, sprite *image.NRGBA, at image.Point) (sum float64) {
	bare := [3]float32{float32(ground.R), float32(ground.G), float32(ground.B)}
	for i := range side * side {
		want := bare
		if p := image.Pt(i%side, i/side).Sub(at); p.In(sprite.Rect) {
			v := sprite.NRGBAAt(p.X, p.Y)
			alpha := float32(v.A) / 255
			for c, value := range []uint8{v.R, v.G, v.B} {
				want[c] += alpha * (float32(value) - want[c])
			}
		}
		for c := range 3 {
			d := float64(want[c] - picture[3*i+c])
			sum += d * d
		}
	}
	return sum
}

// fit is a picture's distance from showing a thing at a size and a place, in pixels,
// the least within a cell of that place.
func fit(picture *small, ground color.NRGBA, th thing, size, x, y int) float64 {
	best := math.Inf(1)
	for _, n := range []int{size/cell - 1, size / cell, size/cell + 1} {
		sprite := imaging.Resize(th.sprite, n, n, imaging.Linear)
		for place := range 9 {
			at := image.Pt(x/cell-n/2+place%3-1, y/cell-n/2+place/3-1)
			best = min(best, distance(picture, ground, sprite, at))
		}
	}
	return best
}

// nearest is the thing whose rendering, at the place that the prompt names, is
// nearest to a picture.
func nearest(things []thing, img *image.NRGBA, prompt string) string {
	picture, ground := shrink(img), background(img)
	size, x, y := layout(prompt)
	best, found := math.Inf(1), ""
	for _, th := range things {
		if d := fit(&picture, ground, th, size, x, y); d < best {
			best, found = d, th.icon
		}
	}
	return found
}

// colours are the backgrounds of training/scenes.py.
var colours = map[string][3]float64{
	"red": {220, 50, 47}, "orange": {245, 140, 40}, "yellow": {250, 215, 60}, "green": {70, 170, 80},
	"cyan": {70, 200, 210}, "blue": {50, 110, 220}, "purple": {140, 80, 190}, "pink": {245, 150, 190},
	"brown": {130, 85, 55}, "black": {25, 25, 28}, "gray": {140, 145, 150}, "white": {248, 248, 248},
}

func colourName(c color.NRGBA) string {
	best, found := math.Inf(1), ""
	for name, v := range colours {
		d := math.Hypot(math.Hypot(v[0]-float64(c.R), v[1]-float64(c.G)), v[2]-float64(c.B))
		if d < best {
			best, found = d, name
		}
	}
	return found
}

// The model draws what the first fifty prompts of its list name, pairs of thing and
// background that it never saw in training. A wrong sampler, tokenizer, quantizer or
// kernel would fail.
func TestDrawsWhatThePromptNames(t *testing.T) {
	const pictures = 50
	all := things(t)
	m, err := sd.Open("", sd.Options{})
	require.NoError(t, err)
	defer m.Close()
	rightThings, rightGrounds := 0, 0
	for _, line := range fileLines(t, "../training/prompts.txt")[:pictures] {
		fields := strings.Split(line, "\t")
		prompt, icon, colour := fields[0], fields[1], fields[2]
		r, err := m.Generate(context.Background(), sd.Request{Prompt: prompt, Sampler: "euler", Steps: 20, Guidance: sd.Float(5), Seed: 1})
		require.NoError(t, err)
		img := r.Images[0].Image
		got, ground := nearest(all, img, prompt), colourName(background(img))
		if got == icon {
			rightThings++
		}
		if ground == colour {
			rightGrounds++
		}
		if got != icon || ground != colour {
			t.Logf("%s: %s on %s", prompt, got, ground)
		}
	}
	t.Logf("of %d: %d things, %d backgrounds", pictures, rightThings, rightGrounds)
	require.GreaterOrEqual(t, rightGrounds, 48)
	require.GreaterOrEqual(t, rightThings, 43)
}
