package direction

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func made(t testing.TB) *Direction {
	t.Helper()
	d, err := New("x", []int{1, 1, 2}, []float64{900, 500, 100}, []float32{1, 2, 3, 6, -1, 0}, map[string]string{"sdgo.to": "a cat"})
	require.NoError(t, err)
	return d
}

func TestAdd(t *testing.T) {
	d := made(t)
	for timestep, want := range map[float64][]float32{999: {1, 2}, 900: {1, 2}, 700: {2, 4}, 500: {3, 6}, 200: {0, 1.5}, 100: {-1, 0}, 0: {-1, 0}} {
		got := []float32{10, 20}
		d.Add(got, 2, timestep)
		require.InDeltaSlice(t, []float32{10 + 2*want[0], 20 + 2*want[1]}, got, 1e-5, "%g", timestep)
	}
}

func TestFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "smile.safetensors")
	require.NoError(t, made(t).Write(path))
	d, err := Read(path)
	require.NoError(t, err)
	require.Equal(t, "smile", d.Name())
	require.Equal(t, made(t).data, d.data)
	require.Equal(t, made(t).timesteps, d.timesteps)
	require.Equal(t, []int{1, 1, 2}, d.Shape())
	require.Equal(t, 3, d.Timesteps())
	require.Equal(t, "a cat", d.about["sdgo.to"])

	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for n := range whole { // cut off anywhere
		_, err := parse("x", whole[:n])
		require.Error(t, err, "%d bytes", n)
	}
	_, err = Read(filepath.Dir(path))
	require.ErrorContains(t, err, "must be a regular file")
}

func TestRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for want, d := range map[string]*Direction{
		"shape":                    {shape: []int{1, 2}, timesteps: []float64{1}, data: []float32{1, 2}},
		"features must have":       {shape: []int{1, 0, 2}, timesteps: []float64{1}},
		"1 to 10000 timesteps":     {shape: []int{1, 1, 1}},
		"timesteps must fall":      {shape: []int{1, 1, 1}, timesteps: []float64{1, 1}, data: []float32{1, 2}},
		"timesteps must fall, got": {shape: []int{1, 1, 1}, timesteps: []float64{math.NaN()}, data: []float32{1}},
		"there must be 1 features": {shape: []int{1, 1, 1}, timesteps: []float64{2, 1}, data: []float32{1, 2, 3}},
		"must be finite":           {shape: []int{1, 1, 1}, timesteps: []float64{2}, data: []float32{nan}},
	} {
		require.ErrorContains(t, d.check(), want)
		require.Error(t, d.Write(filepath.Join(t.TempDir(), "x")))
	}
}

func FuzzParse(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.safetensors")
	require.NoError(f, made(f).Write(path))
	data, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if d, err := parse("x", data); err == nil {
			d.Add(make([]float32, d.size()), 1, 500)
		}
	})
}
