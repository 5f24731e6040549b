package sd

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// The fast tier's error against the reference, on every set of kernels: the tiny models have
// few layers of more than 64 channels, which are all that it is for; cgo's TestFastTier has a
// network of more.
func TestFastPrecision(t *testing.T) {
	ref := readReference(t, netsFolder, "reference.safetensors")
	for _, kernels := range checked.Few(cgo.KernelNames()) {
		m := openTiny(t, "sd1.safetensors", Options{Precision: Fast, Kernels: kernels, Threads: 1})
		for _, c := range netCases("sd1") {
			bound := 2e-2
			if kernels != "avx512-vnni" && kernels != "avx-vnni" {
				bound = max(halfBound, ggmlHalfBound)
			}
			runCase(t, ref, m, "sd1.", c, bound)
		}
	}
}

func TestPrecisionIsChecked(t *testing.T) {
	_, err := Open("../testdata/nets/sd1.safetensors", Options{Precision: "quick"})
	require.ErrorContains(t, err, `precision must be exact or fast, got "quick"`)
}
