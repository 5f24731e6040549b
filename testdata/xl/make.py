"""Makes tiny models of Stable Diffusion XL's family and what diffusers draws with them.

Run it in any folder: python make.py. What it makes is described in README.md.
The pictures are those of the diffusers library's own pipelines; the way weights
are made, named and saved is that of ../nets/make.py. With a folder's name as
argument the base model is also saved there in the diffusers library's layout.
"""

import importlib.util
import sys
from pathlib import Path

import torch
from diffusers import (EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline,
                       UNet2DConditionModel)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).resolve().parent
NETS = HERE.parent / "nets"
PROMPT, NEGATIVE, SEED, STEPS, GUIDANCE = "a red apple on a table", "blurry", 42, 5, 7.0
SIZES = {"original_size": (96, 80), "crops_coords_top_left": (3, 5), "target_size": (64, 72)}  # heights first


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nets = load(NETS / "make.py", "nets")


# Models.


def make_unet(seed, context, label):
    """Attention on the second level only, two blocks deep; heads 16 wide; figures as 8 numbers each."""
    torch.manual_seed(seed)
    return nets.randomise(UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 32), layers_per_block=nets.RESNETS, cross_attention_dim=context,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2), attention_head_dim=2, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=label), seed)


def make_text(kind, seed, width, heads, layers, act, pad):
    torch.manual_seed(seed)
    return nets.randomise(kind(CLIPTextConfig(
        vocab_size=nets.WORDS, hidden_size=width, intermediate_size=2 * width, projection_dim=width,
        num_attention_heads=heads, num_hidden_layers=layers, hidden_act=act,
        bos_token_id=nets.WORDS - 2, eos_token_id=nets.WORDS - 1, pad_token_id=pad)), seed)


def make_vae():
    vae = nets.make_vae(12)
    vae.register_to_config(scaling_factor=0.13025, force_upcast=False)
    return vae


# Names of the original files.


def unet_name(key):
    for new, old in {"add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
                     # After the attention, which the deepest level has here.
                     "up_blocks.0.upsamplers.0.": f"output_blocks.{nets.RESNETS}.2."}.items():
        if key.startswith(new):
            return "model.diffusion_model." + old + key[len(new):]
    return nets.unet_name(key)


def open_clip_tensors(text, index):
    tensors = nets.open_clip_tensors(text)
    tensors["cond_stage_model.model.text_projection"] = text.text_projection.weight.T
    return {k.replace("cond_stage_model", f"conditioner.embedders.{index}"): v for k, v in tensors.items()}


def save_original(name, unet, vae, texts, metadata):
    tensors = {unet_name(k): v for k, v in unet.state_dict().items()} | texts
    for k, v in vae.state_dict().items():
        k = nets.vae_name(k)
        tensors[k] = v[:, :, None, None] if "attn_1" in k and v.ndim == 2 else v
    nets.save(nets.half(tensors), HERE / name, {"sdgo.tokenizer.merges": "\n".join(nets.merges()),
                                               "sdgo.native_size": "64", "sdgo.unet.head_dim": "16"} | metadata)


# References.


def unet_reference(unet, seed, label):
    torch.manual_seed(seed)
    context = unet.config.cross_attention_dim
    x, t, text = torch.randn(2, 4, 10, 6), torch.tensor([981.0, 417.3]), torch.randn(2, 9, context)
    pooled, ids = torch.randn(2, 64), torch.tensor([[96.0, 80, 3, 5, 64, 72], [64, 64, 0, 0, 64, 64]])[:, :label]
    if label == 5:
        ids[:, 4] = torch.tensor([6.0, 2.5])
    y = torch.cat([pooled, unet.add_time_proj(ids.flatten()).reshape(2, -1)], dim=1)
    out = unet(x, t, text, added_cond_kwargs={"text_embeds": pooled, "time_ids": ids}).sample
    return {"x": x, "t": t, "context": text, "y": y, "ids": ids, "out": out}


def seeded():
    return torch.Generator().manual_seed(SEED)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tokenizer = CLIPTokenizer.from_pretrained(NETS / "sd1-diffusers" / "tokenizer")
    zeros = CLIPTokenizer.from_pretrained(NETS / "sd1-diffusers" / "tokenizer", pad_token="!")  # token 0
    clip_l = make_text(CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1)
    clip_g = make_text(CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0)
    base, refiner, vae = make_unet(43, 96, 64 + 6 * 8), make_unet(49, 64, 64 + 5 * 8), make_vae()
    one = {"conditioner.embedders.0.transformer." + k: v for k, v in nets.text_state(clip_l).items()}
    save_original("base.safetensors", base, vae, one | open_clip_tensors(clip_g, 1), {"sdgo.text2.heads": "2"})
    save_original("refiner.safetensors", refiner, vae, open_clip_tensors(clip_g, 0), {"sdgo.text.heads": "2"})

    out = {f"base.unet.{k}": v for k, v in unet_reference(base, 45, 6).items()}
    out |= {f"refiner.unet.{k}": v for k, v in unet_reference(refiner, 46, 5).items()}
    scheduler = EulerDiscreteScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                                       beta_schedule="scaled_linear", timestep_spacing="linspace")
    shared = {"vae": vae, "text_encoder_2": clip_g, "tokenizer_2": zeros, "scheduler": scheduler, "add_watermarker": False}
    first = StableDiffusionXLPipeline(text_encoder=clip_l, tokenizer=tokenizer, unet=base, **shared)
    second = StableDiffusionXLImg2ImgPipeline(text_encoder=None, tokenizer=None, unet=refiner, requires_aesthetics_score=True,
                                              force_zeros_for_empty_prompt=False, **shared)
    if len(sys.argv) > 1:
        first.to(torch.float16).save_pretrained(sys.argv[1])
        first.to(torch.float32)
    for pipe in first, second:
        pipe.set_progress_bar_config(disable=True)

    cond, uncond, pooled, _ = first.encode_prompt(PROMPT, negative_prompt=NEGATIVE)
    out |= {"base.embedding": cond, "base.pooled": pooled, "base.negative.embedding": uncond}
    out["refiner.embedding"], _, out["refiner.pooled"], _ = second.encode_prompt(PROMPT, negative_prompt=NEGATIVE)

    text = {"prompt": PROMPT, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "latent"}
    draw = lambda **more: first(**text, width=64, height=64, generator=seeded(), **more).images
    out["base.latent"] = draw(negative_prompt=NEGATIVE, **SIZES)
    out["base.silent.latent"] = draw()
    decoded = vae.decode(out["base.latent"] / 0.13025).sample
    out["base.pixels"] = ((decoded[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8)
    half = draw(negative_prompt=NEGATIVE, denoising_end=0.6)
    out["refined.latent"] = second(**text, negative_prompt=NEGATIVE, image=half, denoising_start=0.6, original_size=(64, 64),
                                   target_size=(64, 64)).images
    # Four of the five steps: a strength of 0.6 in AUTOMATIC1111's and sdgo's count.
    picture, _ = load(HERE.parent / "pipelines" / "make.py", "pipelines").start_picture()
    pixels = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
    source = vae.encode(pixels).latent_dist.sample(generator=seeded()) * 0.13025
    out |= {"refiner.start": picture, "refiner.img2img.latent": second(
        **text, negative_prompt=NEGATIVE, image=source, strength=0.8, generator=seeded(), original_size=(64, 64),
        target_size=(64, 64), aesthetic_score=7.5, negative_aesthetic_score=1.25).images}
    nets.save({k: v.contiguous() for k, v in out.items()}, HERE / "reference.safetensors",
              {"prompt": PROMPT, "negative": NEGATIVE})


if __name__ == "__main__":
    main()
