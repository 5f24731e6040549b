package adapter

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// tuned is a model with a change of rank 4 of every weight, and of some biases.
func tuned(t *testing.T, base *model.Model) *model.Model {
	m := base.Copy()
	random := rand.New(rand.NewPCG(1, 2))
	for i, x := range m.Tensors {
		values, err := floats(x)
		require.NoError(t, err)
		n := int(x.Shape[0])
		switch {
		case partOfBase(base, x.Name) == "":
		case strings.HasSuffix(x.Name, ".weight") && len(x.Shape) > 1:
			k := len(values) / n
			up, down := normal(random, n*4), normal(random, 4*k)
			for j, v := range multiply(up, down, n, 4, k) {
				values[j] += 0.01 * v
			}
		case strings.HasSuffix(x.Name, "norm1.bias"):
			values[0]++
		}
		m.Tensors[i] = float32Tensor(t, x, values)
	}
	return m
}

func partOfBase(m *model.Model, name string) Part {
	if t, err := layersOfBoth(m, m); err == nil {
		for _, p := range t {
			if p.base.Name == name {
				return UNet
			}
		}
	}
	return ""
}

func float32Tensor(t *testing.T, x model.Tensor, values []float32) model.Tensor {
	data := make([]byte, 4*len(values))
	require.NoError(t, dtype.Encode(dtype.F32, data, values))
	return model.Tensor{Name: x.Name, Type: dtype.F32, Shape: x.Shape, Bytes: data}
}

func normal(random *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	return x
}

// What is extracted makes one model the other again; every layer is found by its name.
func TestExtract(t *testing.T) {
	for _, name := range []string{"nets/sd1", "nets/sd2", "xl/base"} {
		t.Run(name, func(t *testing.T) {
			base, err := read.Open("../../testdata/" + name + ".safetensors")
			require.NoError(t, err)
			defer base.Close()
			other := tuned(t, base)
			var last, all int64
			x, err := Extract(t.Context(), base, other, Extraction{Rank: 4, Type: dtype.F32, Progress: func(done, total int64) {
				require.Greater(t, done, last)
				last, all = done, total
			}})
			require.NoError(t, err)
			require.Equal(t, all, last)
			require.InDelta(t, 1, x.Kept, 1e-6)
			require.NotEmpty(t, x.LeftOut)
			for _, name := range x.LeftOut {
				require.True(t, strings.Contains(name, "embedding") || strings.HasSuffix(name, ".bias"), name)
			}
			var file bytes.Buffer
			require.NoError(t, safetensors.Write(&file, x.Metadata, x.Tensors))
			path := filepath.Join(t.TempDir(), "lora.safetensors")
			require.NoError(t, os.WriteFile(path, file.Bytes(), 0o666))
			lora, err := Open(path)
			require.NoError(t, err)
			defer lora.Close()
			require.Equal(t, []int{4}, lora.Info().Ranks)

			again := base.Copy()
			for i, x := range again.Tensors {
				values, err := floats(x)
				require.NoError(t, err)
				again.Tensors[i] = float32Tensor(t, x, values)
			}
			unmatched, err := Bake(context.Background(), again, []Baked{{lora, 1, 1}})
			require.NoError(t, err)
			require.Empty(t, unmatched)
			changed := 0
			for i, want := range other.Tensors {
				if len(want.Shape) < 2 || strings.Contains(want.Name, "embedding") {
					continue
				}
				a, err := floats(want)
				require.NoError(t, err)
				b, err := floats(again.Tensors[i])
				require.NoError(t, err)
				for j := range a {
					require.InDelta(t, a[j], b[j], 1e-5, want.Name)
				}
				changed++
			}
			require.Greater(t, changed, x.Layers)
		})
	}
}

func TestExtractErrors(t *testing.T) {
	open := func(name string) *model.Model {
		m, err := read.Open("../../testdata/nets/" + name + ".safetensors")
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		return m
	}
	one, two := open("sd1"), open("sd2")
	other := tuned(t, one)
	good := Extraction{Rank: 4, Type: dtype.F16}
	stopped, stop := context.WithCancelCause(t.Context())
	stop(errors.New("stopped"))
	nan := other.Copy()
	i := nan.Index("model.diffusion_model.middle_block.1.proj_in.weight")
	require.GreaterOrEqual(t, i, 0)
	values, err := floats(nan.Tensors[i])
	require.NoError(t, err)
	values[3] = float32(math.NaN())
	nan.Tensors[i] = float32Tensor(t, nan.Tensors[i], values)
	for _, c := range []struct {
		ctx         context.Context
		base, tuned *model.Model
		o           Extraction
		want        string
	}{
		{t.Context(), one, other, Extraction{Type: dtype.F16}, "the rank must be 1 to 1024, got 0"},
		{t.Context(), one, other, Extraction{Rank: 1025, Type: dtype.F16}, "the rank must be 1 to 1024, got 1025"},
		{t.Context(), one, other, Extraction{Rank: 4, Type: dtype.Q8_0}, "the type of a LoRA must be f32, f16 or bf16, got q8_0"},
		{t.Context(), one, two, good, "must be of one architecture"},
		{t.Context(), one, one, good, "there is nothing to extract"},
		{t.Context(), one, nan, good, "NaN"},
		{stopped, one, other, good, "stopped"},
	} {
		_, err := Extract(c.ctx, c.base, c.tuned, c.o)
		require.ErrorContains(t, err, c.want)
	}
}

// A matrix of known singular values: no approximation of a rank is nearer than what the
// largest of them make (Eckart and Young).
func TestLowRankIsTheBest(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, c := range []struct{ n, m, rank int }{{60, 90, 8}, {90, 60, 8}, {40, 300, 40}, {7, 5, 3}, {1, 9, 4}, {64, 64, 1}} {
		k := min(c.n, c.m)
		u, v := normal(random, c.n*k), normal(random, c.m*k)
		orthonormal(u, c.n, k)
		orthonormal(v, c.m, k)
		a := make([]float32, c.n*c.m)
		var rest float64
		for s := range k {
			sigma := math.Pow(float64(s+1), -0.7) // falls slowly, as in models that were trained as a whole
			if s >= c.rank {
				rest += sigma * sigma
			}
			for i := range c.n {
				for j := range c.m {
					a[i*c.m+j] += float32(sigma) * u[i*k+s] * v[j*k+s]
				}
			}
		}
		f := lowRank(t.Context(), a, c.n, c.m, c.rank)
		require.Equal(t, min(c.rank, k), f.rank)
		var lost float64
		for i, w := range multiply(f.up, f.down, c.n, f.rank, c.m) {
			lost += float64(a[i]-w) * float64(a[i]-w)
		}
		require.InDelta(t, rest, lost, 0.01*rest+1e-9, "%v", c)
		require.InDelta(t, lost, f.lost, 0.001*lost+1e-6, "%v", c)
	}
}
