"""Makes beginning.safetensors: what diffusers' pipelines with a ControlNet make of a picture to begin with, in a mask and in SDXL.

Run it in any folder: python beginning.py. The networks are those of make.py; README.md describes the tensors.
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import (StableDiffusionControlNetImg2ImgPipeline, StableDiffusionControlNetInpaintPipeline, StableDiffusionControlNetPipeline,
                       StableDiffusionXLControlNetImg2ImgPipeline)
from PIL import Image
from transformers import CLIPTokenizer

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
nets, xl = make.nets, make.xl
TOKENIZER = HERE.parent / "nets" / "sd1-diffusers" / "tokenizer"


def latent(vae, picture, scale):
    """A draw of the encoder's distribution, from the numbers that the pipeline's noise begins with, too: so does sdgo."""
    return vae.encode(picture.float()[None] / 127.5 - 1).latent_dist.sample(generator=make.seeded()) * scale


def condition(picture, mask):
    """What inpaint ControlNets see: -1 where the mask paints."""
    seen = picture.float()[None] / 255
    return torch.where(mask[None, None] > 127, -1.0, seen)


def passes(parts, control, picture, size, **more):
    """A picture of 64x64 and a second pass of four steps of the size, at a strength of 0.7, both with the control's picture, which is scaled for them."""
    unet, vae, encoder = parts
    parts = {"vae": vae, "text_encoder": encoder, "tokenizer": CLIPTokenizer.from_pretrained(TOKENIZER), "unet": unet, "controlnet": control,
             "scheduler": make.scheduler(), "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    text = {"prompt": make.PROMPT, "negative_prompt": make.NEGATIVE, "num_inference_steps": make.STEPS, "guidance_scale": make.GUIDANCE,
            "output_type": "latent", "controlnet_conditioning_scale": 0.8} | more
    pipe, again = StableDiffusionControlNetPipeline(**parts), StableDiffusionControlNetImg2ImgPipeline(**parts)
    for one in pipe, again:
        one.set_progress_bar_config(disable=True)
    seen = lambda side: picture.float()[None].expand(1, 3, side, side) / 255
    first = pipe(**text, image=seen(64), height=64, width=64, generator=make.seeded()).images
    large = F.interpolate(first, size=(size // 8, size // 8), mode="bilinear")
    return again(**text, image=large, control_image=seen(size), strength=0.8, height=size, width=size, generator=make.seeded()).images


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    text = {"prompt": make.PROMPT, "negative_prompt": make.NEGATIVE, "num_inference_steps": make.STEPS, "guidance_scale": make.GUIDANCE,
            "output_type": "latent", "height": 64, "width": 64, "controlnet_conditioning_scale": 0.8}
    unet, vae, encoder = nets.make_sd1()
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[16:48, 24:56] = 255  # its edges are those of latent pixels
    begin, other = make.square(), make.square(64)
    pipe = StableDiffusionControlNetInpaintPipeline(
        vae=vae, text_encoder=encoder, tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER), unet=unet, controlnet=make.make_control(unet, 81),
        scheduler=make.scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    source = latent(vae, begin, 0.18215)
    pipe._encode_vae_image = lambda image, generator: source
    paint = lambda strength, shown, **more: pipe(
        **text | more, image=Image.fromarray(begin.permute(1, 2, 0).numpy()), mask_image=Image.fromarray(mask.numpy()), strength=strength,
        control_image=shown, generator=make.seeded()).images
    out = {
        # Four of the five steps: a strength of 0.6 in AUTOMATIC1111's and sdgo's count.
        "inpaint": paint(0.8, condition(begin, mask)),
        "inpaint.other": paint(0.8, condition(other, mask)),
        "inpaint.guess": paint(0.8, condition(begin, mask), guess_mode=True),
        "inpaint.plain": paint(0.8, begin.float()[None] / 255),
    }
    parts = nets.make_sd1()
    control = make.make_control(parts[0], 81)
    colour = torch.tensor([230, 40, 90], dtype=torch.uint8)[:, None, None]  # which is the same at all sizes
    out |= {
        "hires": passes(parts, control, other, 64),
        "hires.window": passes(parts, control, other, 64, control_guidance_start=0.25, control_guidance_end=0.75),
        "hires.large": passes(parts, control, colour, 128),
        "hires.large.none": passes(parts, control, colour, 128, control_guidance_end=0.01),
    }
    unet, vae = xl.make_unet(43, 96, 64 + 6 * 8), xl.make_vae()
    pipe = StableDiffusionXLControlNetImg2ImgPipeline(
        vae=vae, text_encoder=xl.make_text(xl.CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1),
        text_encoder_2=xl.make_text(xl.CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER), tokenizer_2=CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!"),
        unet=unet, controlnet=make.make_control(unet, 84), scheduler=make.scheduler(), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    # Guidance as in ../xl: these weights enlarge rounding errors of the network too much with more.
    out["xl.img2img"] = pipe(**text | {"guidance_scale": 1.5}, image=latent(vae, begin, 0.13025), control_image=other.float()[None] / 255, strength=0.8,
                             control_guidance_end=0.5, original_size=(64, 64), target_size=(64, 64), generator=make.seeded()).images
    names = [k for k in out if out[k].shape == out["inpaint"].shape and not k.startswith("xl")]
    far = {f"{a} {b}": ((out[a] - out[b]).norm() / out[b].norm()).item() for a in names for b in names if a < b}
    far["large"] = ((out["hires.large"] - out["hires.large.none"]).norm() / out["hires.large"].norm()).item()
    assert min(far.values()) > 0.005, far
    out = {f"latent.{k}": v for k, v in out.items()} | {"mask": mask}
    nets.save({k: v.contiguous() for k, v in out.items()}, HERE / "beginning.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
