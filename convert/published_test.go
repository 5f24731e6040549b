package convert

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Every kind of file that people have, with its true names and shapes: what it
// is, and what becomes of it.
func TestPublished(t *testing.T) {
	all := fixture.Published(t)
	for _, c := range []struct{ file, arch, what, facts string }{
		{"sd1", family.SD1, "Stable Diffusion 1.x", ""},
		{"sd1-inpaint", family.SD1, "Stable Diffusion 1.x for inpainting", ""},
		{"sd1-edit", family.SD1, "Stable Diffusion 1.x for editing pictures", ""},
		{"sd2", family.SD2, "Stable Diffusion 2.x", ""},
		{"sd2-inpaint", family.SD2, "Stable Diffusion 2.x for inpainting", ""},
		{"sdxl", family.SDXL, "Stable Diffusion XL", ""},
		{"sdxl-inpaint", family.SDXL, "Stable Diffusion XL for inpainting", ""},
		{"sdxl-edit", family.SDXL, "Stable Diffusion XL for editing pictures", ""},
		{"sdxl-refiner", family.SDXLRefiner, "Stable Diffusion XL's refiner", ""},
		{"flux-dev", family.Flux, "FLUX.1 (dev: guidance is an input)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38 guidance=1"},
		{"flux-schnell", family.Flux, "FLUX.1 (schnell: no guidance)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"flux-dev-diffusers", family.Flux, "FLUX.1 in the diffusers library's layout (dev: guidance is an input)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38 guidance=1"},
		{"flux-schnell-diffusers", family.Flux, "FLUX.1 in the diffusers library's layout (schnell: no guidance)", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"flux-fill", family.Flux, "FLUX.1 (Fill: a masked picture, its mask and guidance are inputs)", "width=3072 in_channels=384 double_blocks=19 single_blocks=38 guidance=1"},
		{"flux-depth", family.Flux, "FLUX.1 (control: a picture and guidance are inputs)", "width=3072 in_channels=128 double_blocks=19 single_blocks=38 guidance=1"},
		{"chroma", family.Chroma, "Chroma", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"chroma-diffusers", family.Chroma, "Chroma in the diffusers library's layout", "width=3072 in_channels=64 double_blocks=19 single_blocks=38"},
		{"sd3-medium", family.SD3, "Stable Diffusion 3 (medium)", "width=1536 blocks=24"},
		{"sd3-medium-diffusers", family.SD3, "Stable Diffusion 3 in the diffusers library's layout (medium)", "width=1536 blocks=24"},
		{"sd3.5-medium", family.SD3, "Stable Diffusion 3.5 (medium)", "width=1536 blocks=24"},
		{"sd3.5-medium-diffusers", family.SD3, "Stable Diffusion 3.5 in the diffusers library's layout (medium)", "width=1536 blocks=24"},
		{"sd3.5-large", family.SD3, "Stable Diffusion 3.5 (large)", "width=2432 blocks=38"},
		{"sd3.5-large-diffusers", family.SD3, "Stable Diffusion 3.5 in the diffusers library's layout (large)", "width=2432 blocks=38"},
		{"controlnet-sd1", family.ControlNet, "a ControlNet (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"controlnet-sd1-diffusers", family.ControlNet, "a ControlNet in the diffusers library's layout (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"controlnet-sd2", family.ControlNet, "a ControlNet (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"controlnet-sd2-diffusers", family.ControlNet, "a ControlNet in the diffusers library's layout (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"clip-l", family.CLIP, "a CLIP text encoder (CLIP-L)", "width=768 layers=12"},
		{"clip-l-transformers5", family.CLIP, "a CLIP text encoder (CLIP-L)", "width=768 layers=12"},
		{"clip-g", family.CLIP, "a CLIP text encoder (CLIP-G)", "width=1280 layers=32"},
		{"openclip-h-transformers", family.CLIP, "a CLIP text encoder (OpenCLIP-H)", "width=1024 layers=23"},
		{"openclip-h", family.CLIP, "a CLIP model of texts and images in OpenCLIP's layout (OpenCLIP-H)", "width=1024 layers=24"},
		{"openclip-g", family.CLIP, "a CLIP text encoder in OpenCLIP's layout (CLIP-G)", "width=1280 layers=32"},
		{"t5xxl", family.T5, "a T5 text encoder (T5-XXL)", "width=4096 layers=24"},
		{"vae-4-diffusers", family.VAE, "an autoencoder in the diffusers library's layout (4 latent channels)", "latent_channels=4"},
		{"vae-16-diffusers", family.VAE, "an autoencoder in the diffusers library's layout (16 latent channels)", "latent_channels=16"},
		{"taesd-4-diffusers", family.TAESD, "a TAESD autoencoder (4 latent channels)", "latent_channels=4"},
		{"taesd-16-diffusers", family.TAESD, "a TAESD autoencoder (16 latent channels)", "latent_channels=16"},
		{"taesd-4-encoder", family.TAESD, "half of a TAESD autoencoder (encoder, 4 latent channels)", "latent_channels=4"},
		{"taesd-4-decoder", family.TAESD, "half of a TAESD autoencoder (decoder, 4 latent channels)", "latent_channels=4"},
		{"taesd-16-encoder", family.TAESD, "half of a TAESD autoencoder (encoder, 16 latent channels)", "latent_channels=16"},
		{"taesd-16-decoder", family.TAESD, "half of a TAESD autoencoder (decoder, 16 latent channels)", "latent_channels=16"},
		{"esrgan", family.ESRGAN, "an ESRGAN upscaler (4x)", "scale=4 blocks=23 features=64"},
		{"esrgan-old", family.ESRGAN, "an ESRGAN upscaler with its older names (4x)", "scale=4 blocks=23 features=64"},
		{"dit-xl-2", family.DiT, "a DiT, which draws from classes (learned variance)", "blocks=28 width=1152 classes=1000 size=32"},
		{"dit-xl-2-512", family.DiT, "a DiT, which draws from classes (learned variance)", "blocks=28 width=1152 classes=1000 size=64"},
		{"dit-s-8", family.DiT, "a DiT, which draws from classes (learned variance)", "blocks=12 width=384 classes=1000 size=32"},
		{"dit-xl-2-diffusers", family.DiT, "a DiT in the diffusers library's layout (learned variance)", "blocks=28 width=1152 classes=1000 size=32"},
		{"guided-class", family.PixelUNet, "a UNet that draws from classes (learned variance)", "classes=1000 size=256 in_channels=3 width=256"},
		{"guided-uncond", family.PixelUNet, "a UNet without conditioning (learned variance)", "size=256 in_channels=3 width=256"},
		{"ddpm-diffusers", family.PixelUNet, "a UNet without conditioning in the diffusers library's layout", "size=256 in_channels=3 width=128"},
		{"ddpm-class-diffusers", family.PixelUNet, "a UNet that draws from classes in the diffusers library's layout", "classes=10 size=256 in_channels=3 width=128"},
		{"deepfloyd-1-m", family.DeepFloyd, "DeepFloyd IF (stage I)", "width=192"},
		{"deepfloyd-1-m-diffusers", family.DeepFloyd, "DeepFloyd IF in the diffusers library's layout (stage I)", "width=192"},
		{"deepfloyd-1-l", family.DeepFloyd, "DeepFloyd IF (stage I)", "width=320"},
		{"deepfloyd-1-l-diffusers", family.DeepFloyd, "DeepFloyd IF in the diffusers library's layout (stage I)", "width=320"},
		{"deepfloyd-1-xl", family.DeepFloyd, "DeepFloyd IF (stage I)", "width=704"},
		{"deepfloyd-1-xl-diffusers", family.DeepFloyd, "DeepFloyd IF in the diffusers library's layout (stage I)", "width=704"},
		{"adm-64", family.PixelUNet, "a UNet that draws from classes (learned variance)", "classes=1000 size=64 in_channels=3 width=192"},
		{"adm-128", family.PixelUNet, "a UNet that draws from classes (learned variance)", "classes=1000 size=128 in_channels=3 width=256"},
		{"adm-512", family.PixelUNet, "a UNet that draws from classes (learned variance)", "classes=1000 size=512 in_channels=3 width=256"},
		{"adm-64-256-upsampler", family.PixelUNet, "a UNet that draws from classes (learned variance, enlarges pictures)", "classes=1000 size=256 in_channels=6 width=192"},
		{"adm-128-512-upsampler", family.PixelUNet, "a UNet that draws from classes (learned variance, enlarges pictures)", "classes=1000 size=512 in_channels=6 width=192"},
		{"adm-64-classifier", family.PixelUNet, "a classifier of noisy pictures", "classes=1000 size=64 in_channels=3 width=128"},
		{"adm-128-classifier", family.PixelUNet, "a classifier of noisy pictures", "classes=1000 size=128 in_channels=3 width=128"},
		{"adm-256-classifier", family.PixelUNet, "a classifier of noisy pictures", "classes=1000 size=256 in_channels=3 width=128"},
		{"adm-512-classifier", family.PixelUNet, "a classifier of noisy pictures", "classes=1000 size=512 in_channels=3 width=128"},
		{"iddpm-cifar10", family.PixelUNet, "a UNet without conditioning (learned variance)", "size=32 in_channels=3 width=128"},
		{"iddpm-imagenet64", family.PixelUNet, "a UNet without conditioning (learned variance)", "size=64 in_channels=3 width=128"},
		{"consistency-imagenet64", family.PixelUNet, "a UNet that draws from classes (consistency)", "classes=1000 size=64 in_channels=3 width=192"},
		{"consistency-lsun256", family.PixelUNet, "a UNet without conditioning (consistency)", "size=256 in_channels=3 width=256"},
		{"consistency-imagenet64-diffusers", family.PixelUNet, "a UNet that draws from classes in the diffusers library's layout (consistency)", "classes=1000 size=64 in_channels=3 width=192"},
		{"ddpm-cifar10-diffusers", family.PixelUNet, "a UNet without conditioning in the diffusers library's layout", "size=32 in_channels=3 width=128"},
		{"ddpm-cifar10-diffusers-older", family.PixelUNet, "a UNet without conditioning in the diffusers library's layout", "size=32 in_channels=3 width=128"},
		{"ldm-cin256", family.PixelUNet, "a UNet of latent diffusion that draws from classes", "classes=1000 size=64 in_channels=3 width=192"},
		{"ldm-celeba256", family.PixelUNet, "a UNet without conditioning", "size=64 in_channels=3 width=224"},
		{"ldm-churches256", family.PixelUNet, "a UNet without conditioning", "size=32 in_channels=4 width=192"},
		{"ldm-bsr-sr", family.PixelUNet, "a UNet without conditioning (enlarges pictures)", "size=64 in_channels=6 width=160"},
		{"edm2-img512-xs", family.PixelUNet, "a UNet of EDM2 (EDM)", "classes=1000 size=64 in_channels=4 width=128"},
		{"edm2-img64-s", family.PixelUNet, "a UNet of EDM2 (EDM)", "classes=1000 size=64 in_channels=3 width=192"},
		{"edm-cifar10-vp", family.PixelUNet, "a UNet of EDM (EDM)", "classes=10 size=32 in_channels=3 width=128"},
		{"edm-cifar10-ve", family.PixelUNet, "a UNet of EDM (EDM)", "size=32 in_channels=3 width=256"},
		{"edm-ffhq-64-vp", family.PixelUNet, "a UNet of EDM (EDM)", "size=64 in_channels=3 width=128"},
		{"edm-imagenet-64", family.PixelUNet, "a UNet of EDM (EDM)", "classes=1000 size=64 in_channels=3 width=192"},
		{"score-cifar10-ncsnpp", family.PixelUNet, "a score-based UNet with learned frequencies (NCSN++) (variance-exploding)", "size=32 in_channels=3 width=256"},
		{"score-cifar10-ncsnpp-vp", family.PixelUNet, "a score-based UNet (DDPM++) (variance-preserving SDE)", "size=32 in_channels=3 width=128"},
		{"score-cifar10-ddpmpp-deep", family.PixelUNet, "a score-based UNet (DDPM++) (variance-preserving SDE)", "size=32 in_channels=3 width=128"},
		{"score-church-256", family.PixelUNet, "a score-based UNet with learned frequencies (NCSN++) (variance-exploding)", "size=256 in_channels=3 width=256"},
		{"score-ffhq-1024", family.PixelUNet, "a score-based UNet with learned frequencies (NCSN++) (variance-exploding)", "size=1024 in_channels=3 width=32"},
		{"score-church-256-diffusers", family.PixelUNet, "a UNet without conditioning in the diffusers library's layout (variance-exploding)", "size=256 in_channels=3 width=256"},
		{"ddpm-cifar10", family.PixelUNet, "a UNet without conditioning with the DDPM's names", "size=32 in_channels=3 width=128"},
		{"z-image", family.ZImage, "Z-Image", "width=3840 layers=30"},
		{"z-image-prefix", family.ZImage, "Z-Image", "width=3840 layers=30"},
		{"z-image-diffusers", family.ZImage, "Z-Image in the diffusers library's layout", "width=3840 layers=30"},
		{"z-image-whole", family.ZImage, "Z-Image", "width=3840 layers=30"},
		{"qwen3-4b", family.Qwen, "a Qwen3 text encoder (4B)", "width=2560 layers=36"},
		{"qwen3-8b", family.Qwen, "a Qwen3 text encoder (8B)", "width=4096 layers=36"},
		{"qwen3-4b-gguf", family.Qwen, "a Qwen3 text encoder with llama.cpp's names (4B)", "width=2560 layers=36"},
		{"flux2-klein-4b", family.Flux2, "FLUX.2 (klein 4B)", "width=3072 double_blocks=5 single_blocks=20"},
		{"flux2-klein-4b-diffusers", family.Flux2, "FLUX.2 in the diffusers library's layout (klein 4B)", "width=3072 double_blocks=5 single_blocks=20"},
		{"flux2-klein-9b", family.Flux2, "FLUX.2 (klein 9B)", "width=4096 double_blocks=8 single_blocks=24"},
		{"flux2-klein-9b-diffusers", family.Flux2, "FLUX.2 in the diffusers library's layout (klein 9B)", "width=4096 double_blocks=8 single_blocks=24"},
		{"flux2-dev", family.Flux2, "FLUX.2 (dev: guidance is an input)", "width=6144 double_blocks=8 single_blocks=48 guidance=1"},
		{"flux2-dev-diffusers", family.Flux2, "FLUX.2 in the diffusers library's layout (dev: guidance is an input)", "width=6144 double_blocks=8 single_blocks=48 guidance=1"},
		{"flux2-whole", family.Flux2, "FLUX.2 (klein 4B)", "width=3072 double_blocks=5 single_blocks=20"},
		{"vae-flux2-diffusers", family.VAE, "an autoencoder in the diffusers library's layout (32 latent channels)", "latent_channels=32"},
		{"qwen-image", family.QwenImage, "Qwen-Image", "width=3072 blocks=60"},
		{"qwen-image-edit-2511", family.QwenImage, "Qwen-Image (Edit-2511)", "width=3072 blocks=60"},
		{"qwen-image-whole", family.QwenImage, "Qwen-Image", "width=3072 blocks=60"},
		{"qwen2.5-vl-7b", family.Qwen, "a Qwen2.5 text encoder (7B, with its vision tower)", "width=3584 layers=28"},
		{"qwen2.5-vl-7b-transformers5", family.Qwen, "a Qwen2.5 text encoder (7B, with its vision tower)", "width=3584 layers=28"},
		{"qwen2.5-vl-7b-gguf", family.Qwen, "a Qwen2.5 text encoder with llama.cpp's names (7B)", "width=3584 layers=28"},
		{"vae-qwen-image", family.VAE, "Wan 2.1's or Qwen-Image's autoencoder (16 latent channels)", "latent_channels=16"},
		{"vae-qwen-image-diffusers", family.VAE, "Wan 2.1's or Qwen-Image's autoencoder in the diffusers library's layout (16 latent channels)", "latent_channels=16"},
		{"vae-4", family.VAE, "an autoencoder (4 latent channels)", "latent_channels=4"},
		{"vae-16", family.VAE, "an autoencoder (16 latent channels)", "latent_channels=16"},
		{"unet-sd1", family.UNet, "a UNet of latent diffusion (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"unet-sd2", family.UNet, "a UNet of latent diffusion (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"unet-sdxl", family.UNet, "a UNet of latent diffusion (Stable Diffusion XL)", "in_channels=4 width=320 context=2048"},
		{"unet-sdxl-refiner", family.UNet, "a UNet of latent diffusion (Stable Diffusion XL's refiner)", "in_channels=4 width=384 context=1280"},
		{"unet-sd1-inpaint", family.UNet, "a UNet of latent diffusion (Stable Diffusion 1.x, inpainting)", "in_channels=9 width=320 context=768"},
		{"unet-sdxl-edit", family.UNet, "a UNet of latent diffusion (Stable Diffusion XL, editing pictures)", "in_channels=8 width=320 context=2048"},
		{"unet-sd1-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
		{"unet-sd2-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 2.x)", "in_channels=4 width=320 context=1024"},
		{"unet-sdxl-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL)", "in_channels=4 width=320 context=2048"},
		{"unet-sdxl-refiner-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL's refiner)", "in_channels=4 width=384 context=1280"},
		{"unet-sd1-inpaint-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion 1.x, inpainting)", "in_channels=9 width=320 context=768"},
		{"unet-sdxl-edit-diffusers", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL, editing pictures)", "in_channels=8 width=320 context=2048"},
		{"lora-sd1-kohya", family.LoRA, "a LoRA with kohya's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-peft", family.LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-diffusers", family.LoRA, "a LoRA with the diffusers library's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sd1-diffusers-peft", family.LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion 1.x)", "rank=16 context=768"},
		{"lora-sdxl-kohya", family.LoRA, "a LoRA with kohya's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-peft", family.LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-diffusers", family.LoRA, "a LoRA with the diffusers library's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-sdxl-diffusers-peft", family.LoRA, "a LoRA with PEFT's names (rank 16, for Stable Diffusion XL)", "rank=16 context=2048"},
		{"lora-flux-kohya", family.LoRA, "a LoRA with kohya's names (rank 32, for FLUX.1)", "rank=32"},
		{"lora-flux-diffusers", family.LoRA, "a LoRA with PEFT's names (rank 16, for FLUX.1)", "rank=16"},
		{"embedding-sd1", family.Embedding, "a textual inversion (vectors: 4, for Stable Diffusion 1.x)", "vectors=4 width=768"},
		{"embedding-sd2", family.Embedding, "a textual inversion (vectors: 8, for Stable Diffusion 2.x)", "vectors=8 width=1024"},
		{"embedding-sdxl", family.Embedding, "a textual inversion for Stable Diffusion XL (vectors: 3)", "vectors=3 width=1280"},
		{"embedding-diffusers", family.Embedding, "a textual inversion in the diffusers library's layout (vectors: 1, for Stable Diffusion 1.x)", "vectors=1 width=768"},
	} {
		t.Run(c.file, func(t *testing.T) {
			require.NotEmpty(t, all[c.file])
			path := fixture.Sparse(t, filepath.Join(t.TempDir(), "x"), all[c.file])
			m, err := Load(path)
			require.NoError(t, err)
			defer m.Close()
			require.Equal(t, c.arch, m.Family)
			require.Equal(t, c.what, m.Description)
			var facts []string
			for _, f := range m.Properties {
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
					if c.arch == family.VAE || c.arch == family.TAESD || family.IsPrecise(x.Name) {
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
				require.Equal(t, c.arch, again.Family)
				require.Equal(t, m.Properties, again.Properties)
				require.Equal(t, c.arch, again.Metadata[model.KeyArchitecture])
				require.Len(t, again.Tensors, len(m.Tensors))
			}
			if strings.HasPrefix(c.file, "unet-sdxl-") && c.arch == family.UNet && !strings.Contains(c.file, "refiner") {
				family.AddMetadata(m, func(key string, value any) { // as ComfyUI-GGUF expects it
					require.True(t, key != model.KeyArchitecture || value == SDXL)
				})
			}
			delete(all, c.file)
		})
	}
	require.Empty(t, slices.Collect(maps.Keys(all)), "files without a line")
}

// The published vision tower of Qwen2.5-VL 7B, in a whole model and beside a transformer, is one that runs.
func TestPublishedTower(t *testing.T) {
	all := fixture.Published(t)
	file := func(name string) string { return fixture.Sparse(t, filepath.Join(t.TempDir(), name), all[name]) }
	transformer := file("qwen-image-edit-2511")
	for _, open := range []func() (*Model, error){
		func() (*Model, error) { return Load(file("qwen-image-whole")) },
		func() (*Model, error) { return Assemble(Components{Model: transformer, LLM: file("qwen2.5-vl-7b")}) },
		func() (*Model, error) {
			return Assemble(Components{Model: transformer, LLM: file("qwen2.5-vl-7b-transformers5")})
		},
	} {
		m, err := open()
		require.NoError(t, err)
		defer m.Close()
		require.Equal(t, &QwenVisionConfig{Width: 1280, Heads: 16, Blocks: 32, FFN: 3420, Out: 3584, LeastPixels: 3136, MostPixels: 12845056}, m.Config.(*QwenImageConfig).Vision)
		parts := map[string]int64{}
		for _, p := range family.Parts(m) {
			parts[p.Name] = p.Elements
		}
		require.EqualValues(t, 676550144, parts["vision tower"])
	}
}

func fileSize(t testing.TB, path string) int64 {
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Size()
}

// A model in the diffusers library's layout becomes the original, row for row:
// fused.tsv.gz has which rows of which original tensor the library's hold.
func TestFused(t *testing.T) {
	shapes := fixture.Published(t)
	type piece struct {
		source      string
		first, rows int64
	}
	pieces, order := map[string]map[string][]piece{}, map[string][]string{}
	for _, f := range fixture.Table(t, "fused.tsv.gz") {
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
	for name, byName := range pieces {
		t.Run(name, func(t *testing.T) {
			// Each row holds its number in the original tensor, and nothing else.
			var theirs []safetensors.Tensor
			for _, name := range order[name] {
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
			m, err := Load(fixture.SaveNew(t, nil, theirs))
			require.NoError(t, err)
			defer m.Close()
			require.Len(t, m.Tensors, len(shapes[name]))
			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, Convert(t.Context(), m, out, Options{Keep: true, Safetensors: true}))
			converted, err := Load(out)
			require.NoError(t, err)
			defer converted.Close()
			_, err = Verify(t.Context(), m, out)
			require.NoError(t, err)
			for _, want := range shapes[name] {
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
		})
	}
}
