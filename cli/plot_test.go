package cli

import (
	"image/color"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each noise level has its dot where the axes say: steps 0 to 4 from left to
// right, a power of ten a line.
func TestPlot(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "plot.png")
	o := sdgo(t, "sigmas", "--schedule", "karras", "--steps", "4", "--plot", path)
	require.Equal(t, ExitOK, o.code, o.errors)
	require.Equal(t, path+"\n", o.out)
	img := readPNG(t, path)
	// sigma 14.61, 3.169, 0.4469, 0.02917 (Karras et al. 2022, eq. 5, rho 7) and 0 between 100 and 0.01:
	// 40 + (2 - log10(sigma)) * 100 from above.
	for i, y := range []int{124, 190, 275, 394, 440} {
		require.Equal(t, color.NRGBAModel.Convert(plotLine), color.NRGBAModel.Convert(img.At(64+178*i, y)), "step %d", i)
	}
	require.Equal(t, color.NRGBA{255, 255, 255, 255}, color.NRGBAModel.Convert(img.At(64+89, 300)))

	sdgo(t, "sigmas", "--plot", filepath.Join(folder, "plot.gif")).requireError(t, ExitUsage, "--plot")
	sdgo(t, "sigmas", "--plot", path, "--json").requireError(t, ExitUsage, "--plot and --json")
	sdgo(t, "sigmas", "--plot", filepath.Join(folder, "none", "plot.png")).requireError(t, ExitFailure, "none")
	requireFiles(t, folder, "plot.png")
}
