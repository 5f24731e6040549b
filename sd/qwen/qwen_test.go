package qwen

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/read"
	"github.com/sdgo/sdgo/sd/engine"
	"github.com/sdgo/sdgo/sd/tokenizer/bytelevel"
)

const folder = "../../testdata/texts/"

// references are what testdata/texts/make.py computed.
func references(t *testing.T) (floats map[string][]float32, tokens []int32) {
	m, all, err := read.Stored(folder + "reference.safetensors")
	require.NoError(t, err)
	defer m.Close()
	floats = map[string][]float32{}
	for _, s := range all {
		if s.Type.Float() {
			x := make([]float32, s.Elements())
			require.NoError(t, s.Float32(x))
			floats[s.Name] = x
		}
		for i := 0; s.Name == "tokens" && i < len(s.Bytes); i += 4 {
			tokens = append(tokens, int32(s.Bytes[i]))
		}
	}
	return floats, tokens
}

func tiny(t *testing.T, name, kernels string) (*engine.Host, convert.QwenConfig) {
	h, err := engine.Open(name, engine.Options{Backend: "cpu", Threads: 2, Type: "f32", Kernels: kernels}, func() (*convert.Model, error) { return convert.Open(folder + name + ".safetensors") })
	require.NoError(t, err)
	t.Cleanup(func() { h.Close() })
	return h, *h.Weights.Config.(*convert.QwenConfig)
}

// The states of every layer, of Qwen3 and of Qwen2.5.
func TestAgreesWithTransformers(t *testing.T) {
	floats, tokens := references(t)
	for _, name := range []string{"qwen3", "qwen2.5"} {
		for _, kernels := range []string{"", "generic", "ggml"} {
			h, c := tiny(t, name, kernels)
			e := &Encoder{Config: c}
			require.NoError(t, h.Place(func() (err error) {
				e.net, err = h.NewNetwork(engine.Spec{Role: engine.RoleText, Title: "the text encoder", Arch: "qwen_text", Params: c.Params()})
				return err
			}, func() ([]engine.Demand, error) { return nil, nil }))
			n := len(tokens) / 2
			for i := range 2 { // texts
				got, err := e.Encode(t.Context(), tokens[i*n:][:n], []int{1, 2, Final}, nil)
				require.NoError(t, err)
				for k, of := range []string{"state.1", "state.2", "hidden"} {
					require.Equal(t, []int{n, 48}, got[k].Shape)
					want := floats[fmt.Sprintf("%s.%s", name, of)][i*n*48:][:n*48]
					requireNear(t, want, got[k].Data, 1e-4, name+" "+of+" "+kernels)
				}
			}
			_, err := e.Encode(t.Context(), tokens[:3], []int{4}, nil)
			require.ErrorContains(t, err, "no output state.4; there are state.1 to state.3 and hidden")
			_, err = e.Encode(t.Context(), nil, []int{1}, nil)
			require.EqualError(t, err, "a text must have 1 to 4096 tokens, got 0")
		}
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

// A tokenizer with more tokens than the table of embeddings is no such model's.
func TestTooManyTokens(t *testing.T) {
	h, c := tiny(t, "qwen3", "")
	require.Equal(t, convert.QwenConfig{Vocabulary: 96, Width: 48, Heads: 4, KVHeads: 2, HeadChannels: 16, Layers: 3, FFN: 80, QKNorm: true, RopeBase: 1e6}, c)
	_, err := New(h, "", c, bytelevel.Qwen())
	require.EqualError(t, err, "the text encoder must have at least the tokenizer's 151669 tokens, got 96")
}
