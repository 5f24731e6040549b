"""Makes the tiny FLUX.2 klein of this folder and what the diffusers library's pipeline draws with it in float32, from texts, and
from texts and pictures.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors
python testdata/transformers/flux2.py
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2KleinPipeline, Flux2Transformer2DModel
from PIL import Image
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3ForCausalLM

from tiny import convolutions, qwen_embedding, qwen_tokenizer, randomise, usual

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)
half = torch.float16

transformer = randomise(Flux2Transformer2DModel(
    patch_size=1, in_channels=16, num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=48, mlp_ratio=3.0,
    axes_dims_rope=(8, 8, 8, 8), rope_theta=2000, guidance_embeds=False), 11, usual)
save_file({k: v.to(half) for k, v in transformer.state_dict().items()}, HERE / "flux2.safetensors")

text = Qwen3ForCausalLM(Qwen3Config(
    vocab_size=151680, hidden_size=16, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
    rope_theta=1e6, rms_norm_eps=1e-6, max_position_embeddings=1024, tie_word_embeddings=True)).eval()
randomise(text.model, 13, usual)
with torch.no_grad():
    text.model.embed_tokens.weight.copy_(qwen_embedding(151680, 16))
save_file({"model." + k: v.to(half) for k, v in text.model.state_dict().items() if k != "embed_tokens.weight"}, HERE / "flux2-text.safetensors")

vae = randomise(AutoencoderKLFlux2(block_out_channels=(8, 8, 8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=4, sample_size=32), 14, convolutions)
generator = torch.Generator().manual_seed(15)
vae.bn.running_mean.copy_((0.3 * torch.randn(16, generator=generator)).to(half))
vae.bn.running_var.copy_((0.5 + torch.rand(16, generator=generator)).to(half))
save_file({k: v.to(half) if v.is_floating_point() else v for k, v in vae.state_dict().items()}, HERE / "flux2-vae.safetensors", metadata={"sdgo.vae.norm_groups": "4"})

pipe = Flux2KleinPipeline(scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=vae, text_encoder=text, tokenizer=qwen_tokenizer(),
                          transformer=transformer, is_distilled=False)
pipe.set_progress_bar_config(disable=True)
PROMPT, LAYERS = "a (red) fox, «naïve» 写真 [of] snow", (1, 2, 3)
reference = {}


def square(latents):
    return latents[0].T.reshape(16, 4, 6).clone()


def keep(name):
    def step(_, i, t, k):
        reference[f"{name}.latent.{i + 1}"] = square(k["latents"])
        return k
    return step


picture = Image.new("RGB", (85, 64))
picture.putdata([((x * 5) % 256, (y * 3) % 256, (x * y) % 256) for y in range(64) for x in range(85)])
reference["picture"] = torch.tensor(list(picture.tobytes()), dtype=torch.uint8)
with torch.no_grad():
    reference["context"] = pipe.encode_prompt(PROMPT, text_encoder_out_layers=LAYERS)[0][0]
for name, scale, images in (("distilled", 1.0, None), ("guided", 2.5, None), ("edited", 1.0, [picture, picture.transpose(Image.Transpose.ROTATE_90)])):
    out = pipe(image=images, prompt=PROMPT, height=64, width=96, num_inference_steps=4, guidance_scale=scale, generator=torch.Generator().manual_seed(42),
               text_encoder_out_layers=LAYERS, callback_on_step_end=keep(name))
    reference[f"{name}.pixels"] = torch.tensor(list(out.images[0].tobytes()), dtype=torch.uint8)
for n in (1, 4, 50):
    for tokens in (24, 1024, 4096, 9216):
        from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
        pipe.scheduler.set_timesteps(n, sigmas=torch.linspace(1, 1 / n, n).tolist(), mu=compute_empirical_mu(tokens, n))
        reference[f"levels.{n}.{tokens}"] = pipe.scheduler.sigmas.clone()
save_file({k: v.contiguous() for k, v in reference.items()}, HERE / "flux2-reference.safetensors", metadata={"prompt": PROMPT})
