package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/dtype"
)

// Weights of 16 bits are kept as far as half of the memory goes, quantized ones whole where they take
// little of it, and none by a lean host or a network that is not the denoiser.
func TestWhatMayBeKept(t *testing.T) {
	const most = 1 << 62 // more than there is
	quantized := &convert.Model{Tensors: []convert.Tensor{{Type: dtype.Q4_K, Shape: []int64{256, 512}}, {Type: dtype.F16, Shape: []int64{256, 256}}}}
	half := &convert.Model{Tensors: []convert.Tensor{{Type: dtype.Q4_K, Shape: []int64{256, 256}}, {Type: dtype.F16, Shape: []int64{256, 512}}}}
	for name, c := range map[string]struct {
		host  *Host
		some  uint64 // of 1 MB
		lots  bool   // something of more than there is
		never bool
	}{
		"half":               {host: &Host{Weights: half}, some: 1 << 20, lots: true},
		"quantized":          {host: &Host{Weights: quantized}, some: 1 << 20},
		"made half":          {host: &Host{Weights: quantized, options: Options{Type: "f16"}}, some: 1 << 20, lots: true},
		"made quantized":     {host: &Host{Weights: half, options: Options{Type: "q8_0"}}, some: 1 << 20},
		"with little memory": {host: &Host{Weights: half, options: Options{MaxMemory: 1 << 20}}, some: 1 << 19, lots: true},
		"lean":               {host: &Host{Weights: half, options: Options{Lean: true}}, never: true},
	} {
		require.Nil(t, c.host.keepFor(RoleText), name)
		keep := c.host.keepFor(RoleDenoiser)
		if c.never {
			require.Nil(t, keep, name)
			continue
		}
		require.Equal(t, c.some, keep(1<<20), name)
		require.Equal(t, c.lots, keep(most) > 0, name)
	}
}
