package sd

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sd/direction"
)

// The deepest features are those of diffusers' mid_block, and with another input's in their
// place the network gives what the library's gives (testdata/nets/deepest.py).
func TestDeepestFeaturesAgreeWithDiffusers(t *testing.T) {
	ref, known := readReference(t, netsFolder, "deepest.safetensors"), readReference(t, netsFolder, "reference.safetensors")
	for _, w := range ways() {
		t.Run(w.String(), func(t *testing.T) {
			net := openTiny(t, "sd1.safetensors", w.options).unet()
			inputs := netInputs(known, "sd1.", netCase{inputs: map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context"}})
			run := func(more ...cgo.Input) (out, h []float32) {
				out, h = make([]float32, len(known.f32("sd1.unet.out"))), make([]float32, len(ref.f32("a.h")))
				require.NoError(t, net.Run(context.Background(), append(inputs[:len(inputs):len(inputs)], more...), []cgo.Output{{Name: "out", Data: out}, {Name: "h", Data: h}}))
				return out, h
			}
			plain, h := run()
			requireClose(t, h, ref.f32("a.h"), w.bound, "h")
			add := cgo.Input{Name: "h_add", Shape: ref.shape("a.h"), F32: make([]float32, len(h))}
			same, again := run(add)
			require.Equal(t, plain, same, "adding zeros gives the same bits")
			require.Equal(t, h, again)
			for i := range add.F32 {
				add.F32[i] = ref.f32("b.h")[i] - ref.f32("a.h")[i]
			}
			swapped, again := run(add)
			requireClose(t, swapped, ref.f32("swapped"), w.bound, "with b's features")
			require.Equal(t, h, again, "the output is without what is added")

			alone := make([]float32, len(h))
			require.NoError(t, net.Run(context.Background(), inputs, []cgo.Output{{Name: "h", Data: alone}}))
			require.Equal(t, h, alone)
			refused := func(want string, in cgo.Input, out string) {
				t.Helper()
				err := net.Run(context.Background(), append(inputs[:len(inputs):len(inputs)], in), []cgo.Output{{Name: out, Data: make([]float32, len(plain))}})
				require.ErrorContains(t, err, want)
			}
			short := add
			short.Shape = append([]int64{}, add.Shape...)
			short.Shape[1], short.Shape[2] = add.Shape[1]/2, add.Shape[2]*2
			refused("h_add must have the shape", short, "out")
		})
	}
}

func TestDirections(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Batch: 2})
	from := Request{Prompt: "apple", Width: 32, Height: 32, Steps: 3, Sampler: "euler", Seed: 5, Guidance: Float(3)}
	to := from
	to.Prompt = "zebra"
	find := func(name string, from, to Request) *Direction {
		d, err := FindDirection(context.Background(), m, name, from, to)
		require.NoError(t, err)
		return d
	}
	at := func(d *Direction, timestep float64) []float32 {
		out := make([]float32, d.Shape()[0]*d.Shape()[1]*d.Shape()[2])
		d.Add(out, 1, timestep)
		return out
	}
	first := find("first", from, to)
	require.Equal(t, 3, first.Timesteps())
	require.NotZero(t, at(first, 999))
	require.Equal(t, make([]float32, len(at(first, 0))), at(find("nothing", from, from), 500), "there is no way to itself")

	// Of several pictures it is the mean.
	next := func(r Request) Request { r.Seed++; return r }
	second := at(find("second", next(from), next(to)), 999)
	both := from
	both.Count = 2
	bothTo := to
	bothTo.Count = 2
	mean := at(find("both", both, bothTo), 999)
	for i, v := range at(first, 999) {
		require.InDelta(t, (v+second[i])/2, mean[i], 1e-5)
	}

	// From a file it is the same, and acts with its strength, in its part of the run.
	file := filepath.Join(t.TempDir(), "way.safetensors")
	require.NoError(t, first.Write(file))
	way, err := OpenDirection(file)
	require.NoError(t, err)
	require.Equal(t, "way", way.Name())
	require.Equal(t, at(first, 700), at(way, 700))
	require.NoError(t, m.Attach(way))
	draw := func(r Request) []Image {
		result, err := m.Generate(context.Background(), r)
		require.NoError(t, err)
		return result.Images
	}
	with := func(d RequestDirection) []byte {
		r := from
		d.Name = "way"
		r.Directions = []RequestDirection{d}
		return draw(r)[0].Image.Pix
	}
	plain := draw(from)[0].Image.Pix
	require.Equal(t, plain, with(RequestDirection{Strength: Float(0)}))
	require.Equal(t, plain, with(RequestDirection{Start: Float(0.5), End: Float(0.5)}))
	whole := with(RequestDirection{Strength: Float(20)})
	require.NotEqual(t, plain, whole)
	require.NotEqual(t, whole, with(RequestDirection{Strength: Float(20), End: Float(0.7)}))
	require.NotEqual(t, whole, with(RequestDirection{Strength: Float(-20)}))

	r := from
	r.Directions, r.Count = []RequestDirection{{Name: "way", Strength: Float(20)}}, 2
	two := draw(r)
	require.Equal(t, whole, two[0].Image.Pix, "in a batch as alone")
	require.Contains(t, text(two[1].Params), `Direction: "way,strength=20"`)
	require.Equal(t, two[1].Image.Pix, draw(two[1].Params.Request)[0].Image.Pix)
}

func TestDirectionsRefuse(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{})
	small, err := direction.New("small", []int{1, 2, 2}, []float64{1}, make([]float32, 4), nil)
	require.NoError(t, err)
	require.NoError(t, m.Attach(small))
	named := []RequestDirection{{Name: "small"}}
	for want, r := range map[string]Request{
		`Directions[0].Name: no direction "x" is attached`:                      {Directions: []RequestDirection{{Name: "x"}}},
		"Directions[0].Strength: must be -100 to 100, got 101":                  {Directions: []RequestDirection{{Name: "small", Strength: Float(101)}}},
		"Directions[0].End: must be at least Start, 0.5, got 0.25":              {Directions: []RequestDirection{{Name: "small", Start: Float(0.5), End: Float(0.25)}}},
		"Directions[0].Name: direction small must have features of the shape [": {Directions: named},
		"Directions: do not go with DeepCache":                                  {Directions: named, DeepCache: 2},
		"GuideMethod: moments does not go with directions":                      {Directions: named, Guides: []Guide{{Kind: GuideColour, Colour: "#112233"}}},
		"Directions: must be at most 16, got 17":                                {Directions: make([]RequestDirection, 17)},
	} {
		_, err := m.Generate(context.Background(), r)
		require.ErrorContains(t, err, want)
	}
	_, err = FindDirection(context.Background(), m, "x", Request{Steps: 2}, Request{Steps: 3})
	require.ErrorContains(t, err, "both requests must have one sampler, schedule and number of steps")
}
