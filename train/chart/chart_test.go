package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/png"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func points(n int, loss func(i int) float64) []Point {
	all := make([]Point, n)
	for i := range all {
		all[i] = Point{i + 1, loss(i)}
	}
	return all
}

func TestCharts(t *testing.T) {
	for name, p := range map[string][]Point{
		"none": nil, "one": points(1, func(int) float64 { return 1 }), "equal": points(5, func(int) float64 { return 2 }),
		"long":  points(10_001, func(i int) float64 { return 1 / float64(i+1) }),
		"holes": points(9, func(i int) float64 { return []float64{1, math.NaN(), math.Inf(1), 0, -1, 2}[i%6] }),
	} {
		svg := SVG(p)
		d := xml.NewDecoder(bytes.NewReader(svg))
		for {
			if _, err := d.Token(); err != nil {
				require.True(t, errors.Is(err, io.EOF), "%s: %v", name, err)
				break
			}
		}
		require.NotContains(t, strings.ToLower(string(svg)), "nan", name)
		require.NotContains(t, string(svg), "Inf", name)
		require.Less(t, len(svg), 60_000, name)
		data, err := PNG(p)
		require.NoError(t, err)
		img, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, width, img.Bounds().Dx(), name)
	}
}

// A falling loss is a falling line, within the frame, that begins at the left and ends at
// the right.
func TestCurve(t *testing.T) {
	c := layout(points(50, func(i int) float64 { return math.Exp(-float64(i) / 10) }))
	require.Len(t, c.single, 50)
	for i := 1; i < 50; i++ {
		require.Greater(t, c.single[i].y, c.single[i-1].y)
		require.Greater(t, c.single[i].x, c.single[i-1].x)
	}
	require.Equal(t, vec{left, top}, c.single[0])
	require.InDelta(t, width-right, c.single[49].x, 1e-9)
	require.InDelta(t, height-bottom, c.single[49].y, 1e-9)
	require.Regexp(t, regexp.MustCompile(`<polyline fill="none" stroke="#a9c4ea" points="72\.0,32\.0 `), string(SVG(points(2, func(i int) float64 { return float64(2 - i) }))))
}
