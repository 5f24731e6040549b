package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
)

// The order of devices that auto tries.
func TestCandidates(t *testing.T) {
	all := []cgo.DeviceInfo{
		{Name: "CPU", Kind: cgo.CPU, Free: 100},
		{Name: "BLAS", Kind: cgo.Accelerator},
		{Name: "Vulkan0", Kind: cgo.GPU, Free: 30},
		{Name: "Vulkan1", Kind: cgo.IGPU, Free: 60},
		{Name: "Vulkan2", Kind: cgo.GPU, Free: 90, Software: true},
		{Name: "CUDA0", Kind: cgo.GPU, Free: 10},
		{Name: "CUDA1", Kind: cgo.GPU, Free: 20},
	}
	var names []string
	for _, d := range candidates(all) {
		names = append(names, d.Name)
	}
	require.Equal(t, "CUDA1 CUDA0 Vulkan0 Vulkan1 CPU", strings.Join(names, " "))
}

// If memory is short, the UNet's weights are streamed in groups that leave room for
// everything else.
func TestPlan(t *testing.T) {
	device := cgo.DeviceInfo{Index: 7, Kind: cgo.GPU, Free: 1000}
	for _, c := range []struct {
		max     uint64
		offload bool
		fits    bool
		stream  uint64
		taken   uint64
	}{
		{1000, false, true, 0, 600 + 50 + 100 + 80}, // text 100+10, unet 600+50, vae 80+70: with all of it 900
		{899, false, false, 599, 599 + 50 + 100 + 80},
		{300, false, false, 1, 1 + 50 + 100 + 80}, // 300 are not even enough for the rest
		{800, true, true, 0, 650},                 // 650, and at most 150 for the rest
		{500, true, false, 300, 350},
	} {
		h := &Host{options: Options{MaxMemory: c.max}, reserved: map[int]uint64{}}
		unet := &Network{device: device, role: RoleDenoiser}
		text, vae := &Network{device: device, offload: c.offload}, &Network{device: device, offload: c.offload}
		fits := h.planDevice(device, []Demand{{text, 100, 10}, {unet, 600, 50}, {vae, 80, 70}}, cgo.OpChoice{FlashAttention: true})
		require.Equal(t, c.fits, fits, fmt.Sprint(c))
		require.Equal(t, c.stream, unet.stream, fmt.Sprint(c))
		require.Equal(t, c.taken, h.reserved[7], fmt.Sprint(c))
		require.True(t, vae.ops.FlashAttention)
		require.Zero(t, h.Room(device)-(c.max-min(c.max, c.taken)))
	}
}
