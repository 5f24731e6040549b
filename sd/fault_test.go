package sd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/csrc/fault"
	"github.com/sdgo/sdgo/sd/engine"
)

// The device of csrc/fault, "fault0", fails as it is told.

func TestMain(m *testing.M) {
	if _, err := exec.LookPath("go"); err != nil {
		os.Exit(m.Run()) // in an emulator; the tests of that device fail there
	}
	folder, err := os.MkdirTemp("", "sdgo-fault")
	if err == nil {
		_, err = fault.Build(folder, "fault")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Setenv(cgo.PluginPath, strings.TrimSuffix(folder+string(os.PathListSeparator)+os.Getenv(cgo.PluginPath), string(os.PathListSeparator)))
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

// free is the device's free memory.
func free(t *testing.T) uint64 {
	t.Helper()
	for _, d := range cgo.Devices() {
		if strings.EqualFold(d.Name, "fault0") {
			return d.Free
		}
	}
	require.Fail(t, "no fault0")
	return 0
}

var faultyRequest = Request{Prompt: "a", Width: 64, Height: 64, Steps: 2, Sampler: "euler"}

// Out of memory is an error that says how much was wanted; the model goes on.
func TestOutOfDeviceMemory(t *testing.T) {
	whole := free(t)
	m := openTiny(t, "sd1.safetensors", Options{Backend: "fault0"})
	t.Setenv("SDGO_FAULT_MEMORY", "100000")
	_, err := m.Generate(context.Background(), faultyRequest)
	var e *MemoryError
	require.ErrorAs(t, err, &e)
	require.Equal(t, "fault0", e.Device)
	require.Greater(t, e.Needed, uint64(100000))
	require.ErrorContains(t, err, "fault0: out of memory")
	require.Equal(t, uint64(100000), free(t), "nothing is left on the device")

	t.Setenv("SDGO_FAULT_MEMORY", "")
	os.Unsetenv("SDGO_FAULT_MEMORY")
	_, err = m.Generate(context.Background(), faultyRequest)
	require.NoError(t, err)
	t.Setenv("SDGO_FAULT", "memory")
	_, err = m.Generate(context.Background(), faultyRequest)
	require.ErrorAs(t, err, &e)
	t.Setenv("SDGO_FAULT", "throw")
	_, err = m.Generate(context.Background(), faultyRequest)
	require.ErrorContains(t, err, "DeviceLost")
	require.False(t, errors.As(err, &e))
	t.Setenv("SDGO_FAULT", "")
	_, err = m.Generate(context.Background(), faultyRequest)
	require.NoError(t, err)
	require.NotEqual(t, whole, free(t))
}

// Weights come to the device with progress; with Offload those of the text
// encoder and the autoencoder don't stay.
func TestUploads(t *testing.T) {
	whole := free(t)
	for _, offload := range []bool{false, true} {
		m, err := Open(filepath.Join(netsFolder, "sd1.safetensors"), Options{Backend: "fault0", Offload: offload})
		require.NoError(t, err)
		var uploads []Event
		r := faultyRequest
		r.OnEvent = func(e Event) error {
			if e.Stage == StageUpload {
				uploads = append(uploads, e)
			}
			return nil
		}
		_, err = m.Generate(context.Background(), r)
		require.NoError(t, err)
		require.NotEmpty(t, uploads)
		last := uploads[len(uploads)-1]
		require.Equal(t, last.Of, last.Index)

		unet, err := m.unet().Bytes()
		require.NoError(t, err)
		if offload { // nothing but the UNet is held
			held := free(t)
			m.texts()[0].Idle()
			m.kl().Decoder().Idle()
			require.Equal(t, held, free(t))
		}
		require.Greater(t, whole-free(t), unet)
		require.NoError(t, m.Close())
		require.Equal(t, whole, free(t))
	}
}

// An error of OnEvent ends the upload, too.
func TestUploadEnds(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Backend: "fault0"})
	stop := errors.New("stop")
	r := faultyRequest
	r.OnEvent = func(e Event) error {
		require.Equal(t, StageUpload, e.Stage)
		return stop
	}
	_, err := m.Generate(context.Background(), r)
	require.ErrorIs(t, err, stop)
}

// NaN where float16 overflows is computed again in float32, with one warning.
func TestBlackPictures(t *testing.T) {
	var warnings []string
	m := openTiny(t, "sd1.safetensors", Options{Backend: "text=cpu,vae=cpu,unet=fault0",
		Warn: func(text string) { warnings = append(warnings, text) }})
	t.Setenv("SDGO_FAULT", "nan")
	for range 2 {
		result, err := m.Generate(context.Background(), faultyRequest)
		require.NoError(t, err)
		require.Len(t, result.Images, 1)
	}
	require.Equal(t, []string{"the UNet overflowed in float16 and continues in float32"}, warnings)
}

func TestDeviceThatKnowsTooLittle(t *testing.T) {
	t.Setenv("SDGO_FAULT", "unknown")
	m := openTiny(t, "sd1.safetensors", Options{Backend: "text=cpu,vae=cpu,unet=fault0"})
	_, err := m.Generate(context.Background(), faultyRequest)
	require.ErrorContains(t, err, "Fault0 does not compute GROUP_NORM")
}

// The model is told what a device has; where it is too little the weights come
// in groups.
func TestShortMemory(t *testing.T) {
	m := openTiny(t, "sd1.safetensors", Options{Backend: "fault0", Offload: true})
	require.Zero(t, m.unet().Streams())
	var unet engine.Demand
	comes := uint64(0)
	for _, d := range m.host().Demands() {
		if d.Network == m.unet() {
			unet = d
		} else {
			comes = max(comes, d.Weights+d.Graph)
		}
	}
	before := free(t)
	limit := comes + unet.Graph + unet.Weights*3/4
	small := openTiny(t, "sd1.safetensors", Options{Backend: "fault0", Offload: true, MaxMemory: limit})
	require.Equal(t, unet.Weights*3/4, small.unet().Streams())
	_, err := small.Generate(context.Background(), faultyRequest)
	require.NoError(t, err)
	require.LessOrEqual(t, before-free(t), limit)
}
