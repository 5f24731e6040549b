package adapter

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// array is a tensor of a made-up file.
type array struct {
	shape []int
	value float32
	dtype string // F32 if empty
}

// fileOf is a safetensors file of tensors, whose elements are all one value.
func fileOf(t testing.TB, metadata map[string]string, all map[string]array) string {
	t.Helper()
	header, data := map[string]any{}, []byte{}
	if metadata != nil {
		header["__metadata__"] = metadata
	}
	for name, a := range all {
		n := 1
		for _, d := range a.shape {
			n *= d
		}
		from := len(data)
		switch a.dtype {
		case "", "F32":
			a.dtype = "F32"
			for range n {
				data = binary.LittleEndian.AppendUint32(data, math.Float32bits(a.value))
			}
		case "I64":
			for range n {
				data = binary.LittleEndian.AppendUint64(data, uint64(a.value))
			}
		}
		header[name] = map[string]any{"dtype": a.dtype, "shape": append([]int{}, a.shape...), "data_offsets": []int{from, len(data)}}
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "hostile.safetensors")
	require.NoError(t, os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), append(text, data...)...), 0o600))
	return path
}

const toQ = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" // [32, 32]

// hostileFile is a file that can't be a LoRA of the tiny model, with a part of the error.
type hostileFile struct {
	all  map[string]array
	want string
}

// good is a LoRA of one layer, with more tensors or with others.
func good(more map[string]array) map[string]array {
	all := map[string]array{toQ + ".lora_up.weight": {[]int{32, 4}, 0.1, ""}, toQ + ".lora_down.weight": {[]int{4, 32}, 0.1, ""}}
	for k, v := range more {
		all[k] = v
	}
	return all
}

// hostileFiles are files of the kinds that have fooled programs.
func hostileFiles() map[string]hostileFile {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	up, down := array{[]int{32, 4}, 0.1, ""}, array{[]int{4, 32}, 0.1, ""}
	return map[string]hostileFile{
		"NaN":                 {good(map[string]array{toQ + ".lora_up.weight": {[]int{32, 4}, nan, ""}}), toQ + `.lora_up.weight" has NaN or infinite elements`},
		"infinity":            {good(map[string]array{toQ + ".lora_down.weight": {[]int{4, 32}, inf, ""}}), toQ + `.lora_down.weight" has NaN or infinite elements`},
		"infinite alpha":      {good(map[string]array{toQ + ".alpha": {nil, inf, ""}}), toQ + `.alpha" has NaN or infinite elements`},
		"gigantic alpha":      {good(map[string]array{toQ + ".alpha": {nil, 1e9, ""}}), "alpha must be at most 10000 times the rank 4, got 1e+09"},
		"a list of alphas":    {good(map[string]array{toQ + ".alpha": {[]int{3}, 1, ""}}), "must be one number, got the shape [3]"},
		"wrong rank":          {good(map[string]array{toQ + ".lora_up.weight": {[]int{32, 5}, 1, ""}}), toQ + `.lora_up.weight" has the shape [32 5], must have [32 4]`},
		"wrong width":         {good(map[string]array{toQ + ".lora_down.weight": {[]int{4, 31}, 1, ""}}), toQ + `.lora_down.weight" has the shape [4 31], must have [4 32]`},
		"turned":              {good(map[string]array{toQ + ".lora_up.weight": {[]int{4, 32}, 1, ""}}), "must have [32 4]"},
		"half a pair":         {map[string]array{toQ + ".lora_up.weight": up}, toQ + ` has "up" and not "down", which goes with it`},
		"the other half":      {map[string]array{toQ + ".lora_down.weight": down}, `has "down" and not "up"`},
		"alpha alone":         {map[string]array{toQ + ".alpha": {nil, 1, ""}}, `has "alpha"`},
		"DoRA alone":          {map[string]array{toQ + ".dora_scale": {[]int{32}, 1, ""}}, `has "dora_scale"`},
		"two kinds":           {good(map[string]array{toQ + ".oft_blocks": {[]int{8, 4, 4}, 1, ""}}), `LoRA takes no "oft_blocks"`},
		"what nobody knows":   {good(map[string]array{toQ + ".lora_sideways.weight": up}), "1 of its 3 tensors are of no known kind of LoRA"},
		"whole numbers":       {good(map[string]array{toQ + ".lora_up.weight": {[]int{32, 4}, 1, "I64"}}), "must hold floating-point numbers"},
		"no dimension":        {good(map[string]array{toQ + ".lora_up.weight": {[]int{32, 0}, 1, ""}}), "no dimension of 0"},
		"half a Tucker":       {map[string]array{toQ + ".hada_w1_a": up, toQ + ".hada_w1_b": down, toQ + ".hada_w2_a": up, toQ + ".hada_w2_b": down, toQ + ".hada_t1": {[]int{4, 4, 1}, 1, ""}}, "hada_t1 and hada_t2 must be there both"},
		"half a LoKr":         {map[string]array{toQ + ".lokr_w1": {[]int{4, 4}, 1, ""}}, "lokr_w2 is missing, or one of lokr_w2_a and lokr_w2_b"},
		"a LoKr that is not":  {map[string]array{toQ + ".lokr_w1": {[]int{5, 4}, 1, ""}, toQ + ".lokr_w2": {[]int{8, 8}, 1, ""}}, "does not divide the weight"},
		"OFT of other blocks": {map[string]array{toQ + ".oft_blocks": {[]int{7, 4, 4}, 1, ""}}, "with n·b the weight's 32 rows"},
		"BOFT of many stages": {map[string]array{toQ + ".oft_blocks": {[]int{9, 8, 4, 4}, 1, ""}}, "a multiple of 2^(stages-1)·b"},
		"(IA)³ of a list":     {map[string]array{toQ + ".weight": {[]int{32}, 1, ""}, toQ + ".on_input": {[]int{2}, 1, ""}}, "on_input must be one number"},
		"another model":       {map[string]array{strings.Replace(toQ, "down_blocks_0", "down_blocks_7", 1) + ".lora_up.weight": up, strings.Replace(toQ, "down_blocks_0", "down_blocks_7", 1) + ".lora_down.weight": down}, "none of its 1 layers is in the model"},
		"a matrix of a norm":  {map[string]array{"lora_unet_conv_norm_out.lora_up.weight": up, "lora_unet_conv_norm_out.lora_down.weight": down}, "must have"},
		"nothing":             {map[string]array{"bundle_emb.x.emb_params": {[]int{1, 64}, 1, ""}}, "it has no tensors of a LoRA"},
		"one layer twice": {good(map[string]array{"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": down, "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight": up}),
			"both change model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"},
	}
}

// What a file must not be is an error that names the file and the tensor.
func TestHostileFiles(t *testing.T) {
	_, targets := tinyTargets(t)
	nan := float32(math.NaN())
	up, down := array{[]int{32, 4}, 0.1, ""}, array{[]int{4, 32}, 0.1, ""}
	for name, c := range hostileFiles() {
		t.Run(name, func(t *testing.T) {
			path := fileOf(t, nil, c.all)
			f, err := Open(path)
			if err == nil {
				defer f.Close()
				_, _, err = f.Match(targets)
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path)
		})
	}
	for text, want := range map[string]string{"{": "metadata lora_adapter_metadata", `{"unet.lora_alpha": "x"}`: "unet.lora_alpha", `{"unet.lora_alpha": 1, "unet.alpha_pattern": {"(": 1}}`: "alpha_pattern", `{"unet.lora_alpha": 1e9}`: "alpha must be"} {
		_, err := Open(fileOf(t, map[string]string{keyPEFT: text}, map[string]array{
			"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight": down, "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight": up}))
		require.ErrorContains(t, err, want)
	}
	for name, c := range map[string]struct {
		all  map[string]array
		want string
	}{
		"NaN":         {map[string]array{"emb_params": {[]int{2, 64}, nan, ""}}, `"emb_params" has NaN or infinite elements`},
		"shape":       {map[string]array{"emb_params": {[]int{2, 2, 64}, 1, ""}}, "must have the shape [vectors, width]"},
		"two words":   {map[string]array{"string_to_param.a": {[]int{2, 64}, 1, ""}, "string_to_param.b": {[]int{2, 64}, 1, ""}}, "more than one word"},
		"lengths":     {map[string]array{"clip_l": {[]int{2, 64}, 1, ""}, "clip_g": {[]int{3, 64}, 1, ""}}, "must have as many vectors"},
		"many":        {map[string]array{"emb_params": {[]int{5000, 1}, 1, ""}}, "at most 2400 vectors, got 5000"},
		"a LoRA":      {good(nil), "it is no textual inversion"},
		"no vectors":  {map[string]array{"string_to_token.*": {nil, 1, "I64"}}, "it has no vectors"},
		"no elements": {map[string]array{"emb_params": {[]int{0, 64}, 1, ""}}, "must have the shape"},
	} {
		path := fileOf(t, nil, c.all)
		_, err := OpenEmbedding(path)
		require.ErrorContains(t, err, c.want, name)
		require.ErrorContains(t, err, path, name)
	}
}

// cyclic are pickles of containers that contain themselves.
var cyclic = map[string]string{
	"a list":                         "\x80\x02]q\x00h\x00a.",
	"a dictionary":                   "\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
	"two of each other":              "\x80\x02}q\x00}q\x01X\x01\x00\x00\x00ah\x00sh\x00X\x01\x00\x00\x00bh\x01s.",
	"an embedding of itself":         "\x80\x02}q\x00X\x0f\x00\x00\x00string_to_paramh\x00s.",
	"a list of lists of itself":      "\x80\x02]q\x00(h\x00h\x00h\x00h\x00h\x00e]q\x01(h\x00h\x00h\x01e.",
	"a dictionary in an ordered one": "\x80\x02ccollections\nOrderedDict\n)Rq\x00X\x01\x00\x00\x00ah\x00s.",
}

// pickleFile is a file of PyTorch's with a pickle and no numbers.
func pickleFile(t testing.TB, pickle string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cyclic.pt")
	f, err := os.Create(path)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for name, text := range map[string]string{"archive/data.pkl": pickle, "archive/version": "3\n"} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		require.NoError(t, err)
		_, err = w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return path
}

// Containers that contain themselves end in errors that name the file.
func TestCyclicPickles(t *testing.T) {
	for name, pickle := range cyclic {
		path := pickleFile(t, pickle)
		_, err := Open(path)
		require.ErrorContains(t, err, path, name)
		_, err = OpenEmbedding(path)
		require.ErrorContains(t, err, path, name)
	}
}

// Numbers that overflow the weight are an error, too.
func TestPatchesAreFinite(t *testing.T) {
	_, targets := tinyTargets(t)
	f, err := Open(fileOf(t, nil, map[string]array{toQ + ".diff": {[]int{32, 32}, math.MaxFloat32, ""}}))
	require.NoError(t, err)
	defer f.Close()
	changes, _, err := f.Match(targets)
	require.NoError(t, err)
	_, err = Patch(make([]float32, 32*32), []Use{{changes[0], 100}})
	require.ErrorContains(t, err, "becomes NaN or infinite")
}

// What the file says of itself.
func TestInfo(t *testing.T) {
	f := open(t, "kohya.safetensors")
	i := f.Info()
	require.Equal(t, "Stable Diffusion 1.x", i.Base)
	require.Equal(t, []int{3}, i.Ranks)
	require.Equal(t, []float64{2}, i.Alphas)
	require.Equal(t, []Trigger{{"tinystyle", 14}, {"sea", 5}, {"a cat", 3}}, i.Triggers)
	require.Equal(t, map[Part]int{UNet: 12, Text: 4}, i.Parts)
	require.Equal(t, "The Tiny Style", f.Alias)
	require.Equal(t, "kohya", f.Name)
	require.Equal(t, "The Tiny Style", AliasOf(f.Path))
	require.Len(t, f.Hash, 12)
}

// Any file is an error or can be matched and applied, whatever its tensors are.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"ia3.safetensors", "peft-rs.safetensors", "cloneofsimo-list.pt", "norm.safetensors", "words-a1111.pt", "words-xl.safetensors"} {
		data, err := os.ReadFile(filepath.Join(fixtures, name))
		require.NoError(f, err)
		f.Add(data)
	}
	for _, c := range hostileFiles() {
		data, err := os.ReadFile(fileOf(f, nil, c.all))
		require.NoError(f, err)
		f.Add(data)
	}
	for _, pickle := range cyclic {
		data, err := os.ReadFile(pickleFile(f, pickle))
		require.NoError(f, err)
		f.Add(data)
	}
	m, err := readTiny()
	require.NoError(f, err)
	f.Cleanup(func() { m.Close() })
	targets, err := NewTargets(m)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.bin")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		if e, err := OpenEmbedding(path); err == nil {
			require.Len(t, e.Vectors[0].Data, e.Vectors[0].N*e.Vectors[0].Width)
		}
		file, err := Open(path)
		if err != nil {
			return
		}
		defer file.Close()
		file.Info()
		changes, _, err := file.Match(targets)
		if err != nil {
			return
		}
		for _, c := range changes {
			n := 1
			for _, d := range c.Shape {
				n *= int(d)
			}
			c.LowRank()
			out, err := Patch(make([]float32, n), []Use{{c, 0.5}})
			require.True(t, err != nil || len(out) == n)
		}
	})
}
