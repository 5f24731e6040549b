"""Makes tiny models of FLUX.1, Chroma and Stable Diffusion 3.5 in the diffusers library's layout, and what its pipelines
draw with them in float32: README.md says what is here.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors
HF_HUB_OFFLINE=1 python testdata/flux/make.py
"""

import copy
import importlib.util
import shutil
import string
from pathlib import Path

import torch
from diffusers import (AutoencoderKL, ChromaPipeline, ChromaTransformer2DModel, FlowMatchEulerDiscreteScheduler, FluxFillPipeline,
                       FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel, StableDiffusion3Pipeline)
from PIL import Image
from safetensors.torch import save_file
from transformers import (CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel,
                          T5Tokenizer)

HERE = Path(__file__).resolve().parent
NETS = HERE.parent / "nets"
PROMPT, NEGATIVE, SEED, STEPS = "a red apple on a table", "blurry", 42, 4
WIDTH, HEIGHT = 48, 32  # pixels: 12 by 8 tokens


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nets, transformers = load(NETS / "make.py", "nets"), load(HERE.parent / "transformers" / "randomise.py", "randomise")
randomise = transformers.randomise


def clip(kind, seed, width, act, pad):
    return randomise(kind(CLIPTextConfig(
        vocab_size=nets.WORDS, hidden_size=width, intermediate_size=2 * width, projection_dim=width, num_attention_heads=max(1, width // 64),
        num_hidden_layers=2, hidden_act=act, bos_token_id=nets.WORDS - 2, eos_token_id=nets.WORDS - 1, pad_token_id=pad)), seed)


def pieces():
    """A vocabulary like T5's."""
    letters = string.ascii_lowercase
    return ([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -3.0)] + [(c, -5.0 - 0.01 * i) for i, c in enumerate(letters)] +
            [("\u2581" + c, -4.0 - 0.01 * i) for i, c in enumerate(letters)] +
            [(p, -4.5) for p in ("\u2581ap", "ple", "\u2581red", "\u2581on", "table", "blur", "ry", "er", "in")])


def t5(width):
    tokenizer = T5Tokenizer(vocab=pieces(), extra_ids=0)
    assert len(tokenizer) <= 72
    return tokenizer, randomise(T5EncoderModel(T5Config(
        vocab_size=72, d_model=width, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu")), 21, 1.5)


def vae(scale, shift):
    """Its latents have next to no variance, so that encoding draws none."""
    model = randomise(AutoencoderKL(
        block_out_channels=(16, 32), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1,
        norm_num_groups=8, latent_channels=4, use_quant_conv=False, use_post_quant_conv=False, scaling_factor=scale, shift_factor=shift), 22)
    with torch.no_grad():
        model.encoder.conv_out.weight[4:], model.encoder.conv_out.bias[4:] = 0, -30
    return model


def seeded():
    return torch.Generator().manual_seed(SEED)


def unpacked(x):
    h, w = HEIGHT // 4, WIDTH // 4
    return x.view(1, h, w, 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(1, 4, 2 * h, 2 * w)


def save(pipe, name):
    """In float16, which holds all weights."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    type(pipe)(**{k: copy.deepcopy(v) for k, v in pipe.components.items()}).to(torch.float16).save_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return pipe


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    words = CLIPTokenizer.from_pretrained(NETS / "sd1-diffusers" / "tokenizer")
    zeros = CLIPTokenizer.from_pretrained(NETS / "sd1-diffusers" / "tokenizer", pad_token="!")  # token 0
    dynamic = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    small = dict(num_layers=1, num_single_layers=1, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=(4, 14, 14))
    tokenizer, encoder = t5(48)
    size = dict(width=WIDTH, height=HEIGHT, num_inference_steps=STEPS, output_type="latent")
    out = {}

    flux = save(FluxPipeline(scheduler=dynamic, vae=vae(0.3611, 0.1159), text_encoder=clip(CLIPTextModel, 23, 64, "quick_gelu", nets.WORDS - 1),
                             tokenizer=words, text_encoder_2=encoder, tokenizer_2=tokenizer,
                             transformer=randomise(FluxTransformer2DModel(in_channels=16, pooled_projection_dim=64, guidance_embeds=True, **small), 24)), "flux")
    out["flux.context"], out["flux.pooled"], _ = flux.encode_prompt(PROMPT, PROMPT)
    out["flux.latent"] = unpacked(flux(PROMPT, guidance_scale=3.5, generator=seeded(), **size).images)
    out["flux.sigmas"] = flux.scheduler.sigmas
    decoded = flux.vae.decode(out["flux.latent"] / 0.3611 + 0.1159).sample
    out["flux.pixels"] = ((decoded[0] / 2 + 0.5).clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8)

    # Fill paints the right half of a picture anew; Kontext changes all of it.
    parts = {k: v for k, v in flux.components.items() if k not in ("image_encoder", "feature_extractor")}
    picture = (torch.rand(HEIGHT, WIDTH, 3, generator=torch.Generator().manual_seed(29)) * 255).round().to(torch.uint8)
    image, mask = Image.fromarray(picture.numpy()), Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (WIDTH // 2, 0, WIDTH, HEIGHT))
    parts["transformer"] = randomise(FluxTransformer2DModel(in_channels=48, out_channels=16, pooled_projection_dim=64, guidance_embeds=True, **small), 30)
    save_file({k: v.to(torch.float16) for k, v in parts["transformer"].state_dict().items()}, HERE / "fill.safetensors")
    (HERE / "fill.safetensors").chmod(0o644)
    fill, noise = FluxFillPipeline(**parts), torch.randn(1, 4, HEIGHT // 2, WIDTH // 2, generator=seeded())
    noise = fill._pack_latents(noise, 1, 4, HEIGHT // 2, WIDTH // 2)
    fill.set_progress_bar_config(disable=True)
    out["picture"] = picture
    out["fill.latent"] = unpacked(fill(PROMPT, image=image, mask_image=mask, guidance_scale=30.0, latents=noise, **size).images)
    kontext = FluxKontextPipeline(**parts | {"transformer": flux.transformer})
    kontext.set_progress_bar_config(disable=True)
    out["kontext.latent"] = unpacked(kontext(image, PROMPT, guidance_scale=2.5, generator=seeded(), max_area=WIDTH * HEIGHT, _auto_resize=False, **size).images)

    chroma = save(ChromaPipeline(scheduler=dynamic, vae=flux.vae, text_encoder=encoder, tokenizer=tokenizer,
                                 transformer=randomise(ChromaTransformer2DModel(in_channels=16, approximator_num_channels=64, approximator_hidden_dim=40,
                                                                                approximator_layers=2, **small), 25)), "chroma")
    # As booleans: the library adds the mask to the products as ones and zeros, which masks nothing.
    prepare = chroma._prepare_attention_mask
    chroma._prepare_attention_mask = lambda *a, **k: prepare(*a, **k).bool()
    out["chroma.latent"] = unpacked(chroma(PROMPT, negative_prompt=NEGATIVE, guidance_scale=4.0, generator=seeded(), **size).images)

    sd3 = save(StableDiffusion3Pipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=vae(1.5305, 0.0609),
        text_encoder=clip(CLIPTextModelWithProjection, 26, 16, "quick_gelu", nets.WORDS - 1), tokenizer=words,
        text_encoder_2=clip(CLIPTextModelWithProjection, 27, 32, "gelu", 0), tokenizer_2=zeros, text_encoder_3=t5(56)[1], tokenizer_3=tokenizer,
        transformer=randomise(SD3Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, num_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=56,
            caption_projection_dim=64, pooled_projection_dim=48, out_channels=4, pos_embed_max_size=16, dual_attention_layers=(0,), qk_norm="rms_norm"), 28)), "sd35")
    draw = lambda: sd3(PROMPT, negative_prompt=NEGATIVE, guidance_scale=4.5, generator=seeded(), **size).images
    out["sd35.context"], out["sd35.negative"], out["sd35.pooled"], _ = sd3.encode_prompt(PROMPT, PROMPT, PROMPT, negative_prompt=NEGATIVE)
    out["sd35.latent"], out["sd35.sigmas"] = draw(), sd3.scheduler.sigmas
    sd3.text_encoder_3 = None
    out["sd35.without.latent"] = draw()
    save_file({k: v.clone().contiguous() for k, v in out.items()}, HERE / "reference.safetensors")
    (HERE / "reference.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
