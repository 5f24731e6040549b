package testnet

import (
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/internal/checked"
)

// differentiated are operators with shapes of their inputs and weights, odd ones among
// them, and those inputs that have no gradient.
var differentiated = []struct {
	op      string
	inputs  map[string][]int64
	weights [][]int64
	without string
}{
	{"conv 3x3", map[string][]int64{"x": {2, 3, 5, 7}, "scale": {2, 6}}, [][]int64{{6, 6}, {6}, {6, 3, 3, 3}, {6}}, ""},
	{"conv 1x1", map[string][]int64{"x": {2, 3, 5, 7}, "scale": {2, 6}}, [][]int64{{6, 6}, {6}, {6, 3, 1, 1}, {6}}, ""},
	{"conv down", map[string][]int64{"x": {2, 3, 5, 8}, "scale": {2, 6}}, [][]int64{{6, 6}, {6}, {6, 3, 3, 3}, {6}}, ""},
	{"conv down end", map[string][]int64{"x": {2, 3, 7, 6}, "scale": {2, 6}}, [][]int64{{6, 6}, {6}, {6, 3, 3, 3}, {6}}, ""},
	{"conv up", map[string][]int64{"x": {2, 3, 3, 5}, "scale": {2, 6}}, [][]int64{{6, 6}, {6}, {6, 3, 3, 3}, {6}}, ""},
	{"linear", map[string][]int64{"x": {3, 5, 24}}, [][]int64{{24, 24}, {24}}, ""},
	{"linear silu", map[string][]int64{"x": {3, 5, 24}}, [][]int64{{24, 24}, {24}}, ""},
	{"linear gelu", map[string][]int64{"x": {3, 5, 24}}, [][]int64{{24, 24}, {24}}, ""},
	{"linear gelu_tanh", map[string][]int64{"x": {3, 5, 24}}, [][]int64{{24, 24}, {24}}, ""},
	{"linear quick_gelu", map[string][]int64{"x": {3, 5, 24}}, [][]int64{{24, 24}, {24}}, ""},
	{"geglu", map[string][]int64{"x": {2, 5, 24}}, [][]int64{{10, 24}, {10}}, ""},
	{"attention", map[string][]int64{"x": {2, 5, 24}, "z": {2, 3, 24}}, [][]int64{{24, 24}}, ""},
	{"attention causal", map[string][]int64{"x": {2, 5, 24}, "z": {2, 5, 24}}, [][]int64{{24, 24}}, ""},
	{"self_attention whole", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"self_attention by_head", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"layer_norm", map[string][]int64{"x": {2, 5, 24}}, [][]int64{{24}, {24}}, ""},
	{"layer_norm plain", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"rms_norm", map[string][]int64{"x": {2, 5, 24}}, [][]int64{{12}}, ""},
	{"unit_norm", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"clamped", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"ones", map[string][]int64{"x": {2, 3, 5, 6}}, nil, ""},
	{"cosine_features", map[string][]int64{"t": {3}}, [][]int64{{5}, {5}}, "t"},
	{"group_norm silu", map[string][]int64{"x": {2, 24, 3, 5}}, [][]int64{{24}, {24}}, ""},
	{"group_norm modulated", map[string][]int64{"x": {2, 24, 3, 5}, "scale": {2, 48}}, [][]int64{{24}, {24}}, ""},
	{"modulate", map[string][]int64{"x": {2, 5, 24}, "scale": {2, 24}, "shift": {2, 24}}, nil, ""},
	{"gated", map[string][]int64{"x": {2, 5, 24}, "z": {2, 5, 24}, "scale": {2, 24}}, nil, ""},
	{"rope interleaved", map[string][]int64{"x": {2, 5, 24}, "cos": {5, 6}, "sin": {5, 6}}, nil, "cos sin"},
	{"rope halves", map[string][]int64{"x": {2, 5, 24}, "cos": {5, 6}, "sin": {5, 6}}, nil, "cos sin"},
	{"concat_tokens", map[string][]int64{"x": {2, 5, 24}, "z": {2, 3, 24}}, nil, ""},
	{"slice_tokens", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"chunk", map[string][]int64{"x": {2, 5, 24}}, nil, ""},
	{"patches", map[string][]int64{"x": {2, 3, 4, 6}}, nil, ""},
	{"pixels", map[string][]int64{"x": {2, 6, 12}}, nil, ""},
	{"mean_token", map[string][]int64{"x": {2, 5, 24}}, [][]int64{{24, 1}}, ""},
	{"fourier_features", map[string][]int64{"t": {3}}, [][]int64{{5}}, "t"},
	{"mean_down", map[string][]int64{"x": {2, 3, 5, 6}}, nil, ""},
	{"nearest_up", map[string][]int64{"x": {2, 3, 5, 6}}, nil, ""},
	{"fir_down", map[string][]int64{"x": {2, 3, 4, 6}}, nil, ""},
	{"fir_up", map[string][]int64{"x": {2, 3, 5, 6}}, nil, ""},
	{"fir_blur", map[string][]int64{"x": {2, 3, 5, 6}}, nil, ""},
	{"prelu", map[string][]int64{"image": {2, 8, 3, 5}}, [][]int64{{8}}, ""},
	{"pixel_shuffle", map[string][]int64{"image": {2, 8, 3, 5}}, nil, ""},
	{"nearest", map[string][]int64{"image": {2, 4, 3, 5}}, nil, ""},
	{"video", map[string][]int64{"video": {2, 3, 4, 5, 6}, "t": {2}}, [][]int64{{5, 3, 3, 3}, {5}}, "t"},
	{"embedding", map[string][]int64{"ids": {2, 5}}, [][]int64{{7, 24}, {9, 24}}, "ids"},
	{"sums", map[string][]int64{"x": {2, 3, 24}, "z": {2, 3, 24}}, [][]int64{{72}}, ""},
	{"chain", map[string][]int64{"x": {2, 3, 7, 6}}, chainWeights, ""},
}

var chainWeights = [][]int64{
	{8, 3, 3, 3}, {8}, {8}, {8}, {8, 8, 3, 3}, {8}, {8}, {8}, {8}, {8}, {8, 8}, {8, 8}, {8, 8}, {8},
	{32, 8}, {32}, {8, 16}, {8}, {8, 8, 3, 3}, {8}, {16}, {16}, {3, 16, 3, 3}, {3},
}

// point is where derivatives are taken: a network, its inputs and weights, and the
// gradient of its output.
type point struct {
	op, kernels string
	inputs      map[string]Tensor
	weights     []Tensor
	seed        Tensor
	net         *Net // sees changes of the weights, whose memory it uses
}

// loss is the scalar whose gradients are computed: the product of output and seed.
func (p *point) loss(t *testing.T) float64 {
	out, err := p.net.Run(p.inputs, "out")
	require.NoError(t, err, p.op)
	return dot(out["out"].Data, p.seed.Data)
}

// gradients are all outputs d:….
func (p *point) gradients(t *testing.T, without string) map[string]Tensor {
	inputs := map[string]Tensor{"d_out": p.seed}
	var outputs []string
	for name, x := range p.inputs {
		inputs[name] = x
		if !strings.Contains(without, name) {
			outputs = append(outputs, "d:"+name)
		}
	}
	for _, name := range p.net.Weights() {
		outputs = append(outputs, "d:weight:"+name)
	}
	g, err := p.net.Run(inputs, outputs...)
	require.NoError(t, err, p.op)
	return g
}

func fastest() string {
	names := cgo.KernelNames()
	return names[len(names)-1]
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, x := range a {
		sum += float64(x) * float64(b[i])
	}
	return sum
}

func newPoint(t *testing.T, r *rand.Rand, i int, kernels string, threads int) *point {
	d := differentiated[i]
	p := &point{op: d.op, kernels: kernels, inputs: map[string]Tensor{}}
	for _, name := range slices.Sorted(maps.Keys(d.inputs)) {
		p.inputs[name] = random(r, d.inputs[name]...)
		values := p.inputs[name].Data
		for k, v := range values {
			switch {
			case name == "ids": // the bits of whole numbers, some of them twice
				values[k] = math.Float32frombits(uint32(k*3) % 7)
			case d.op == "prelu" || d.op == "clamped" || d.op == "sums" && name == "x": // whose slopes change at 0
				values[k] = float32(math.Round(2*float64(v)))/2 + 0.25
			case d.op == "sums":
				values[k] = float32(math.Round(2*float64(v))) / 2
			}
		}
	}
	for _, shape := range d.weights {
		w := random(r, shape...)
		if len(shape) > 1 { // as networks begin: of the size that keeps a layer's numbers
			for k := range w.Data {
				w.Data[k] *= float32(math.Sqrt(float64(shape[0]) / float64(len(w.Data))))
			}
		}
		p.weights = append(p.weights, w)
	}
	var err error
	p.net, err = Open(p.op, kernels, threads, p.weights...)
	require.NoError(t, err, p.op)
	t.Cleanup(p.net.Close)
	out, err := p.net.Run(p.inputs, "out")
	require.NoError(t, err, p.op)
	p.seed = random(r, out["out"].Shape...)
	return p
}

// slope is the derivative of the loss in a direction of one tensor: central differences of
// two step sizes, extrapolated.
func (p *point) slope(t *testing.T, x, direction []float32) float64 {
	start := append([]float32(nil), x...)
	difference := func(h float64) float64 {
		var ends [2]float64
		for i, sign := range []float64{1, -1} {
			for k := range x {
				x[k] = start[k] + float32(sign*h*float64(direction[k]))
			}
			ends[i] = p.loss(t)
		}
		copy(x, start)
		return (ends[0] - ends[1]) / (2 * h)
	}
	const h = 1.0 / 64
	return (4*difference(h) - difference(2*h)) / 3
}

// Each gradient against central differences in random directions, with this library's
// kernels and ggml's operators.
func TestGradientsAreSlopes(t *testing.T) {
	for i, d := range differentiated {
		for _, kernels := range []string{cgo.GGML, "generic", fastest()} {
			r := rand.New(rand.NewPCG(uint64(i), 11))
			p := newPoint(t, r, i, kernels, 1)
			got := p.gradients(t, d.without)
			all := map[string]Tensor{}
			for name, x := range p.inputs {
				all["d:"+name] = x
			}
			for k, name := range p.net.Weights() {
				all["d:weight:"+name] = p.weights[k]
			}
			for name, g := range got {
				x := all[name]
				require.Equal(t, x.Shape, g.Shape, "%s, %s", d.op, name)
				for range 3 {
					direction := random(r, x.Shape...)
					size := math.Sqrt(dot(direction.Data, direction.Data))
					for k := range direction.Data {
						direction.Data[k] /= float32(size)
					}
					want, is := p.slope(t, x.Data, direction.Data), dot(g.Data, direction.Data)
					norm := math.Sqrt(dot(g.Data, g.Data) / float64(len(g.Data)))
					require.False(t, math.IsNaN(is))
					require.InDelta(t, want, is, 2e-3*norm+1e-3, "%s with %q, %s", d.op, kernels, name)
				}
			}
		}
	}
}

// The kernels of every instruction set give what expressions of ggml's operators do.
func TestGradientsOfKernels(t *testing.T) {
	for i, d := range differentiated {
		var want map[string]Tensor
		for _, kernels := range checked.Few(cgo.KernelNames()) { // ggml's operators first
			got := newPoint(t, rand.New(rand.NewPCG(uint64(i), 12)), i, kernels, 1).gradients(t, d.without)
			if want == nil {
				want = got
			}
			for name, g := range got {
				require.Equal(t, want[name].Shape, g.Shape)
				difference, size := 0.0, 0.0
				for k, v := range g.Data {
					difference += math.Pow(float64(v-want[name].Data[k]), 2)
					size += math.Pow(float64(want[name].Data[k]), 2)
				}
				require.LessOrEqual(t, math.Sqrt(difference), 2e-5*math.Sqrt(size)+1e-9, "%s with %q, %s", d.op, kernels, name)
			}
		}
	}
}

// The same numbers to the bit, whichever parts are computed twice and by however many
// threads.
func TestSegments(t *testing.T) {
	for i, d := range differentiated {
		for _, kernels := range []string{cgo.GGML, fastest()} {
			if kernels == cgo.GGML && d.op != "chain" { // whose threads are ggml's
				continue
			}
			var want map[string]Tensor
			for threads, parts := range map[int][]int{1: {1, 2, 7, 1000}, 2: {1, 7}, 8: {7}} {
				if kernels == cgo.GGML && threads > 2 { // whose threads wait by spinning
					continue
				}
				if d.op != "chain" { // whose parts are several operators
					parts = []int{1}
				}
				p := newPoint(t, rand.New(rand.NewPCG(3, 4)), i, kernels, threads)
				for _, segments := range parts {
					p.net.Segment(segments)
					got := p.gradients(t, d.without)
					if want == nil {
						want = got
					}
					require.Equal(t, want, got, "%s with %q, %d threads, %d segments", d.op, kernels, threads, segments)
				}
			}
		}
	}
}

// What is asked for must be there.
func TestGradientErrors(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	x, w, b := random(r, 1, 3, 24), random(r, 24, 24), random(r, 24)
	n, err := Open("linear", "generic", 1, w, b)
	require.NoError(t, err)
	defer n.Close()
	for _, c := range []struct {
		inputs  map[string]Tensor
		outputs []string
		want    string
	}{
		{map[string]Tensor{"x": x}, []string{"d:x"}, "d_OUT"},
		{map[string]Tensor{"x": x, "d_out": random(r, 1, 2, 24)}, []string{"d:x"}, "d_out must have the shape"},
		{map[string]Tensor{"x": x, "d_other": x}, []string{"d:x"}, "no output other"},
		{map[string]Tensor{"x": x, "d_out": x}, []string{"d:z"}, "there must be an input z"},
		{map[string]Tensor{"x": x, "d_out": x}, []string{"d:weight:z"}, "no weight z"},
	} {
		_, err := n.Run(c.inputs, c.outputs...)
		require.ErrorContains(t, err, c.want)
	}
	out, err := n.Run(map[string]Tensor{"x": x, "d_out": x}, "out", "d:x")
	require.NoError(t, err)
	require.Len(t, out, 2)
}
