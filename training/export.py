"""Writes the trained parts as one SD 1.x checkpoint in the original layout: F16 and F32 safetensors and merges.txt."""

import json
import os

import torch
from safetensors.torch import save_file

from latents import load_vae
from text import read_merges
from train_diffusion import load_averaged


def state_dict(work, cfg):
    denoiser, _ = load_averaged(work, cfg)
    parts = {
        "model.diffusion_model.": denoiser.unet,
        "first_stage_model.": load_vae(work),
        "cond_stage_model.transformer.text_model.": denoiser.text,
    }
    return {prefix + k: v.contiguous() for prefix, part in parts.items() for k, v in part.state_dict().items()}


def export(work, cfg, step=0):
    folder = os.path.join(work, "export")
    os.makedirs(folder, exist_ok=True)
    merges = "\n".join(" ".join(m) for m in read_merges(cfg.merges)) + "\n"
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.title": "sdgo-noto",
        "modelspec.description": f"Draws Noto emoji on plain backgrounds, 128x128. {step} training steps.",
        "modelspec.license": "Apache-2.0 (pictures: Noto Emoji, Google)",
        "modelspec.resolution": "128x128",
        "modelspec.prediction_type": "v",
        "sdgo.guidance": "3",
        "sdgo.tokenizer.merges": merges,
        "sdgo.native_size": "128",
    }
    tensors = state_dict(work, cfg)
    for name, dtype in (("sdgo-noto.safetensors", torch.float16), ("sdgo-noto-f32.safetensors", torch.float32)):
        path = os.path.join(folder, name)
        # contiguous() keeps a channels-last layout: the file wants plain order
        save_file({k: v.to(dtype).contiguous(memory_format=torch.contiguous_format) for k, v in tensors.items()}, path + ".tmp", metadata)
        os.replace(path + ".tmp", path)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + merges)
    sizes = {p: sum(v.numel() for k, v in tensors.items() if k.startswith(p)) for p in ("model.", "first_stage", "cond_stage")}
    print("export:", path, json.dumps(sizes), "f16 bytes", os.path.getsize(os.path.join(folder, "sdgo-noto.safetensors")), flush=True)
