package cli

import (
	"bytes"
	"encoding/json"
	"image"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"

	"github.com/sdgo/sdgo/sampler"
	"github.com/sdgo/sdgo/sd"
)

func TestHelp(t *testing.T) {
	var r run
	app := r.app()
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}} {
		o := sdgo(t, args...)
		require.Equal(t, ExitOK, o.code)
		require.Empty(t, o.errors)
		for _, c := range app.Commands {
			require.Contains(t, o.out, "sdgo "+c.Name)
		}
	}
	for _, c := range app.Commands {
		for _, args := range [][]string{{"help", c.Name}, {c.Name, "--help"}, {c.Name, "-h"}} {
			o := sdgo(t, args...)
			require.Equal(t, ExitOK, o.code)
			require.Empty(t, o.errors)
			require.Contains(t, o.out, c.Usage)
			for _, f := range c.Flags {
				require.Contains(t, o.out, "--"+f.Names()[0])
			}
			require.Less(t, strings.Count(o.out, "\n"), 64)
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
	var list struct{ Samplers, Schedules []listing }
	require.NoError(t, json.Unmarshal([]byte(sdgo(t, "samplers", "--json").out), &list))
	require.Len(t, list.Samplers, len(sampler.Samplers()))
	require.Len(t, list.Schedules, len(sampler.Schedules()))
	require.Contains(t, sdgo(t, "samplers", "--aliases").out, "DPMSolverMultistepScheduler")
}

// Flags may stand behind arguments; the numbers are k-diffusion's.
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

func TestByteSize(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 9_999: "10.0 kB", 123_456: "123 kB", 999_600: "1.00 MB", 2_132_000_000: "2.13 GB"} {
		require.Equal(t, want, byteSize(n))
	}
}

// On a terminal there is a bar with the time of a step, which leaves nothing
// behind on its line.
func TestBars(t *testing.T) {
	var w bytes.Buffer
	b := &bars{w: &w}
	b.loaded("tiny", 2, time.Second)
	for i := 1; i <= 3; i++ {
		b.progress(sd.Event{Stage: sd.StageSample, Index: i, Of: 3, Elapsed: time.Duration(i) * 1500 * time.Millisecond})
	}
	b.progress(sd.Event{Stage: sd.StageDecode, Index: 1, Of: 4, Elapsed: time.Second})
	b.saved(sd.Event{Stage: sd.StageImage, Image: &sd.Image{Image: image.NewNRGBA(image.Rect(0, 0, 8, 8)),
		Params: sd.Params{Request: sd.Request{Seed: 5, Steps: 3, Sampler: "euler"}}}}, "out.png")
	for _, s := range []string{"text", "picture 1, 1.5 s/step", "(2/3)", "decoding", "(1/4)", "out.png: seed 5, 8x8, 3 steps of euler\n"} {
		require.Contains(t, w.String(), s)
	}
	// Of pictures drawn together one has the bar.
	w2 := &bytes.Buffer{}
	together := &bars{w: w2}
	for i := 1; i <= 3; i++ {
		for picture := range 3 {
			together.progress(sd.Event{Stage: sd.StageSample, Picture: picture, Index: i, Of: 3, Elapsed: time.Second})
		}
	}
	require.Contains(t, w2.String(), "picture 1")
	require.NotContains(t, w2.String(), "picture 2")

	last := w.String()[:strings.Index(w.String(), "out.png")]
	require.True(t, strings.HasSuffix(last, "\r"), "%q", last)
	b.close()
}
