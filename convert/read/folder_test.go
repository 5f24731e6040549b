package read

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/internal/allocation"
	"github.com/sdgo/sdgo/internal/fixture"
)

// bombs are JSON files of the kinds that fool or exhaust readers, of n values.
func bombs(n int) []string {
	return []string{
		strings.Repeat("[", n), strings.Repeat(`{"a":`, n), "[" + strings.Repeat("[],", n) + "[]]", `{"unet":[` + strings.Repeat("{},", n) + "{}]}",
		`{"weight_map":{` + strings.Repeat(`"conv_in.weight":"a.safetensors",`, 2) + `"b":"a.safetensors"}}`, `{"weight_map":{},"weight_map":{"x":"a.safetensors"}}`,
		`{"weight_map":{"x":"../outside.safetensors"}}`, `{"weight_map":{"x":"..\\outside.safetensors"}}`, `{"weight_map":{"x":"/outside.safetensors"}}`,
		`{"weight_map":{"x":"."}}`, `{"weight_map":{"x":".safetensors"}}`, `{"weight_map":{"x":"a.safetensors\u0000"}}`, `{"weight_map":{"x":"sub/a.safetensors"}}`,
		`{"weight_map":{"x":7}}`, `{"weight_map":[]}`, `{"weight_map":null}`, `{}`, `{"WEIGHT_MAP":{"conv_in.weight":"a.safetensors"}}`,
		`{"unet":["a"],"unet":[null]}`, `{"unet":["a"]} trailing`, `{"attention_head_dim":1e999}`, `{"attention_head_dim":[1,"2"]}`, "\xff\xfe{}", "",
	}
}

// fuzzFolder is a model of one weight in a folder, beside a file that is none of
// its own.
func fuzzFolder(t testing.TB) string {
	root := t.TempDir()
	fixture.Save(t, filepath.Join(root, "outside.safetensors"), nil, fixture.Fill([]family.Weight{{Name: "outside", Shape: []int64{1}}}, "F32"))
	dir := filepath.Join(root, "model")
	fixture.Save(t, filepath.Join(dir, "unet", "a.safetensors"), nil, fixture.Fill([]family.Weight{{Name: "conv_in.weight", Shape: []int64{1}}}, "F32"))
	return dir
}

// The JSON files of a folder: what is in them never panics, costs no more than
// a small multiple of their size, and no shard is read from elsewhere.
func FuzzDiffusers(f *testing.F) {
	f.Add(`{"unet":["diffusers","UNet2DConditionModel"],"text_encoder":["transformers","CLIPTextModel"]}`, `{"attention_head_dim":[5,10]}`, `{"weight_map":{"conv_in.weight":"a.safetensors"}}`)
	f.Add(`{"transformer":[null,null],"unet":[]}`, `{"attention_head_dim":8,"sample_size":-1}`, `{"weight_map":{"x":"../outside.safetensors"}}`)
	f.Add(`{"transformer":["a"]}`, `[]`, `{"weight_map":{"x":"..\\outside.safetensors"}}`)
	f.Add(`{"unet":{"a":1}}`, `{"attention_head_dim":"8"}`, `{"weight_map":{"x":"/outside.safetensors"}}`)
	f.Add(`null`, `{"attention_head_dim":[[[]]],"num_attention_heads":1e400}`, `{"weight_map":null}`)
	for _, bomb := range bombs(100) {
		f.Add(bomb, bomb, bomb)
	}
	dir := &folderOnDisk{dir: fuzzFolder(f)}
	f.Fuzz(func(t *testing.T, model, config, index string) { dir.requireDiffusers(t, model, config, index) })
}

func (d *folderOnDisk) requireDiffusers(t *testing.T, root, config, index string) {
	d.write(t, map[string][]byte{"model_index.json": []byte(root), "unet/config.json": []byte(config), "unet/diffusion_pytorch_model.safetensors.index.json": []byte(index)})
	var m *model.Model
	allocation.Bound(t, len(root)+len(config)+len(index), 64, func() {
		m = &model.Model{Path: d.dir}
		t.Cleanup(func() { m.Close() })
		_ = readFolder(m, Components{})
		m.Family = family.SD1
		for _, name := range []string{family.SD1, family.PixelUNet} { // whose configuration files are read
			_ = readSettings(m, family.Lookup(name), false)
		}
	})
	for _, x := range m.Tensors {
		if strings.Contains(x.Name, "outside") {
			t.Fatal("a file outside of the folder was read")
		}
	}
	// What they say is applied to a model that has all of its weights.
	whole := &model.Model{Family: family.SD1, Metadata: m.Metadata}
	for _, w := range oddWeights {
		whole.Add(model.Tensor{Name: w.Name, Shape: w.Shape})
	}
	_ = family.Configure(whole)
}

var oddWeights = fixture.Weights(&model.Model{Config: fixture.Odd()})

// The index of shards alone.
func FuzzIndex(f *testing.F) {
	f.Add(`{"metadata":{"total_size":4},"weight_map":{"conv_in.weight":"a.safetensors"}}`)
	for _, bomb := range bombs(100) {
		f.Add(bomb)
	}
	dir := fuzzFolder(f)
	f.Fuzz(func(t *testing.T, index string) { requireIndex(t, dir, index) })
}

func requireIndex(t *testing.T, dir, index string) {
	path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors.index.json")
	require.NoError(t, os.WriteFile(path, []byte(index), 0o666))
	m := &model.Model{Path: dir}
	defer m.Close()
	var all []model.Stored
	allocation.Bound(t, len(index), 64, func() { all, _ = readNetwork(m, "unet", family.NetFile) })
	for _, x := range all {
		if x.Name != "conv_in.weight" {
			t.Fatalf("tensor %q was read from elsewhere", x.Name)
		}
	}
}

// A tokenizer's table, in either of its files.
func FuzzMerges(f *testing.F) {
	f.Add("#version: 0.2\na b\nab c</w>\n", `{"model":{"type":"BPE","merges":["a b",["ab","c</w>"]]}}`)
	f.Add("a b\r\n", `{"model":{"type":"Unigram","merges":null},"model":{"type":"BPE"}}`)
	for _, bomb := range mergeBombs(50) {
		f.Add(bomb[0], bomb[1])
	}
	dirs := mergeDirs(f)
	f.Fuzz(func(t *testing.T, text, table string) { requireMerges(t, dirs, text, table) })
}

// mergeBombs are a list of merges and a table with n of what exhausts readers.
func mergeBombs(n int) [][2]string {
	all := [][2]string{
		{strings.Repeat("\n", n), `{"model":{"type":"BPE","merges":[` + strings.Repeat("[],", n) + `[]]}}`},
		{"\x00", `{"model":{"type":"BPE","merges":[` + strings.Repeat(`"a b",`, n) + `"a b"]}}`},
	}
	for _, bomb := range bombs(n) {
		all = append(all, [2]string{bomb, bomb})
	}
	return all
}

// mergeDirs are a folder for each kind of table.
func mergeDirs(t testing.TB) map[string]*folderOnDisk {
	return map[string]*folderOnDisk{"merges.txt": {dir: t.TempDir()}, "tokenizer.json": {dir: t.TempDir()}}
}

func requireMerges(t *testing.T, dirs map[string]*folderOnDisk, text, table string) {
	for name, content := range map[string]string{"merges.txt": text, "tokenizer.json": table} {
		dirs[name].write(t, map[string][]byte{name: []byte(content)})
		allocation.Bound(t, len(content), 128, func() {
			if merges, err := readMerges(dirs[name].dir); err == nil {
				family.MergeList(merges)
			}
		})
	}
}

// Bombs of a size that the fuzzer does not reach cost no more than theirs.
func TestBombs(t *testing.T) {
	dir := fuzzFolder(t)
	onDisk := &folderOnDisk{dir: dir}
	for _, bomb := range bombs(20000) {
		onDisk.requireDiffusers(t, bomb, bomb, bomb)
		requireIndex(t, dir, bomb)
	}
	tables := mergeDirs(t)
	for _, bomb := range mergeBombs(5000) {
		requireMerges(t, tables, bomb[0], bomb[1])
	}
}

// What draws from nothing, in latents.
func TestFolderWithoutText(t *testing.T) {
	dir := t.TempDir()
	fixture.Save(t, filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors"), nil, fixture.Fill([]family.Weight{{Name: "conv_in.weight", Shape: []int64{2, 3}}, {Name: "down_blocks.0.resnets.0.time_emb_proj.weight", Shape: []int64{2, 3}}}, "F16"))
	fixture.Save(t, filepath.Join(dir, "vqvae", "diffusion_pytorch_model.safetensors"), nil, fixture.Fill([]family.Weight{{Name: "decoder.up_blocks.0.resnets.0.conv1.weight", Shape: []int64{2, 3}}, {Name: "quantize.embedding.weight", Shape: []int64{2, 3}}}, "F16"))
	class := []string{"a", "b"}
	fixture.WriteJSON(t, dir, "model_index.json", map[string]any{"unet": class, "vqvae": class})
	m, err := Load(dir)
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, family.PixelUNet, m.Family)
	for _, name := range []string{model.UNetPrefix + "input_blocks.0.0.weight", model.VAEPrefix + "decoder.up.0.block.0.conv1.weight", model.VAEPrefix + "quantize.embedding.weight"} {
		_, ok := m.Tensor(name)
		require.True(t, ok, name)
	}
}

// What an index may not say, and that each is refused.
func TestIndexErrors(t *testing.T) {
	dir := t.TempDir()
	fixture.Save(t, filepath.Join(dir, "unet", "a.safetensors"), nil, fixture.Fill([]family.Weight{{Name: "conv_in.weight", Shape: []int64{1}}}, "F32"))
	path := filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors.index.json")
	for _, bomb := range bombs(20000) {
		require.NoError(t, os.WriteFile(path, []byte(bomb), 0o666))
		m := &model.Model{Path: dir}
		_, err := readNetwork(m, "unet", family.NetFile)
		require.Error(t, err, "%.60q", bomb)
		require.NoError(t, m.Close())
	}
}
