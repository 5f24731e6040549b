package sampler

import "math"

// The arithmetic on samples. Coefficients and sums are float64, which costs
// little compared with a model and rounds each element of a step once. The loops
// have no bounds checks (TestNoBoundsChecks).

// add does x += a·y.
func add(x []float32, a float64, y []float32) {
	y = y[:len(x)]
	for i, v := range x {
		x[i] = float32(float64(v) + a*float64(y[i]))
	}
}

// multiply does x *= a.
func multiply(x []float32, a float64) {
	for i, v := range x {
		x[i] = float32(a * float64(v))
	}
}

// sum2 does dst = a·x + b·y. dst may be x or y.
func sum2(dst []float32, a float64, x []float32, b float64, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = float32(a*float64(x[i]) + b*float64(y[i]))
	}
}

// sum3 does dst = a·x + b·y + c·z. dst may be one of them.
func sum3(dst []float32, a float64, x []float32, b float64, y []float32, c float64, z []float32) {
	x, y, z = x[:len(dst)], y[:len(dst)], z[:len(dst)]
	for i := range dst {
		dst[i] = float32(a*float64(x[i]) + b*float64(y[i]) + c*float64(z[i]))
	}
}

// toward moves x along the straight line to the clean sample, from noise level
// sigma to another: an Euler step, x + (x - denoised)/sigma·(sigmaNext - sigma).
// dst may be x.
func toward(dst, x, denoised []float32, sigma, sigmaNext float64) {
	r := sigmaNext / sigma
	sum2(dst, r, x, 1-r, denoised)
}

// nonFinite returns the index of the first NaN or infinity, or -1.
func nonFinite(x []float32) int {
	for i, v := range x {
		if v-v != 0 {
			return i
		}
	}
	return -1
}

// clip keeps x within ±limit.
func clip(x []float32, limit float32) {
	for i, v := range x {
		x[i] = min(max(v, -limit), limit)
	}
}

// magnitudes writes |x| to dst.
func magnitudes(dst, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] = float32(math.Abs(float64(x[i])))
	}
}

func dot(x, y []float32) (sum float64) {
	y = y[:len(x)]
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

// apart is the sum of the squares of x - y.
func apart(x, y []float32) (sum float64) {
	y = y[:len(x)]
	for i, v := range x {
		d := float64(v) - float64(y[i])
		sum += d * d
	}
	return sum
}

// deviation is the standard deviation, with n-1 as torch's std.
func deviation(x []float32) float64 {
	var mean, sum float64
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		sum += (float64(v) - mean) * (float64(v) - mean)
	}
	return math.Sqrt(sum / float64(max(len(x)-1, 1)))
}
