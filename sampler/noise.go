package sampler

// AddNoise adds noise of standard deviation sigma to x. On a slice of zeros it
// makes the start of a new picture; on a picture's latent, the start of
// image-to-image at that noise level.
func AddNoise(x []float32, sigma float64, noise Noise) {
	eps := make([]float32, len(x))
	noise.Normal(eps)
	add(x, sigma, eps)
}

// Batch is noise for several pictures in one slice: each picture has its own
// stream, so that a batch makes the pictures that single runs make.
type Batch []Noise

// NewBatch returns noise for n pictures whose seeds are seed, seed+1, ….
//
//	noise := sampler.NewBatch(42, 4, sampler.NewTorch)
func NewBatch[N Noise](seed uint64, n int, stream func(seed uint64) N) Batch {
	b := make(Batch, max(n, 0))
	for i := range b {
		b[i] = stream(seed + uint64(i))
	}
	return b
}

// Normal implements [Noise]. The length of dst should be a multiple of the
// number of pictures; the last stream fills what is left over.
func (b Batch) Normal(dst []float32) {
	for i, s := range b {
		part := dst
		if left := len(b) - i; left > 1 {
			part = dst[:len(dst)/left]
		}
		s.Normal(part)
		dst = dst[len(part):]
	}
}
