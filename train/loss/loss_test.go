package loss

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/train/random"
)

func noiser(t *testing.T, o Options) *Noiser {
	t.Helper()
	n, err := NewNoiser(o)
	require.NoError(t, err)
	return n
}

func cosine(t *testing.T) *sampler.Process {
	t.Helper()
	bars, err := sampler.NewAlphasCumprod("squaredcos_cap_v2", 0, 0, 1000)
	require.NoError(t, err)
	p, err := sampler.NewDiscrete(bars)
	require.NoError(t, err)
	return p
}

// A network that predicts the target exactly is a denoiser that finds the clean sample, at
// low, middle and high levels of noise, in every process and prediction.
func TestTargetsAreWhatDenoisersNeed(t *testing.T) {
	vp := cosine(t)
	edm := sampler.EDM(0.002, 80, 0.5)
	ve := sampler.VESDE(0.01, 50)
	flow, err := sampler.LookupProcess("flow")
	require.NoError(t, err)
	for _, c := range []struct {
		process    *sampler.Process
		prediction sampler.Prediction
	}{
		{vp, sampler.PredictEpsilon}, {vp, sampler.PredictV}, {vp, sampler.PredictSample}, {edm, sampler.PredictEDM}, {edm, sampler.PredictV},
		{ve, sampler.PredictScore}, {ve, sampler.PredictScaledScore}, {ve, sampler.PredictEpsilon}, {sampler.SubVPSDE(), sampler.PredictEpsilon},
		{flow.New(), sampler.PredictFlow}, {flow.New(), sampler.PredictSample},
	} {
		n := noiser(t, Options{Process: c.process, Prediction: c.prediction})
		pair, err := sampler.Precondition(c.process, c.prediction)
		require.NoError(t, err)
		low, high := c.process.SigmaMin(), c.process.SigmaMax()
		for _, sigma := range []float64{low, math.Sqrt(low * high), min(high, 20)} {
			x0, eps := make([]float32, 12), make([]float32, 12)
			s := random.New(1, 2, 3)
			s.Normal(x0)
			n.Noise(eps, 3, s)
			x, target := make([]float32, 12), make([]float32, 12)
			require.NoError(t, n.Mix(x, target, x0, eps, sigma))
			skip, out, in := pair.Scalings(sigma)
			for i := range x {
				found := skip*float64(x[i])/in + out*float64(target[i])
				require.InDelta(t, x0[i], found, 2e-5*max(1, sigma), "%s %s at %g", c.process.Kind(), c.prediction, sigma)
			}
		}
	}
}

// min-SNR's published weights: of epsilon min(SNR, 5)/SNR, of v min(SNR, 5)/(SNR+1), of x0
// min(SNR, 5).
func TestMinSNR(t *testing.T) {
	for prediction, want := range map[sampler.Prediction]func(snr float64) float64{
		sampler.PredictEpsilon: func(snr float64) float64 { return min(snr, 5) / snr },
		sampler.PredictV:       func(snr float64) float64 { return min(snr, 5) / (snr + 1) },
		sampler.PredictSample:  func(snr float64) float64 { return min(snr, 5) },
	} {
		n := noiser(t, Options{Process: cosine(t), Prediction: prediction, Gamma: 5})
		for _, sigma := range []float64{0.01, 0.4472, 1, 30} {
			require.InEpsilon(t, want(1/(sigma*sigma)), n.Weight(sigma), 1e-9)
		}
		require.Equal(t, 1.0, noiser(t, Options{Process: cosine(t), Prediction: prediction}).Weight(3))
	}
}

func moments(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean) / float64(len(x))
	}
	return mean, math.Sqrt(deviation)
}

func TestTimes(t *testing.T) {
	const count = 20000
	draw := func(n *Noiser, of func(sigma float64) float64) (mean, deviation float64) {
		all := make([]float64, count)
		for i := range all {
			all[i] = of(n.Sigma(random.New(7, uint64(i), 0)))
		}
		return moments(all)
	}
	mean, deviation := draw(noiser(t, Options{Process: sampler.EDM(0.002, 80, 0.5), Prediction: sampler.PredictEDM}), math.Log)
	require.InDelta(t, -1.2, mean, 0.04)
	require.InDelta(t, 1.2, deviation, 0.03)
	flow, err := sampler.LookupProcess("flow")
	require.NoError(t, err)
	mean, deviation = draw(noiser(t, Options{Process: flow.New(), Prediction: sampler.PredictFlow}), func(s float64) float64 { return math.Log(s / (1 - s)) })
	require.InDelta(t, 0, mean, 0.03)
	require.InDelta(t, 1, deviation, 0.03)

	p := cosine(t)
	n := noiser(t, Options{Process: p, Prediction: sampler.PredictV})
	times := map[int]int{}
	for i := range count {
		tm := p.SigmaToT(n.Sigma(random.New(7, uint64(i), 0)))
		require.InDelta(t, math.Round(tm), tm, 1e-6)
		times[int(math.Round(tm))/100]++
	}
	require.Len(t, times, 10)
	for _, c := range times {
		require.InDelta(t, count/10, c, 200)
	}
}

// A noise offset is one number for each channel.
func TestNoiseOffset(t *testing.T) {
	with := noiser(t, Options{Process: cosine(t), Prediction: sampler.PredictV, NoiseOffset: 0.5})
	without := noiser(t, Options{Process: cosine(t), Prediction: sampler.PredictV})
	a, b := make([]float32, 30), make([]float32, 30)
	with.Noise(a, 3, random.New(1, 1, 1))
	without.Noise(b, 3, random.New(1, 1, 1))
	var offsets []float32
	for c := range 3 {
		for i := range 10 {
			require.InDelta(t, a[c*10]-b[c*10], a[c*10+i]-b[c*10+i], 1e-5)
		}
		offsets = append(offsets, a[c*10]-b[c*10])
	}
	require.Len(t, slices.Compact(offsets), 3)
}

// Losses' gradients are those of central differences.
func TestGradients(t *testing.T) {
	s := random.New(5, 5, 5)
	p, target, mask := make([]float32, 12), make([]float32, 12), make([]float32, 12)
	s.Normal(p)
	s.Normal(target)
	for i := range mask {
		mask[i] = float32(s.Float64())
	}
	weights := []float64{0.5, 2, 1}
	labels := []int{2, 0, 3}
	factors, probabilities := make([]float32, 12), make([]float32, 12)
	squared := func(mask []float32) func(x []float32) (float64, []float32) {
		return func(x []float32) (float64, []float32) {
			v, g := must(Squared(x, target, mask, weights)), make([]float32, 12)
			require.NoError(t, Factors(factors, mask, weights))
			for i := range g {
				g[i] = factors[i] * (x[i] - target[i])
			}
			return v, g
		}
	}
	entropy := func(smoothing float64) func(x []float32) (float64, []float32) {
		return func(x []float32) (float64, []float32) {
			v, _, err := CrossEntropy(x, labels, smoothing)
			require.NoError(t, err)
			require.NoError(t, Labels(probabilities, factors, labels, smoothing))
			g := make([]float32, 12)
			for i := range g {
				sum := 0.0
				for _, v := range x[i/4*4 : i/4*4+4] {
					sum += math.Exp(float64(v))
				}
				g[i] = factors[i] * (float32(math.Exp(float64(x[i]))/sum) - probabilities[i])
			}
			return v, g
		}
	}
	for name, f := range map[string]func(x []float32) (float64, []float32){"mse": squared(nil), "masked": squared(mask), "entropy": entropy(0), "smooth": entropy(0.1)} {
		_, g := f(p)
		for i := range p {
			const h = 1.0 / 64
			up, down := slices.Clone(p), slices.Clone(p)
			up[i] += h
			down[i] -= h
			above, _ := f(up)
			below, _ := f(down)
			require.InDelta(t, (above-below)/(2*h), g[i], 2e-4, "%s %d", name, i)
		}
	}
}

func must(v float64, err error) float64 {
	if err != nil {
		panic(err)
	}
	return v
}

// Values of torch.nn.functional.cross_entropy and mse_loss, by hand.
func TestValues(t *testing.T) {
	v, right, err := CrossEntropy([]float32{1, 3, 200, 0}, []int{1, 0}, 0)
	require.NoError(t, err)
	require.Equal(t, 2, right)
	require.InDelta(t, math.Log1p(math.Exp(-2))/2, v, 1e-9)
	_, right, err = CrossEntropy([]float32{1, 3, 200, 0}, []int{0, 0}, 0)
	require.NoError(t, err)
	require.Equal(t, 1, right)
	require.InDelta(t, 2.5, must(Squared([]float32{1, 2, 0, 0}, []float32{0, 0, 0, 0}, nil, []float64{2, 1})), 1e-9)
	four := make([]float32, 4)
	_, _, err = CrossEntropy(four, []int{2, 0}, 0)
	require.ErrorContains(t, err, "labels must be 0 to 1, got 2")
	require.ErrorContains(t, Labels(four, four, []int{2, 0}, 0), "labels must be 0 to 1, got 2")
	require.Error(t, Labels(four, four[:2], []int{1, 0}, 0))
	for _, wrong := range []func() (float64, error){
		func() (float64, error) { return Squared(four, four, nil, []float64{1, 1, 1}) },
		func() (float64, error) { return Squared(four, four[:2], nil, []float64{1}) },
		func() (float64, error) { return Squared(four, four, four[:1], []float64{1}) },
		func() (float64, error) { return 0, Factors(four, four[:1], []float64{1}) },
		func() (float64, error) { return 0, Factors(four, nil, []float64{1, 1, 1}) },
	} {
		_, err = wrong()
		require.Error(t, err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	p := cosine(t)
	for _, o := range []Options{
		{Prediction: sampler.PredictV}, {Process: p, Prediction: "x"}, {Process: p, Prediction: sampler.PredictFlow},
		{Process: p, Prediction: sampler.PredictV, Times: "x"}, {Process: p, Prediction: sampler.PredictV, Times: LogitNormal},
		{Process: p, Prediction: sampler.PredictV, Gamma: math.NaN()}, {Process: p, Prediction: sampler.PredictV, NoiseOffset: 2},
		{Process: p, Prediction: sampler.PredictV, Deviation: math.Inf(1)},
	} {
		_, err := NewNoiser(o)
		require.Error(t, err)
	}
}
