package sd

import (
	"context"
	"image"
	"math"
	"math/rand/v2"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/sampler"
)

// colours turns latents in the UNet's scale into small pictures without a
// network: each pixel's red, green and blue, -1 to 1, are weighted sums of the
// channels.
type colours struct {
	weights [][3]float64 // of each channel
	bias    [3]float64
}

// The published ones, as ComfyUI has them in comfy/latent_formats.py.
var (
	sdColours = colours{weights: [][3]float64{
		{0.3512, 0.2297, 0.3227}, {0.3250, 0.4974, 0.2350}, {-0.2829, 0.1762, 0.2721}, {-0.2120, -0.2616, -0.7177}}}
	xlColours = colours{weights: [][3]float64{
		{0.3651, 0.4232, 0.4341}, {-0.2533, -0.0042, 0.1068}, {0.1076, 0.1111, -0.0362}, {-0.3165, -0.2492, -0.2188}},
		bias: [3]float64{0.1084, -0.0175, -0.0011}}
)

// preview is a small picture of what a step thinks that the clean latent is.
func (m *Model) preview(ctx context.Context, q resolved, s sampler.Step) (*image.NRGBA, error) {
	if q.PreviewEvery == 0 || s.Index%q.PreviewEvery != 0 || s.Denoised == nil {
		return nil, nil
	}
	latent := plane{s.Denoised, m.weights.UNet.OutChannels, q.Height / m.factor(), q.Width / m.factor()}
	if !finite(latent.data) {
		return nil, nil
	}
	if q.TAESD != nil {
		return q.TAESD.decode(ctx, latent, func(int, int) error { return nil })
	}
	c, err := m.colours.get(ctx, func() (colours, error) { return m.findColours(ctx) })
	if err != nil {
		return nil, err
	}
	return toImage(c.apply(latent)), nil
}

func (c colours) apply(latent plane) plane {
	out := newPlane(3, latent.height, latent.width)
	n := latent.height * latent.width
	for k := range 3 {
		for i := range n {
			v := c.bias[k]
			for channel, w := range c.weights {
				v += w[k] * float64(latent.data[channel*n+i])
			}
			out.data[k*n+i] = float32(v)
		}
	}
	return out
}

// findColours takes the published ones for autoencoders of Stable Diffusion's
// shapes and scales, and fits others to what they encode or decode.
func (m *Model) findColours(ctx context.Context) (colours, error) {
	v := m.weights.VAE
	known := v.Channels == 128 && len(v.ChannelMult) == 4 && v.EmbedDim == 4
	switch {
	case known && v.ScaleFactor == 0.18215 && (m.weights.Arch == convert.SD1 || m.weights.Arch == convert.SD2):
		return sdColours, nil
	case known && v.ScaleFactor == 0.13025 && knows(m.weights.Arch) > 0:
		return xlColours, nil
	}
	latent, pixels, err := m.colourSamples(ctx)
	if err != nil {
		return colours{}, err
	}
	return fitColours(latent, pixels), nil
}

// colourSamples are a latent in the UNet's scale and the picture that it stands
// for, at the latent's size.
func (m *Model) colourSamples(ctx context.Context) (latent, pixels plane, err error) {
	const side = 32
	r := rand.New(rand.NewPCG(1, 2))
	if m.encoder == nil {
		latent = newPlane(m.weights.VAE.EmbedDim, side, side)
		for i := range latent.data {
			latent.data[i] = float32(r.NormFloat64())
		}
		latent = latent.resample(resampling{kernel: triangle, reach: 1, antialias: true}, side/4, side/4).
			resample(resampling{kernel: triangle, reach: 1}, side, side)
		for i := range latent.data {
			latent.data[i] *= 3
		}
		img, err := m.decode(ctx, latent, func(int, int) error { return nil })
		if err != nil {
			return latent, pixels, err
		}
		return latent, m.shrunk(toPlane(img)), nil
	}
	picture := patches(r, side*m.factor())
	moments, err := m.moments(ctx, picture)
	if err != nil {
		return latent, pixels, err
	}
	latent = plane{moments.data[:len(moments.data)/2], moments.channels / 2, moments.height, moments.width}
	for i := range latent.data {
		latent.data[i] *= m.weights.VAE.ScaleFactor
	}
	return latent, m.shrunk(picture), nil
}

// patches is a picture of rectangles in all colours, -1 to 1.
func patches(r *rand.Rand, side int) plane {
	p := newPlane(3, side, side)
	for k := range 120 {
		top, left := r.IntN(side), r.IntN(side)
		bottom, right := top+side/12+r.IntN(side/3), left+side/12+r.IntN(side/3)
		if k == 0 {
			top, left, bottom, right = 0, 0, side, side
		}
		for c := range 3 {
			v := float32(2*r.Float64() - 1)
			for y := top; y < min(bottom, side); y++ {
				for x := left; x < min(right, side); x++ {
					p.data[(c*side+y)*side+x] = v
				}
			}
		}
	}
	return p
}

// shrunk brings pixels to the latent's size.
func (m *Model) shrunk(pixels plane) plane {
	return pixels.resample(resampling{kernel: triangle, reach: 1, antialias: true}, pixels.height/m.factor(), pixels.width/m.factor())
}

// fitColours is the least-squares fit of pixels by a latent's channels.
func fitColours(latent, pixels plane) colours {
	n, size := latent.channels+1, latent.height*latent.width // the last one is the bias
	at := func(channel, i int) float64 {
		if channel == latent.channels {
			return 1
		}
		return float64(latent.data[channel*size+i])
	}
	c := colours{weights: make([][3]float64, latent.channels)}
	for k := range 3 {
		// The normal equations, [AᵀA | Aᵀb].
		rows := make([][]float64, n)
		for a := range n {
			rows[a] = make([]float64, n+1)
			for i := range size {
				for b := range n {
					rows[a][b] += at(a, i) * at(b, i)
				}
				rows[a][n] += at(a, i) * float64(pixels.data[k*size+i])
			}
			rows[a][a] += 1e-6 * float64(size) // channels may say the same
		}
		x := solve(rows)
		for channel := range c.weights {
			c.weights[channel][k] = x[channel]
		}
		c.bias[k] = x[n-1]
	}
	return c
}

// solve solves linear equations, whose rows end with the right-hand side, by
// Gaussian elimination.
func solve(rows [][]float64) []float64 {
	n := len(rows)
	for i := range n {
		best := i
		for k := i; k < n; k++ {
			if math.Abs(rows[k][i]) > math.Abs(rows[best][i]) {
				best = k
			}
		}
		rows[i], rows[best] = rows[best], rows[i]
		for k := range n {
			if k == i {
				continue
			}
			f := rows[k][i] / rows[i][i]
			for j := i; j <= n; j++ {
				rows[k][j] -= f * rows[i][j]
			}
		}
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = rows[i][n] / rows[i][i]
	}
	return x
}
