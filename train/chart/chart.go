// Package chart draws the curve of a loss over the steps of a training, as SVG and as PNG.
package chart

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// Point is the loss of a step.
type Point struct {
	Step int
	Loss float64
}

// Size of the chart, in pixels, and what is left around the curve.
const (
	width, height            = 800, 400
	left, right, top, bottom = 72, 16, 32, 40
	most                     = 1600 // points that are drawn of a longer curve: means of neighbours
)

var (
	ink    = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	faint  = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	single = color.NRGBA{0xa9, 0xc4, 0xea, 0xff}
	smooth = color.NRGBA{0x1f, 0x5f, 0xbf, 0xff}
)

// curve is what is drawn, in pixels.
type curve struct {
	single, smooth     []vec
	columns, rows      []label
	firstStep, endStep int
}

type vec struct{ x, y float64 }

type label struct {
	at   float64
	text string
}

// layout finds where everything is. Points are of rising steps; those that are not finite
// or not above 0, which have no logarithm, are left out.
func layout(points []Point) curve {
	var c curve
	shown := thinned(points)
	if len(shown) == 0 {
		return c
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, p := range shown {
		low, high = min(low, p.Loss), max(high, p.Loss)
	}
	// Losses fall fast at first, so the scale is logarithmic, over a factor of 2 at least.
	bottomLog, topLog := math.Log(low), math.Log(high)
	if topLog-bottomLog < math.Ln2 {
		middle := (topLog + bottomLog) / 2
		bottomLog, topLog = middle-math.Ln2/2, middle+math.Ln2/2
	}
	c.firstStep, c.endStep = shown[0].Step, max(shown[len(shown)-1].Step, shown[0].Step+1)
	x := func(step float64) float64 {
		return left + (step-float64(c.firstStep))/float64(c.endStep-c.firstStep)*(width-left-right)
	}
	y := func(log float64) float64 {
		return height - bottom - (log-bottomLog)/(topLog-bottomLog)*(height-top-bottom)
	}
	mean, keep := math.Log(shown[0].Loss), 1-2/float64(max(2, len(shown)/20)+1)
	for _, p := range shown {
		log := math.Log(p.Loss)
		mean = keep*mean + (1-keep)*log
		c.single = append(c.single, vec{x(float64(p.Step)), y(log)})
		c.smooth = append(c.smooth, vec{x(float64(p.Step)), y(mean)})
	}
	for i := range 5 {
		log := bottomLog + float64(i)/4*(topLog-bottomLog)
		c.rows = append(c.rows, label{y(log), strconv.FormatFloat(math.Exp(log), 'g', 3, 64)})
		step := float64(c.firstStep) + float64(i)/4*float64(c.endStep-c.firstStep)
		c.columns = append(c.columns, label{x(math.Round(step)), strconv.Itoa(int(math.Round(step)))})
	}
	return c
}

// thinned are at most `most` points.
func thinned(points []Point) (out []Point) {
	each := (len(points) + most - 1) / most
	for at := 0; at < len(points); at += each {
		sum, n, step := 0.0, 0, 0
		for _, p := range points[at:min(at+each, len(points))] {
			if p.Loss > 0 && !math.IsInf(p.Loss, 0) {
				sum, n, step = sum+p.Loss, n+1, p.Step
			}
		}
		if n > 0 {
			out = append(out, Point{step, sum / float64(n)})
		}
	}
	return out
}

// SVG draws the curve as text.
func SVG(points []Point) []byte {
	c := layout(points)
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	for _, r := range c.rows {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="8" y="%.1f">%s</text>`+"\n", left, r.at, width-right, r.at+4, r.text)
	}
	for _, k := range c.columns {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", k.at, top, height-bottom, k.at, height-bottom+18, k.text)
	}
	for _, line := range []struct {
		points []vec
		style  string
	}{{c.single, `stroke="#a9c4ea"`}, {c.smooth, `stroke="#1f5fbf" stroke-width="2"`}} {
		b.WriteString(`<polyline fill="none" ` + line.style + ` points="`)
		for _, p := range line.points {
			fmt.Fprintf(&b, "%.1f,%.1f ", p.x, p.y)
		}
		b.WriteString("\"/>\n")
	}
	fmt.Fprintf(&b, `<text x="%d" y="20">loss by step</text>`+"\n</svg>\n", left)
	return b.Bytes()
}

// PNG draws the curve as a picture.
func PNG(points []Point) ([]byte, error) {
	c := layout(points)
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Rect, image.White, image.Point{}, draw.Src)
	for _, r := range c.rows {
		draw.Draw(img, image.Rect(left, int(r.at), width-right, int(r.at)+1), image.NewUniform(faint), image.Point{}, draw.Src)
		write(img, r.text, 8, int(r.at)+4)
	}
	for _, k := range c.columns {
		draw.Draw(img, image.Rect(int(k.at), top, int(k.at)+1, height-bottom), image.NewUniform(faint), image.Point{}, draw.Src)
		write(img, k.text, int(k.at)-7*len(k.text)/2, height-bottom+18)
	}
	line(img, single, 1, c.single)
	line(img, smooth, 2, c.smooth)
	write(img, "loss by step", left, 20)
	var b bytes.Buffer
	err := png.Encode(&b, img)
	return b.Bytes(), err
}

func write(img *image.RGBA, text string, x, y int) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(ink), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// line draws lines between neighbouring points.
func line(img *image.RGBA, c color.Color, thick float64, points []vec) {
	r := vector.NewRasterizer(width, height)
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		length := math.Hypot(b.x-a.x, b.y-a.y)
		if length == 0 {
			continue
		}
		dx, dy := (a.y-b.y)/length*thick/2, (b.x-a.x)/length*thick/2
		r.MoveTo(float32(a.x+dx), float32(a.y+dy))
		for _, p := range []vec{{b.x + dx, b.y + dy}, {b.x - dx, b.y - dy}, {a.x - dx, a.y - dy}} {
			r.LineTo(float32(p.x), float32(p.y))
		}
		r.ClosePath()
	}
	r.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{})
}
