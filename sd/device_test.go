package sd

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// testDevice is the device that the tests below are to run on, by its name in
// SDGO_TEST_DEVICE: `make gpu` sets it. They fail where it is not there.
func testDevice(t *testing.T) string {
	t.Helper()
	name := os.Getenv("SDGO_TEST_DEVICE")
	if name == "" {
		t.Skip("SDGO_TEST_DEVICE names no device; make gpu does")
	}
	require.NoError(t, CheckBackend(name))
	return name
}

// deviceBounds are the relative RMS errors that networks may have on a GPU
// against the reference libraries in float32. Vulkan in software, where `make
// gpu` has it compute in float32, gives 3.3e-6 at most with both; the room is
// for GPUs that multiply in float16. Its compiler takes minutes for quantized
// weights, which are left out.
var deviceBounds = []struct {
	name    string
	options Options
	bound   float64
}{
	{"f32", Options{Type: "f32"}, 2e-5},
	{"f16", Options{}, 6e-3},
}

func TestNetsOnDevice(t *testing.T) {
	device := testDevice(t)
	ref := readReference(t, netsFolder, "reference.safetensors")
	for _, b := range deviceBounds {
		b.options.Backend = device
		m := openTiny(t, "sd1.safetensors", b.options)
		for _, c := range netCases("sd1") {
			t.Run(b.name+"/"+c.name, func(t *testing.T) { runCase(t, ref, m, "sd1.", c, b.bound) })
		}
	}
	b := deviceBounds[0]
	b.options.Backend = device
	for _, c := range netCases("sd2") {
		t.Run("sd2/"+c.name, func(t *testing.T) {
			runCase(t, ref, openTiny(t, "sd2.safetensors", b.options), "sd2.", c, b.bound)
		})
	}
	xl := readReference(t, xlFolder, "reference.safetensors")
	for _, model := range []string{"base", "refiner"} {
		t.Run("xl/"+model, func(t *testing.T) {
			c := netCase{"unet", (*Model).unet,
				map[string]string{"x": "unet.x", "t": "unet.t", "context": "unet.context", "y": "unet.y"}, "out", "unet.out"}
			runCase(t, xl, openXL(t, model, b.options), model+".", c, 3*b.bound)
		})
	}
}

func TestUpscalersOnDevice(t *testing.T) {
	device := testDevice(t)
	ref := readReference(t, upscaleFolder, "reference.safetensors")
	for name, want := range map[string]string{"x4.pth": "x4", "x2.safetensors": "x2"} {
		requireUpscaled(t, ref, openESRGAN(t, name, Options{Type: "f32", Backend: device}), want, 0)
	}
}

func drawTiny(t *testing.T, o Options, change func(*Request)) *image.NRGBA {
	t.Helper()
	r := Request{Prompt: "a red apple", NegativePrompt: "a table", Width: 64, Height: 64, Steps: 3, Sampler: "euler", Seed: 42}
	change(&r)
	result, err := openTiny(t, "sd1.safetensors", o).Generate(context.Background(), r)
	require.NoError(t, err)
	return result.Images[0].Image
}

// drawInGroups draws with weights that come to a device in groups: with half of what the UNet takes.
func drawInGroups(t *testing.T, device string) *image.NRGBA {
	t.Helper()
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Backend: device})
	all, comes := uint64(0), uint64(0)
	for _, d := range m.host().Demands() {
		if d.Network == m.unet() {
			all += d.Weights/2 + d.Graph
		} else {
			all, comes = all+d.Weights, max(comes, d.Graph)
		}
	}
	m = openTiny(t, "sd1.safetensors", Options{Type: "f32", Backend: device, MaxMemory: all + comes})
	require.NotZero(t, m.unet().Streams())
	result, err := m.Generate(context.Background(), Request{Prompt: "a red apple", NegativePrompt: "a table", Width: 64, Height: 64, Steps: 3, Sampler: "euler", Seed: 42})
	require.NoError(t, err)
	return result.Images[0].Image
}

// A whole request gives the CPU's picture, however the parts are spread.
func TestPicturesOnDevice(t *testing.T) {
	device := testDevice(t)
	same := func(*Request) {}
	want := drawTiny(t, Options{Type: "f32", Backend: "cpu"}, same)
	for _, o := range []Options{
		{Backend: device},
		{Backend: "text=cpu,vae=cpu,unet=" + device},
		{Backend: "text=cpu,unet=cpu,vae=" + device, Offload: true},
		{Backend: device, Offload: true},
	} {
		o.Type = "f32"
		require.Greater(t, psnr(want, drawTiny(t, o, same)), 50.0, "%+v", o)
	}
	if device != "cpu" { // which has its weights where they are
		require.Greater(t, psnr(want, drawInGroups(t, device)), 50.0, "weights in groups")
	}

	img := drawTiny(t, Options{Type: "f32", Backend: "cpu"}, func(r *Request) { r.Image, r.Strength = want, Float(0.7) })
	got := drawTiny(t, Options{Type: "f32", Backend: device}, func(r *Request) { r.Image, r.Strength = want, Float(0.7) })
	require.Greater(t, psnr(img, got), 50.0, "from a picture")
}

// Two goroutines on one device: no crash, and their pictures.
func TestTwoAtOnceOnDevice(t *testing.T) {
	device := testDevice(t)
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Backend: device, Offload: true})
	request := func(seed int64) Request {
		return Request{Prompt: "a", Width: 32, Height: 32, Steps: 2, Sampler: "euler", Seed: seed}
	}
	var want [2]*image.NRGBA
	for i := range want {
		result, err := m.Generate(context.Background(), request(int64(i)))
		require.NoError(t, err)
		want[i] = result.Images[0].Image
	}
	var all sync.WaitGroup
	for i := range want {
		all.Go(func() {
			for range 2 {
				result, err := m.Generate(context.Background(), request(int64(i)))
				if err != nil {
					t.Error(err)
					return
				}
				if p := psnr(want[i], result.Images[0].Image); !(p > 50) {
					t.Errorf("seed %d alone and beside another: %.1f dB", i, p)
				}
			}
		})
	}
	all.Wait()
}

func TestCancelOnDevice(t *testing.T) {
	device := testDevice(t)
	m := openTiny(t, "sd1.safetensors", Options{Type: "f32", Backend: device})
	ctx, cancel := context.WithCancel(context.Background())
	r := Request{Prompt: "a", Width: 64, Height: 64, Steps: 100, Sampler: "euler"}
	r.OnEvent = func(e Event) error {
		if e.Stage == StageSample && e.Index == 2 {
			cancel()
		}
		return nil
	}
	_, err := m.Generate(ctx, r)
	require.ErrorIs(t, err, context.Canceled)
	r.OnEvent, r.Steps = nil, 2
	_, err = m.Generate(context.Background(), r)
	require.NoError(t, err)
}

func TestBackends(t *testing.T) {
	for _, good := range []string{"", "auto", "cpu", "CPU", "unet=cpu", "unet=cpu,text=auto, vae=cpu,upscale=cpu"} {
		require.NoError(t, CheckBackend(good), good)
	}
	for bad, want := range map[string]string{
		"abacus":            `must be one of auto, cpu`,
		"unet=abacus":       `got "abacus"`,
		"engine=cpu":        "the parts are text, unet, vae, upscale",
		"unet=cpu,unet=cpu": "it must name one device for each part",
		"unet=cpu,":         "it must name one device for each part",
		"cpu,vae=cpu":       "it must name one device for each part",
	} {
		require.ErrorContains(t, CheckBackend(bad), want, bad)
	}
	_, err := Open(filepath.Join(netsFolder, "sd1.safetensors"), Options{Backend: "unet=abacus"})
	require.ErrorContains(t, err, "abacus")
}

// Models of full size, SDGO_FULL_SIZE, a list of files, draw the CPU's picture on a device, with their
// own weights and in 8 bits: bench/gpu.sh writes some with random weights. SDGO_FULL_SIZE_SIDE is the
// side of pictures, 256 by default.
func TestFullSizeOnDevice(t *testing.T) {
	device := testDevice(t)
	files := filepath.SplitList(os.Getenv("SDGO_FULL_SIZE"))
	if len(files) == 0 {
		t.Skip("SDGO_FULL_SIZE names no model's file; bench/gpu.sh does")
	}
	side := 256
	if text := os.Getenv("SDGO_FULL_SIZE_SIDE"); text != "" {
		var err error
		side, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	for _, file := range files {
		for _, kind := range []string{"", "q8_0"} {
			t.Run(filepath.Base(file)+"/"+kind, func(t *testing.T) {
				draw := func(backend string) (*image.NRGBA, time.Duration) {
					m, err := Open(file, Options{Type: kind, Backend: backend})
					require.NoError(t, err)
					defer m.Close()
					start := time.Now()
					result, err := m.Generate(t.Context(), Request{Prompt: "a red apple", NegativePrompt: "a table", Width: side, Height: side, Steps: 3, Sampler: "euler", Seed: 42})
					require.NoError(t, err)
					return result.Images[0].Image, time.Since(start)
				}
				want, cpu := draw("cpu")
				got, gpu := draw(device)
				t.Logf("%.1f dB to the CPU's picture; %.1f s, the CPU %.1f s", psnr(want, got), gpu.Seconds(), cpu.Seconds())
				require.Greater(t, psnr(want, got), 40.0)
			})
		}
	}
}
