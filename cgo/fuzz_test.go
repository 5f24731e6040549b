package cgo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/internal/mutate"
)

// fuzzNet is an architecture with hyperparameters, inputs and outputs that are
// right, of the size at which a run takes a millisecond.
type fuzzNet struct {
	arch    string
	params  Params
	inputs  []Input
	outputs []string
}

func fuzzNets() []fuzzNet {
	autoencoder := Params{"channels": {32}, "channel_mult": {1, 1}, "num_res_blocks": {0}, "z_channels": {4}, "embed_dim": {4}, "image_channels": {3}, "quant_conv": {1}}
	taesd := Params{"channels": {8}, "latent_channels": {4}, "image_channels": {3}, "blocks": {1, 1}}
	unet := unetParams()
	unet["channel_mult"], unet["transformer_depth"] = []float64{1}, []float64{1}
	return []fuzzNet{
		{"unet", unet, []Input{{Name: "x", Shape: []int64{1, 4, 4, 4}}, {Name: "t", Shape: []int64{1}}, {Name: "context", Shape: []int64{1, 3, 16}}}, []string{"out", "deep"}},
		{"clip_text", Params{"vocabulary": {16}, "width": {32}, "heads": {2}, "layers": {2}, "ffn": {32}, "context_length": {8}, "activation": {0}, "eps": {1e-5}},
			[]Input{{Name: "tokens", Shape: []int64{1, 8}}}, []string{"hidden.2", "hidden.1"}},
		{"vae_decoder", autoencoder, []Input{{Name: "z", Shape: []int64{1, 4, 4, 4}}}, []string{"image"}},
		{"vae_encoder", autoencoder, []Input{{Name: "image", Shape: []int64{1, 3, 8, 8}}}, []string{"moments"}},
		{"esrgan", Params{"in_channels": {3}, "out_channels": {3}, "features": {8}, "growth": {4}, "blocks": {1}, "doublings": {1}},
			[]Input{{Name: "image", Shape: []int64{1, 3, 4, 4}}}, []string{"image"}},
		{"srvgg", Params{"channels": {3}, "features": {8}, "layers": {1}, "scale": {2}},
			[]Input{{Name: "image", Shape: []int64{1, 3, 4, 4}}}, []string{"image"}},
		{"taesd_decoder", taesd, []Input{{Name: "z", Shape: []int64{1, 4, 4, 4}}}, []string{"image"}},
		{"taesd_encoder", taesd, []Input{{Name: "image", Shape: []int64{1, 3, 8, 8}}}, []string{"z"}},
	}
}

// Bounds of what a run computes with: more of it is estimated only.
const maxFuzzWeights, maxFuzzGraph = 1 << 20, 4 << 20

// FuzzNet changes hyperparameters, shapes, types and the calls' order: whatever
// they are, each call succeeds or says what is wrong.
func FuzzNet(f *testing.F) {
	for i := range fuzzNets() {
		f.Add(uint8(i), []byte{})
		for seed := range uint64(8) {
			f.Add(uint8(i), mutate.Choices(seed))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		all := fuzzNets()
		n := all[int(which)%len(all)]
		s := mutate.NewScript(script)
		n.edit(s)
		net, err := NewNet(n.arch, n.params, Config{Threads: 1 + s.Below(2), Kernels: mutate.Pick(s, []string{"", "", "", "ggml", "generic", "x"})})
		requireSaid(t, err)
		if err != nil {
			return
		}
		defer net.Close()
		n.bind(t, s, net)
		requireSaid(t, net.Load())
		bytes, err := net.Estimate(context.Background(), n.inputs, n.wanted())
		requireSaid(t, err)
		if len(script) == 0 {
			require.NoError(t, err, "nothing was changed")
		}
		if err != nil || bytes > maxFuzzGraph {
			return
		}
		for i := range n.inputs {
			n.inputs[i].fill(s)
		}
		for range 1 + s.Below(2) {
			outputs := n.wanted()
			err := net.Run(context.Background(), n.inputs, outputs)
			requireSaid(t, err)
			for _, out := range outputs {
				if out.Value != nil {
					out.Value.Close()
				}
			}
			if len(script) == 0 {
				require.NoError(t, err, "nothing was changed")
			}
		}
	})
}

// requireSaid takes no error or one that the binding makes of a check. A failed
// assertion of ggml becomes an error, too, but none that should be needed.
func requireSaid(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if err == nil {
		return
	}
	if !errors.As(err, &e) || e.Message == "" || strings.ContainsAny(e.Message, "\n") || strings.Contains(e.Message, "GGML_ASSERT") {
		t.Fatalf("%T %v", err, err)
	}
}

var fuzzParams = []float64{0, 1, 2, 3, 4, 5, 8, 16, 31, 32, 33, 64, 96, -1, 0.5, 1e-12, 1e9, 1e300}

var fuzzSizes = []int64{0, 1, 2, 3, 4, 5, 7, 8, 9, 16, 33, -1, 1 << 31, 1 << 62}

func (n *fuzzNet) edit(s *mutate.Script) {
	names := map[string][]string{"unet": {"heads", "head_dim", "adm_channels", "context_dim", "model_channels", "num_res_blocks", "middle_depth", "transformer_depth", "input_depth", "output_depth", "guidance_dim", "channel_mult", "in_channels", "out_channels"},
		"clip_text": {"vocabulary", "width", "heads", "layers", "ffn", "context_length", "activation", "eps"},
		"esrgan":    {"in_channels", "out_channels", "features", "growth", "blocks", "doublings"},
		"srvgg":     {"channels", "features", "layers", "scale"}}[n.arch]
	if names == nil {
		names = []string{"channels", "image_channels", "latent_channels", "blocks", "z_channels", "embed_dim", "quant_conv", "num_res_blocks", "channel_mult"}
	}
	for range mutate.Pick(s, []int{0, 1, 1, 2, 3}) {
		values := make([]float64, mutate.Pick(s, []int{1, 1, 1, 2, 3, 0, 17}))
		for i := range values {
			values[i] = mutate.Pick(s, fuzzParams)
		}
		n.params[mutate.Pick(s, names)] = values
	}
	for range mutate.Pick(s, []int{0, 1, 1, 2, 3}) {
		in := &n.inputs[s.Below(len(n.inputs))]
		switch s.Below(4) {
		case 0, 1:
			if len(in.Shape) > 0 {
				in.Shape[s.Below(len(in.Shape))] = mutate.Pick(s, fuzzSizes)
			}
		case 2:
			in.Shape = append(in.Shape, 1)
		case 3:
			in.Name = mutate.Pick(s, []string{"", "y", "deep", "x", "image", "latent"})
		}
	}
	switch s.Below(12) {
	case 1:
		n.inputs = n.inputs[1:]
	case 2:
		n.inputs = append(n.inputs, Input{Name: mutate.Pick(s, []string{"y", "deep", "x"}), Shape: []int64{1, mutate.Pick(s, fuzzSizes), 4, 4}})
	case 3:
		n.outputs = []string{mutate.Pick(s, []string{"", "deep", "hidden.0", "hidden.99", "image"})}
	case 4:
		n.outputs = nil
	}
	if s.Below(3) == 1 && len(n.outputs) > 1 {
		n.outputs = n.outputs[1:]
	}
}

func (n *fuzzNet) wanted() []Output {
	all := make([]Output, len(n.outputs))
	for i, name := range n.outputs {
		all[i].Name = name
	}
	return all
}

// bind gives the net its weights, of types that the script chooses, if they are few.
func (n *fuzzNet) bind(t *testing.T, s *mutate.Script, net *Net) {
	types := []dtype.Type{mutate.Pick(s, []dtype.Type{dtype.F32, dtype.F16, dtype.BF16, dtype.Q8_0, dtype.Q4_0, dtype.Q4_K}), dtype.F32, dtype.Type(s.Below(64))}
	odd := s.Below(64)
	left := int64(maxFuzzWeights)
	for i, w := range net.Weights() {
		elements := int64(1)
		for _, d := range w.Shape {
			elements *= d
		}
		if left -= elements; left < 0 {
			return
		}
		typ := types[0]
		if len(w.Shape) != 2 {
			typ = types[1]
		}
		if i == odd && s.Below(2) == 1 {
			typ = types[2]
		}
		size, ok := typ.Size(elements, w.Shape[len(w.Shape)-1])
		if !ok {
			typ, size = dtype.F32, 4*elements
		}
		requireSaid(t, net.Bind(i, uint32(typ), make([]byte, size)))
	}
}

// fill gives an input numbers, of its own kind or of the other.
func (in *Input) fill(s *mutate.Script) {
	n := int64(1)
	for _, d := range in.Shape {
		n *= d
	}
	n = min(max(n, 0), 1<<16) - int64(s.Below(16)/15)
	if n < 0 {
		n = 0
	}
	if (in.Name == "tokens") == (s.Below(16) != 1) {
		in.I32 = make([]int32, n)
		for i := range in.I32 {
			in.I32[i] = mutate.Pick(s, []int32{0, 1, 15, 16, -1, 1 << 30})
		}
		return
	}
	in.F32 = make([]float32, n)
	for i := range in.F32 {
		in.F32[i] = float32(s.Below(256))
	}
}
