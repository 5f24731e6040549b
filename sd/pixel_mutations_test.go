package sd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/cgo"
	"github.com/sdgo/sdgo/convert"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/mutate"
	"github.com/sdgo/sdgo/sd/engine"
)

// Files of models on pixels, and of others without text, that are wrong in few places are opened and run: whatever is
// said of them, nothing panics nor hangs.
func TestPixelMutations(t *testing.T) {
	n, first := setting(t, "SDGO_MUTATIONS", 40), setting(t, "SDGO_MUTATIONS_FROM", 0)
	for _, file := range []string{"guided", "classifier", "edm-ncsnpp", "edm-guided", "ncsnpp", "ddpmpp", "score-ddpm", "dit", "edm2", "cin", "churches", "../deepfloyd/stage-1", "../deepfloyd/stage-2"} {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join(pixelFolder, file+".safetensors"))
			require.NoError(t, err)
			parsed, err := safetensors.Parse(data)
			require.NoError(t, err)
			m := &mutate.Model{Meta: parsed.Metadata}
			for _, x := range parsed.Tensors {
				typ, _ := model.TypeOf(x.DType)
				m.Tensors = append(m.Tensors, mutate.Tensor{Name: x.Name, Type: typ, Shape: x.Shape, Data: x.Data})
			}
			require.NoError(t, openAndRun(file, m.Safetensors(mutate.NewScript(nil))), "without a change")
			ran := 1
			for i := range n {
				name := fmt.Sprintf("%s %d", file, first+i)
				err := openAndRun(name, m.Safetensors(mutate.Random(uint64(first+i))))
				requireNoFault(t, name, err)
				if err == nil {
					ran++
				}
			}
			t.Logf("%d of %d ran", ran, n+1)
			require.Greater(t, n+1, ran)
		})
	}
}

// openAndRun runs the network of a file once, of 16x16 pixels or what the file asks for.
func openAndRun(name string, data []byte) (err error) {
	watchdog := time.AfterFunc(mutationDeadline, func() { panic(fmt.Sprintf("%s took more than %v", name, mutationDeadline)) })
	defer watchdog.Stop()
	host, err := engine.Open("pixel", engine.Options{Backend: "cpu", Threads: 1}, func() (*convert.Model, error) { return convert.OpenBytes(name, data) })
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close()) }()
	var c *convert.Pixel
	if staged, ok := host.Weights.Config.(*convert.DeepFloydModel); ok {
		c = &staged.Pixel
	} else if c, err = convert.ConfigAs[*convert.Pixel](host.Weights, "a model without text"); err != nil {
		return err
	}
	var n *engine.Network
	err = host.Place(func() (err error) {
		n, err = host.NewNetwork(engine.Spec{Role: engine.RoleDenoiser, Title: "the denoiser", Arch: c.Net, Prefix: c.Prefix, Params: c.Params()})
		return err
	}, func() ([]engine.Demand, error) { return nil, nil })
	if err != nil {
		return err
	}
	side := int64(max(c.Multiple, 16))
	if c.DiT != nil {
		side = int64(c.Size)
	}
	if side > 64 || c.Channels > 64 || c.LowChannels > 64 {
		return nil
	}
	picture := func(name string, channels int) cgo.Input {
		return cgo.Input{Name: name, Shape: []int64{1, int64(channels), side, side}, F32: make([]float32, int64(channels)*side*side)}
	}
	x := picture("x", c.Channels)
	inputs := []cgo.Input{x, {Name: "timesteps", Shape: []int64{1}, F32: []float32{1}}}
	if c.LowChannels > 0 {
		inputs = append(inputs, picture("low", c.LowChannels))
	}
	if c.UNet != nil && c.UNet.Text != nil {
		width := int64(c.UNet.Text.Width)
		inputs = append(inputs, cgo.Input{Name: "context", Shape: []int64{1, 5, width}, F32: make([]float32, 5*width)})
		if c.UNet.Text.NoiseLevel {
			inputs = append(inputs, cgo.Input{Name: "noise_level", Shape: []int64{1}, F32: []float32{1}})
		}
	}
	switch c.ClassInput {
	case "index":
		inputs = append(inputs, cgo.Input{Name: "class", Shape: []int64{1, 1}, I32: []int32{0}})
	case "value":
		inputs = append(inputs, cgo.Input{Name: "class", Shape: []int64{1, 1}, F32: []float32{0}})
	}
	output, size := "sample", len(x.F32)
	if c.LearnedVariance {
		size *= 2
	}
	if c.Classifier {
		output, size = "logits", c.Classes
	}
	return n.Run(context.Background(), inputs, []cgo.Output{{Name: output, Data: make([]float32, size)}})
}
