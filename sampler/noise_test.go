package sampler

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden reads a file of testdata/sampler, made by the script of its name.
func golden(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "sampler", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, v))
}

type stream struct {
	Seed  uint64
	Draws [][]uint32
}

type noiseGolden struct {
	Torch       []stream
	TorchHashes []struct {
		Seed   uint64
		N      int
		SHA256 string
	} `json:"torch_hashes"`
	Philox       []stream
	PhiloxStated []float32 `json:"philox_stated"`
}

func bits(x []float32) []uint32 {
	b := make([]uint32, len(x))
	for i, v := range x {
		b[i] = math.Float32bits(v)
	}
	return b
}

func requireStream(t *testing.T, want stream, noise Noise) {
	t.Helper()
	for i, draw := range want.Draws {
		x := make([]float32, len(draw))
		noise.Normal(x)
		require.Equal(t, draw, bits(x), "seed %d, draw %d", want.Seed, i)
	}
}

func TestTorchIsTorchToTheBit(t *testing.T) {
	var g noiseGolden
	golden(t, "noise.json", &g)
	for _, s := range g.Torch {
		requireStream(t, s, NewTorch(s.Seed))
	}
	require.NotEmpty(t, g.TorchHashes)
	for _, h := range g.TorchHashes {
		x := make([]float32, h.N)
		NewTorch(h.Seed).Normal(x)
		raw := make([]byte, 0, 4*h.N)
		for _, b := range bits(x) {
			raw = binary.LittleEndian.AppendUint32(raw, b)
		}
		sum := sha256.Sum256(raw)
		require.Equal(t, h.SHA256, hex.EncodeToString(sum[:]), "seed %d", h.Seed)
	}
}

func TestPhiloxIsCUDAs(t *testing.T) {
	var g noiseGolden
	golden(t, "noise.json", &g)
	for _, s := range g.Philox {
		requireStream(t, s, NewPhilox(s.Seed))
	}
	x := make([]float32, len(g.PhiloxStated))
	NewPhilox(0).Normal(x)
	require.InDeltaSlice(t, g.PhiloxStated, x, 1e-8)
}

func TestBatchGivesEachPictureItsOwnStream(t *testing.T) {
	const n, size = 3, 40
	batch := NewBatch(7, n, NewTorch)
	for range 2 { // later draws go on where the first ended
		x := make([]float32, n*size)
		batch.Normal(x)
		for i := range n {
			require.NotEqual(t, x[:size], x[(i+1)%n*size:][:size][:size-1])
		}
	}
	batch, single := NewBatch(7, n, NewPhilox), NewPhilox(8)
	a, b := make([]float32, n*size), make([]float32, size)
	for range 3 {
		batch.Normal(a)
		single.Normal(b)
		require.Equal(t, b, a[size:2*size])
	}
}

func TestNoiseDoesNotAllocate(t *testing.T) {
	x := make([]float32, 100)
	for _, noise := range []Noise{NewTorch(1), NewPhilox(1), NewBatch(1, 4, NewTorch)} {
		require.Zero(t, testing.AllocsPerRun(10, func() { noise.Normal(x) }))
	}
}

func BenchmarkTorch(b *testing.B)  { benchmarkNoise(b, NewTorch(1)) }
func BenchmarkPhilox(b *testing.B) { benchmarkNoise(b, NewPhilox(1)) }

func benchmarkNoise(b *testing.B, noise Noise) {
	x := make([]float32, 4*64*64)
	b.ReportAllocs()
	for b.Loop() {
		noise.Normal(x)
	}
}
