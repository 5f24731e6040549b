"""Makes a tiny upscaler by text and what the diffusers library draws with it.

Run it after ../nets/make.py and ../pixel/make.py, in any folder: python make.py. What it makes is described in README.md.

The weights are random, the structure is that of stable-diffusion-x4-upscaler with fewer and narrower layers. Every
weight is first rounded to four significant bits, as in ../nets/make.py.
"""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from diffusers import (AutoencoderKL, DDIMScheduler, DDPMScheduler, LDMSuperResolutionPipeline, StableDiffusionUpscalePipeline,
                       UNet2DConditionModel, UNet2DModel, VQModel)
from transformers import CLIPTokenizer

HERE = Path(__file__).resolve().parent
TEST = HERE.parent


def script(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nets = script("nets", TEST / "nets" / "make.py")
names = script("names", TEST / "pixel" / "names.py")
SEED, STEPS = 7, 5
BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def make():
    torch.manual_seed(41)
    unet = nets.randomise(UNet2DConditionModel(
        sample_size=16, in_channels=7, out_channels=4, block_out_channels=(8, 16, 32), layers_per_block=1, cross_attention_dim=64, attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        only_cross_attention=(True, True, False), num_class_embeds=400, use_linear_projection=True, norm_num_groups=8), 41)
    torch.manual_seed(42)
    vae = nets.randomise(AutoencoderKL(
        sample_size=64, block_out_channels=(8, 8, 16), layers_per_block=1, latent_channels=4, norm_num_groups=8, scaling_factor=0.08333,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3), 42)
    text = nets.make_text(43, num_attention_heads=2, num_hidden_layers=2, hidden_act="gelu")
    return unet, vae, text


def schedulers():
    process = DDIMScheduler(**BETAS, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing")
    low = DDPMScheduler(**BETAS)
    return process, low


def save_folder(folder, unet, vae, text, process, low):
    nets.save_folder(folder, unet, vae, text)
    nets.write_json(folder / "tokenizer" / "tokenizer_config.json", {  # pads with its first token, as Stable Diffusion 2's
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
        "bos_token": nets.START, "eos_token": nets.END, "pad_token": "!", "unk_token": nets.END})
    for name, s in ("scheduler", process), ("low_res_scheduler", low):
        config = json.loads(s.to_json_string())
        nets.write_json(folder / name / "scheduler_config.json", {k: v for k, v in config.items() if k != "_diffusers_version"})
    nets.write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionUpscalePipeline", "low_res_scheduler": ["diffusers", "DDPMScheduler"], "max_noise_level": 350,
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]})


def save_file(path, unet, vae, text, process, low):
    """One file as its authors publish it. Numbers that no shape tells are in its metadata, where they are not those of the real one."""
    tensors = {names.latent_unet(k, 1, (False, True, True)): v for k, v in unet.state_dict().items()}
    for k, v in vae.state_dict().items():
        k = names.autoencoder(k, 3)
        tensors[k] = v[:, :, None, None] if "attn_1" in k and v.ndim == 2 else v
    tensors |= nets.open_clip_tensors(text)
    tensors = nets.half(tensors)
    for prefix, s in ("", process), ("low_scale_model.", low):
        tensors[prefix + "alphas_cumprod"] = s.alphas_cumprod.float()
        tensors[prefix + "betas"] = s.betas.float()
    nets.save(tensors, path, {
        "sdgo.tokenizer.merges": "\n".join(nets.merges()), "sdgo.native_size": "64", "sdgo.unet.heads": "2", "sdgo.text.heads": "2",
        "sdgo.text.final_layer": "2", "sdgo.unet.norm_groups": "8", "sdgo.vae.norm_groups": "8"})


def picture(width, height, seed):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def upscaled(unet, vae, text, process, low):
    tokenizer = CLIPTokenizer.from_pretrained(HERE / "x4" / "tokenizer")
    pipe = StableDiffusionUpscalePipeline(vae, text, tokenizer, unet, low, process)
    pipe.set_progress_bar_config(disable=True)
    small = picture(12, 16, 1)
    out = {"x4.low": torch.from_numpy(small)}
    for name, seed, settings in (("20", SEED, {}), ("other", SEED + 1, {}), ("0", SEED, {"noise_level": 0}), ("300", SEED, {"noise_level": 300, "guidance_scale": 1.0})):
        settings = {"prompt": "a red apple on a table", "negative_prompt": "blurry", "image": PIL.Image.fromarray(small), "num_inference_steps": STEPS, "guidance_scale": 4.0} | settings
        run = lambda kind: pipe(generator=torch.Generator().manual_seed(seed), output_type=kind, **settings).images
        out[f"x4.latent.{name}"] = run("latent")
        if name == "20":
            out["x4.pixels"] = torch.from_numpy(np.asarray(run("pil")[0]).copy())
    return out


def enlarged():
    """LDMSuperResolutionPipeline with the model of ../pixel/enlarging."""
    folder = TEST / "pixel" / "enlarging"
    unet, vae = UNet2DModel.from_pretrained(folder / "unet").eval(), VQModel.from_pretrained(folder / "vqvae").eval()
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler", timestep_spacing="trailing", set_alpha_to_one=True)
    pipe = LDMSuperResolutionPipeline(vae, unet, scheduler)
    pipe.set_progress_bar_config(disable=True)
    small = picture(64, 32, 2)
    out = {"ldmsr.low": torch.from_numpy(small)}
    step, decode = scheduler.step, vae.decode
    for name, eta in ("0", 0.0), ("1", 1.0):
        g = torch.Generator().manual_seed(SEED)
        vae.decode = lambda z: (out.__setitem__(f"ldmsr.latent.{name}", z.clone()), decode(z))[1]
        scheduler.step = functools.partial(step, generator=g)  # the pipeline takes each step's noise from elsewhere
        image = pipe(PIL.Image.fromarray(small), num_inference_steps=STEPS, eta=eta, generator=g, output_type="pil").images[0]
        out[f"ldmsr.pixels.{name}"] = torch.from_numpy(np.asarray(image).copy())
    del out["ldmsr.pixels.1"]  # latents at the edge of two codes make it differ
    return out


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    model, both = make(), schedulers()
    save_folder(HERE / "x4", *model, *both)
    save_file(HERE / "x4.safetensors", *model, *both)
    values = upscaled(*model, *both) | enlarged()
    nets.save({k: v.contiguous() for k, v in values.items()}, HERE / "reference.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
