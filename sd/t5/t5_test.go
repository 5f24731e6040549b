package t5

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tokenizer/unigram"
)

const folder = "../../testdata/texts/"

// references are what testdata/texts/make.py computed.
func references(t *testing.T) (floats map[string][]float32, ids map[string][]int32) {
	m, all, err := read.Stored(folder + "reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	floats, ids = map[string][]float32{}, map[string][]int32{}
	for _, s := range all {
		if s.Type.Float() {
			x := make([]float32, s.Elements())
			require.NoError(t, s.Float32(x))
			floats[s.Name] = x
			continue
		}
		for i := range s.Bytes {
			if i%4 == 0 {
				ids[s.Name] = append(ids[s.Name], int32(s.Bytes[i])|int32(s.Bytes[i+1])<<8|int32(s.Bytes[i+2])<<16|int32(s.Bytes[i+3])<<24)
			}
		}
	}
	return floats, ids
}

func tiny(t *testing.T, name, kernels string) *Encoder {
	h, err := engine.Open(name, engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + name + ".safetensors") })
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	words, err := unigram.New(unigram.Tables{Pieces: []unigram.Piece{{Text: "<pad>"}, {Text: "</s>"}, {Text: "<unk>"}, {Text: "▁a", Score: -1}}, Unknown: 2, Special: map[string]int32{"</s>": 1}})
	require.NoError(t, err)
	var e *Encoder
	require.NoError(t, h.Place(func() (err error) {
		e, err = New(h, "", *h.Weights.Config.(*convert.T5Config), words)
		return err
	}, func() ([]engine.Demand, error) { return nil, nil }))
	return e
}

// The hidden states of 150 tokens, further apart than the last bucket begins.
func TestAgreesWithTransformers(t *testing.T) {
	floats, ids := references(t)
	for _, name := range []string{"t5", "umt5"} {
		for _, kernels := range []string{"", "generic", "ggml"} {
			got, err := tiny(t, name, kernels).Encode(t.Context(), ids["t5.tokens"], nil)
			require.NoError(t, err)
			require.Equal(t, []int{150, 48}, got.Shape)
			requireNear(t, floats[name+".hidden"], got.Data, 1e-4, name+" "+kernels)
		}
	}
}

// Tokens that none attends to leave the others' states as they are alone, and have states of their own.
func TestMasked(t *testing.T) {
	floats, ids := references(t)
	for _, kernels := range []string{"", "ggml"} {
		e := tiny(t, "t5", kernels)
		tokens := ids["t5.tokens"][:21]
		alone, err := e.Encode(t.Context(), tokens, nil)
		require.NoError(t, err)
		got, err := e.EncodeMasked(t.Context(), Padded(tokens, 23), 21, nil)
		require.NoError(t, err)
		requireNear(t, alone.Data, got.Data[:21*48], 1e-6, kernels)
		requireNear(t, floats["t5.masked"], got.Data, 1e-4, kernels)
		padded, err := e.Encode(t.Context(), Padded(tokens, 23), nil)
		require.NoError(t, err)
		require.NotEqual(t, padded.Data, got.Data)
	}
}

// requireNear compares by the root of the mean square.
func requireNear(t *testing.T, want, got []float32, most float64, what string) {
	require.Len(t, got, len(want))
	var sum, all float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		sum, all = sum+d*d, all+float64(w)*float64(w)
	}
	require.Less(t, math.Sqrt(sum/all), most, what)
}

func TestBuckets(t *testing.T) {
	_, ids := references(t)
	for i, want := range ids["buckets"] {
		require.Equal(t, want, bucket(i-149, 32), "distance %d", i-149)
	}
	require.Equal(t, []int32{0, 17, 1, 0}, buckets(2, 32))
}

func TestTokens(t *testing.T) {
	e := tiny(t, "t5", "")
	got, left := e.Tokens("a a b", 10)
	require.Equal(t, []int32{3, 3, 2, 1}, got)
	require.Zero(t, left)
	got, left = e.Tokens("a a b", 2)
	require.Equal(t, []int32{3, 1}, got)
	require.Equal(t, 2, left)
	got, _ = e.Tokens("", 1)
	require.Equal(t, []int32{1}, got)
	require.Equal(t, []int32{3, 1, 0, 0}, Padded([]int32{3, 1}, 4))
	require.Equal(t, []int32{3, 1}, Padded([]int32{3, 1}, 1))
	_, err := e.Encode(t.Context(), nil, nil)
	require.EqualError(t, err, "a text must have 1 to 4096 tokens, got 0")
	_, err = e.Encode(t.Context(), []int32{96}, nil)
	require.ErrorContains(t, err, "token ids must be 0 to 95, got 96")
}
