package testnet

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// requireAll computes an operator with every set of kernels and with ggml.
func requireAll(t *testing.T, op string, inputs map[string]Tensor, shape []int64, want []float64, weights ...Tensor) {
	t.Helper()
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		got, err := Run(op, kernels, inputs, weights...)
		require.NoError(t, err, op)
		require.Equal(t, shape, got.Shape, op)
		requireClose(t, want, got.Data, 1e-5, op+", "+kernels)
	}
}

// Sinusoids of the DDPM, and learned frequencies.
func TestTimes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	steps, w := Tensor{[]int64{3}, []float32{0, 17.25, 999}}, random(r, 5)
	var sinusoids, features []float64
	for i := range 3 {
		var sines, cosines, learnedSines, learnedCosines []float64
		for k := range 5 {
			// Angles are rounded as float32, which matters where they are large.
			angle := float64(float32(at(steps, i)) * float32(math.Pow(10000, -float64(k)/4)))
			sines, cosines = append(sines, math.Sin(angle)), append(cosines, math.Cos(angle))
			angle = float64(float32(at(steps, i)) * float32(at(w, k)) * float32(2*math.Pi))
			learnedSines, learnedCosines = append(learnedSines, math.Sin(angle)), append(learnedCosines, math.Cos(angle))
		}
		sinusoids = append(append(sinusoids, sines...), cosines...)
		features = append(append(features, learnedCosines...), learnedSines...)
	}
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		got, err := Run("sinusoids", kernels, map[string]Tensor{"t": steps})
		require.NoError(t, err)
		require.Equal(t, []int64{3, 10}, got.Shape)
		requireClose(t, sinusoids, got.Data, 3e-5, kernels)
		got, err = Run("fourier_features", kernels, map[string]Tensor{"t": steps}, w)
		require.NoError(t, err)
		require.Equal(t, []int64{3, 10}, got.Shape)
		requireClose(t, features, got.Data, 3e-4, kernels)
	}
}

// Attention whose queries, keys and values are rows of one layer, in both orders.
func TestFusedAttention(t *testing.T) {
	const n, length, heads, dim = 2, 5, 2, 4
	const c = heads * dim
	r := rand.New(rand.NewPCG(9, 10))
	x := random(r, n, length, 3*c)
	for op, place := range map[string]func(part, head, d int) int{
		"self_attention whole":   func(part, head, d int) int { return part*c + head*dim + d },
		"self_attention by_head": func(part, head, d int) int { return (head*3+part)*dim + d },
	} {
		value := func(i, l, part, head, d int) float64 { return at(x, (i*length+l)*3*c+place(part, head, d)) }
		want := make([]float64, n*length*c)
		for i := range n * length * heads {
			image, l, head := i/length/heads, i/heads%length, i%heads
			var weights [length]float64
			total := 0.0
			for k := range length {
				dot := 0.0
				for d := range dim {
					dot += value(image, l, 0, head, d) * value(image, k, 1, head, d)
				}
				weights[k] = math.Exp(dot / math.Sqrt(dim))
				total += weights[k]
			}
			for k := range length {
				for d := range dim {
					want[(image*length+l)*c+head*dim+d] += weights[k] / total * value(image, k, 2, head, d)
				}
			}
		}
		requireAll(t, op, map[string]Tensor{"x": x}, []int64{n, length, c}, want)
		_, err := Run(op, "generic", map[string]Tensor{"x": random(r, 1, 3, 25)})
		require.ErrorContains(t, err, "25 channels are not queries, keys and values")
		_, err = Run(op, "ggml", map[string]Tensor{"x": random(r, 1, 3, 9)})
		require.ErrorContains(t, err, "3 channels do not divide into 2 heads")
	}
}

func TestMeanToken(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	x, column := random(r, batch, length, channels), random(r, channels, 1)
	var want []float64
	for i := range batch * channels {
		sum := 0.0
		for l := range length {
			sum += at(x, (i/channels*length+l)*channels+i%channels)
		}
		want = append(want, sum/length+at(column, i%channels))
	}
	requireAll(t, "mean_token", map[string]Tensor{"x": x}, []int64{batch, 1, channels}, want, column)
}

func TestModulatedGroupNorm(t *testing.T) {
	const n, c, groups, pixels = 2, 24, 6, 24
	r := rand.New(rand.NewPCG(13, 14))
	x, m, weight, bias := random(r, n, c, 4, 6), random(r, n, 2*c), random(r, c), random(r, c)
	var want []float64
	for i := range n * c {
		image, channel := i/c, i%c
		from := (image*c + channel/(c/groups)*(c/groups)) * pixels
		mean, squares := 0.0, 0.0
		for k := range c / groups * pixels {
			mean += at(x, from+k) / (c / groups * pixels)
		}
		for k := range c / groups * pixels {
			d := at(x, from+k) - mean
			squares += d * d / (c / groups * pixels)
		}
		for k := range pixels {
			v := (at(x, i*pixels+k)-mean)/math.Sqrt(squares+1e-3)*at(weight, channel) + at(bias, channel)
			want = append(want, v*(1+at(m, image*2*c+channel))+at(m, image*2*c+c+channel))
		}
	}
	requireAll(t, "group_norm modulated", map[string]Tensor{"x": x, "scale": m}, x.Shape, want, weight, bias)
	_, err := Run("group_norm modulated", "generic", map[string]Tensor{"x": x, "scale": random(r, n, c)}, weight, bias)
	require.ErrorContains(t, err, "norm: modulation must have the shape [2, 48], got [2, 24]")
}

// Images of other sizes, after upfirdn2d: zeros between pixels, zeros around them, a
// filter, some of the pixels.
func TestSampling(t *testing.T) {
	const n, c, h, w = 2, 3, 4, 6
	r := rand.New(rand.NewPCG(15, 16))
	x := random(r, n, c, h, w)
	fir := []float64{1. / 8, 3. / 8, 3. / 8, 1. / 8}
	for _, s := range []struct {
		op                  string
		filter              []float64
		up, down, pad, size int // of zeros before, and what the size is larger by
		gain                float64
	}{
		{"mean_down", []float64{0.5, 0.5}, 1, 2, 0, 0, 1},
		{"nearest_up", []float64{0.5, 0.5}, 2, 1, 1, 0, 4},
		{"fir_down", fir, 1, 2, 1, 0, 1},
		{"fir_up", fir, 2, 1, 2, 0, 4},
		{"fir_blur", fir, 1, 1, 2, 1, 1},
	} {
		rows, columns := h*s.up/s.down+s.size, w*s.up/s.down+s.size
		var want []float64
		for i := range n * c * rows * columns {
			image, y, column := i/columns/rows, i/columns%rows, i%columns
			sum := 0.0
			for v, a := range s.filter {
				for u, b := range s.filter {
					py, px := y*s.down+v-s.pad, column*s.down+u-s.pad
					if py >= 0 && px >= 0 && py < h*s.up && px < w*s.up && py%s.up == 0 && px%s.up == 0 {
						sum += a * b * at(x, (image*h+py/s.up)*w+px/s.up)
					}
				}
			}
			want = append(want, 0.5*s.gain*sum)
		}
		requireAll(t, s.op, map[string]Tensor{"x": x}, []int64{n, c, int64(rows), int64(columns)}, want)
	}
}

func TestGated(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	x, z, gate := random(r, batch, length, channels), random(r, batch, length, channels), random(r, batch, channels)
	var want []float64
	for i := range x.Data {
		want = append(want, at(x, i)+at(z, i)*at(gate, i/channels/length*channels+i%channels))
	}
	requireAll(t, "gated", map[string]Tensor{"x": x, "z": z, "scale": gate}, x.Shape, want)
	_, err := Run("gated", "generic", map[string]Tensor{"x": x, "z": random(r, batch, length+1, channels), "scale": gate})
	require.ErrorContains(t, err, "gate: both tensors must have the same shape")
}

// Squares of pixels as tokens, whose channels are one after another, and images of tokens,
// in which they are next to each other.
func TestPatches(t *testing.T) {
	const n, c, h, w, p = 2, 3, 4, 6, 2
	r := rand.New(rand.NewPCG(19, 20))
	x := random(r, n, c, h, w)
	var tokens, pixels []float64
	for i := range n * (h / p) * (w / p) * c * p * p {
		px, py, channel := i%p, i/p%p, i/p/p%c
		l := i / p / p / c
		column, row, image := l%(w/p), l/(w/p)%(h/p), l/(w/p)/(h/p)
		tokens = append(tokens, at(x, ((image*c+channel)*h+row*p+py)*w+column*p+px))
	}
	requireAll(t, "patches", map[string]Tensor{"x": x}, []int64{n, 6, 12}, tokens)
	y := random(r, n, 6, 12)
	for i := range n * c * h * w {
		column, row, channel, image := i%w, i/w%h, i/w/h%c, i/w/h/c
		token := row/p*(w/p) + column/p
		pixels = append(pixels, at(y, (image*6+token)*12+(row%p*p+column%p)*c+channel))
	}
	requireAll(t, "pixels", map[string]Tensor{"x": y}, []int64{n, c, h, w}, pixels)
}

// What EDM2's layers are made of.
func TestMagnitudes(t *testing.T) {
	const heads, dim = 2, channels / 2
	r := rand.New(rand.NewPCG(17, 18))
	x := random(r, batch, length, channels)
	for i := range dim { // a head of zeros, and one near to them
		x.Data[i], x.Data[dim+i] = 0, x.Data[dim+i]*1e-4
	}
	var units, clamped []float64
	for i := range x.Data {
		squares := 0.0
		for d := range dim {
			squares += at(x, i/dim*dim+d) * at(x, i/dim*dim+d) / dim
		}
		units = append(units, at(x, i)/(1e-4+math.Sqrt(squares)))
		clamped = append(clamped, 3*min(max(at(x, i), -0.5), 0.5))
	}
	requireAll(t, "unit_norm", map[string]Tensor{"x": x}, x.Shape, units)
	requireAll(t, "clamped", map[string]Tensor{"x": x}, x.Shape, clamped)
	_, err := Run("unit_norm", "generic", map[string]Tensor{"x": random(r, 1, 3, 9)})
	require.ErrorContains(t, err, "9 channels do not divide into 2 heads")

	image := random(r, 2, 3, 4, 6)
	ones := make([]float64, 2*4*6)
	for i := range ones {
		ones[i] = 1
	}
	requireAll(t, "ones", map[string]Tensor{"x": image}, []int64{2, 1, 4, 6}, ones)

	times, frequencies, phases := Tensor{[]int64{3}, []float32{0, 0.75, -1.5}}, random(r, 5), random(r, 5)
	var cosines []float64
	for i := range 3 {
		for k := range 5 {
			cosines = append(cosines, math.Sqrt2*math.Cos(at(times, i)*at(frequencies, k)+at(phases, k)))
		}
	}
	requireAll(t, "cosine_features", map[string]Tensor{"t": times}, []int64{3, 5}, cosines, frequencies, phases)
}
