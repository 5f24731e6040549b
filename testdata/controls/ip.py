"""Makes tiny IP-Adapters for the models of ../nets (SD 2) and ../xl, and one of faces for SD 1, and what diffusers draws with them.

Run it in any folder: python ip.py. Weights are random, made as those of make.py, whose image encoder sees the pictures; the reference
values are the diffusers library's, in float32 on the CPU.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPTokenizer

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
nets, xl = make.nets, make.xl

SCALE, FACE, RANK = 0.7, 16, 2
TOKENIZER = HERE.parent / "nets" / "sd1-diffusers" / "tokenizer"


def attending(unet):
    """Channels of the layers that attend to the text, in the order of diffusers' attn_processors."""
    layers = [unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors if name.endswith("attn2.processor")]
    return [m.to_q.out_features for m in layers], layers[0].to_k.in_features


def make_face(unet, seed, plus=False):
    """FaceID: tokens of a face's vector, and a LoRA of all attention; Plus begins a resampler of states with them."""
    channels, context = attending(unet)
    made = make.make_ip("basic", seed, context, channels)
    g = torch.Generator().manual_seed(seed + 1)
    matrix = lambda out, inside, by=1.5: make.nets_exact(by * torch.randn(out, inside, generator=g) / inside**0.5)
    proj, tokens = made["image_proj"], 4
    proj = {k: v for k, v in proj.items() if k.startswith("norm")} | {
        "proj.0.weight": matrix(2 * FACE, FACE), "proj.0.bias": matrix(1, 2 * FACE)[0],
        "proj.2.weight": matrix(tokens * context, 2 * FACE), "proj.2.bias": matrix(1, tokens * context)[0]}
    if plus:
        proj |= {f"perceiver_resampler.{k}": v for k, v in make.make_ip("plus", seed + 2, context, channels, context)["image_proj"].items() if k != "latents"}
    loras = {}
    for i, name in enumerate(unet.attn_processors):
        layer = unet.get_submodule(name.removesuffix(".processor"))
        for part, m in (("q", layer.to_q), ("k", layer.to_k), ("v", layer.to_v), ("out", layer.to_out[0])):
            loras[f"{i}.to_{part}_lora.down.weight"] = matrix(RANK, m.in_features, 0.5)
            loras[f"{i}.to_{part}_lora.up.weight"] = matrix(m.out_features, RANK, 0.5)
    return {"image_proj": proj, "ip_adapter": made["ip_adapter"] | loras}


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


def blank():
    """The image encoder's states of a picture of zeros."""
    vision = make.make_vision()
    return vision(torch.zeros(1, 3, 32, 32), output_hidden_states=True).hidden_states[-2][0]


def xl_pipe(unet, processor):
    return StableDiffusionXLPipeline(
        vae=xl.make_vae(), text_encoder=xl.make_text(xl.CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1),
        text_encoder_2=xl.make_text(xl.CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0),
        tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER), tokenizer_2=CLIPTokenizer.from_pretrained(TOKENIZER, pad_token="!"),
        unet=unet, scheduler=make.scheduler(), image_encoder=make.make_vision(), feature_extractor=processor, add_watermarker=False)


def faces(out, hidden):
    face = make.nets_exact(torch.randn(1, FACE, generator=torch.Generator().manual_seed(992)))
    np.save(HERE / "face.npy", face.numpy())
    for name, plus, shortcut in ("faceid", False, False), ("faceid-plus", True, False), ("faceid-plusv2", True, True):
        draw_face(out, name, face, hidden if plus else None, shortcut)


def draw_face(out, name, face, hidden, shortcut):
    unet, vae, text = nets.make_sd1()
    made = make_face(unet, 990, hidden is not None)
    if not shortcut:  # the second version's files look the same
        write(made, name)
    of = make.given("nets", "sd1.unet.")
    pipe = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=CLIPTokenizer.from_pretrained(TOKENIZER), unet=unet,
                                   scheduler=make.scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    # As load_ip_adapter does, which takes files alone: the tokens' layers, then the LoRA.
    unet._load_ip_adapter_weights([{part: dict(v) for part, v in made.items()}])
    if hidden is not None:
        projection = unet.encoder_hid_proj.image_projection_layers[0]
        projection.clip_embeds, projection.shortcut = torch.stack([hidden[0]] * 2)[:, None], shortcut
    for p in unet.attn_processors.values():
        if hasattr(p, "scale"):
            p.scale = [SCALE]
    embeds = torch.cat([face[:, None]] * 2)
    tokens = unet(of["x"], of["t"], of["context"], added_cond_kwargs={"image_embeds": [embeds]}).sample
    for k, lora in unet._load_ip_adapter_loras([made]).items():
        pipe.load_lora_weights(lora, adapter_name=f"faceid_{k}")
        pipe.set_adapters([f"faceid_{k}"], adapter_weights=[1.0])
    out[name + ".out"] = unet(of["x"], of["t"], of["context"], added_cond_kwargs={"image_embeds": [embeds]}).sample
    assert (out[name + ".out"] - tokens).norm() / tokens.norm() > 0.01
    if hidden is not None:
        # Where there is no prompt, the states of a picture of zeros, as prepare_ip_adapter_image_embeds has them.
        projection.clip_embeds = torch.stack([blank(), hidden[0]])[:, None]
    both = torch.cat([torch.zeros_like(face[:, None]), face[:, None]])
    out["latent." + name] = drawn(pipe, ip_adapter_image_embeds=[both])


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
    faces(out, hidden)
    nets.save({k: v.contiguous() for k, v in out.items()}, HERE / "ip-reference.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
