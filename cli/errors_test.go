package cli

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/safetensors"
)

// Every wrong command line is refused before anything happens.
func TestWrongUsage(t *testing.T) {
	model := tinyModel(t)
	for _, c := range []struct {
		line  string // "|" between arguments
		words []string
	}{
		{"draw", []string{"unknown command", "did you mean"}},
		{"txt2image", []string{`did you mean "txt2img"`}},
		{"help|txt2image", []string{`did you mean "txt2img"`}},
		{"-m|x|txt2img", []string{"-m", "before the command"}},
		{"txt2img|-p|a fox", []string{"no model", "-m FILE"}},
		{"txt2img|-m|MODEL", []string{"no prompt", "-p TEXT"}},
		{"txt2img|-m|MODEL|-p", []string{"-p", "missing"}},
		{"txt2img|-m|-p|a fox", []string{"-m", "missing"}},
		{"txt2img|-m|MODEL|-p|a|fox", []string{`"fox"`, "quotes"}},
		{"txt2img|-m|MODEL|-p|a fox|--step|3", []string{"--step;", "did you mean --steps"}},
		{"txt2img|-m|MODEL|-p|a fox|--steps|few", []string{`--steps: must be a whole number, got "few"`}},
		{"txt2img|-m|MODEL|-p|a fox|--steps|1.5", []string{"--steps", "whole number"}},
		{"txt2img|-m|MODEL|-p|a fox|-s|99999999999999999999", []string{"-s: must be 0 to 18446744073709551615, or -1", "got 99999999999999999999"}},
		{"txt2img|-m|MODEL|-p|a fox|--cfg-scale|much", []string{"--cfg-scale", "a number"}},
		{"txt2img|-m|MODEL|-p|a fox|--json=perhaps", []string{"--json", "true or false"}},
		{"txt2img|-m|MODEL|-p|a fox|--steps|0", []string{"--steps: must be 1 to 1000, got 0"}},
		{"txt2img|-m|MODEL|-p|a fox|--steps|-3", []string{"--steps: must be ", "got -3", "1 to 1000"}},
		{"txt2img|-m|MODEL|-p|a fox|--steps|1001", []string{"--steps: must be ", "got 1001", "1 to 1000"}},
		{"txt2img|-m|MODEL|-p|a fox|-W|0|-H|0|-b|0|--clip-skip|0", []string{"-W: must be 1 to 8192, got 0", "-H: must be", "-b: must be 1 to 1024, got 0", "--clip-skip: must be 1 or more, got 0"}},
		{"txt2img|-m|MODEL|-p|a fox|-W|100", []string{"-W: must be ", "got 100", "multiple of 8"}},
		{"txt2img|-m|MODEL|-p|a fox|--height|-64", []string{"--height: must be ", "got -64", "1 to 8192"}},
		{"txt2img|-m|MODEL|-p|a fox|-W|9000", []string{"-W: must be ", "got 9000", "8192"}},
		{"txt2img|-m|MODEL|-p|a fox|--cfg-scale|-1", []string{"--cfg-scale: must be ", "got -1", "0 to 1000"}},
		{"txt2img|-m|MODEL|-p|a fox|--cfg-scale|nan", []string{`--cfg-scale: must be a number, got "nan"`}},
		{"txt2img|-m|MODEL|-p|a fox|--sampler|eular", []string{"--sampler", `"eular"`, `"euler"`}},
		{"txt2img|-m|MODEL|-p|a fox|--schedule|karas", []string{"--schedule", `"karras"`}},
		{"txt2img|-m|MODEL|-p|a fox|--sampler|", []string{"--sampler", "name"}},
		{"txt2img|-m|MODEL|-p|a fox|--rng|dice", []string{"--rng", "torch", "philox"}},
		{"txt2img|-m|MODEL|-p|a fox|-s|-2", []string{"-s: must be ", "got -2"}},
		{"txt2img|-m|MODEL|-p|a fox|-b|5000", []string{"-b: must be ", "got 5000", "1024"}},
		{"txt2img|-m|MODEL|-p|a fox|--clip-skip|9", []string{"--clip-skip: must be ", "got 9", "2 layers"}},
		{"txt2img|-m|MODEL|-p|a fox|-t|0", []string{"-t: must be 1 to 512, got 0"}},
		{"txt2img|-m|MODEL|-p|a fox|--type|f17", []string{"--type", "f17", "f16"}},
		{"txt2img|-m|MODEL|-p|a fox|--prediction|x0", []string{"--prediction", "epsilon, v or sample"}},
		{"txt2img|-m|MODEL|-p|a fox|--precision|quick", []string{"--precision", "must be exact or fast, got \"quick\""}},
		{"txt2img|-m|MODEL|-p|a fox|--guidance|cfg:every=0", []string{"every", "1 to 100"}},
		{"txt2img|-m|MODEL|-p|a fox|--backend|abacus", []string{"--backend", "abacus", "cpu"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|x.gif", []string{"-o x.gif", ".webp", "x.png"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|x", []string{"-o x", "x.png"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|x.png|--format|webp", []string{"-o x.png", "--format webp", "two formats"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|./|--format|gif", []string{`--format: `, `must be png, jpeg or webp, got "gif"`}},
		{"txt2img|-m|MODEL|-p|a fox|-o|x.jpg|--quality|0", []string{"--quality: must be 1 to 100, got 0"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|x.jpg|--quality|101", []string{"--quality: must be 1 to 100, got 101"}},
		{"txt2img|-m|MODEL|-p|a fox|--quality|90", []string{"--quality: only JPEG has one"}},
		{"txt2img|-m|MODEL|-p|a fox|-o|", []string{"-o", "file name"}},
		{"txt2img|-m|MODEL|-p|a fox|-b|2|-o|-", []string{"-o -", "one picture"}},
		{"txt2img|-m|MODEL|-p|a fox|--json|-o|-", []string{"-o -", "--json", "standard output"}},
		{"convert|-o|x.gguf", []string{"the model to convert"}},
		{"convert|MODEL", []string{"-o FILE"}},
		{"convert|MODEL|MODEL|-o|x.gguf", []string{"one argument too many"}},
		{"convert|MODEL|-o|x.zip", []string{"-o x.zip", ".gguf"}},
		{"convert|MODEL|-o|x.gguf|--type|f17", []string{"--type", "f17"}},
		{"convert|MODEL|-o|x.gguf|--tensor-type|vae", []string{"--tensor-type", "PATTERN=TYPE"}},
		{"info", []string{"the file is missing"}},
		{"info|MODEL|MODEL", []string{"one argument too many"}},
		{"sigmas|--steps|0", []string{"--steps: must be 1 to 1000, got 0"}},
		{"sigmas|--steps|1001", []string{"--steps: must be 1 to 1000, got 1001"}},
		{"sigmas|--schedule|karas", []string{`"karras"`}},
		{"samplers|euler", []string{"one argument too many"}},
		{"devices|--jsn", []string{"--json"}},
		{"version|now", []string{"one argument too many"}},
	} {
		t.Run(c.line, func(t *testing.T) {
			t.Chdir(t.TempDir())
			sdgo(t, strings.Split(strings.ReplaceAll(c.line, "MODEL", model), "|")...).requireError(t, ExitUsage, c.words...)
			requireFiles(t, ".")
		})
	}
}

// changed is the tiny model's file with its tensors changed.
func changed(t *testing.T, change func(all []safetensors.Tensor) []safetensors.Tensor) []byte {
	var b strings.Builder
	all := change(slices.Clone(tinyTensors()))
	require.NoError(t, safetensors.Write(&b, nil, all))
	return []byte(b.String())
}

// crafted is a safetensors file with any header.
func crafted(header string, data int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, data)...)
}

// renamed returns a copy of a tensor under another name.
func renamed(t safetensors.Tensor, name string) safetensors.Tensor {
	t.Name = name
	return t
}

// Every file that is no model gives one line and exit code 1, from every
// command, and leaves nothing behind.
func TestDamagedModels(t *testing.T) {
	file := tinyFile()
	find := func(all []safetensors.Tensor, name string) int {
		i := slices.IndexFunc(all, func(t safetensors.Tensor) bool { return strings.HasSuffix(t.Name, name) })
		require.GreaterOrEqual(t, i, 0)
		return i
	}
	huge := slices.Clone(file)
	binary.LittleEndian.PutUint64(huge, 1<<40)
	for name, data := range map[string][]byte{
		"empty":               {},
		"text":                []byte("This is not a model but a few words about one.\n"),
		"truncated data":      file[:len(file)-1000],
		"truncated header":    file[:1000],
		"header beyond file":  huge,
		"header is no JSON":   crafted(`{"x": `, 0),
		"no tensors":          crafted(`{}`, 0),
		"overlapping":         crafted(`{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[4],"data_offsets":[4,12]}}`, 12),
		"offsets beyond file": crafted(`{"a":{"dtype":"F16","shape":[4],"data_offsets":[100,108]}}`, 8),
		"negative offsets":    crafted(`{"a":{"dtype":"F16","shape":[4],"data_offsets":[-8,0]}}`, 8),
		"absurd shape":        crafted(`{"a":{"dtype":"F16","shape":[4294967296,4294967296],"data_offsets":[0,8]}}`, 8),
		"negative shape":      crafted(`{"a":{"dtype":"F16","shape":[-4],"data_offsets":[0,8]}}`, 8),
		"unknown type":        crafted(`{"a":{"dtype":"F12","shape":[4],"data_offsets":[0,6]}}`, 6),
		"escapes in a name":   crafted(`{"\u001b[31m\nred":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}}`, 8),
		"GGUF, cut":           []byte("GGUF\x03\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f"),
		"PNG, no header":      []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x00IEND\xae\x42\x60\x82"),
		"PNG, cut":            []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"),
		"missing tensor": changed(t, func(all []safetensors.Tensor) []safetensors.Tensor {
			i := find(all, "middle_block.0.in_layers.2.weight")
			return slices.Delete(all, i, i+1)
		}),
		"surplus tensor": changed(t, func(all []safetensors.Tensor) []safetensors.Tensor {
			return append(all, renamed(all[len(all)-1], "model.diffusion_model.input_blocks.99.weight"))
		}),
		"another shape": changed(t, func(all []safetensors.Tensor) []safetensors.Tensor {
			i := find(all, "time_embed.2.weight")
			all[i].Shape = []int64{all[i].Shape[0] * 2, all[i].Shape[1] / 2}
			return all
		}),
		"another type": changed(t, func(all []safetensors.Tensor) []safetensors.Tensor {
			all[find(all, "time_embed.2.weight")].DType = "I16"
			return all
		}),
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			model := filepath.Join(folder, "model.safetensors")
			require.NoError(t, os.WriteFile(model, data, 0o666))
			draw := with("txt2img", "-m", model, "-p", "a fox", "-o", filepath.Join(folder, "out.png"))
			sdgo(t, draw...).requireError(t, ExitFailure, model)
			if name != "missing tensor" && name != "surplus tensor" && name != "another shape" {
				sdgo(t, "info", model).requireError(t, ExitFailure, model)
				sdgo(t, "convert", model, "-o", filepath.Join(folder, "out.gguf")).requireError(t, ExitFailure, model)
			}
			requireFiles(t, folder, "model.safetensors")
		})
	}
}

func TestMissingModel(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, line := range [][]string{
		{"txt2img", "-m", "none.gguf", "-p", "a fox"},
		{"info", "none.gguf"},
		{"convert", "none.gguf", "-o", "out.gguf"},
	} {
		sdgo(t, line...).requireError(t, ExitFailure, "none.gguf: "+noFile)
	}
	requireFiles(t, ".")
}

// Damage that only shows in the numbers is found when they are computed with,
// and the tensor is named.
func TestNaNWeights(t *testing.T) {
	for _, name := range []string{"model.diffusion_model.out.2.weight", "first_stage_model.decoder.conv_in.bias",
		"cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.bias"} {
		folder := t.TempDir()
		model := filepath.Join(folder, "model.safetensors")
		data := changed(t, func(all []safetensors.Tensor) []safetensors.Tensor {
			i := slices.IndexFunc(all, func(t safetensors.Tensor) bool { return t.Name == name })
			all[i].Data = slices.Clone(all[i].Data)
			binary.LittleEndian.PutUint16(all[i].Data, 0x7e00)
			return all
		})
		require.NoError(t, os.WriteFile(model, data, 0o666))
		sdgo(t, with("txt2img", "-q", "-m", model, "-p", "a fox", "-o", filepath.Join(folder, "out.png"))...).
			requireError(t, ExitFailure, name, "NaN")
		requireFiles(t, folder, "model.safetensors")
	}
}

// noFile is what the system says of a file that is not there.
var noFile = syscall.ENOENT.Error()

func TestUnwritableOutput(t *testing.T) {
	model, folder := tinyModel(t), t.TempDir()
	plain := filepath.Join(folder, "plain")
	require.NoError(t, os.WriteFile(plain, nil, 0o666))
	for _, out := range []string{
		filepath.Join(folder, "none", "out.png"),
		filepath.Join(folder, "none") + string(filepath.Separator),
		filepath.Join(plain, "out.png"),
	} {
		sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", out)...).requireError(t, ExitFailure, "-o: ", "folder")
	}
	sdgo(t, "convert", model, "-o", filepath.Join(folder, "none", "out.gguf")).requireError(t, ExitFailure, "-o: the folder")
	if runtime.GOOS == "linux" {
		sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", "/proc/out.png")...).requireError(t, ExitFailure, "-o: no file can be created")
	}
	if runtime.GOOS == "windows" { // where this is a stream of out.txt
		hidden := filepath.Join(folder, "out.txt:hidden.png")
		sdgo(t, with("txt2img", "-m", model, "-p", "a fox", "-o", hidden)...).requireError(t, ExitUsage, "-o "+hidden+": ", "cannot be the name of a file")
	}
	requireFiles(t, folder, "plain")
}

// A full disk behind standard output is one error.
func TestNoSpace(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if runtime.GOOS != "linux" {
		return
	}
	require.NoError(t, err)
	defer full.Close()
	for _, args := range [][]string{{"samplers"}, {"sigmas", "--json"}, with("txt2img", "-q", "-m", tinyModel(t), "-p", "", "-o", "-")} {
		var stderr strings.Builder
		require.Equal(t, ExitFailure, Run(context.Background(), args, nil, full, &stderr))
		require.Contains(t, stderr.String(), "no space left on device")
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"))
	}
}
