package cgo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/csrc/fault"
)

// The device of csrc/fault stands for a GPU that is lost, full or slow.

var buildFault = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "sdgo-fault")
	if err != nil {
		return "", err
	}
	return fault.Build(folder, "fault")
})

var loadFault = sync.OnceValue(func() error {
	path, err := buildFault()
	if err != nil {
		return err
	}
	return loadPlugin(path)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildFault(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// faulty is the device, as it is now.
func faulty(t *testing.T) DeviceInfo {
	t.Helper()
	require.NoError(t, loadFault())
	for _, d := range LinkedDevices() {
		if d.Name == "Fault0" {
			return d
		}
	}
	require.Fail(t, "the plugin's device is not there")
	return DeviceInfo{}
}

// faultyNet is a loaded net on the device.
func faultyNet(t *testing.T, l Loading) (*Net, error) {
	t.Helper()
	d := faulty(t)
	net, err := NewNet("unet", unetParams(), Config{Threads: 1, Device: d.Index})
	require.NoError(t, err)
	t.Cleanup(net.Close)
	for i, w := range net.Weights() {
		require.NoError(t, net.Bind(i, 0, bytesOf(make([]float32, elements(w.Shape)))))
	}
	return net, net.LoadWith(context.Background(), l)
}

func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}

func runFaulty(net *Net) error {
	return net.Run(context.Background(), unetInputs(8), []Output{{Name: "out", Data: make([]float32, 256)}})
}

func TestPluginsThatDoNotLoad(t *testing.T) {
	folder, err := os.MkdirTemp("", "sdgo-plugins")
	require.NoError(t, err)
	defer os.RemoveAll(folder) // as far as it goes: Windows keeps a library that is loaded
	good, err := buildFault()
	require.NoError(t, err)
	library, err := os.ReadFile(good)
	require.NoError(t, err)
	file := func(name string, data []byte) string {
		path := filepath.Join(folder, "libggml-"+name+fault.Ending())
		require.NoError(t, os.WriteFile(path, data, 0o755))
		return path
	}
	built := func(name string) string {
		require.Contains(t, fault.Broken, name)
		path, err := fault.Build(folder, name)
		require.NoError(t, err)
		return path
	}
	require.ErrorIs(t, loadPlugin(filepath.Join(folder, "libggml-none"+fault.Ending())), fs.ErrNotExist)
	require.NoError(t, os.Mkdir(filepath.Join(folder, "libggml-folder"+fault.Ending()), 0o755))
	for path, want := range map[string]string{
		filepath.Join(folder, "libggml-folder"+fault.Ending()): "not a regular file",
		file("empty", nil):                                  "not a shared library",
		file("text", []byte("this is a plugin")):            "not a shared library",
		file("cut", library[:len(library)/3]):               "",
		file("cut2", library[:len(library)-len(library)/4]): "",
		built("stamp"):                                      "not a plugin built for sdgo",
		built("old"):                                        `got "v0.1.0"`,
		built("api"):                                        "incompatible API version",
		built("null"):                                       "returned NULL",
		built("deviceless"):                                 "no device",
	} {
		err := loadPlugin(path)
		require.Error(t, err, path)
		require.ErrorContains(t, err, want, path)
	}
	// All that is there is found, the first of each name, and the core is none.
	file("base", nil)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "libsdgo-ggml-base"+fault.Ending()), nil, 0o755))
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "libggml-cut"+fault.Ending()), nil, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(other, "libggml-vulkan"+fault.Ending()), nil, 0o755))
	found := findPlugins([]string{filepath.Join(folder, "nowhere"), folder, other})
	require.Contains(t, found, filepath.Join(other, "libggml-vulkan"+fault.Ending()))
	require.Contains(t, found, filepath.Join(folder, "libggml-cut"+fault.Ending()))
	require.NotContains(t, found, filepath.Join(other, "libggml-cut"+fault.Ending()))
	require.NotContains(t, strings.Join(found, " "), "base")
}

// Nothing of a file runs before it is known to be a plugin for this program.
func TestPluginsAreReadBeforeTheyRun(t *testing.T) {
	folder, err := os.MkdirTemp("", "sdgo-plugins")
	require.NoError(t, err)
	defer os.RemoveAll(folder) // as far as it goes: Windows keeps a library that is loaded
	mark := filepath.Join(folder, "ran")
	t.Setenv("SDGO_FAULT_MARK", mark)
	for _, name := range []string{"stamp", "old"} {
		path, err := fault.Build(folder, name)
		require.NoError(t, err)
		require.Error(t, loadPlugin(path))
		require.NoFileExists(t, mark, name)
	}
	path, err := fault.Build(folder, "null")
	require.NoError(t, err)
	require.Error(t, loadPlugin(path))
	require.FileExists(t, mark, "one with the right stamp does run")
}

// Folders that others can write to count only where the environment names them.
func TestPluginsOfOthersAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there is no such bit
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "libggml-x.so")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.NoError(t, errors.Join(checkTrust(folder), checkTrust(file)))
	require.NoError(t, os.Chmod(folder, 0o777|os.ModeSticky))
	require.ErrorContains(t, checkTrust(folder), "in a folder that everybody can write to; SDGO_BACKEND_PATH names folders that are trusted")
	require.NoError(t, os.Chmod(file, 0o646))
	require.ErrorContains(t, checkTrust(file), "a file that everybody can write to")
	require.Error(t, checkTrust(filepath.Join(folder, "none")))
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chmod(file, 0o644))
		require.NoError(t, os.Chown(file, 12345, 12345))
		require.ErrorContains(t, checkTrust(file), "belongs to another user")
	}
}

func TestPluginFolders(t *testing.T) {
	t.Setenv(PluginPath, strings.Join([]string{"/one", "", "/two"}, string(os.PathListSeparator)))
	named, own := pluginFolders()
	require.Equal(t, []string{"/one", "/two"}, named)
	program, err := os.Executable()
	require.NoError(t, err)
	program, err = filepath.EvalSymlinks(program)
	require.NoError(t, err)
	here := filepath.Dir(program)
	require.Equal(t, []string{here, filepath.Join(here, "../lib/sdgo"), filepath.Join(here, "lib/sdgo")}, own)
}

// However a device fails during a step, the run returns an error, nothing is left on the
// device, and the next run works if the device does.
func TestDevicesThatFail(t *testing.T) {
	before := faulty(t).Free
	for kind, want := range map[string]struct {
		code Code
		text string
	}{
		"throw":  {Device, "ErrorDeviceLost"},
		"abort":  {Device, "illegal memory access"},
		"fail":   {Device, "failed while computing"},
		"memory": {NoMemory, "ErrorOutOfDeviceMemory"},
	} {
		t.Run(kind, func(t *testing.T) {
			net, err := faultyNet(t, Loading{})
			require.NoError(t, err)
			require.NoError(t, runFaulty(net))
			t.Setenv("SDGO_FAULT", kind)
			for range 2 {
				err = runFaulty(net)
				var e *Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, want.code, e.Code)
				require.ErrorContains(t, err, want.text)
			}
			t.Setenv("SDGO_FAULT", "")
			require.NoError(t, runFaulty(net))
			t.Setenv("SDGO_FAULT", kind) // freeing does not fail
		})
		require.Equal(t, before, faulty(t).Free, "memory is left on the device")
	}
}

func TestFullDevices(t *testing.T) {
	const kB = 1024
	before := faulty(t).Free
	t.Setenv("SDGO_FAULT_MEMORY", fmt.Sprint(64*kB))
	_, err := faultyNet(t, Loading{})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, NoMemory, e.Code)
	require.Greater(t, e.Needed, uint64(64*kB))
	require.Equal(t, uint64(64*kB), faulty(t).Free)

	// The weights fit, the graph does not; a smaller one does.
	t.Setenv("SDGO_FAULT_MEMORY", fmt.Sprint(1<<30))
	net, err := faultyNet(t, Loading{})
	require.NoError(t, err)
	taken := before - faulty(t).Free
	small, err := net.Estimate(context.Background(), unetInputs(8), []Output{{Name: "out"}})
	require.NoError(t, err)
	t.Setenv("SDGO_FAULT_MEMORY", fmt.Sprint(taken+2*small))
	large := unetInputs(64)
	err = net.Run(context.Background(), large, []Output{{Name: "out", Data: make([]float32, 4*64*64)}})
	require.ErrorAs(t, err, &e)
	require.Equal(t, NoMemory, e.Code)
	require.Greater(t, e.Needed, 2*small)
	require.NoError(t, runFaulty(net))
}

// An estimate is possible before there are weights, and says the same.
func TestEstimateWithoutWeights(t *testing.T) {
	d := faulty(t)
	bare, err := NewNet("unet", unetParams(), Config{Threads: 1, Device: d.Index})
	require.NoError(t, err)
	defer bare.Close()
	early, err := bare.Estimate(context.Background(), unetInputs(16), []Output{{Name: "out"}})
	require.NoError(t, err)
	net, err := faultyNet(t, Loading{})
	require.NoError(t, err)
	late, err := net.Estimate(context.Background(), unetInputs(16), []Output{{Name: "out"}})
	require.NoError(t, err)
	require.Equal(t, late, early)
	require.Positive(t, early)
}

func TestUnload(t *testing.T) {
	before := faulty(t).Free
	net, err := faultyNet(t, Loading{Keep: true})
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, runFaulty(net))
		require.Less(t, faulty(t).Free, before)
		net.Unload()
		require.Equal(t, before, faulty(t).Free)
	}
	require.NoError(t, runFaulty(net))

	// Without Keep nothing can be brought back, so nothing goes.
	net, err = faultyNet(t, Loading{})
	require.NoError(t, err)
	net.Unload()
	require.NoError(t, runFaulty(net))
}

// Weights that come in groups take no more than they may.
func TestGroupsOfWeights(t *testing.T) {
	before := faulty(t).Free
	var all uint64
	t.Run("all at once", func(t *testing.T) {
		_, err := faultyNet(t, Loading{})
		require.NoError(t, err)
		all = before - faulty(t).Free
	})

	net, err := faultyNet(t, Loading{Memory: all / 2})
	require.NoError(t, err)
	require.LessOrEqual(t, before-faulty(t).Free, all/2)
	for range 3 {
		require.NoError(t, runFaulty(net))
	}
	t.Setenv("SDGO_FAULT", "throw")
	require.Error(t, runFaulty(net))
	t.Setenv("SDGO_FAULT", "")
	require.NoError(t, runFaulty(net))
	net.Unload()
	require.Equal(t, before, faulty(t).Free)
	require.NoError(t, runFaulty(net))

	_, err = faultyNet(t, Loading{Memory: 1000})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, NoMemory, e.Code)
	require.Greater(t, e.Needed, uint64(1000))
	require.Less(t, e.Needed, all)
}

func TestUnknownOperators(t *testing.T) {
	d := faulty(t)
	t.Setenv("SDGO_FAULT", "unknown")
	_, err := faultyNet(t, Loading{})
	require.ErrorContains(t, err, "Fault0 does not compute GROUP_NORM")

	// bf16 is not known to the device: such weights become float32.
	t.Setenv("SDGO_FAULT", "")
	net, err := NewNet("unet", unetParams(), Config{Threads: 1, Device: d.Index})
	require.NoError(t, err)
	defer net.Close()
	for i, w := range net.Weights() {
		require.NoError(t, net.Bind(i, 30, make([]byte, 2*elements(w.Shape))))
	}
	require.NoError(t, net.Load())
	require.NoError(t, runFaulty(net))
}

// On a GPU a run ends within a piece of its graph.
func TestCancelOnDevice(t *testing.T) {
	net, err := faultyNet(t, Loading{})
	require.NoError(t, err)
	require.NoError(t, runFaulty(net))
	t.Setenv("SDGO_FAULT", "slow")
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("the user went away")
	var cancelled time.Time
	time.AfterFunc(10*time.Millisecond, func() { cancelled = time.Now(); cancel(reason) })
	for err == nil {
		err = net.Run(ctx, unetInputs(8), []Output{{Name: "out", Data: make([]float32, 256)}})
	}
	late := time.Since(cancelled)
	require.ErrorIs(t, err, reason)
	require.Less(t, late, time.Second)
	t.Setenv("SDGO_FAULT", "")
	require.NoError(t, runFaulty(net))
}

func TestTwoAtOnceOnOneDevice(t *testing.T) {
	before := faulty(t).Free
	t.Run("nets", func(t *testing.T) {
		var all sync.WaitGroup
		for range 2 {
			net, err := faultyNet(t, Loading{Keep: true})
			require.NoError(t, err)
			all.Go(func() {
				for range 20 {
					if err := runFaulty(net); err != nil {
						t.Error(err)
					}
					net.Unload()
				}
			})
		}
		all.Wait()
	})
	require.Equal(t, before, faulty(t).Free)
}

func TestTune(t *testing.T) {
	d := faulty(t)
	before := d.Free
	_, err := Tune(d)
	require.NoError(t, err)
	require.Equal(t, before, faulty(t).Free)
	t.Setenv("SDGO_FAULT", "throw")
	_, err = Tune(d)
	require.ErrorContains(t, err, "ErrorDeviceLost")
	require.Equal(t, before, faulty(t).Free)
}

// Every choice of operators gives the same numbers, on the CPU with ggml's
// operators, but for what float16 loses.
func TestOpChoicesAgree(t *testing.T) {
	// Weights of float32 ask for float32 everywhere, so these are float16.
	half := func(w OpChoice) []float32 {
		net, err := NewNet("unet", unetParams(), Config{Threads: 1, Kernels: GGML})
		require.NoError(t, err)
		t.Cleanup(net.Close)
		r := rand.New(rand.NewPCG(1, 2))
		for i, w := range net.Weights() {
			n := elements(w.Shape)
			data := make([]float32, n)
			for j := range data {
				data[j] = float32(r.NormFloat64()) / float32(math.Sqrt(float64(n/w.Shape[0])+8))
			}
			b := make([]byte, 2*n)
			require.NoError(t, Quantize(1, b, data, int(w.Shape[len(w.Shape)-1]), nil))
			require.NoError(t, net.Bind(i, 1, b))
		}
		require.NoError(t, net.Load())
		net.Choose(w)
		return run(t, net, 8)
	}
	want := half(OpChoice{DirectConv: true, Float32: true})
	for w, bound := range map[OpChoice]float64{
		{DirectConv: true}:                                       5e-3,
		{DirectConv: false}:                                      5e-3,
		{DirectConv: true, FlashAttention: true}:                 5e-3,
		{DirectConv: false, FlashAttention: true, Float32: true}: 5e-3,
	} {
		got := half(w)
		var difference, size float64
		for i := range want {
			d := float64(got[i] - want[i])
			difference += d * d
			size += float64(want[i]) * float64(want[i])
		}
		t.Logf("%+v: relative RMS error %.2g", w, math.Sqrt(difference/size))
		require.LessOrEqual(t, math.Sqrt(difference/size), bound, "%+v", w)
	}
}
