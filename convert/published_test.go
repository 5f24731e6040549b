package convert

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/safetensors"
)

// table reads a file of testdata/convert/families, which families.py made with
// the diffusers and transformers libraries and their converters.
func table(t testing.TB, name string) (lines [][]string) {
	f, err := os.Open(filepath.Join("../testdata/convert/families", name))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	for s := bufio.NewScanner(z); s.Scan(); {
		lines = append(lines, strings.Split(s.Text(), "\t"))
	}
	require.NotEmpty(t, lines)
	return lines
}

// published are the weights of models as they are published, by the file.
func published(t testing.TB) map[string][]safetensors.Tensor {
	all := map[string][]safetensors.Tensor{}
	for _, f := range table(t, "families.tsv.gz") {
		x := safetensors.Tensor{Name: f[1], DType: f[2], Shape: []int64{}}
		for d := range strings.SplitSeq(f[3], ",") {
			if d != "" {
				n, err := strconv.ParseInt(d, 10, 64)
				require.NoError(t, err)
				x.Shape = append(x.Shape, n)
			}
		}
		all[f[0]] = append(all[f[0]], x)
	}
	return all
}

// sparse writes a file of full size that takes no room on the disk: its weights
// are all zero.
func sparse(t testing.TB, path string, all []safetensors.Tensor) string {
	header := map[string]any{}
	at := int64(0)
	for _, x := range all {
		n := Tensor{Shape: x.Shape}.Elements() * types[x.DType].BlockBytes()
		header[x.Name] = map[string]any{"dtype": x.DType, "shape": x.Shape, "data_offsets": []int64{at, at + n}}
		at += n
	}
	text, err := json.Marshal(header)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), 0o666))
	require.NoError(t, os.Truncate(path, int64(8+len(text))+at))
	return path
}

// Every kind of file that people have, with its true names and shapes: what it
// is, and what becomes of it.
func TestPublished(t *testing.T) {
	all := published(t)
	for _, c := range []struct{ file, arch, what, facts string }{
		{"sd1", SD1, "Stable Diffusion 1.x", ""},
		{"sd1-inpaint", SD1, "Stable Diffusion 1.x for inpainting", ""},
		{"sd1-edit", SD1, "Stable Diffusion 1.x for editing pictures", ""},
		{"sd2", SD2, "Stable Diffusion 2.x", ""},
		{"sd2-inpaint", SD2, "Stable Diffusion 2.x for inpainting", ""},
		{"sdxl", SDXL, "Stable Diffusion XL", ""},
		{"sdxl-inpaint", SDXL, "Stable Diffusion XL for inpainting", ""},
		{"sdxl-edit", SDXL, "Stable Diffusion XL for editing pictures", ""},
		{"sdxl-refiner", SDXLRefiner, "Stable Diffusion XL's refiner", ""},
		{"flux-dev", Flux, "FLUX.1 (dev: guidance is an input)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38 guidance=1"},
		{"flux-schnell", Flux, "FLUX.1 (schnell: no guidance)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"flux-dev-diffusers", Flux, "FLUX.1 in the diffusers library's layout (dev: guidance is an input)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38 guidance=1"},
		{"flux-schnell-diffusers", Flux, "FLUX.1 in the diffusers library's layout (schnell: no guidance)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"sd3-medium", SD3, "Stable Diffusion 3 (medium)", "width=1536 blocks=24"},
		{"sd3-medium-diffusers", SD3, "Stable Diffusion 3 in the diffusers library's layout (medium)", "width=1536 blocks=24"},
		{"sd3.5-medium", SD3, "Stable Diffusion 3.5 (medium)", "width=1536 blocks=24"},
		{"sd3.5-medium-diffusers", SD3, "Stable Diffusion 3.5 in the diffusers library's layout (medium)", "width=1536 blocks=24"},
		{"sd3.5-large", SD3, "Stable Diffusion 3.5 (large)", "width=2432 blocks=38"},
		{"sd3.5-large-diffusers", SD3, "Stable Diffusion 3.5 in the diffusers library's layout (large)", "width=2432 blocks=38"},
		{"controlnet-sd1", ControlNet, "a ControlNet (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"controlnet-sd1-diffusers", ControlNet, "a ControlNet in the diffusers library's layout (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"controlnet-sd2", ControlNet, "a ControlNet (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"controlnet-sd2-diffusers", ControlNet, "a ControlNet in the diffusers library's layout (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"clip-l", CLIP, "a CLIP text encoder (CLIP-L)", "width=768 layers=12"},
		{"clip-l-transformers5", CLIP, "a CLIP text encoder (CLIP-L)", "width=768 layers=12"},
		{"clip-g", CLIP, "a CLIP text encoder (CLIP-G)", "width=1280 layers=32"},
		{"openclip-h-transformers", CLIP, "a CLIP text encoder (OpenCLIP-H)", "width=1024 layers=23"},
		{"openclip-h", CLIP, "a CLIP text encoder in OpenCLIP's layout (OpenCLIP-H)", "width=1024 layers=24"},
		{"openclip-g", CLIP, "a CLIP text encoder in OpenCLIP's layout (CLIP-G)", "width=1280 layers=32"},
		{"t5xxl", T5, "a T5 text encoder (T5-XXL)", "width=4096 layers=24"},
		{"vae-4-diffusers", VAE, "an autoencoder in the diffusers library's layout (4 latent channels)", "latent_channels=4"},
		{"vae-16-diffusers", VAE, "an autoencoder in the diffusers library's layout (16 latent channels)", "latent_channels=16"},
		{"taesd-4-diffusers", TAESD, "a TAESD autoencoder (4 latent channels)", "latent_channels=4"},
		{"taesd-16-diffusers", TAESD, "a TAESD autoencoder (16 latent channels)", "latent_channels=16"},
		{"taesd-4-encoder", TAESD, "half of a TAESD autoencoder (encoder, 4 latent channels)", "latent_channels=4"},
		{"taesd-4-decoder", TAESD, "half of a TAESD autoencoder (decoder, 4 latent channels)", "latent_channels=4"},
		{"taesd-16-encoder", TAESD, "half of a TAESD autoencoder (encoder, 16 latent channels)", "latent_channels=16"},
		{"taesd-16-decoder", TAESD, "half of a TAESD autoencoder (decoder, 16 latent channels)", "latent_channels=16"},
		{"esrgan", ESRGAN, "an ESRGAN upscaler (4x)", "scale=4 blocks=23 features=64"},
		{"esrgan-old", ESRGAN, "an ESRGAN upscaler with its older names (4x)", "scale=4 blocks=23 features=64"},
		{"dit-xl-2", DiT, "a DiT, which draws from classes", "blocks=28 width=1152 classes=1000"},
		{"dit-xl-2-diffusers", DiT, "a DiT in the diffusers library's layout", "blocks=28 width=1152 classes=1000"},
		{"guided-class", PixelUNet, "a UNet that draws from classes", "classes=1000 in_channels=3 width=256"},
		{"guided-uncond", PixelUNet, "a UNet without conditioning", "in_channels=3 width=256"},
		{"ddpm-diffusers", PixelUNet, "a UNet without conditioning in the diffusers library's layout", "in_channels=3 width=128"},
		{"ddpm-class-diffusers", PixelUNet, "a UNet that draws from classes in the diffusers library's layout", "classes=10 in_channels=3 width=128"},
		{"vae-4", VAE, "an autoencoder (4 latent channels)", "latent_channels=4"},
		{"vae-16", VAE, "an autoencoder (16 latent channels)", "latent_channels=16"},
		{"unet-sd1", UNet, "a UNet of latent diffusion (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"unet-sd2", UNet, "a UNet of latent diffusion (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"unet-sdxl", UNet, "a UNet of latent diffusion (Stable Diffusion XL)", "in_channels=4 width=320 context=2048"},
		{"unet-sdxl-refiner", UNet, "a UNet of latent diffusion (Stable Diffusion XL's refiner)", "in_channels=4 width=384 context=1280"},
		{"unet-sd1-inpaint", UNet, "a UNet of latent diffusion (Stable Diffusion 1.x, inpainting)", "in_channels=9 width=320 context=768"},
		{"unet-sdxl-edit", UNet, "a UNet of latent diffusion (Stable Diffusion XL, editing pictures)", "in_channels=8 width=320 context=2048"},
		{"unet-sd1-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"unet-sd2-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"unet-sdxl-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL)", "in_channels=4 width=320 context=2048"},
		{"unet-sdxl-refiner-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL's refiner)", "in_channels=4 width=384 context=1280"},
		{"unet-sd1-inpaint-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 1.x, inpainting)", "in_channels=9 width=320 context=768"},
		{"unet-sdxl-edit-diffusers", UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL, editing pictures)", "in_channels=8 width=320 context=2048"},
		{"lora-sd1-kohya", LoRA, "a LoRA with kohya's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-peft", LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-diffusers", LoRA, "a LoRA with the diffusers library's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-diffusers-peft", LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sdxl-kohya", LoRA, "a LoRA with kohya's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-peft", LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-diffusers", LoRA, "a LoRA with the diffusers library's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-diffusers-peft", LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-flux-kohya", LoRA, "a LoRA with kohya's names (rank 32, for FLUX.1)", "rank=32"},
		{"lora-flux-diffusers", LoRA, "a LoRA with PEFT's names (rank 16, for FLUX.1)", "rank=16"},
		{"embedding-sd1", Embedding, "a textual inversion (vectors: 4, for Stable Diffusion 1.x)", "vectors=4 width=768"},
		{"embedding-sd2", Embedding, "a textual inversion (vectors: 8, for Stable Diffusion 2.x)", "vectors=8 width=1024"},
		{"embedding-sdxl", Embedding, "a textual inversion for Stable Diffusion XL (vectors: 3)", "vectors=3 width=1280"},
		{"embedding-diffusers", Embedding, "a textual inversion in the diffusers library's layout (vectors: 1, for Stable Diffusion 1.x)", "vectors=1 width=768"},
	} {
		t.Run(c.file, func(t *testing.T) {
			require.NotEmpty(t, all[c.file])
			path := sparse(t, filepath.Join(t.TempDir(), "x"), all[c.file])
			m, err := Load(path)
			require.NoError(t, err)
			defer m.Close()
			require.Equal(t, c.arch, m.Arch)
			require.Equal(t, c.what, m.What)
			var facts []string
			for _, f := range m.Facts {
				facts = append(facts, fmt.Sprintf("%s=%d", f.Name, f.Value))
			}
			require.Equal(t, c.facts, strings.Join(facts, " "))
			quantize := func(uint32, []byte, []float32, int, []float32) error { return nil }
			for _, typ := range []dtype.Type{dtype.F16, dtype.Q8_0, dtype.Q4_K} {
				changes, size, err := Preview(m, Options{Type: typ, Quantize: quantize})
				require.NoError(t, err)
				require.Len(t, changes, len(m.Tensors))
				require.Positive(t, size)
				for _, x := range changes { // what stays f16
					if c.arch == VAE || c.arch == TAESD || isSensitive(x.Name) {
						require.False(t, len(x.Shape) > 1 && x.To.Quantized(), x.Name)
					}
				}
			}
			if size := fileSize(t, path); size < 64<<20 { // for real, the others would take too long
				out := filepath.Join(t.TempDir(), "out.gguf")
				require.NoError(t, Convert(t.Context(), m, out, Options{Type: dtype.Q8_0, Quantize: quantize}))
				again, err := Load(out)
				require.NoError(t, err)
				defer again.Close()
				require.Equal(t, c.arch, again.Arch)
				require.Equal(t, m.Facts, again.Facts)
				require.Equal(t, c.arch, again.Metadata[keyArch])
				require.Len(t, again.Tensors, len(m.Tensors))
			}
			if strings.HasPrefix(c.file, "unet-sdxl-") && c.arch == UNet && !strings.Contains(c.file, "refiner") {
				require.Equal(t, SDXL, m.architecture())
			}
			delete(all, c.file)
		})
	}
	require.Empty(t, all, "files without a line")
}

func fileSize(t testing.TB, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

// A model in the diffusers library's layout becomes the original, row for row:
// fused.tsv.gz has which rows of which original tensor the library's hold.
func TestFused(t *testing.T) {
	shapes := published(t)
	type piece struct {
		source      string
		first, rows int64
	}
	pieces, order := map[string]map[string][]piece{}, map[string][]string{}
	for _, f := range table(t, "fused.tsv.gz") {
		first, err1 := strconv.ParseInt(f[3], 10, 64)
		rows, err2 := strconv.ParseInt(f[4], 10, 64)
		require.NoError(t, err1)
		require.NoError(t, err2)
		if pieces[f[0]] == nil {
			pieces[f[0]] = map[string][]piece{}
		}
		if pieces[f[0]][f[2]] == nil {
			order[f[0]] = append(order[f[0]], f[2])
		}
		pieces[f[0]][f[2]] = append(pieces[f[0]][f[2]], piece{f[1], first, rows})
	}
	for model, byName := range pieces {
		t.Run(model, func(t *testing.T) {
			// Each row holds its number in the original tensor, and nothing else.
			var theirs []safetensors.Tensor
			for _, name := range order[model] {
				var rows []float32
				for _, p := range byName[name] {
					for i := range p.rows {
						rows = append(rows, float32(p.first+i))
					}
				}
				x := safetensors.Tensor{Name: name, DType: "F32", Shape: []int64{int64(len(rows)), 1}, Data: make([]byte, 4*len(rows))}
				require.NoError(t, dtype.Encode(dtype.F32, x.Data, rows))
				theirs = append(theirs, x)
			}
			m, err := Load(save(t, filepath.Join(t.TempDir(), "x"), nil, theirs))
			require.NoError(t, err)
			defer m.Close()
			require.Len(t, m.Tensors, len(shapes[model]))
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, Convert(t.Context(), m, out, Options{Keep: true, Safetensors: true}))
			converted, err := Load(out)
			require.NoError(t, err)
			defer converted.Close()
			_, err = Verify(t.Context(), m, out)
			require.NoError(t, err)
			for _, want := range shapes[model] {
				for _, m := range []*Model{m, converted} {
					x, ok := m.Tensor(want.Name)
					require.True(t, ok, want.Name)
					require.Equal(t, want.Shape[0], x.Shape[0], want.Name)
					values := make([]float32, x.Elements())
					require.NoError(t, x.Float32(values))
					for i, v := range values {
						if v != float32(i) {
							t.Fatalf("row %d of %q is its row %g", i, want.Name, v)
						}
					}
				}
			}
			// And back: each original tensor knows its pieces.
			layers := map[bool][]fusion{true: fluxLayers, false: sd3Layers}[m.Arch == Flux]
			levels, blocks, _ := stages(rawNames(order[model]), "down")
			_, _, attention := stages(rawNames(order[model]), "up")
			modules := inverse(unetModules(levels, blocks, attention))
			if m.Arch == ControlNet {
				modules = inverse(controlModules(levels, blocks))
			}
			back := map[string]bool{}
			for _, x := range m.Tensors {
				names := theirsOf(layers, x.Name)
				if m.Arch == ControlNet || m.Arch == UNet {
					name, ok := translate(modules, strings.TrimPrefix(x.Name, "control_model."))
					require.True(t, ok, x.Name)
					names = []string{name}
				}
				require.NotEmpty(t, names, x.Name)
				for _, name := range names {
					require.NotEmpty(t, byName[name], "%s: %s", x.Name, name)
					require.Equal(t, strings.TrimPrefix(x.Name, "control_model."), byName[name][0].source)
					back[name] = true
				}
			}
			require.Len(t, back, len(byName))
		})
	}
}

func rawNames(names []string) (all []raw) {
	for _, name := range names {
		all = append(all, raw{Tensor: Tensor{Name: name}})
	}
	return all
}
