"""Makes the tiny text encoder and autoencoder of Z-Image beside make.py's transformer, and what the diffusers library's pipelines
draw with the three in float32.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors
python testdata/transformers/zimage.py
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, ZImagePipeline, ZImageTransformer2DModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen3Config, Qwen3Model

from tiny import convolutions, qwen_embedding, qwen_tokenizer, randomise, usual

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)

transformer = ZImageTransformer2DModel(
    all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
    cap_feat_dim=24, axes_dims=[8, 12, 12], axes_lens=[256, 32, 32])
transformer.load_state_dict({k: v.float() for k, v in load_file(HERE / "zimage.safetensors").items()})

text = randomise(Qwen3Model(Qwen3Config(
    vocab_size=151680, hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
    rope_theta=1e6, rms_norm_eps=1e-6, max_position_embeddings=1024)), 3, usual)
with torch.no_grad():
    text.embed_tokens.weight.copy_(qwen_embedding(151680, 24))
save_file({"model." + k: v.to(torch.float16) for k, v in text.state_dict().items() if k != "embed_tokens.weight"}, HERE / "zimage-text.safetensors")

vae = randomise(AutoencoderKL(
    block_out_channels=(8, 8, 8, 16), down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=1,
    latent_channels=4, norm_num_groups=4, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=0.3611, shift_factor=0.1159), 4, convolutions)
save_file({k: v.to(torch.float16) for k, v in vae.state_dict().items()}, HERE / "zimage-vae.safetensors", metadata={"sdgo.vae.norm_groups": "4"})

parts = dict(text_encoder=text, tokenizer=qwen_tokenizer(), vae=vae, transformer=transformer)
pipe = ZImagePipeline(scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), **parts)
pipe.set_progress_bar_config(disable=True)
PROMPT, NEGATIVE = "a (red) fox, «naïve» 写真 [of] snow\nat 12:30, cold", "blurry"
reference = {}


def keep(name):
    def step(_, i, t, k):
        reference[f"{name}.latent.{i + 1}"] = k["latents"][0].clone()
        return k
    return step


tokens = parts["tokenizer"].apply_chat_template([{"role": "user", "content": PROMPT}], tokenize=False, add_generation_prompt=True, enable_thinking=True)
reference["ids"] = torch.tensor(parts["tokenizer"](tokens).input_ids, dtype=torch.int32)
with torch.no_grad():
    reference["context"] = pipe.encode_prompt(PROMPT, do_classifier_free_guidance=False)[0][0]
for name, scale in {"turbo": 0.0, "guided": 2.0}.items():
    out = pipe(PROMPT, negative_prompt=NEGATIVE, height=64, width=96, num_inference_steps=4, guidance_scale=scale,
               generator=torch.Generator().manual_seed(42), output_type="pil", callback_on_step_end=keep(name))
    reference[f"{name}.pixels"] = torch.tensor(list(out.images[0].tobytes()), dtype=torch.uint8)

# A LoRA in the diffusers library's names, of layers that the original has in one piece.
generator = torch.Generator().manual_seed(5)
lora = {}
for layer, out, inner in (("layers.0.attention.to_q", 64, 64), ("layers.0.attention.to_v", 64, 64), ("layers.1.attention.to_k", 64, 64),
                          ("layers.1.attention.to_out.0", 64, 64), ("context_refiner.0.feed_forward.w1", 170, 64), ("layers.0.adaLN_modulation.0", 256, 64)):
    lora[f"transformer.{layer}.lora_A.weight"] = torch.randn(4, inner, generator=generator).to(torch.float16) * 0.25
    lora[f"transformer.{layer}.lora_B.weight"] = torch.randn(out, 4, generator=generator).to(torch.float16) * 0.25
save_file(lora, HERE / "zimage-lora.safetensors")
pipe.load_lora_weights({k: v.float() for k, v in lora.items()}, adapter_name="tiny")
pipe.set_adapters("tiny", 0.75)
out = pipe(PROMPT, height=64, width=96, num_inference_steps=4, guidance_scale=0.0, generator=torch.Generator().manual_seed(42), output_type="latent")
reference["lora.latent"] = out.images[0]
pipe.unload_lora_weights()

# A picture to begin with, as its latents' distribution.
picture = Image.new("RGB", (96, 64))
picture.putdata([((x * 5) % 256, (y * 3) % 256, (x * y) % 256) for y in range(64) for x in range(96)])
latent = vae.encode(2 * torch.tensor(list(picture.tobytes()), dtype=torch.float32).reshape(1, 64, 96, 3).permute(0, 3, 1, 2) / 255 - 1).latent_dist
reference["encoded.mean"], reference["encoded.deviation"] = latent.mean.detach()[0], latent.std.detach()[0]

# The base model's shift, and one that depends on the picture's size: noise levels alone.
for name, scheduler in {"static": FlowMatchEulerDiscreteScheduler(shift=6.0), "dynamic": FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)}.items():
    for n in (1, 4, 28):
        sigmas = torch.linspace(1, 1 / n, n).tolist()
        for tokens in (24, 1024, 4096):
            mu = (1.15 - 0.5) / (4096 - 256) * (tokens - 256) + 0.5
            scheduler.set_timesteps(n, sigmas=sigmas, mu=mu)
            reference[f"{name}.{n}.{tokens}"] = scheduler.sigmas.clone()
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
for n in (1, 4, 28):  # without sigmas of a pipeline's own: Stable Diffusion 3
    scheduler.set_timesteps(n)
    reference[f"own.{n}"] = scheduler.sigmas.clone()
save_file({k: v.contiguous() for k, v in reference.items()}, HERE / "zimage-reference.safetensors", metadata={"prompt": PROMPT, "negative": NEGATIVE})
