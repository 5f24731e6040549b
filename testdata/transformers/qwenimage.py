"""Makes the tiny Qwen-Image of this folder and what the diffusers library's pipeline draws with it in float32.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors
python testdata/transformers/qwenimage.py
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImagePipeline, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage.pipeline_qwenimage import calculate_shift
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from tiny import convolutions, qwen_embedding, qwen_tokenizer, randomise, usual

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)
half = torch.float16
WIDTH, CHANNELS = 128, 4

transformer = randomise(QwenImageTransformer2DModel(
    patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=WIDTH,
    axes_dims_rope=(4, 14, 14)), 21, usual)
save_file({k: v.to(half) for k, v in transformer.state_dict().items()}, HERE / "qwenimage.safetensors")

# One head of 128 channels, as wide as those of the published model, whose file does not say it. Of the eyes' weights there are few.
text = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
    text_config=dict(vocab_size=151680, hidden_size=WIDTH, intermediate_size=40, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1,
                     rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]), rms_norm_eps=1e-6, max_position_embeddings=2048),
    vision_config=dict(depth=1, hidden_size=16, intermediate_size=16, num_heads=1, out_hidden_size=WIDTH, patch_size=4, window_size=16,
                       fullatt_block_indexes=[0]))).eval()
randomise(text.model.language_model, 23, usual)
with torch.no_grad():
    text.model.language_model.embed_tokens.weight.copy_(qwen_embedding(151680, WIDTH))
save_file({"model." + k: v.to(half) for k, v in text.model.language_model.state_dict().items() if k != "embed_tokens.weight"}, HERE / "qwenimage-text.safetensors")

generator = torch.Generator().manual_seed(25)
mean, std = (0.3 * torch.randn(CHANNELS, generator=generator)).to(half).tolist(), (0.5 + torch.rand(CHANNELS, generator=generator)).to(half).tolist()
vae = randomise(AutoencoderKLQwenImage(base_dim=8, z_dim=CHANNELS, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True],
                                       latents_mean=mean, latents_std=std), 24, convolutions)
generator = torch.Generator().manual_seed(26)
with torch.no_grad():
    for name, p in vae.named_parameters():
        if name.endswith("gamma"):
            p.copy_((1 + 0.3 * torch.randn(p.shape, generator=generator)).to(torch.bfloat16))
save_file({k: v.to(half) for k, v in vae.state_dict().items()}, HERE / "qwenimage-vae.safetensors",
          metadata={"sdgo.vae.latents_mean": " ".join(map(str, mean)), "sdgo.vae.latents_std": " ".join(map(str, std))})

SCHEDULER = dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift=1.0, shift_terminal=0.02)
pipe = QwenImagePipeline(scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER), vae=vae, text_encoder=text, tokenizer=qwen_tokenizer(), transformer=transformer)
pipe.set_progress_bar_config(disable=True)
PROMPT, NEGATIVE = "a (red) fox, «naïve» 写真 [of] snow\nat 12:30, cold", "blurry"
reference = {}


def square(latents):
    return pipe._unpack_latents(latents, 64, 112, 8)[0, :, 0].clone()


def keep(name):
    def step(_, i, t, k):
        reference[f"{name}.latent.{i + 1}"] = square(k["latents"])
        return k
    return step


with torch.no_grad():
    reference["context"] = pipe.encode_prompt(PROMPT)[0][0]
# A picture whose width is an odd number of tokens.
for name, scale in {"plain": 1.0, "guided": 3.0}.items():
    out = pipe(PROMPT, negative_prompt=NEGATIVE, height=64, width=112, num_inference_steps=4, true_cfg_scale=scale,
               generator=torch.Generator().manual_seed(42), callback_on_step_end=keep(name))
    reference[f"{name}.pixels"] = torch.tensor(list(out.images[0].tobytes()), dtype=torch.uint8)

# The network alone: two pictures of an odd number of rows, at two times.
x, states, t = torch.randn(2, 4, 10, 14, generator=generator), torch.randn(2, 9, WIDTH, generator=generator), torch.tensor([0.9, 0.3])
with torch.no_grad():
    out = transformer(pipe._pack_latents(x, 2, 4, 10, 14), states, None, t, [[(1, 5, 7)]] * 2, return_dict=False)[0]
reference |= {"net.x": x, "net.context": states, "net.sigmas": t, "net.sample": pipe._unpack_latents(out, 80, 112, 8)[:, :, 0]}

# The autoencoder alone: a picture's distribution, in its own scale.
picture = Image.new("RGB", (96, 64))
picture.putdata([((x * 5) % 256, (y * 3) % 256, (x * y) % 256) for y in range(64) for x in range(96)])
with torch.no_grad():
    latent = vae.encode(2 * torch.tensor(list(picture.tobytes()), dtype=torch.float32).reshape(1, 64, 96, 3).permute(0, 3, 1, 2)[:, :, None] / 255 - 1).latent_dist
reference["encoded.mean"], reference["encoded.deviation"] = latent.mean[0, :, 0], latent.std[0, :, 0]

# Noise levels of the default pipeline, and of one whose scheduler has a static shift and a terminal.
for n in (2, 4, 8, 50):
    for tokens in (28, 1024, 4096, 6889):
        mu = calculate_shift(tokens, 256, 8192, 0.5, 0.9)
        pipe.scheduler.set_timesteps(n, sigmas=torch.linspace(1, 1 / n, n).tolist(), mu=mu)
        reference[f"levels.{n}.{tokens}"] = pipe.scheduler.sigmas.clone()

# A LoRA in the diffusers library's names.
generator = torch.Generator().manual_seed(27)
lora = {}
for layer, out, inner in (("0.attn.to_q", 64, 64), ("0.attn.to_out.0", 64, 64), ("1.attn.add_k_proj", 64, 64), ("1.attn.to_add_out", 64, 64),
                          ("0.img_mlp.net.0.proj", 256, 64), ("0.txt_mlp.net.2", 64, 256), ("0.img_mod.1", 384, 64)):
    lora[f"transformer.transformer_blocks.{layer}.lora_A.weight"] = torch.randn(4, inner, generator=generator).to(half) * 0.25
    lora[f"transformer.transformer_blocks.{layer}.lora_B.weight"] = torch.randn(out, 4, generator=generator).to(half) * 0.25
save_file(lora, HERE / "qwenimage-lora.safetensors")
pipe.load_lora_weights({k: v.float() for k, v in lora.items()}, adapter_name="tiny")
pipe.set_adapters("tiny", 0.75)
out = pipe(PROMPT, height=64, width=112, num_inference_steps=4, true_cfg_scale=1.0, generator=torch.Generator().manual_seed(42), output_type="latent")
reference["lora.latent"] = square(out.images)
pipe.unload_lora_weights()
# Tokens of two more pictures after the noisy one, as Qwen-Image-Edit has them, and with time 0, as Edit-2511 (zero_cond_t).
generator = torch.Generator().manual_seed(28)
reference["edit.reference"] = torch.randn(2, 24 + 15, 16, generator=generator)
packed = pipe._pack_latents(x, 2, 4, 10, 14)
tokens = torch.cat([packed, reference["edit.reference"]], 1)
still = QwenImageTransformer2DModel(**(dict(transformer.config) | {"zero_cond_t": True})).eval()
still.load_state_dict(transformer.state_dict())
for name, net in ("edit", transformer), ("still", still):
    with torch.no_grad():
        out = net(tokens, states, None, t, [[(1, 5, 7), (1, 4, 6), (1, 5, 3)]] * 2, return_dict=False)[0]
    reference[f"{name}.sample"] = pipe._unpack_latents(out[:, :packed.shape[1]], 80, 112, 8)[:, :, 0]
save_file({k: v.detach().clone().contiguous() for k, v in reference.items()}, HERE / "qwenimage-reference.safetensors", metadata={"prompt": PROMPT, "negative": NEGATIVE})
