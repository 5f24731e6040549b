package convert

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdgo/sdgo/convert/dtype"
	"github.com/sdgo/sdgo/convert/family"
	"github.com/sdgo/sdgo/convert/model"
	"github.com/sdgo/sdgo/convert/safetensors"
	"github.com/sdgo/sdgo/internal/fixture"
)

// Names from published files of each kind.
func TestRecognise(t *testing.T) {
	for _, c := range []struct{ arch, what, names string }{
		{family.LoRA, "a LoRA with kohya's names", "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"},
		{family.LoRA, "a LoRA with PEFT's names", "base_model.model.unet.down_blocks.0.attentions.0.proj_in.lora_A.weight base_model.model.unet.down_blocks.0.attentions.0.proj_in.lora_B.weight"},
		{family.LoRA, "a LoRA with PEFT's names", "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight transformer.single_transformer_blocks.0.attn.to_q.lora_B.weight"},
		{family.LoRA, "a LoRA with the diffusers library's names", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.down.weight unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight"},
		{family.LoRA, "a LoRA with the diffusers library's older names", "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.up.weight"},
		{family.LoRA, "a LoRA with the diffusers library's older names", "text_encoder.text_model.encoder.layers.0.self_attn.k_proj.lora_linear_layer.down.weight text_encoder.text_model.encoder.layers.0.self_attn.k_proj.lora_linear_layer.up.weight"},
		{family.LoRA, "a LoHa", "lora_unet_mid_block_attentions_0_proj_in.hada_w1_a"},
		{family.LoRA, "a LoKr", "lora_unet_mid_block_attentions_0_proj_in.lokr_w1"},
		{family.LoRA, "a LoRA with PEFT's names", "unet.down_blocks.0.attentions.0.proj_in.lora_A.default.weight unet.down_blocks.0.attentions.0.proj_in.lora_B.default.weight"},
		{family.LoRA, "a LoRA with cloneofsimo's names", "unet:0:down unet:0:up text_encoder:0:down text_encoder:0:up"},
		{family.LoRA, "an OFT", "lora_unet_mid_block_attentions_0_proj_in.oft_blocks"},
		{family.LoRA, "a LoRA with kohya's names", "lora_unet_x.lora_up.weight lora_unet_x.lora_down.weight bundle_emb.a.string_to_param.* emb_params"},
		{family.IPAdapter, "an IP-Adapter", "image_proj.proj.weight ip_adapter.1.to_k_ip.weight ip_adapter.1.to_v_ip.weight"},
		{family.IPAdapter, "an IP-Adapter (FaceID)", "image_proj.proj.0.weight image_proj.proj.2.weight ip_adapter.1.to_k_ip.weight ip_adapter.0.to_q_lora.up.weight ip_adapter.0.to_q_lora.down.weight"},
		{family.Embedding, "a textual inversion", "emb_params"},
		{family.Embedding, "a textual inversion", "string_to_param.* string_to_token.*"},
		{family.Embedding, "a textual inversion for Stable Diffusion XL", "clip_g clip_l"},
		{family.ControlNet, "a ControlNet", "control_model.input_hint_block.0.weight control_model.zero_convs.0.0.weight control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"},
		{family.Flux, "FLUX.1", "double_blocks.0.img_attn.qkv.weight single_blocks.0.linear1.weight img_in.weight"},
		{family.Flux, "FLUX.1", "model.diffusion_model.double_blocks.0.img_attn.qkv.weight vae.decoder.conv_in.weight"},
		{family.SD3, "Stable Diffusion 3", "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"},
		{family.SD3, "Stable Diffusion 3.5", "model.diffusion_model.joint_blocks.0.context_block.attn.qkv.weight model.diffusion_model.joint_blocks.0.x_block.attn.ln_q.weight"},
		{family.DiT, "a DiT, which draws from classes", "blocks.0.adaLN_modulation.1.weight x_embedder.proj.weight y_embedder.embedding_table.weight"},
		{family.T5, "a T5 text encoder", "shared.weight encoder.block.0.layer.0.SelfAttention.q.weight"},
		{family.T5, "a T5 text encoder with llama.cpp's names", "token_embd.weight enc.blk.0.attn_q.weight"},
		{family.UNet, "a UNet of latent diffusion", "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight model.diffusion_model.input_blocks.0.0.weight"},
		{family.UNet, "a UNet of latent diffusion in the diffusers library's layout", "conv_in.weight down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"},
		{family.PixelUNet, "a UNet that draws from classes", "input_blocks.0.0.weight label_emb.weight time_embed.0.weight"},
		{family.PixelUNet, "a UNet that draws from a vector", "input_blocks.0.0.weight label_emb.0.0.weight label_emb.0.2.weight time_embed.0.weight"},
		{family.PixelUNet, "a UNet that draws from a vector in the diffusers library's layout", "conv_in.weight down_blocks.0.resnets.0.time_emb_proj.weight class_embedding.linear_1.weight"},
		{family.UNet, "a UNet of latent diffusion", "input_blocks.0.0.weight middle_block.1.transformer_blocks.0.attn2.to_k.weight output_blocks.0.0.in_layers.2.weight label_emb.0.0.weight"},
		{family.PixelUNet, "a UNet without conditioning", "input_blocks.0.0.weight time_embed.0.weight"},
		{family.PixelUNet, "a UNet without conditioning in the diffusers library's layout", "conv_in.weight down_blocks.0.resnets.0.time_emb_proj.weight"},
		{family.PixelUNet, "a UNet without conditioning with the DDPM's names", "temb.dense.0.weight down.0.block.0.temb_proj.weight conv_in.weight"},
		{family.PixelUNet, "a classifier of noisy pictures", "input_blocks.0.0.weight out.2.positional_embedding time_embed.0.weight"},
		{family.PixelUNet, "a UNet that draws from a number", "input_blocks.0.0.weight input_blocks.1.0.emb_layers.1.weight label_emb.0.weight"},
		{family.CLIP, "a CLIP text encoder", "text_model.encoder.layers.0.self_attn.q_proj.weight text_projection.weight"},
		{family.CLIP, "a CLIP text encoder in OpenCLIP's layout", "transformer.resblocks.0.attn.in_proj_weight"},
		{family.CLIP, "a CLIP model of texts and images", "text_model.encoder.layers.0.self_attn.q_proj.weight vision_model.encoder.layers.0.self_attn.q_proj.weight vision_model.embeddings.class_embedding"},
		{family.CLIP, "a CLIP model of texts and images in OpenCLIP's layout", "transformer.resblocks.0.attn.in_proj_weight visual.transformer.resblocks.0.attn.in_proj_weight visual.class_embedding"},
		{family.CLIPVision, "a CLIP image encoder", "vision_model.encoder.layers.0.self_attn.q_proj.weight vision_model.embeddings.class_embedding visual_projection.weight"},
		{family.CLIPVision, "a CLIP image encoder in OpenCLIP's layout", "visual.transformer.resblocks.0.attn.in_proj_weight visual.class_embedding"},
		{family.SigLIP, "a SigLIP model of texts and images", "text_model.encoder.layers.0.self_attn.q_proj.weight vision_model.encoder.layers.0.self_attn.q_proj.weight vision_model.embeddings.patch_embedding.bias"},
		{family.SigLIP, "a SigLIP image encoder", "vision_model.encoder.layers.0.self_attn.q_proj.weight vision_model.embeddings.patch_embedding.bias vision_model.head.probe"},
		{family.SigLIP, "a SigLIP text encoder", "text_model.encoder.layers.0.self_attn.q_proj.weight text_model.head.weight"},
		{family.ESRGAN, "an ESRGAN upscaler", "conv_first.weight body.0.rdb1.conv1.weight conv_last.weight"},
		{family.ESRGAN, "an ESRGAN upscaler with its older names", "model.0.weight model.1.sub.0.RDB1.conv1.0.weight"},
		{family.ESRGAN, "an ESRGAN upscaler with BSRGAN's names", "conv_first.weight RRDB_trunk.0.RDB1.conv1.weight trunk_conv.weight upconv1.weight HRconv.weight"},
		{family.ESRGAN, "a compact ESRGAN upscaler", "body.0.weight body.1.weight body.2.weight body.34.weight"},
		{family.TAESD, "a TAESD autoencoder", "decoder.layers.3.conv.0.weight encoder.layers.0.weight"},
		{family.TAESD, "a TAESD autoencoder with stable-diffusion.cpp's names", "first_stage_model.decoder.1.weight first_stage_model.decoder.3.conv.0.weight"},
		{family.TAESD, "a TAESD autoencoder with stable-diffusion.cpp's names", "vae.taesd_encoder.0.weight vae.taesd_encoder.3.conv.0.weight"},
		{family.TAESD, "a TAEF2 autoencoder", "decoder.layers.2.conv.0.weight decoder.layers.2.pool.0.weight"},
		{family.TAESD, "half of a TAEF2 autoencoder", "1.weight 3.conv.0.weight 3.pool.0.weight"},
		{family.TextStates, "the hidden states of a text", "prompt_embeds"},
		{family.LPIPS, "the linear layers of LPIPS", "lin0.model.1.weight lin4.model.1.weight"},
		{family.MTCNN, "MTCNN's P-Net", "conv1.weight conv4_1.weight conv4_2.weight prelu3.weight"},
		{family.ResNet, "a ResNet for classification", "module.conv1.weight module.layer1.0.conv1.weight module.layer1.0.bn1.running_mean module.linear.weight"},
		{family.CNNDDPM, "a DDPM of plain convolutions", "beta_t alpha_t gt.frequencies gt.blocks.0.net.0.weight"},
		{family.TAESD, "half of a TAESD autoencoder", "1.weight 3.conv.0.weight 3.conv.2.weight"},
		{family.VAE, "an autoencoder", "decoder.up.0.block.0.conv1.weight encoder.conv_in.weight"},
		{family.VAE, "an autoencoder", "first_stage_model.decoder.up.0.block.0.conv1.weight"},
		{family.VAE, "an autoencoder in the diffusers library's layout", "decoder.up_blocks.0.resnets.0.conv1.weight quant_conv.weight"},
	} {
		t.Run(c.what, func(t *testing.T) {
			var all []safetensors.Tensor
			for _, name := range strings.Fields(c.names) {
				all = append(all, fixture.Fill([]family.Weight{{Name: name, Shape: []int64{2, 64}}}, "F32")...)
			}
			path := fixture.SaveNew(t, nil, all)
			m, err := Load(path)
			require.NoError(t, err)
			defer m.Close()
			require.Equal(t, c.arch, m.Family)
			what := m.Description
			require.True(t, strings.HasPrefix(what, c.what), what)

			_, err = Open(path)
			require.ErrorContains(t, err, path+": ")
			if !family.Lookup(c.arch).Runs { // of the others a tensor is missing
				require.ErrorIs(t, err, ErrUnrecognized)
				expected := "; supported are Stable Diffusion XL, Stable Diffusion XL's refiner, "
				switch c.arch {
				case family.UNet:
					expected = " without its "
					require.ErrorContains(t, err, "(--clip-l FILE") // and an SDXL's second one
					require.ErrorContains(t, err, ") and an autoencoder, VAE (--vae FILE); these flags add them while drawing, convert's for good")
				case family.VAE:
					expected = " without a UNet; --vae takes it beside a model"
				case family.CLIP:
					expected = " without a UNet; --clip-l or --clip-g takes it beside a model"
				}
				require.ErrorContains(t, err, path+": "+what+": not a supported model"+expected)
			}

			out := filepath.Join(t.TempDir(), "out")
			require.NoError(t, Convert(t.Context(), m, out, Options{Type: dtype.F16}))
			again, err := Load(out)
			require.NoError(t, err)
			defer again.Close()
			require.Equal(t, c.arch, again.Family)
			require.Equal(t, c.arch, again.Metadata[model.KeyArchitecture])
			require.Len(t, again.Tensors, len(all))
			for _, x := range again.Tensors {
				require.Equal(t, dtype.F16, x.Type)
				require.Equal(t, []int64{2, 64}, x.Shape)
			}
		})
	}
	_, err := Load(fixture.SaveNew(t, nil, fixture.Fill([]family.Weight{{Name: "what.is.this", Shape: []int64{1}}}, "F32")))
	require.ErrorIs(t, err, model.ErrUnrecognized)
	require.ErrorContains(t, err, `none of its 1 tensors belongs to a known kind of model ("what.is.this", …)`)
}

func TestXL(t *testing.T) {
	want := fixture.TinyXL()
	c := fixture.Config(want)
	c.Text2.Projection, c.Text2.Pooled = model.Text2Prefix+"text_model.text_projection", 128
	all := append(fixture.Fill(fixture.Weights(want), "F16"),
		fixture.Fill([]family.Weight{{Name: model.Text2Prefix + "text_model.text_projection", Shape: []int64{128, 128}}}, "F16")...)
	path := fixture.SaveNew(t, nil, all)
	load := func(path string) *Model {
		m, err := Load(path)
		require.NoError(t, err)
		t.Cleanup(func() { m.Close() })
		return m
	}
	got := load(path)
	fixture.RequireSame(t, want, got)
	require.Equal(t, []string{"text encoder", "text encoder 2", "UNet", "VAE encoder", "VAE decoder"}, names(got))
	fixture.RequireSame(t, want, open(t, path))
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, Convert(t.Context(), got, out, Options{Keep: true}))
	fixture.RequireSame(t, got, load(out))

	// stable-diffusion.cpp's names for the same, and v-prediction's mark.
	for i := range all {
		all[i].Name = strings.NewReplacer("conditioner.embedders.0.", "cond_stage_model.", "conditioner.embedders.1.", "cond_stage_model.1.").Replace(all[i].Name)
	}
	all = append(all, safetensors.Tensor{Name: "v_pred", DType: "F32", Shape: []int64{0}})
	got = load(fixture.SaveNew(t, nil, all))
	want.Prediction = "v"
	fixture.RequireSame(t, want, got)
}

func names(m *Model) (all []string) {
	for _, p := range Parts(m) {
		all = append(all, p.Name)
	}
	return all
}

func TestVariants(t *testing.T) {
	for channels, variant := range map[int]string{9: "inpaint", 8: "edit"} {
		m := fixture.Tiny()
		fixture.Config(m).UNet.InChannels = channels
		path := fixture.SaveNew(t, nil, fixture.Fill(fixture.Weights(m), "F16"))
		got, err := Load(path)
		require.NoError(t, err)
		defer got.Close()
		require.Equal(t, variant, fixture.Config(got).Variant)
		require.Equal(t, fixture.Config(m).UNet, fixture.Config(got).UNet)
		opened, err := Open(path)
		require.NoError(t, err)
		require.NoError(t, opened.Close())
	}
}

// A model as a PyTorch checkpoint, as torch.save writes it.
func TestOpenCheckpoint(t *testing.T) {
	all := fixture.Fill(fixture.Weights(fixture.Tiny()), "F32")
	want := open(t, fixture.SaveNew(t, nil, all))
	for _, channelsLast := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "x.safetensors") // what it is named does not count
		require.NoError(t, os.WriteFile(path, torchSave(t, all, channelsLast), 0o666))
		got := open(t, path)
		require.Equal(t, "checkpoint", got.Format)
		fixture.RequireSame(t, want, got)
		loaded, err := Load(path)
		require.NoError(t, err)
		defer loaded.Close()
		for _, o := range []Options{{Keep: true}, {Type: dtype.F16}} {
			out, plain := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "plain")
			require.NoError(t, Convert(t.Context(), loaded, out, o))
			require.NoError(t, Convert(t.Context(), want, plain, o))
			fixture.RequireSame(t, open(t, plain), open(t, out))
			worst, err := Verify(t.Context(), loaded, plain)
			require.NoError(t, err)
			require.Less(t, worst[0].Relative(), 1e-3)
		}
		for _, x := range loaded.Tensors {
			require.Equal(t, channelsLast && len(x.Shape) == 4 && x.Shape[1] > 1 && x.Shape[2] > 1, x.Strided(), x.Name)
			require.True(t, x.Finite())
		}
	}
}

// torchSave writes a checkpoint, with the channels of convolutions last if
// channelsLast says so.
func torchSave(t *testing.T, all []safetensors.Tensor, channelsLast bool) []byte {
	var pickle bytes.Buffer
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	entry := func(name string, data []byte) {
		f, err := z.CreateHeader(&zip.FileHeader{Name: "x/" + name, Method: zip.Store})
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	numbers := func(values []int64) {
		pickle.WriteByte('(')
		for _, v := range values {
			fmt.Fprintf(&pickle, "I%d\n", v)
		}
		pickle.WriteByte('t')
	}
	pickle.WriteString("\x80\x02}V" + "state_dict\n}(")
	for i, x := range all {
		fmt.Fprintf(&pickle, "V%s\nctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV%d\nVcpu\nI%d\ntQI0\n", x.Name, i, len(x.Data)/4)
		numbers(x.Shape)
		strides, n := make([]int64, len(x.Shape)), int64(1)
		order := []int{3, 2, 1, 0}[4-len(x.Shape):]
		if channelsLast && len(x.Shape) == 4 {
			order = []int{1, 3, 2, 0}
		}
		for _, k := range order {
			strides[k] = n
			n *= x.Shape[k]
		}
		if channelsLast && len(x.Shape) == 4 {
			x.Data = reorder(x, strides)
		}
		numbers(strides)
		pickle.WriteString("\x89NtR")
		entry(fmt.Sprintf("data/%d", i), x.Data)
	}
	pickle.WriteString("us.")
	entry("data.pkl", pickle.Bytes())
	require.NoError(t, z.Close())
	return archive.Bytes()
}

// reorder puts the elements of a tensor of four dimensions where strides say.
func reorder(x safetensors.Tensor, strides []int64) []byte {
	data, s, at := make([]byte, len(x.Data)), x.Shape, 0
	for a := range s[0] {
		for b := range s[1] {
			for c := range s[2] {
				for d := range s[3] {
					to := 4 * (a*strides[0] + b*strides[1] + c*strides[2] + d*strides[3])
					copy(data[to:to+4], x.Data[at:])
					at += 4
				}
			}
		}
	}
	return data
}
