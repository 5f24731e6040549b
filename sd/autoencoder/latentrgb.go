package autoencoder

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/sdgo/sdgo/sd/tensor"
)

// LatentRGB makes small previews of latents, in the denoiser's scale, without a
// network: each pixel's red, green and blue, -1 to 1, are weighted sums of the
// channels (ComfyUI: latent_rgb_factors).
type LatentRGB struct {
	Weights [][3]float64 // of each channel
	Bias    [3]float64
}

// Apply makes a picture of a latent, with one pixel for each latent pixel.
func (c LatentRGB) Apply(latent tensor.Tensor) tensor.Tensor {
	out := tensor.New(3, latent.Height(), latent.Width())
	n := latent.Height() * latent.Width()
	for k := range 3 {
		for i := range n {
			v := c.Bias[k]
			for channel, w := range c.Weights {
				v += w[k] * float64(latent.Data[channel*n+i])
			}
			out.Data[k*n+i] = float32(v)
		}
	}
	return out
}

// FitLatentRGB fits the factors to samples that an autoencoder encodes, or decodes if
// it has no encoder. channels is the number of a latent's channels.
func FitLatentRGB(ctx context.Context, a Autoencoder, channels int) (LatentRGB, error) {
	latent, pixels, err := samples(ctx, a, channels)
	if err != nil {
		return LatentRGB{}, err
	}
	return fit(latent, pixels), nil
}

// samples are a latent in the denoiser's scale and its picture at the latent's size.
func samples(ctx context.Context, a Autoencoder, channels int) (latent, pixels tensor.Tensor, err error) {
	const side = 32
	r := rand.New(rand.NewPCG(1, 2))
	if !a.CanEncode() {
		latent = tensor.New(channels, side, side)
		for i := range latent.Data {
			latent.Data[i] = float32(r.NormFloat64())
		}
		latent = latent.Resample(tensor.BilinearAntialias, side/4, side/4).Resample(tensor.Bilinear, side, side)
		for i := range latent.Data {
			latent.Data[i] *= 3
		}
		decoded, err := a.Decode(ctx, latent, tensor.NoProgress)
		if err != nil {
			return latent, pixels, err
		}
		return latent, shrunk(tensor.FromImage(decoded.Image()), a.Factor()), nil
	}
	picture := patches(r, side*a.Factor())
	e, err := a.Encode(ctx, picture)
	if err != nil {
		return latent, pixels, err
	}
	return e.Mean(), shrunk(picture, a.Factor()), nil
}

// patches makes a picture of rectangles in many colours, -1 to 1.
func patches(r *rand.Rand, side int) tensor.Tensor {
	p := tensor.New(3, side, side)
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
					p.Data[(c*side+y)*side+x] = v
				}
			}
		}
	}
	return p
}

// shrunk resizes pixels to the latent's size.
func shrunk(pixels tensor.Tensor, factor int) tensor.Tensor {
	return pixels.Resample(tensor.BilinearAntialias, pixels.Height()/factor, pixels.Width()/factor)
}

// fit is the least-squares fit of pixels to a latent's channels.
func fit(latent, pixels tensor.Tensor) LatentRGB {
	n, size := latent.Channels()+1, latent.Height()*latent.Width() // the last one is the bias
	at := func(channel, i int) float64 {
		if channel == latent.Channels() {
			return 1
		}
		return float64(latent.Data[channel*size+i])
	}
	c := LatentRGB{Weights: make([][3]float64, latent.Channels())}
	for k := range 3 {
		// The normal equations, [AᵀA | Aᵀb].
		rows := make([][]float64, n)
		for a := range n {
			rows[a] = make([]float64, n+1)
			for i := range size {
				for b := range n {
					rows[a][b] += at(a, i) * at(b, i)
				}
				rows[a][n] += at(a, i) * float64(pixels.Data[k*size+i])
			}
			rows[a][a] += 1e-6 * float64(size) // channels may be linearly dependent
		}
		x := solve(rows)
		for channel := range c.Weights {
			c.Weights[channel][k] = x[channel]
		}
		c.Bias[k] = x[n-1]
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
