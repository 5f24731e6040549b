package sd

import "math"

// finite reports whether no element is NaN or infinite. It adds up products
// with zero, which NaN and infinities turn into NaN, so that the loop has no
// branch.
func finite(x []float32) bool {
	var s float32
	for _, v := range x {
		s += v * 0
	}
	return s == 0
}

// toByte maps [-1, 1] to 0 … 255, halves to even.
func toByte(v float32) uint8 {
	return uint8(math.RoundToEven(float64(min(max(v/2+0.5, 0), 1)) * 255))
}

// NotFiniteError says that a network whose weights are finite computed NaN or
// infinity. Damaged weights are a [convert.NotFiniteError].
type NotFiniteError struct {
	Network string // "the UNet", …
}

func (e *NotFiniteError) Error() string {
	return e.Network + " computed NaN or infinite values, although its weights are finite"
}
