package sd

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/sd/control"
)

// arrays are tensors of float32 by their names.
type arrays map[string]struct {
	shape []int64
	data  []float32
}

func (a arrays) set(name string, shape []int64, data []float32) {
	a[name] = struct {
		shape []int64
		data  []float32
	}{shape, data}
}

func (a arrays) write(t *testing.T, path string) {
	t.Helper()
	var all []safetensors.Tensor
	for name, x := range a {
		var bytes []byte
		for _, v := range x.data {
			bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(v))
		}
		all = append(all, safetensors.Tensor{Name: name, DType: "F32", Shape: x.shape, Data: bytes})
	}
	slices.SortFunc(all, func(a, b safetensors.Tensor) int { return strings.Compare(a.Name, b.Name) })
	writeTensors(t, path, all)
}

// arraysOf are a model's tensors whose names begin with a prefix, without it.
func arraysOf(t *testing.T, m *convert.Model, prefix string) arrays {
	t.Helper()
	all := arrays{}
	for _, x := range m.Tensors {
		if name, ok := strings.CutPrefix(x.Name, prefix); ok {
			data := make([]float32, x.Elements())
			require.NoError(t, x.Float32(data))
			all.set(name, x.Shape, data)
		}
	}
	return all
}

// A file of differences, and a Control-LoRA, are the network whose weights are the UNet's and what
// the file has in addition.
func TestControlNetsThatChangeTheUNet(t *testing.T) {
	base := filepath.Join(netsFolder, "sd1.safetensors")
	model, err := convert.Open(base)
	require.NoError(t, err)
	t.Cleanup(func() { model.Close() })
	unet := arraysOf(t, model, convert.UNetPrefix)
	own, err := convert.OpenControlNet(filepath.Join(controlsFolder, "sd1.safetensors"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { own.Close() })
	net := arraysOf(t, own, convert.ControlPrefix)
	folder := t.TempDir()

	differences, lora, whole := arrays{}, arrays{}, arrays{}
	differences.set("difference", []int64{1}, []float32{1})
	lora.set("lora_controlnet", []int64{1}, []float32{1})
	r := rand.New(rand.NewPCG(1, 2))
	changed := 0
	for name, x := range net {
		of, shared := unet[name]
		if !shared {
			differences.set(name, x.shape, x.data)
			lora.set(name, x.shape, x.data)
			whole.set(name, x.shape, x.data)
			continue
		}
		minus := slices.Clone(x.data)
		for i := range minus {
			minus[i] -= of.data[i]
		}
		differences.set("control_model."+name, x.shape, minus)
		if len(x.shape) < 2 {
			whole.set(name, x.shape, of.data)
			continue
		}
		const rank = 3
		out, row := int(x.shape[0]), len(x.data)/int(x.shape[0])
		up, down := make([]float32, out*rank), make([]float32, rank*row)
		for i := range up {
			up[i] = float32(r.NormFloat64()) * 0.1
		}
		for i := range down {
			down[i] = float32(r.NormFloat64()) * 0.1
		}
		sum := slices.Clone(of.data)
		for o := range out {
			for k := range row {
				for i := range rank {
					sum[o*row+k] += up[o*rank+i] * down[i*row+k]
				}
			}
		}
		whole.set(name, x.shape, sum)
		layer := strings.TrimSuffix(name, ".weight")
		lora.set(layer+".up", append([]int64{int64(out), rank}, slices.Repeat([]int64{1}, len(x.shape)-2)...), up)
		lora.set(layer+".down", append([]int64{rank}, x.shape[1:]...), down)
		changed++
	}
	require.Greater(t, changed, 20)
	differences.write(t, filepath.Join(folder, "differences.safetensors"))
	lora.write(t, filepath.Join(folder, "lora.safetensors"))
	whole.write(t, filepath.Join(folder, "whole.safetensors"))

	given, ref := readReference(t, netsFolder, "reference.safetensors"), readReference(t, controlsFolder, "reference.safetensors")
	var in []cgo.Input
	for _, name := range []string{"t", "context"} {
		in = append(in, cgo.Input{Name: name, Shape: given.shape("sd1.unet." + name), F32: given.f32("sd1.unet." + name)})
	}
	x := cgo.Input{Name: "x", Shape: given.shape("sd1.unet.x"), F32: given.f32("sd1.unet.x")}
	run := func(path string, o Options) map[string][]float32 {
		c, err := OpenControl(path, o)
		require.NoError(t, err, path)
		t.Cleanup(func() { require.NoError(t, c.Close()) })
		n := c.(*ControlNet)
		r, err := n.Run(context.Background(), x, in, itemsOf(t, ref, n, "sd1.0.picture"), control.Residuals{}, false)
		require.NoError(t, err)
		return readResiduals(t, r)
	}
	for file, whole := range map[string]string{"differences.safetensors": filepath.Join(controlsFolder, "sd1.safetensors"), "lora.safetensors": filepath.Join(folder, "whole.safetensors")} {
		want := run(whole, Options{Type: "f32"})
		got := run(filepath.Join(folder, file), Options{Type: "f32", ControlBase: base})
		half := run(filepath.Join(folder, file), Options{ControlBase: base})
		require.Len(t, got, 5)
		for name := range want {
			requireClose(t, got[name], want[name], 2e-5, file+" "+name)
			requireClose(t, half[name], want[name], 5e-3, file+" "+name+" of 16 bits")
		}
		_, err := OpenControl(filepath.Join(folder, file), Options{})
		require.ErrorContains(t, err, "the model must be named")
		_, err = OpenControl(filepath.Join(folder, file), Options{ControlBase: filepath.Join(controlsFolder, "t2i-xl.safetensors")})
		require.Error(t, err)
	}
	for name, damage := range map[string]func(a arrays){
		"must have both up and down": func(a arrays) { delete(a, "input_blocks.1.0.in_layers.2.up") },
		"has no such layer":          func(a arrays) { a.set("input_blocks.9.0.up", []int64{1, 1}, []float32{1}) },
		"of one rank":                func(a arrays) { a.set("input_blocks.1.0.in_layers.2.up", []int64{32, 2}, make([]float32, 64)) },
		"NaN or infinite":            func(a arrays) { a["input_blocks.1.0.in_layers.2.up"].data[5] = float32(math.NaN()) },
		"middle_block_out":           func(a arrays) { delete(a, "middle_block_out.0.weight") },
	} {
		hostile := arrays{}
		for key, x := range lora {
			hostile.set(key, x.shape, slices.Clone(x.data))
		}
		damage(hostile)
		path := filepath.Join(folder, fmt.Sprintf("%x.safetensors", name))
		hostile.write(t, path)
		_, err := OpenControl(path, Options{ControlBase: base})
		require.ErrorContains(t, err, name, name)
		require.ErrorContains(t, err, path)
	}
	_, err = Open(base, Options{ControlBase: base})
	require.ErrorContains(t, err, "ControlBase is what OpenControl takes")
}
