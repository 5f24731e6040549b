package read

import (
	"slices"
	"strings"
	"testing"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/write"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/internal/mutate"
)

// No file of a few bytes may cost much or do harm.
func FuzzOpen(f *testing.F) {
	lora := mutate.Small()
	lora.Tensors[0].Name, lora.Tensors[1].Name, lora.Tensors[2].Name = "lora_unet_a.lora_up.weight", "lora_unet_a.alpha", "lora_unet_a.lora_down.weight"
	for _, writeFile := range written {
		f.Add(writeFile(lora, mutate.NewScript(nil)))
	}
	f.Add([]byte("PK\x03\x04"))
	f.Fuzz(requireOpen)
}

// Names of every kind of file, in any mixture: whatever is made of them can be
// written, and costs no more than a small multiple of them.
func FuzzNames(f *testing.F) {
	byFile := map[string][]string{}
	for file, all := range fixture.Published(f) {
		for _, x := range all[:min(len(all), 12)] {
			byFile[file] = append(byFile[file], x.Name)
		}
		for _, x := range all {
			if strings.Contains(x.Name, "locks.0.") && len(byFile[file]) < 60 && !slices.Contains(byFile[file], x.Name) {
				byFile[file] = append(byFile[file], x.Name)
			}
		}
	}
	for _, names := range byFile {
		f.Add(strings.Join(names, "\n"), uint8(6), uint8(64))
	}
	f.Add("lora_unet_down_blocks_0_attentions_0_t"+strings.Repeat("m", 1000)+".lora_up.weight", uint8(4), uint8(4))
	f.Add("lora_unet_a.lora_up.weight", uint8(0), uint8(4))
	f.Add("a.weight\na.scale_weight\na.SCB\na.weight._data\nemb_params", uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, names string, rows, columns uint8) {
		var all []model.Stored
		for _, name := range strings.Split(names, "\n") {
			shape := []int64{int64(rows), int64(columns)}
			all = append(all, model.Stored{Tensor: model.Tensor{Name: name, Type: dtype.F16, Shape: shape, Bytes: make([]byte, 2*int(rows)*int(columns))}, DType: "F16"})
		}
		var m *model.Model
		var err error
		allocation.Bound(t, len(names), 512, func() {
			m = &model.Model{Metadata: map[string]string{}}
			err = addFile(m, slices.Clone(all))
		})
		if err != nil || family.Lookup(m.Family).Strict {
			return
		}
		if _, err := preview(m, write.Options{Type: dtype.F32}); err != nil {
			t.Fatal(err)
		}
		for _, x := range m.Tensors {
			if err := x.Float32(make([]float32, x.Elements())); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// One tensor of a model replaced by another, and one left out: detection never
// panics, and what it accepts can be written.
func FuzzDetect(f *testing.F) {
	m := fixture.Smallest()
	c := fixture.Config(m)
	c.UNet.HeadDim, c.UNet.LinearProjection, c.Text.Activation = 1, true, "gelu"
	all := append(fixture.Weights(m), family.Weight{Name: model.ScheduleName, Shape: []int64{4}})
	f.Add(uint16(0), uint16(1000), all[0].Name, uint8(2), int64(1), int64(64), int64(1), int64(1))
	f.Add(uint16(90), uint16(1), model.UNetPrefix+"input_blocks.1.0.in_layers.2.weight", uint8(4), int64(0), int64(-1), int64(1<<40), int64(3))
	f.Add(uint16(1000), uint16(1000), model.UNetPrefix+"label_emb.weight", uint8(2), int64(1<<40), int64(4), int64(1), int64(1)) // of the x4 upscaler
	f.Add(uint16(0), uint16(1000), "low_scale_model."+model.ScheduleName, uint8(1), int64(1), int64(1), int64(1), int64(1))
	f.Add(uint16(50), uint16(1), model.VAEPrefix+"decoder.up.7.block.0.conv1.weight", uint8(1), int64(1<<62), int64(4), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, at, drop uint16, name string, dims uint8, a, b, c, d int64) {
		m := &model.Model{Metadata: map[string]string{"sdgo.unet.heads_by_level": "1 2 3"}}
		var tensors []model.Stored
		for i, w := range all {
			if i == int(at)%len(all) {
				w = family.Weight{Name: name, Shape: []int64{a, b, c, d}[:dims%5]}
			}
			if i != int(drop) {
				tensors = append(tensors, model.Stored{Tensor: model.Tensor{Name: w.Name, Shape: slices.Clone(w.Shape)}})
			}
		}
		if addFile(m, tensors) != nil || !family.Lookup(m.Family).Strict {
			return
		}
		if i := m.Index(model.ScheduleName); i >= 0 {
			m.Tensors[i].Bytes = make([]byte, 16)
		}
		if family.Configure(m) == nil {
			if _, err := preview(m, write.Options{}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// preview plans to write a model, whatever it was read from.
func preview(m *model.Model, o write.Options) (int64, error) {
	_, size, err := write.Preview(m, o)
	return size, err
}
