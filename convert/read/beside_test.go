package read

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// tensorOf is a tensor of zeros.
func tensorOf(name, word string, size int, shape ...int64) safetensors.Tensor {
	for _, d := range shape {
		size *= int(d)
	}
	return safetensors.Tensor{Name: name, DType: word, Shape: shape, Data: make([]byte, size)}
}

// Tensors that files have beside the networks, and marks within them that are no weights,
// do not keep a model from being what it is: they are named in one warning.
func TestBesideTheNetworks(t *testing.T) {
	whole := fixture.Fill(fixture.Weights(fixture.Tiny()), "F16")
	for _, extra := range [][]safetensors.Tensor{
		{tensorOf("something.else", "F16", 2, 2)},
		{tensorOf("a.scalar", "F32", 4)},
		{tensorOf("five.dimensions", "F16", 2, 1, 1, 1, 1, 1)},
		{tensorOf("embedding_manager.string_to_param_dict.*", "F16", 2, 1, 64)},
		{tensorOf("cond_stage_model.transformer.vision_model.embeddings.position_ids", "I64", 8, 1, 2)},
		{tensorOf("control_model.input_blocks.0.0.weight", "F16", 2, 4, 4, 3, 3)},
		{tensorOf("control_model.zero_convs.0.0.weight", "F16", 2, 4, 4, 1, 1)},
		{tensorOf("lora_unet_x.lora_up.weight", "F16", 2, 4, 4), tensorOf("lora_unet_x.lora_down.weight", "F16", 2, 4, 4)},
		{tensorOf("unet.x.to_q.lora_A.weight", "F16", 2, 4, 4), tensorOf("unet.x.to_q.lora_B.weight", "F16", 2, 4, 4)},
		{tensorOf("x.hada_w1_a", "F16", 2, 4, 4)},
		{tensorOf("emb_params", "F16", 2, 1, 64)},
		{tensorOf("string_to_param.*", "F16", 2, 1, 64)},
		{tensorOf("safety_checker.concept_embeds", "F16", 2, 17, 8)},
		{tensorOf("iteration", "I64", 8, 1)},
		{tensorOf("control_model.x.weight_scale", "F32", 4, 1)},
		{tensorOf(model.UNetPrefix+"note", "U8", 1, 1)},
		{tensorOf(model.VAEPrefix+"nothing", "F32", 4, 0)},
		{tensorOf("image_proj.proj.weight", "F16", 2, 4, 4), tensorOf("ip_adapter.1.to_k_ip.weight", "F16", 2, 4, 4)},
	} {
		m, err := Open(fixture.SaveNew(t, nil, slices.Concat(whole, extra)))
		require.NoError(t, err, extra[0].Name)
		require.Equal(t, family.SD1, m.Family, extra[0].Name)
		require.Len(t, m.Tensors, len(whole))
		require.Len(t, m.Unknown, len(extra))
		require.Len(t, m.Warnings, 1)
		for _, x := range extra {
			require.Contains(t, m.Ignored, x.Name)
			require.Contains(t, m.Warnings[0], x.Name)
		}
		require.NoError(t, m.Close())
	}

	var many []safetensors.Tensor
	for _, name := range []string{"d", "c", "b", "a"} {
		many = append(many, tensorOf(name, "F16", 2, 2))
	}
	m, err := Open(fixture.SaveNew(t, nil, slices.Concat(whole, fixture.Surplus()[1:], many)))
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, []string{`4 tensors belong to no network of the model and are ignored: "a", "b", "c", …`}, m.Warnings, "what is known to be of no use is no cause for a warning")
}

// What is recognised is decided by the whole file, not by one tensor of it.
func TestOneTensorDoesNotDecide(t *testing.T) {
	stray := []safetensors.Tensor{tensorOf("lora_unet_x.lora_up.weight", "F16", 2, 4, 4), tensorOf("emb_params", "F16", 2, 1, 64),
		tensorOf("control_model.zero_convs.0.0.weight", "F16", 2, 4, 4, 1, 1)}
	all := fixture.Published(t)
	for file, want := range map[string]string{
		"sd1": family.SD1, "sd2": family.SD2, "sdxl": family.SDXL, "sdxl-refiner": family.SDXLRefiner, "unet-sd1": family.UNet, "unet-sdxl": family.UNet,
		"vae-4": family.VAE, "vae-4-diffusers": family.VAE, "clip-l": family.CLIP, "t5xxl": family.T5, "flux-dev": family.Flux, "sd3-medium": family.SD3,
		"controlnet-sd1": family.ControlNet, "controlnet-sd1-diffusers": family.ControlNet, "taesd-4-decoder": family.TAESD, "esrgan": family.ESRGAN,
	} {
		var stored []model.Stored
		for _, x := range slices.Concat(stray, all[file]) {
			stored = append(stored, model.Stored{Tensor: model.Tensor{Name: x.Name, Shape: x.Shape}, DType: x.DType})
		}
		require.Greater(t, len(stored), len(stray), file)
		f, err := family.Recognise(stored)
		require.NoError(t, err, file)
		require.Equal(t, want, f.Name, file)
	}
}

// SD-Turbo and its relatives are Stable Diffusion 2.x under the names of sgm's code, where
// SDXL's refiner has the same for its text encoder, and label channels.
func TestSGMNames(t *testing.T) {
	file := fixture.Published(t)["sd2"]
	for i, x := range file {
		if rest, ok := strings.CutPrefix(x.Name, "cond_stage_model."); ok {
			file[i].Name = "conditioner.embedders.0." + rest
		}
	}
	m, err := Load(fixture.Sparse(t, t.TempDir()+"/sd-turbo.safetensors", file))
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, family.SD2, m.Family)
	require.Equal(t, 23, m.Config.(*family.StableDiffusion).Text.FinalLayer)
	require.Empty(t, m.Warnings)
}
