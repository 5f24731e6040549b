"""Makes pictures.safetensors: what diffusers' pipelines for SDXL make of a picture, and in a few steps.
And base-diffusers: the base model in the library's layout.

Run it in any folder: python pictures.py. The models are those of make.py; README.md describes the tensors.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import (EulerDiscreteScheduler, StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline,
                       StableDiffusionXLInstructPix2PixPipeline, StableDiffusionXLPipeline)
from PIL import Image
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).resolve().parent
GUIDANCE = 1.5


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


xl = load(HERE / "make.py", "xl")
pipelines = load(HERE.parent / "pipelines" / "make.py", "pipelines")


def scheduler(spacing):
    return EulerDiscreteScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                                  beta_schedule="scaled_linear", timestep_spacing=spacing)


def start():
    """A picture and a mask whose edges are those of latent pixels."""
    picture, _ = pipelines.start_picture()
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[16:48, 24:56] = 255
    return picture, mask


def wide(unet, channels):
    """The UNet for more input channels, by its settings, too."""
    _, weight = pipelines.widen(unet, channels, seed=channels)
    unet.register_to_config(in_channels=channels)
    return weight


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    tokens = xl.NETS / "sd1-diffusers" / "tokenizer"
    unet, vae = xl.make_unet(43, 96, 64 + 6 * 8), xl.make_vae()
    parts = {
        "vae": vae, "unet": unet, "scheduler": scheduler("linspace"),
        "text_encoder": xl.make_text(CLIPTextModel, 41, 32, 1, 2, "quick_gelu", xl.nets.WORDS - 1),
        "text_encoder_2": xl.make_text(CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0),
        "tokenizer": CLIPTokenizer.from_pretrained(tokens), "tokenizer_2": CLIPTokenizer.from_pretrained(tokens, pad_token="!"),
    }

    def pipe(kind, **more):
        p = kind(**(parts | more), add_watermarker=False)
        p.set_progress_bar_config(disable=True)
        return p

    pipe(StableDiffusionXLPipeline).to(torch.float16).save_pretrained(HERE / "base-diffusers")
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        parts[part].to(torch.float32)

    text = {"prompt": xl.PROMPT, "negative_prompt": xl.NEGATIVE, "num_inference_steps": xl.STEPS, "guidance_scale": GUIDANCE,
            "output_type": "latent"}
    sizes = {"original_size": (64, 64), "target_size": (64, 64)}
    picture, mask = start()
    pixels = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
    rng = xl.seeded()
    source = vae.encode(pixels).latent_dist.sample(generator=rng) * 0.13025
    masked = vae.encode(torch.where(mask > 0, 0.0, pixels)).latent_dist.sample(generator=rng) * 0.13025
    out = {"mask": mask}

    # Four of the five steps: a strength of 0.6 in AUTOMATIC1111's and sdgo's count.
    out["img2img.latent"] = pipe(StableDiffusionXLImg2ImgPipeline)(
        **text, **sizes, image=source, strength=0.8, generator=xl.seeded()).images
    paint = {"image": source, "mask_image": Image.fromarray(mask.numpy()), "height": 64, "width": 64, "strength": 0.8}
    out["inpaint.latent"] = pipe(StableDiffusionXLInpaintPipeline)(**text, **sizes, **paint, generator=xl.seeded()).images

    # Few steps without guidance, as SDXL Turbo and Lightning are used.
    quick = pipe(StableDiffusionXLPipeline, scheduler=scheduler("trailing"))
    for name, steps in (("turbo", 1), ("lightning", 4)):
        out[f"{name}.latent"] = quick(**text | {"num_inference_steps": steps, "guidance_scale": 0.0}, height=64, width=64,
                                      generator=xl.seeded()).images

    narrow = unet.conv_in
    out["nine.conv_in"] = wide(unet, 9)
    out["nine.latent"] = pipe(StableDiffusionXLInpaintPipeline)(
        **text, **sizes, **paint, masked_image_latents=masked, generator=xl.seeded()).images
    unet.conv_in = narrow
    out["eight.conv_in"] = wide(unet, 8)
    out["eight.latent"] = pipe(StableDiffusionXLInstructPix2PixPipeline)(
        **text, **sizes, image=pixels, height=64, width=64, image_guidance_scale=1.5, generator=xl.seeded()).images
    xl.nets.save({k: v.contiguous() for k, v in out.items()}, HERE / "pictures.safetensors",
                 {"prompt": xl.PROMPT, "negative": xl.NEGATIVE})


if __name__ == "__main__":
    main()
