package cli

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"strconv"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// A plot of noise levels: the step to the right, sigma upwards, logarithmic.
const (
	plotWidth, plotHeight               = 800, 480
	plotLeft, plotRight, plotTop, below = 64, 24, 40, 40
)

var (
	plotInk  = color.NRGBA{0x22, 0x22, 0x22, 0xff}
	plotGrid = color.NRGBA{0xdd, 0xdd, 0xdd, 0xff}
	plotLine = color.NRGBA{0x1f, 0x5f, 0xbf, 0xff}
)

// plotSigmas draws a schedule. The last level, 0, which has no logarithm,
// is on the lower edge.
func plotSigmas(title string, sigmas []float64) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, plotWidth, plotHeight))
	draw.Draw(img, img.Rect, image.White, image.Point{}, draw.Src)
	n := len(sigmas) - 1
	high := math.Ceil(math.Log10(sigmas[0]))
	low := min(math.Floor(math.Log10(sigmas[n-1])), high-1)
	x := func(step float64) float64 {
		return plotLeft + step/float64(n)*(plotWidth-plotLeft-plotRight)
	}
	y := func(sigma float64) float64 {
		share := 0.0
		if sigma > 0 {
			share = (math.Log10(sigma) - low) / (high - low)
		}
		return plotHeight - below - max(share, 0)*(plotHeight-plotTop-below)
	}

	for e := low; e <= high; e++ {
		at := y(math.Pow(10, e))
		line(img, plotGrid, 1, plotLeft, at, plotWidth-plotRight, at)
		label(img, strconv.FormatFloat(math.Pow(10, e), 'g', -1, 64), 8, int(at)+4)
	}
	every := (n + 9) / 10
	for step := 0; step <= n; step += every {
		at := x(float64(step))
		line(img, plotGrid, 1, at, plotTop, at, plotHeight-below)
		label(img, strconv.Itoa(step), int(at)-4, plotHeight-below+18)
	}
	label(img, title, plotLeft, 24)
	for i := 1; i <= n; i++ {
		line(img, plotLine, 2, x(float64(i-1)), y(sigmas[i-1]), x(float64(i)), y(sigmas[i]))
	}
	if n <= 100 {
		for i, sigma := range sigmas {
			dot(img, x(float64(i)), y(sigma))
		}
	}
	return img
}

// line draws a line from one point to another.
func line(img draw.Image, c color.Color, width, x0, y0, x1, y1 float64) {
	length := math.Hypot(x1-x0, y1-y0)
	dx, dy := (y0-y1)/length*width/2, (x1-x0)/length*width/2
	fill(img, c, [][2]float64{{x0 + dx, y0 + dy}, {x1 + dx, y1 + dy}, {x1 - dx, y1 - dy}, {x0 - dx, y0 - dy}})
}

// dot marks a point.
func dot(img draw.Image, x, y float64) {
	var circle [][2]float64
	for i := range 16 {
		sin, cos := math.Sincos(2 * math.Pi * float64(i) / 16)
		circle = append(circle, [2]float64{x + 4*cos, y + 4*sin})
	}
	fill(img, plotLine, circle)
}

// fill draws a polygon.
func fill(img draw.Image, c color.Color, points [][2]float64) {
	r := vector.NewRasterizer(plotWidth, plotHeight)
	r.MoveTo(float32(points[0][0]), float32(points[0][1]))
	for _, p := range points[1:] {
		r.LineTo(float32(p[0]), float32(p[1]))
	}
	r.ClosePath()
	r.Draw(img, img.Bounds(), image.NewUniform(c), image.Point{})
}

func label(img draw.Image, text string, x, y int) {
	d := font.Drawer{Dst: img, Src: image.NewUniform(plotInk), Face: basicfont.Face7x13, Dot: fixed.P(x, y)}
	d.DrawString(text)
}

// plotTitle says what a plot shows.
func plotTitle(schedule string, steps int) string {
	return fmt.Sprintf("sigma, schedule %s, %d steps of Stable Diffusion 1.x and 2.x", schedule, steps)
}
