package cli

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}} {
		o := sdgo(t, args...)
		require.Equal(t, ExitOK, o.code)
		require.Empty(t, o.errors)
		for _, c := range commands() {
			require.Contains(t, o.out, "sdgo "+c.name)
		}
	}
	for _, c := range commands() {
		for _, args := range [][]string{{"help", c.name}, {c.name, "--help"}, {c.name, "-h"}} {
			o := sdgo(t, args...)
			require.Equal(t, ExitOK, o.code)
			require.Empty(t, o.errors)
			require.Contains(t, o.out, c.usage)
			for _, f := range c.flags {
				require.Contains(t, o.out, "--"+f.Names()[0])
			}
			require.Less(t, strings.Count(o.out, "\n"), 122) // two screens
		}
	}
}

func TestVersion(t *testing.T) {
	for _, arg := range []string{"version", "--version", "-v"} {
		require.True(t, strings.HasPrefix(sdgo(t, arg).out, "sdgo "+sd.Version+" ("))
	}
}

func TestSamplers(t *testing.T) {
	o := sdgo(t, "samplers")
	for _, s := range sampler.Samplers() {
		require.Contains(t, o.out, "  "+s.Name+" ")
	}
	for _, s := range sampler.Schedules() {
		require.Contains(t, o.out, "  "+s.Name+" ")
	}
	for _, g := range sampler.Guiders() {
		require.Equal(t, !g.Repeats, strings.Contains(o.out, "  "+g.Name+" "))
	}
	require.Contains(t, o.out, "with phi 0.7, every 1, start 0, stop 1, sigma_min 0, sigma_max\n")
	_, ofFlows, _ := strings.Cut(o.out, "schedules of flow models\n")
	ofFlows, _, _ = strings.Cut(ofFlows, "\n\n")
	require.Contains(t, ofFlows, "  linear ")
	require.NotContains(t, ofFlows, "  karras ")
	var list struct{ Samplers, Schedules, Guidance []listing }
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "samplers", "--json").out), &list))
	require.Len(t, list.Samplers, len(sampler.Samplers()))
	require.Len(t, list.Schedules, len(sampler.Schedules()))
	require.Equal(t, "phi", list.Guidance[1].Parameters[0].Name)
	require.Nil(t, list.Guidance[0].Parameters[5].Default, "sigma_max has no bound")
	require.Contains(t, sdgo(t, "samplers", "--aliases").out, "DPMSolverMultistepScheduler")
}

// The numbers are k-diffusion's.
func TestSigmas(t *testing.T) {
	lines := strings.Fields(sdgo(t, "sigmas", "--steps=10", "--schedule", "karras").out)
	require.Len(t, lines, 11)
	first, err := strconv.ParseFloat(lines[0], 64)
	require.NoError(t, err)
	require.InDelta(t, 14.6146, first, 1e-4)
	require.Equal(t, "0", lines[10])
	var list []float64
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "sigmas", "--json").out), &list))
	require.Len(t, list, 21)
}

func TestDevices(t *testing.T) {
	require.Contains(t, sdgo(t, "devices").out, "cpu")
	t.Setenv("SDGO_KERNELS", "generic")
	require.Contains(t, sdgo(t, "devices").out, "cpu computes with the kernels generic; SDGO_KERNELS can be ggml, generic")
	t.Setenv("SDGO_KERNELS", "mmx")
	require.Contains(t, sdgo(t, "devices").errors, `SDGO_KERNELS: kernels "mmx": must be one of ggml, generic`)
	t.Setenv("SDGO_KERNELS", "")
	var all []device
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "devices", "--json").out), &all))
	require.Contains(t, all, device{Name: "cpu", Kind: "CPU", Description: all[0].Description, Free: all[0].Free, Total: all[0].Total,
		Kernels: cgo.KernelNames()[len(cgo.KernelNames())-1], KernelSets: cgo.KernelNames()})
}
