package read

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/convert/write"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/fixture"
	"github.com/sdgo/sdgo/internal/mutate"
)

// written are the formats of files.
var written = []func(*mutate.Model, *mutate.Script) []byte{(*mutate.Model).Safetensors, (*mutate.Model).GGUF, (*mutate.Model).Checkpoint}

func mutable(tensors []safetensors.Tensor, metadata map[string]string) *mutate.Model {
	m := &mutate.Model{Meta: metadata}
	for _, x := range tensors {
		m.Tensors = append(m.Tensors, mutate.Tensor{Name: x.Name, Type: stored("", x.DType, nil, nil).Type, Shape: x.Shape, Data: x.Data})
	}
	return m
}

// requireOpen reads a file at a bounded cost: what is accepted can be written.
func requireOpen(t *testing.T, data []byte) {
	var m *model.Model
	var err error
	allocation.Bound(t, len(data), 256, func() {
		m = &model.Model{}
		err = errors.Join(readBytes(m, data), family.Configure(m))
	})
	if err == nil {
		requireWritable(t, m)
	}
}

func requireWritable(t *testing.T, m *model.Model) {
	// GGUF has types that sdgo can name and copy, and not convert.
	readable := true
	for _, x := range m.Tensors {
		x.Finite()
		err := x.Float32(make([]float32, x.Elements()))
		if err != nil && !strings.Contains(err.Error(), "does not convert to f32") {
			t.Fatal(err)
		}
		readable = readable && err == nil
	}
	if _, err := preview(m, write.Options{Keep: !readable}); err != nil {
		t.Fatal(err)
	}
}

// parts are models that are recognised by few tensors.
func parts() (all []*mutate.Model) {
	for _, names := range [][]string{
		{"lora_unet_a.lora_up.weight", "lora_unet_a.lora_down.weight", "lora_unet_a.alpha"},
		{"conv_first.weight", "conv_first.bias", "body.0.rdb1.conv1.weight"},
		{"double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.qkv.scale_weight", "double_blocks.0.img_attn.proj.bias"},
		{"text_model.encoder.layers.0.self_attn.q_proj.weight", "text_model.encoder.layers.0.self_attn.q_proj.bias", "text_model.embeddings.position_ids"},
	} {
		m := mutate.Small()
		for i, name := range names {
			m.Tensors[i].Name = name
		}
		all = append(all, m)
	}
	all[2].Tensors[0].Type, all[2].Tensors[0].Data = dtype.F8_E4M3, make([]byte, 64)
	return append(all, mmproj())
}

// mmproj is a vision tower of llama.cpp's, whose tensors are put together.
func mmproj() *mutate.Model {
	m := &mutate.Model{Meta: map[string]string{"clip.vision.n_wa_pattern": "8"}}
	for _, x := range []struct {
		name  string
		shape []int64
	}{
		{"v.patch_embd.weight", []int64{2, 3, 14, 14}}, {"v.patch_embd.weight.1", []int64{2, 3, 14, 14}}, {"v.blk.0.ln1.weight", []int64{2}}, {"v.post_ln.weight", []int64{2}}, {"mm.2.weight", []int64{4, 8}},
		{"v.blk.0.attn_q.weight", []int64{2, 2}}, {"v.blk.0.attn_k.weight", []int64{2, 2}}, {"v.blk.0.attn_v.weight", []int64{2, 2}}, {"v.blk.0.ffn_gate.weight", []int64{3, 2}},
	} {
		n := int64(2)
		for _, d := range x.shape {
			n *= d
		}
		m.Tensors = append(m.Tensors, mutate.Tensor{Name: x.name, Type: dtype.F16, Shape: x.shape, Data: make([]byte, n)})
	}
	return m
}

// withoutText are tiny models without text, in several layouts.
func withoutText(t testing.TB) (all []*mutate.Model) {
	for _, name := range []string{"ddpmpp", "score-ddpm", "edm-ncsnpp", "dit"} {
		data, err := os.ReadFile(fixture.Testdata(t, "pixel/"+name+".safetensors"))
		require.NoError(t, err)
		file, err := safetensors.Parse(data)
		require.NoError(t, err)
		all = append(all, mutable(file.Tensors, file.Metadata))
	}
	return all
}

// FuzzMutated makes models, whole ones and parts, that are wrong in few places.
func FuzzMutated(f *testing.F) {
	whole := mutable(fixture.Fill(fixture.Weights(fixture.Smallest()), "F16"), map[string]string{model.KeyMerges: "a b", "sdgo.unet.heads_by_level": "1"})
	models := append(append(parts(), whole), withoutText(f)...)
	for i, writeFile := range written {
		m := &model.Model{}
		require.NoError(f, errors.Join(readBytes(m, writeFile(whole, mutate.NewScript(nil))), family.Configure(m)))
		for k := range models {
			f.Add(uint8(i), uint8(k), []byte{})
			for seed := range uint64(5) {
				f.Add(uint8(i), uint8(k), mutate.Choices(seed))
			}
		}
	}
	f.Fuzz(func(t *testing.T, format, model uint8, script []byte) {
		requireOpen(t, written[int(format)%len(written)](models[int(model)%len(models)], mutate.NewScript(script)))
	})
}

// FuzzFolder does the same to a folder: a UNet's layer, an autoencoder's and the
// files of JSON beside them.
func FuzzFolder(f *testing.F) {
	net := func(name string) *mutate.Model {
		return &mutate.Model{Tensors: []mutate.Tensor{{Name: name, Type: dtype.F16, Shape: []int64{2, 3}, Data: make([]byte, 12)}}}
	}
	folder := &mutate.Folder{
		Texts: map[string]string{
			"model_index.json": `{"unet":["diffusers","UNet2DModel"],"vqvae":["diffusers","VQModel"],"transformer":[null,null]}`,
			"unet/config.json": `{"_class_name":"UNet2DModel","sample_size":8,"attention_head_dim":8,"norm_num_groups":32}`,
			"unet/diffusion_pytorch_model.safetensors.index.json": `{"metadata":{"total_size":12},"weight_map":{"conv_in.weight":"a.safetensors","down_blocks.0.resnets.0.time_emb_proj.weight":"b.safetensors"}}`,
			"vqvae/config.json": `{"scaling_factor":0.5}`,
		},
		Nets: map[string]*mutate.Model{
			"unet/a.safetensors": net("conv_in.weight"), "unet/b.safetensors": net("down_blocks.0.resnets.0.time_emb_proj.weight"),
			"vqvae/diffusion_pytorch_model.safetensors": net("decoder.up_blocks.0.resnets.0.conv1.weight"),
		},
	}
	dir := &folderOnDisk{dir: f.TempDir()}
	dir.write(f, folder.Files(mutate.NewScript(nil)))
	m, err := Load(dir.dir)
	require.NoError(f, err)
	require.NoError(f, m.Close())
	f.Add([]byte{})
	for seed := range uint64(20) {
		f.Add(mutate.Choices(seed))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		files := folder.Files(mutate.NewScript(script))
		dir.write(t, files)
		size := 0
		for _, data := range files {
			size += len(data)
		}
		var m *model.Model
		var err error
		allocation.Bound(t, size, 256, func() {
			m = &model.Model{Path: dir.dir}
			t.Cleanup(func() { m.Close() })
			err = errors.Join(readFolder(m, Components{}), family.Configure(m))
		})
		if err == nil && len(m.Tensors) > 0 {
			requireWritable(t, m)
		}
	})
}

// folderOnDisk writes what has changed since the last time: a file that is made
// takes longer than reading it does.
type folderOnDisk struct {
	dir string
	is  map[string]string
}

func (d *folderOnDisk) write(t testing.TB, files map[string][]byte) {
	if d.is == nil {
		d.is = map[string]string{}
	}
	for name := range maps.Clone(d.is) {
		if _, ok := files[name]; !ok {
			require.NoError(t, os.Remove(filepath.Join(d.dir, filepath.FromSlash(name))))
			delete(d.is, name)
		}
	}
	for name, data := range files {
		if is, ok := d.is[name]; ok && is == string(data) {
			continue
		}
		path := filepath.Join(d.dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, data, 0o666))
		d.is[name] = string(data)
	}
}
