"""Makes tiny ControlNets for the models of ../nets and ../xl, and what diffusers draws with them.

Run it in any folder: python make.py. What it makes is described in README.md. Weights are
random, made as those of ../nets; the reference values are the diffusers library's, in
float32 on the CPU.
"""

import importlib.util
import json
import re
from pathlib import Path

import torch
from diffusers import (ControlNetModel, EulerDiscreteScheduler, StableDiffusionControlNetImg2ImgPipeline,
                       StableDiffusionAdapterPipeline, StableDiffusionPipeline, StableDiffusionControlNetPipeline, StableDiffusionXLAdapterPipeline,
                       StableDiffusionXLControlNetPipeline, T2IAdapter)
from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel
from safetensors.torch import load_file
from PIL import Image
from transformers import CLIPImageProcessor, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection

HERE = Path(__file__).resolve().parent
PROMPT, NEGATIVE, SEED, STEPS, GUIDANCE = "a red apple on a table", "blurry", 42, 5, 7.0
HINT = (8, 8, 16, 16)  # channels of the network that encodes the picture


def load(folder):
    spec = importlib.util.spec_from_file_location(folder, HERE.parent / folder / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nets, xl = load("nets"), load("xl")


# Models.


def make_control(unet, seed, **other):
    """A ControlNet of a UNet's structure, with weights of its own: its zero convolutions are not zero, and those
    of the picture are large enough that it matters after eight of them."""
    torch.manual_seed(seed)
    control = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINT, load_weights_from_unet=False)
    if other:
        control = ControlNetModel.from_config(control.config, **other)
    for name, p in control.named_parameters():
        if name.startswith("controlnet_"):
            p.data = (1.35 if "cond_embedding" in name else 0.3) * torch.randn(p.shape) / max(1, p[0].numel()) ** 0.5
    return nets.randomise(control, seed)


def pooling(control):
    """The same, as one for shuffled pictures."""
    pooled = ControlNetModel.from_config(control.config, global_pool_conditions=True)
    pooled.load_state_dict(control.state_dict())
    return pooled.eval()


def make_t2i(seed, **settings):
    torch.manual_seed(seed)
    return nets.randomise(T2IAdapter(num_res_blocks=2, **settings), seed)


def make_vision():
    torch.manual_seed(95)
    return nets.randomise(CLIPVisionModelWithProjection(CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, projection_dim=24, num_hidden_layers=3, num_attention_heads=2, image_size=32, patch_size=8,
        hidden_act="gelu")), 95)


def make_ip(kind, seed, context=64, layers=(32,) * 4, width=48):
    """An IP-Adapter's two dictionaries, in the authors' names."""
    g = torch.Generator().manual_seed(seed)
    tokens, inner, clip = 4, 64, 24 if kind == "basic" else 32

    def matrix(out, inside):
        return nets_exact(1.5 * torch.randn(out, inside, generator=g) / inside**0.5)

    def vector(n, mean=0.0):
        return nets_exact(mean + 0.2 * torch.randn(n, generator=g))

    def linear(name, out, inside):
        return {name + ".weight": matrix(out, inside), name + ".bias": vector(out)}

    def norm(name, n):
        return {name + ".weight": vector(n, 1), name + ".bias": vector(n)}

    if kind == "basic":
        proj = linear("proj", tokens * context, clip) | norm("norm", context)
    elif kind == "full":
        proj = linear("proj.0", clip, clip) | linear("proj.2", context, clip) | norm("proj.3", context)
    else:
        proj = {"latents": nets_exact(torch.randn(1, tokens, width, generator=g))} | linear("proj_in", width, clip)
        for i in range(4):  # as many as the library makes
            a, f = f"layers.{i}.0.", f"layers.{i}.1."
            proj |= norm(a + "norm1", width) | norm(a + "norm2", width) | norm(f + "0", width)
            proj |= {a + "to_q.weight": matrix(inner, width), a + "to_kv.weight": matrix(2 * inner, width), a + "to_out.weight": matrix(width, inner),
                     f + "1.weight": matrix(4 * width, width), f + "3.weight": matrix(width, 4 * width)}
        proj |= linear("proj_out", context, width) | norm("norm_out", context)
    keys = {f"{2 * k + 1}.to_{n}_ip.weight": matrix(c, context) for k, c in enumerate(layers) for n in "kv"}
    return {"image_proj": proj, "ip_adapter": keys}


def nets_exact(t):
    """Rounded to four significant bits, as nets.randomise does."""
    mantissa, exponent = torch.frexp(t)
    return torch.ldexp((mantissa * 16).round() / 16, exponent).half().float()


# Names of the original files.


def t2i_name(key, light):
    """In the original full networks the blocks of all levels have numbers one after another."""
    key = key.removeprefix("adapter.")
    if light:
        return key.replace(".resnets.", ".body.")
    key = re.sub(r"^body\.(\d+)\.resnets\.(\d+)\.", lambda m: f"body.{2 * int(m[1]) + int(m[2])}.", key)
    return re.sub(r"^body\.(\d+)\.in_conv\.", lambda m: f"body.{2 * int(m[1])}.in_conv.", key)


def save_t2i(adapter, path, original):
    tensors = adapter.state_dict()
    if original:
        tensors = {t2i_name(k, "light" in path): v for k, v in tensors.items()}
    nets.save(nets.half(tensors), HERE / path, {"format": "pt"})


def original_name(key, levels=2):
    """As nets.unet_name: hint layers lie four apart, of which every second one has no weights."""
    m = re.match(r"controlnet_cond_embedding\.(conv_in|conv_out|blocks\.(\d+))\.(.*)", key)
    if m:
        layer = {"conv_in": 0, "conv_out": 7}.get(m[1])
        return f"input_hint_block.{2 * (int(m[2]) + 1 if layer is None else layer)}.{m[3]}"
    key = re.sub(r"^controlnet_down_blocks\.(\d+)\.", r"zero_convs.\1.0.", key)
    key = re.sub(r"^controlnet_mid_block\.", "middle_block_out.0.", key)
    if key.startswith(("zero_convs", "middle_block_out")):
        return key
    return xl.unet_name(key).removeprefix("model.diffusion_model.")


def save(control, path, prefix=None, metadata=None):
    """With a prefix before the original names, or in diffusers' names."""
    tensors = control.state_dict()
    if prefix is not None:
        tensors = {prefix + original_name(k): v for k, v in tensors.items()}
    nets.save(nets.half(tensors), HERE / path, metadata or {"format": "pt"})


def save_folder(control, folder):
    config = {k: v for k, v in json.loads(control.to_json_string()).items() if k not in ("_name_or_path", "_diffusers_version")}
    nets.write_json(HERE / folder / "config.json", {"_class_name": "ControlNetModel"} | config)
    save(control, f"{folder}/diffusion_pytorch_model.safetensors")


# References.


def picture(shift=0):
    """[3, 80, 48], 0 to 1: slopes, and a block."""
    y, x = torch.meshgrid(torch.arange(80), torch.arange(48), indexing="ij")
    image = torch.stack([(x * 5 + shift) % 256, y * 3, 255 - x - y], dim=0).float()
    image[:, 20:50, 10 + shift // 16 : 30] = 255
    return (image / 255).round(decimals=6)


def square(shift=0):
    """[3, 64, 64] of 8 bits."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    image = torch.stack([(x * 4 + shift) % 256, y * 4, 255 - (x + y) * 2], dim=0).to(torch.uint8)
    image[:, 13:45, 20 + shift // 16 : 56] = 255
    return image


def residuals(name, unet, controls, given, about=None):
    """What ControlNets return, and the UNet with it. given has x, t, context of another folder's reference."""
    x, t, context = given["x"], given["t"], given["context"]
    out, sums = {}, None
    for i, control in enumerate(controls):
        hint = torch.stack([picture(16 * i), picture(16 * i + 32)])
        down, middle = control(x, t, encoder_hidden_states=context, controlnet_cond=hint, added_cond_kwargs=about, return_dict=False)
        all = [*down, middle]
        out[f"{name}.{i}.picture"] = hint
        out |= {f"{name}.{i}.control.{k}": v for k, v in enumerate(all)}
        sums = all if sums is None else [a + 0.5 * b for a, b in zip(sums, all)]
        got = unet(x, t, context, down_block_additional_residuals=sums[:-1], mid_block_additional_residual=sums[-1],
                   added_cond_kwargs=about).sample
        plain = unet(x, t, context, added_cond_kwargs=about).sample
        assert (got - plain).norm() / plain.norm() > 0.01
        other, _ = control(x, t, encoder_hidden_states=context, controlnet_cond=hint.flip(-1), added_cond_kwargs=about, return_dict=False)
        assert (other[0] - down[0]).norm() / down[0].norm() > 0.01
        out[f"{name}.{i}.out"] = got
    return out


def features(name, unet, adapters, given, about=None):
    """What T2I-Adapters return for a picture, and the UNet with it: with all but the first, of grey, half of it."""
    x, t, context = given["x"], given["t"], given["context"]
    plain = unet(x, t, context, added_cond_kwargs=about).sample
    out = {f"{name}.picture": picture()[None]}
    luma = (picture() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0, keepdim=True)
    for kind, adapter in adapters.items():
        all = adapter((luma if kind == "grey" else picture())[None])
        out |= {f"{name}.{kind}.feature.{k}": v for k, v in enumerate(all)}
        twice = [v.repeat(2, 1, 1, 1) for v in all]
        got = unet(x, t, context, down_intrablock_additional_residuals=twice, added_cond_kwargs=about).sample
        assert (got - plain).norm() / plain.norm() > 0.01
        out[f"{name}.{kind}.out"] = got
    return out


def ip_references(sd1, of_sd1):
    """What image encoder, IP-Adapters and the UNet with them give for a picture, and latents of the pipeline."""
    unet, vae, text = nets.make_sd1()
    vision = make_vision()
    y, x = torch.meshgrid(torch.arange(40), torch.arange(32), indexing="ij")
    seen = torch.stack([x * 8, y * 6, 255 - x * 3 - y * 3], dim=-1).to(torch.uint8)  # 32 wide, 40 high
    image = Image.fromarray(seen.numpy())
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    pixels = processor(image, return_tensors="pt").pixel_values
    result = vision(pixels, output_hidden_states=True)
    blank = vision(torch.zeros_like(pixels), output_hidden_states=True).hidden_states[-2]
    out = {"ip.picture": seen, "ip.embedding": result.image_embeds, "ip.hidden": result.hidden_states[-2]}
    state = {k: v.half() for k, v in vision.state_dict().items() if "position_ids" not in k}
    state = {k if k.startswith(("vision_model.", "visual_projection.")) else "vision_model." + k: v for k, v in state.items()}
    nets.save(state, HERE / "clip-vision.safetensors", {"sdgo.clip_vision.heads": "2", "sdgo.clip_vision.activation": "gelu"})
    x, t, context = of_sd1["x"], of_sd1["t"], of_sd1["context"]
    tokenizer = CLIPTokenizer.from_pretrained(HERE.parent / "nets" / "sd1-diffusers" / "tokenizer")
    for seed, kind in enumerate(("basic", "plus", "full")):
        made = make_ip(kind, 960 + seed)
        nets.save({f"{part}.{k}": v.half() for part in made for k, v in made[part].items()}, HERE / f"ip-{kind}.safetensors", {"format": "pt"})
        unet = nets.make_sd1()[0]
        unet._load_ip_adapter_weights([{part: dict(v) for part, v in made.items()}])
        pipe = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=scheduler(), safety_checker=None,
                                       feature_extractor=processor, image_encoder=vision, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        pipe.set_ip_adapter_scale(0.7)
        embeds = result.image_embeds[:, None] if kind == "basic" else result.hidden_states[-2][:, None]
        unet_out = unet(x, t, context, added_cond_kwargs={"image_embeds": [torch.cat([embeds, embeds])]}).sample
        assert (unet_out - of_sd1["out"]).norm() / unet_out.norm() > 0.01
        out[f"ip.{kind}.out"] = unet_out
        out[f"latent.ip.{kind}"] = pipe(PROMPT, negative_prompt=NEGATIVE, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=seeded(),
                                        output_type="latent", height=64, width=64, ip_adapter_image=image).images
    out["ip.blank"] = blank
    return out


def given(folder, prefix):
    all = load_file(HERE.parent / folder / "reference.safetensors")
    return {k.removeprefix(prefix): v for k, v in all.items() if k.startswith(prefix)}


def scheduler():
    return EulerDiscreteScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                                  beta_schedule="scaled_linear", timestep_spacing="linspace")


def seeded():
    return torch.Generator().manual_seed(SEED)


def draw(pipe, controls, **more):
    pipe.controlnet = controls[0] if len(controls) == 1 else MultiControlNetModel(controls)
    images = [square(64 * i)[None].float() / 255 for i in range(len(controls))]
    return pipe(PROMPT, image=images[0] if len(controls) == 1 else images, negative_prompt=NEGATIVE, num_inference_steps=STEPS,
                guidance_scale=GUIDANCE, generator=seeded(), output_type="latent", **more).images


def pictures(sd1, one, two):
    """Latents of pipelines."""
    unet, vae, text = sd1
    tokenizer = CLIPTokenizer.from_pretrained(HERE.parent / "nets" / "sd1-diffusers" / "tokenizer")
    parts = {"vae": vae, "text_encoder": text, "tokenizer": tokenizer, "unet": unet, "scheduler": scheduler(),
             "safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipe = StableDiffusionControlNetPipeline(controlnet=one, **parts)
    pipe.set_progress_bar_config(disable=True)
    size = {"height": 64, "width": 64}
    out = {
        "one": draw(pipe, [one], controlnet_conditioning_scale=0.8, **size),
        "two": draw(pipe, [one, two], controlnet_conditioning_scale=[0.8, 0.5], **size),
        "window": draw(pipe, [one], control_guidance_start=0.2, control_guidance_end=0.6, **size),
        "windows": draw(pipe, [one, two], control_guidance_start=[0.0, 0.4], control_guidance_end=[0.4, 1.0], **size),
        "guess": draw(pipe, [one], guess_mode=True, **size),
        "guess.two": draw(pipe, [one, two], guess_mode=True, controlnet_conditioning_scale=[1.0, 0.7], **size),
        "pooled": draw(pipe, [pooling(two)], controlnet_conditioning_scale=0.8, **size),
        "none": draw(pipe, [one], controlnet_conditioning_scale=0.0, **size),
    }
    again = StableDiffusionControlNetImg2ImgPipeline(controlnet=one, **parts)
    again.set_progress_bar_config(disable=True)
    start = square().float()[None] / 127.5 - 1
    source = vae.encode(start).latent_dist.sample(generator=seeded()) * 0.18215
    out["img2img"] = again(PROMPT, image=source, control_image=square()[None].float() / 255, negative_prompt=NEGATIVE, num_inference_steps=STEPS,
                           guidance_scale=GUIDANCE, generator=seeded(), output_type="latent", strength=0.8, height=64, width=64,
                           controlnet_conditioning_scale=0.8, control_guidance_end=0.5).images
    assert all((v - out["none"]).norm() / out["none"].norm() > 0.01 for k, v in out.items() if k != "none")
    return out


def xl_pictures(control):
    base, vae = xl.make_unet(43, 96, 64 + 6 * 8), xl.make_vae()
    folder = HERE.parent / "nets" / "sd1-diffusers" / "tokenizer"
    clip_l = xl.make_text(xl.CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1)
    clip_g = xl.make_text(xl.CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0)
    pipe = StableDiffusionXLControlNetPipeline(
        vae=vae, text_encoder=clip_l, text_encoder_2=clip_g, tokenizer=CLIPTokenizer.from_pretrained(folder),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder, pad_token="!"), unet=base, controlnet=control, scheduler=scheduler(), add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return {"xl": draw(pipe, [control], controlnet_conditioning_scale=0.8, height=64, width=64)}


def t2i_pictures(sd1, base, full, large):
    """Latents of T2I-Adapters' pipelines."""
    unet, vae, text = sd1
    folder = HERE.parent / "nets" / "sd1-diffusers" / "tokenizer"
    pipe = StableDiffusionAdapterPipeline(vae=vae, text_encoder=text, tokenizer=CLIPTokenizer.from_pretrained(folder), unet=unet, adapter=full,
                                          scheduler=scheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    more = {"image": square()[None].float() / 255, "negative_prompt": NEGATIVE, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE,
            "output_type": "latent", "height": 64, "width": 64}
    out = {"t2i": pipe(PROMPT, generator=seeded(), adapter_conditioning_scale=0.8, **more).images}
    clip_l = xl.make_text(xl.CLIPTextModel, 41, 32, 1, 2, "quick_gelu", nets.WORDS - 1)
    clip_g = xl.make_text(xl.CLIPTextModelWithProjection, 42, 64, 2, 3, "gelu", 0)
    pipe = StableDiffusionXLAdapterPipeline(
        vae=xl.make_vae(), text_encoder=clip_l, text_encoder_2=clip_g, tokenizer=CLIPTokenizer.from_pretrained(folder),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder, pad_token="!"), unet=base, adapter=large, scheduler=scheduler())
    pipe.watermark = None
    out["t2i.xl"] = pipe(PROMPT, generator=seeded(), adapter_conditioning_scale=0.8, adapter_conditioning_factor=0.6, **more).images
    return out


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    sd1, sd2, base = nets.make_sd1(), nets.make_sd2(), xl.make_unet(43, 96, 64 + 6 * 8)
    one, two, second = make_control(sd1[0], 81), make_control(sd1[0], 82), make_control(sd2[0], 83)
    large = make_control(base, 84)
    small = make_control(base, 85, down_block_types=("DownBlock2D", "DownBlock2D"), mid_block_type="UNetMidBlock2D")
    save(one, "sd1.safetensors", "control_model.")
    save_folder(two, "sd1-diffusers")
    wide = {"sdgo.unet.head_dim": "16"}
    save(second, "sd2.safetensors", "", wide)
    save(large, "xl.safetensors", None, wide)
    save(small, "xl-small.safetensors", None, {})

    of_sd1, of_sd2, of_xl = given("nets", "sd1.unet."), given("nets", "sd2.unet."), given("xl", "base.unet.")
    about = {"text_embeds": of_xl["y"][:, :64], "time_ids": of_xl["ids"]}
    values = residuals("sd1", sd1[0], [one, two], of_sd1) | residuals("sd2", sd2[0], [second], of_sd2)
    values |= residuals("xl", base, [large, small], of_xl, about)
    adapters = {"full": make_t2i(91, channels=[32, 32], adapter_type="full_adapter"),
                "light": make_t2i(92, channels=[32], adapter_type="light_adapter"),
                "grey": make_t2i(93, in_channels=1, channels=[32, 32], adapter_type="full_adapter")}
    t2i_xl = make_t2i(94, channels=[32, 32], adapter_type="full_adapter_xl", downscale_factor=16)
    save_t2i(adapters["full"], "t2i-sd1.safetensors", False)
    save_t2i(adapters["light"], "t2i-light.safetensors", True)
    save_t2i(adapters["grey"], "t2i-grey.safetensors", True)
    save_t2i(t2i_xl, "t2i-xl.safetensors", True)
    values |= features("t2i.sd1", sd1[0], adapters, of_sd1) | features("t2i.xl", base, {"full": t2i_xl}, of_xl, about)
    values |= ip_references(sd1, of_sd1)
    drawn = t2i_pictures(sd1, base, adapters["full"], t2i_xl)
    values |= {f"latent.{k}": v for k, v in drawn.items()}
    values |= {f"picture.{i}": square(64 * i).permute(1, 2, 0) for i in range(2)}
    values |= {f"latent.{k}": v for k, v in (pictures(sd1, one, two) | xl_pictures(large)).items()}
    nets.save({k: v.contiguous() for k, v in values.items()}, HERE / "reference.safetensors", {"prompt": PROMPT, "negative": NEGATIVE})


if __name__ == "__main__":
    main()
