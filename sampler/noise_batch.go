package sampler

// NewBatch returns noise for n pictures in one slice. Each has its own stream,
// with seeds seed, seed+1, …, so that a batch has the noise of single runs.
// The length of slices to fill should be a multiple of n. If the streams are
// [IntervalNoise], so is the batch.
//
//	noise := sampler.NewBatch(42, 4, sampler.NewTorch)
func NewBatch[N Noise](seed uint64, n int, stream func(seed uint64) N) Noise {
	streams := make([]Noise, max(n, 0))
	paths := make([]IntervalNoise, 0, len(streams))
	for i := range streams {
		streams[i] = stream(seed + uint64(i))
		if p, ok := streams[i].(IntervalNoise); ok {
			paths = append(paths, p)
		}
	}
	if len(paths) > 0 {
		return &batchPath{batch{streams}, paths}
	}
	return &batch{streams}
}

type batch struct{ streams []Noise }

// Normal implements [Noise].
func (b *batch) Normal(dst []float32) {
	for i, s := range b.streams {
		s.Normal(part(dst, i, len(b.streams)))
	}
}

type batchPath struct {
	batch
	paths []IntervalNoise
}

// Interval implements [IntervalNoise].
func (b *batchPath) Interval(dst []float32, sigma, sigmaNext float64) {
	for i, p := range b.paths {
		p.Interval(part(dst, i, len(b.paths)), sigma, sigmaNext)
	}
}

// part is the i-th of n equal parts; the last one includes the remainder.
func part(x []float32, i, n int) []float32 {
	size := len(x) / n
	if i == n-1 {
		return x[i*size:]
	}
	return x[i*size : (i+1)*size]
}
