package sd

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
)

// realFile finds a file of the folder of real models beside the repository; the test
// skips where it is not.
func realFile(t *testing.T, name string) string {
	t.Helper()
	for _, folder := range []string{"../../shared/real", "../../../shared/real"} {
		path := filepath.Join(folder, filepath.FromSlash(name))
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skipf("there is no %s", name)
	return ""
}

// npz reads an array of float32 out of numpy's archive.
func npz(t *testing.T, path, name string) []float32 {
	t.Helper()
	z, err := zip.OpenReader(path)
	require.NoError(t, err)
	defer z.Close()
	f, err := z.Open(name + ".npy")
	require.NoError(t, err)
	data, err := io.ReadAll(f)
	require.NoError(t, err)
	header := int(binary.LittleEndian.Uint16(data[8:])) + 10 // of version 1
	require.True(t, bytes.Contains(data[:header], []byte("'<f4'")))
	values := make([]float32, (len(data)-header)/4)
	require.NoError(t, binary.Read(bytes.NewReader(data[header:]), binary.LittleEndian, values))
	return values
}

// The consistency model of the package adaptive-terrain-diffusion, whose class is a
// number: its pictures of one step from σ = 80, as onnxruntime computes them. SDGO_TERRAIN
// is its weights, under guided diffusion's names, as a safetensors file.
func TestTerrain(t *testing.T) {
	reference := realFile(t, "ddpm/terrain_ref.npz")
	path := os.Getenv("SDGO_TERRAIN")
	if path == "" {
		path = realFile(t, "ddpm/terrain.safetensors")
	}
	c, n := openPixel(t, path, Options{})
	require.Equal(t, convert.PixelProcess{Kind: "consistency", Prediction: "sample", SigmaMin: 0.002, SigmaMax: 80, SigmaData: 0.5, Clip: true}, c.Process)
	require.Equal(t, []any{128, 1, 0, "value"}, []any{c.Size, c.Channels, c.Classes, c.ClassInput})
	const sigma = 80.0
	p := c.Process
	spread := math.Sqrt(sigma*sigma + p.SigmaData*p.SigmaData)
	skip := p.SigmaData * p.SigmaData / ((sigma-p.SigmaMin)*(sigma-p.SigmaMin) + p.SigmaData*p.SigmaData)
	out := (sigma - p.SigmaMin) * p.SigmaData / spread
	for i, difficulty := range []float32{0.01, 0.4, 1} {
		x, want := npz(t, reference, fmt.Sprintf("in%d", i)), npz(t, reference, fmt.Sprintf("out%d", i))
		scaled, got := make([]float32, len(x)), make([]float32, len(x))
		for k, v := range x {
			scaled[k] = float32(float64(v) / spread)
		}
		shape := []int64{1, 1, 128, 128}
		require.NoError(t, n.Run(context.Background(), []cgo.Input{
			{Name: "x", Shape: shape, F32: scaled}, {Name: "timesteps", Shape: []int64{1}, F32: []float32{float32(250 * math.Log(sigma))}},
			{Name: "class", Shape: []int64{1, 1}, F32: []float32{difficulty}}}, []cgo.Output{{Name: "sample", Data: got}}))
		largest := 0.0
		for k := range got {
			got[k] = float32(min(1, max(-1, skip*float64(x[k])+out*float64(got[k])))) // the process clips
			largest = max(largest, math.Abs(float64(got[k]-want[k])))
		}
		t.Logf("relative RMS error %.2g, largest %.2g", relativeRMS(got, want), largest)
		require.LessOrEqual(t, largest, 1e-3)
	}
}
