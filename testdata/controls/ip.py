"""Makes tiny IP-Adapters for the models of ../nets (SD 2) and ../xl, and what diffusers draws with them.

Run it in any folder: python ip.py. Weights are random, made as those of make.py, whose image encoder sees the pictures; the reference
values are the diffusers library's, in float32 on the CPU.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPTokenizer

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
nets, xl = make.nets, make.xl

SCALE = 0.7
TOKENIZER = HERE.parent / "nets" / "sd1-diffusers" / "tokenizer"


def attending(unet):
    """Channels of the layers that attend to the text, in the order of diffusers' attn_processors."""
    layers = [unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors if name.endswith("attn2.processor")]
    return [m.to_q.out_features for m in layers], layers[0].to_k.in_features


def write(made, name):
    nets.save({f"{part}.{k}": v.half() for part in made for k, v in made[part].items()}, HERE / f"ip-{name}.safetensors", {"format": "pt"})


def seen():
    """The picture, and the image encoder's outputs for it, as make.py has them."""
    all = load_file(HERE / "reference.safetensors")
    return Image.fromarray(all["ip.picture"].numpy()), all["ip.embedding"], all["ip.hidden"]


def predicted(unet, made, embeds, of, about=None):
    """The UNet's output with an IP-Adapter, which stays in it."""
    plain = unet(of["x"], of["t"], of["context"], added_cond_kwargs=about).sample
    unet._load_ip_adapter_weights([{part: dict(v) for part, v in made.items()}])
    for p in unet.attn_processors.values():
        if hasattr(p, "scale"):
            p.scale = [SCALE]
    got = unet(of["x"], of["t"], of["context"], added_cond_kwargs=(about or {}) | {"image_embeds": [torch.cat([embeds[:, None]] * 2)]}).sample
    assert (got - plain).norm() / got.norm() > 0.01
    return got


def drawn(pipe, **more):
    pipe.set_progress_bar_config(disable=True)
    pipe.set_ip_adapter_scale(SCALE)
    return pipe(make.PROMPT, negative_prompt=make.NEGATIVE, num_inference_steps=make.STEPS, guidance_scale=make.GUIDANCE, generator=make.seeded(),
                output_type="latent", height=64, width=64, **more).images


def xl_pipe(unet, processor):
    return StableDiffusionXLPipeline(
        vae=xl.make_vae(), text_encoder=xl.make_text(xl.CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1),
        text_encoder_2=xl.make_text(xl.CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER), tokenizer_2=CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!"),
        unet=unet, scheduler=make.scheduler(), image_encoder=make.make_vision(), feature_extractor=processor, add_watermarker=False)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    image, embedding, hidden = seen()
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    of_sd2, of_xl = make.given("nets", "sd2.unet."), make.given("xl", "base.unet.")
    about = {"text_embeds": of_xl["y"][:, :64], "time_ids": of_xl["ids"]}
    out = {}
    for seed, kind in enumerate(("basic", "plus", "full")):
        embeds = embedding if kind == "basic" else hidden
        for name, of, more in (("sd2", of_sd2, None), ("xl", of_xl, about)):
            unet = nets.make_sd2()[0] if name == "sd2" else xl.make_unet(43, 96, 64 + 6 * 8)
            channels, context = attending(unet)
            made = make.make_ip(kind, 970 + seed + 10 * (name == "xl"), context, channels)
            write(made, f"{name}-{kind}")
            out[f"{name}.{kind}.out"] = predicted(unet, made, embeds, of, more)
            if name == "xl":
                out[f"latent.xl.{kind}"] = drawn(xl_pipe(unet, processor), ip_adapter_image=image)
    nets.save({k: v.contiguous() for k, v in out.items()}, HERE / "ip-reference.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
