package testnet

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// random is a tensor of normally distributed numbers.
func random(r *rand.Rand, shape ...int64) Tensor {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	t := Tensor{shape, make([]float32, n)}
	for i := range t.Data {
		t.Data[i] = float32(r.NormFloat64())
	}
	return t
}

// requireClose bounds the relative RMS error.
func requireClose(t *testing.T, want []float64, got []float32, bound float64, name string) {
	t.Helper()
	require.Len(t, got, len(want), name)
	difference, size := 0.0, 0.0
	for i, w := range want {
		difference += (float64(got[i]) - w) * (float64(got[i]) - w)
		size += w * w
	}
	require.LessOrEqual(t, math.Sqrt(difference/size), bound, name)
}

// A batch of videos, of five dimensions, goes in and comes out: folded on the way
// into ggml's four, each frame an image.
func TestVideos(t *testing.T) {
	const n, c3, frames, h, w, out = 2, 3, 4, 5, 6, 5
	r := rand.New(rand.NewPCG(1, 2))
	video, steps := random(r, n, c3, frames, h, w), random(r, n)
	kernel, bias := random(r, out, c3, 3, 3), random(r, out)
	at := func(n, c, f, y, x int) float64 {
		if y < 0 || y >= h || x < 0 || x >= w {
			return 0
		}
		return float64(video.Data[(((n*c3+c)*frames+f)*h+y)*w+x])
	}
	var want []float64
	for n := range n {
		for o := range out {
			for f := range frames {
				for y := range h {
					for x := range w {
						sum := float64(bias.Data[o])
						for c := range c3 {
							for k := range 9 {
								sum += float64(kernel.Data[(o*c3+c)*9+k]) * at(n, c, f, y+k/3-1, x+k%3-1)
							}
						}
						want = append(want, sum)
					}
				}
			}
		}
	}
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		got, err := Run("video", kernels, map[string]Tensor{"video": video, "t": steps}, kernel, bias)
		require.NoError(t, err)
		require.Equal(t, []int64{n, out, frames, h, w}, got.Shape)
		requireClose(t, want, got.Data, 1e-5, kernels)
	}
	_, err := Run("video", "generic", map[string]Tensor{"video": random(r, 1, 3, 4, 4), "t": steps}, kernel, bias)
	require.ErrorContains(t, err, "video must have 5 dimensions, got [1, 3, 4, 4]")
}

// Sizes of the operands below: images, tokens, channels, and channels of each of two
// heads.
const batch, length, channels, dim = 2, 7, 24, 12

// operands are what operators are tested with, and plain loops over them.
type operands struct{ x, z, scale, shift, cos, sin, norm, linear, bias Tensor }

func newOperands() operands {
	r := rand.New(rand.NewPCG(3, 4))
	o := operands{
		x: random(r, batch, length, channels), z: random(r, batch, 4, channels),
		scale: random(r, batch, channels), shift: random(r, batch, channels),
		cos: random(r, length, dim/2), sin: random(r, length, dim/2),
		norm: random(r, dim), linear: random(r, 5, channels), bias: random(r, 5),
	}
	for i, angle := range o.cos.Data {
		sin, cos := math.Sincos(float64(angle))
		o.cos.Data[i], o.sin.Data[i] = float32(cos), float32(sin)
	}
	return o
}

func at(t Tensor, i int) float64 { return float64(t.Data[i]) }

// number is x's of image i, token l, channel k.
func (o operands) number(i, l, k int) float64 { return at(o.x, (i*length+l)*channels+k) }

// each calls f for each number of x.
func (o operands) each(f func(i, l, k int) float64) (all []float64) {
	for j := range o.x.Data {
		all = append(all, f(j/channels/length, j/channels%length, j%channels))
	}
	return all
}

func (o operands) rmsNorm(i, l, k int) float64 {
	squares := 0.0
	for j := range dim {
		v := o.number(i, l, k/dim*dim+j)
		squares += v * v
	}
	return o.number(i, l, k) / math.Sqrt(squares/dim+1e-3) * at(o.norm, k%dim)
}

func (o operands) modulate(i, l, k int) float64 {
	return o.number(i, l, k)*(1+at(o.scale, i*channels+k)) + at(o.shift, i*channels+k)
}

func (o operands) ropeInterleaved(i, l, k int) float64 {
	pair, other, sign := k%dim/2, k+1, -1.0
	if k%2 == 1 {
		other, sign = k-1, 1
	}
	return o.turn(i, l, k, pair, other, sign)
}

func (o operands) ropeHalves(i, l, k int) float64 {
	pair, other, sign := k%dim%(dim/2), k+dim/2, -1.0
	if k%dim >= dim/2 {
		other, sign = k-dim/2, 1
	}
	return o.turn(i, l, k, pair, other, sign)
}

func (o operands) turn(i, l, k, pair, other int, sign float64) float64 {
	angle := l*dim/2 + pair
	return o.number(i, l, k)*at(o.cos, angle) + sign*o.number(i, l, other)*at(o.sin, angle)
}

func (o operands) geluTanh() (all []float64) {
	for j := range batch * length * 5 {
		v := at(o.bias, j%5)
		for k := range channels {
			v += at(o.linear, j%5*channels+k) * at(o.x, j/5*channels+k)
		}
		all = append(all, v/2*(1+math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v))))
	}
	return all
}

// rows are those of a shape, [N, L, C], as row returns them.
func rows(shape []int64, row func(i, l int) []float32) (all []float64) {
	for j := range shape[0] * shape[1] {
		for _, v := range row(int(j/shape[1]), int(j%shape[1])) {
			all = append(all, float64(v))
		}
	}
	return all
}

func token(t Tensor, i, l int) []float32 {
	at := (i*int(t.Shape[1]) + l) * channels
	return t.Data[at : at+channels]
}

// Each operator against plain loops, computed by every set of kernels and by ggml.
func TestOperators(t *testing.T) {
	o := newOperands()
	x := o.x
	joined, sliced, part := []int64{batch, length + 4, channels}, []int64{batch, 2, channels}, []int64{batch, length, channels / 4}
	angles := map[string]Tensor{"x": x, "cos": o.cos, "sin": o.sin}
	for _, test := range []struct {
		op      string
		inputs  map[string]Tensor
		weights []Tensor
		shape   []int64
		want    []float64
	}{
		{"rms_norm", map[string]Tensor{"x": x}, []Tensor{o.norm}, x.Shape, o.each(o.rmsNorm)},
		{"modulate", map[string]Tensor{"x": x, "scale": o.scale, "shift": o.shift}, nil, x.Shape, o.each(o.modulate)},
		{"rope interleaved", angles, nil, x.Shape, o.each(o.ropeInterleaved)},
		{"rope halves", angles, nil, x.Shape, o.each(o.ropeHalves)},
		{"gelu_tanh", map[string]Tensor{"x": x}, []Tensor{o.linear, o.bias}, []int64{batch, length, 5}, o.geluTanh()},
		{"concat_tokens", map[string]Tensor{"x": x, "z": o.z}, nil, joined, rows(joined, func(i, l int) []float32 {
			if l < length {
				return token(x, i, l)
			}
			return token(o.z, i, l-length)
		})},
		{"slice_tokens", map[string]Tensor{"x": x}, nil, sliced, rows(sliced, func(i, l int) []float32 { return token(x, i, l+1) })},
		{"chunk", map[string]Tensor{"x": x}, nil, part, rows(part, func(i, l int) []float32 { return token(x, i, l)[3*channels/4:] })},
	} {
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			got, err := Run(test.op, kernels, test.inputs, test.weights...)
			require.NoError(t, err, test.op)
			require.Equal(t, test.shape, got.Shape, test.op)
			requireClose(t, test.want, got.Data, 2e-6, test.op+", "+kernels)
		}
	}
}

// Activations by channel, and channels that become pixels, of a batch of images.
func TestImages(t *testing.T) {
	const n, c, h, w = 2, 8, 3, 5
	r := rand.New(rand.NewPCG(7, 8))
	image, slopes := random(r, n, c, h, w), random(r, c)
	at := func(i, k, y, x int) float64 { return float64(image.Data[((i*c+k)*h+y)*w+x]) }
	each := func(channels, height, width int, f func(i, k, y, x int) float64) (all []float64) {
		for j := range n * channels * height * width {
			all = append(all, f(j/width/height/channels, j/width/height%channels, j/width%height, j%width))
		}
		return all
	}
	for _, test := range []struct {
		op      string
		weights []Tensor
		shape   []int64
		want    []float64
	}{
		{"prelu", []Tensor{slopes}, []int64{n, c, h, w}, each(c, h, w, func(i, k, y, x int) float64 {
			v := at(i, k, y, x)
			if v < 0 {
				v *= float64(slopes.Data[k])
			}
			return v
		})},
		{"pixel_shuffle", nil, []int64{n, c / 4, 2 * h, 2 * w}, each(c/4, 2*h, 2*w, func(i, k, y, x int) float64 {
			return at(i, 4*k+y%2*2+x%2, y/2, x/2)
		})},
		{"nearest", nil, []int64{n, c, 3 * h, 3 * w}, each(c, 3*h, 3*w, func(i, k, y, x int) float64 { return at(i, k, y/3, x/3) })},
	} {
		for _, kernels := range checked.Few(cgo.KernelNames()) {
			got, err := Run(test.op, kernels, map[string]Tensor{"image": image}, test.weights...)
			require.NoError(t, err, test.op)
			require.Equal(t, test.shape, got.Shape, test.op)
			requireClose(t, test.want, got.Data, 1e-6, test.op+", "+kernels)
		}
	}
	_, err := Run("pixel_shuffle", "generic", map[string]Tensor{"image": random(r, 1, 6, 2, 2)})
	require.ErrorContains(t, err, "6 channels do not divide into squares of 2 x 2")
}

// What an operator cannot do is an error before anything is computed.
func TestOperatorsAreChecked(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x := random(r, 1, 3, 8)
	for want, test := range map[string]struct {
		op     string
		inputs map[string]Tensor
	}{
		"rope: a head must have an even number of channels, got 3": {"rope halves",
			map[string]Tensor{"x": random(r, 1, 3, 6), "cos": random(r, 3, 1), "sin": random(r, 3, 1)}},
		"7 channels do not divide into 2 heads": {"rope interleaved",
			map[string]Tensor{"x": random(r, 1, 3, 7), "cos": random(r, 3, 1), "sin": random(r, 3, 1)}},
		"rope: cosines and sines must have the shape [3, 2], got [4, 2]": {"rope halves",
			map[string]Tensor{"x": x, "cos": random(r, 3, 2), "sin": random(r, 4, 2)}},
		"modulate: scale and shift must have the shape [1, 8], got [1, 7]": {"modulate",
			map[string]Tensor{"x": x, "scale": random(r, 1, 8), "shift": random(r, 1, 7)}},
		"2 tokens have no 2 from number 1 on": {"slice_tokens", map[string]Tensor{"x": random(r, 1, 2, 8)}},
		"tokens of the shapes [1, 3, 8] and [2, 3, 8] cannot be joined": {"concat_tokens",
			map[string]Tensor{"x": x, "z": random(r, 2, 3, 8)}},
		"6 channels have no part 3 of 4": {"chunk", map[string]Tensor{"x": random(r, 1, 3, 6)}},
	} {
		for _, kernels := range []string{"ggml", "generic"} {
			_, err := Run(test.op, kernels, test.inputs)
			require.ErrorContains(t, err, want)
		}
	}
}
