package convert

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// realFiles are published files: what they are, and their numbers.
var realFiles = []struct{ file, family, what, facts string }{
	{"taesd/taesd-decoder.gguf", family.TAESD, "a TAESD autoencoder with stable-diffusion.cpp's names (4 latent channels)", "latent_channels=4"},
	{"taesd/taesd_decoder_f16.safetensors", family.TAESD, "half of a TAESD autoencoder (decoder, 4 latent channels)", "latent_channels=4"},
	{"taesd/taef2_decoder.pth", family.TAESD, "half of a TAEF2 autoencoder (decoder, 32 latent channels)", "latent_channels=32"},
	{"lora/analog_svd_rank4.safetensors", family.LoRA, "a LoRA with cloneofsimo's names (rank 4, for Stable Diffusion 1.x)", "rank=4 context=768"},
	{"lora/lora_pop.pt", family.LoRA, "a LoRA, a list of matrices (rank 4, for Stable Diffusion 2.x)", "rank=4 context=1024"},
	{"embeddings/flora.pt", family.Embedding, "a textual inversion (vectors: 4, for Stable Diffusion 2.x)", "vectors=4 width=1024"},
	{"embeddings/cat.pt", family.TextStates, "the hidden states of a text (77 tokens, for Stable Diffusion 1.x)", "tokens=77 width=768"},
	{"embeddings/invokeai_test_embedding.safetensors", family.Embedding, "a textual inversion (vectors: 5, for Stable Diffusion 1.x)", "vectors=5 width=768"},
	{"esrgan/realesr-animevideov3-x4.safetensors", family.ESRGAN, "a compact ESRGAN upscaler (4x)", "scale=4 layers=16 features=64"},
	{"metric/lpips/alex.pth", family.LPIPS, "the linear layers of LPIPS (AlexNet)", "layers=5"},
	{"metric/lpips/squeeze.pth", family.LPIPS, "the linear layers of LPIPS (SqueezeNet)", "layers=7"},
	{"metric/lpips/vgg.pth", family.LPIPS, "the linear layers of LPIPS (VGG)", "layers=5"},
	{"metric/dists_weights.pt", family.DISTS, "the weights of DISTS", ""},
	{"metric/pnet.pt", family.MTCNN, "MTCNN's P-Net, which proposes faces", ""},
	{"metric/rnet.pt", family.MTCNN, "MTCNN's R-Net, which refines faces", ""},
	{"metric/onet.pt", family.MTCNN, "MTCNN's O-Net, which finds faces and their landmarks", ""},
	{"classifier/resnet20-12fca82f.th", family.ResNet, "a ResNet for classification (20 layers, 10 classes)", "layers=20 classes=10"},
	{"classifier/resnet56-4bfd9763.th", family.ResNet, "a ResNet for classification (56 layers, 10 classes)", "layers=56 classes=10"},
	{"ddpm/VishalJ99_ddpm_mnist.pth", family.CNNDDPM, "a DDPM of plain convolutions (28x28 pixels, 1000 steps)", "channels=1 blocks=5 side=28 steps=1000"},
	{"skeletons/Alien_Style.safetensors.json", family.LoRA, "a LoRA with kohya's names (rank 32, for Stable Diffusion XL)", "rank=32 context=2048"},
	{"skeletons/EasyNegative.safetensors.json", family.Embedding, "a textual inversion (vectors: 8, for Stable Diffusion 1.x)", "vectors=8 width=768"},
	{"skeletons/Hard_Edge_Detection_(canny)_diffusion_pytorch_model.fp16.safetensors.json", family.ControlNet, "a ControlNet in the diffusers library's layout (Stable Diffusion 1.x)", "in_channels=4 width=320 context=768"},
	{"skeletons/IP_Adapter_SD1_model.safetensors.json", family.CLIPVision, "a CLIP image encoder (ViT-H)", "width=1280 layers=32 projection=1024"},
	{"skeletons/Juggernaut_XL_v9_text_encoder_2_model.fp16.safetensors.json", family.CLIP, "a CLIP text encoder (CLIP-G)", "width=1280 layers=32"},
	{"skeletons/Juggernaut_XL_v9_text_encoder_model.fp16.safetensors.json", family.CLIP, "a CLIP text encoder (CLIP-L)", "width=768 layers=12"},
	{"skeletons/Juggernaut_XL_v9_unet_diffusion_pytorch_model.fp16.safetensors.json", family.UNet, "a UNet of latent diffusion in the diffusers library's layout (Stable Diffusion XL)", "in_channels=4 width=320 context=2048"},
	{"skeletons/Juggernaut_XL_v9_vae_diffusion_pytorch_model.fp16.safetensors.json", family.VAE, "an autoencoder in the diffusers library's layout (4 latent channels)", "latent_channels=4"},
	{"skeletons/RealESRGAN_x2plus.pth.json", family.ESRGAN, "an ESRGAN upscaler (2x)", "scale=2 blocks=23 features=64"},
	{"skeletons/Standard_Reference_(IP_Adapter).safetensors.json", family.IPAdapter, "an IP-Adapter (for Stable Diffusion 1.x)", "context=768"},
	{"skeletons/clip-vit-large-patch14_model.safetensors.json", family.CLIP, "a CLIP model of texts and images (CLIP-L)", "width=768 layers=12"},
	{"skeletons/siglip-so400m-patch14-384_model.safetensors.json", family.SigLIP, "a SigLIP model of texts and images", "width=1152 layers=27"},
}

// Published files that are not in the repository are what they are.
func TestRealFiles(t *testing.T) {
	if fixture.Real(t, "README.md") == "" {
		t.Skip("the published files are not there")
	}
	for _, c := range realFiles {
		path := fixture.Real(t, c.file)
		require.NotEmpty(t, path, c.file)
		if strings.HasSuffix(path, ".json") {
			path = skeleton(t, path)
		}
		m, err := Load(path)
		require.NoError(t, err, c.file)
		require.Equal(t, c.family, m.Family, c.file)
		require.Equal(t, c.what, m.Description, c.file)
		var facts []string
		for _, p := range m.Properties {
			facts = append(facts, fmt.Sprintf("%s=%d", p.Name, p.Value))
		}
		require.Equal(t, c.facts, strings.Join(facts, " "), c.file)
		require.Empty(t, m.Warnings, c.file)
		require.NoError(t, m.Close())
	}
	known := map[string]bool{}
	for _, c := range realFiles {
		known[filepath.FromSlash(c.file)] = true
	}
	root := filepath.Dir(fixture.Real(t, "README.md"))
	for _, folder := range []string{"taesd", "lora", "embeddings", "esrgan", "metric", "metric/lpips", "classifier", "ddpm", "skeletons"} {
		entries, err := os.ReadDir(filepath.Join(root, folder))
		require.NoError(t, err)
		for _, e := range entries {
			if !e.IsDir() && filepath.Ext(e.Name()) != ".npz" { // arrays of references
				require.True(t, known[filepath.Join(folder, e.Name())], "no line for %s/%s", folder, e.Name())
			}
		}
	}
}

// skeleton writes a sparse file with the names, shapes and types of InvokeAI's stripped
// models: {"name": {"fakeTensor": true, "shape": […], "dtype": "torch.float16"}, …},
// perhaps within "params_ema" or "params".
func skeleton(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	all := map[string]json.RawMessage{}
	require.NoError(t, json.Unmarshal(text, &all))
	for _, key := range []string{"params_ema", "params"} {
		if inner := all[key]; inner != nil {
			clear(all)
			require.NoError(t, json.Unmarshal(inner, &all))
		}
	}
	words := map[string]string{"torch.float32": "F32", "torch.float16": "F16", "torch.bfloat16": "BF16", "torch.int64": "I64"}
	var tensors []safetensors.Tensor
	for name, entry := range all {
		var one struct {
			FakeTensor bool
			Shape      []int64
			DType      string
		}
		if json.Unmarshal(entry, &one) != nil || !one.FakeTensor {
			continue // what the file says about itself
		}
		require.NotEmpty(t, words[one.DType], one.DType)
		tensors = append(tensors, safetensors.Tensor{Name: name, DType: words[one.DType], Shape: one.Shape})
	}
	return fixture.Sparse(t, filepath.Join(t.TempDir(), "skeleton.safetensors"), tensors)
}
