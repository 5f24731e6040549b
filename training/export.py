"""Writes what is trained: one SD 1.x checkpoint in the original layout (F16 and F32 safetensors and merges.txt), the LoRA for four
steps, and the small judge."""

import json
import os

import torch
from safetensors.torch import save_file

import boxed_judge
import distill
import progress
from latents import load_vae
from text import read_merges
from train_diffusion import load_averaged

LICENSE = "Apache-2.0 (pictures: Noto Emoji, Google)"


def state_dict(work, cfg):
    denoiser, _ = load_averaged(work, cfg)
    parts = {
        "model.diffusion_model.": denoiser.unet,
        "first_stage_model.": load_vae(work),
        "cond_stage_model.transformer.text_model.": denoiser.text,
    }
    return {prefix + k: v.contiguous() for prefix, part in parts.items() for k, v in part.state_dict().items()}


def write(path, tensors, dtype, metadata):
    # contiguous() keeps a channels-last layout: the file wants plain order
    save_file({k: v.to(dtype).contiguous(memory_format=torch.contiguous_format) for k, v in tensors.items()}, path + ".tmp", metadata)
    os.replace(path + ".tmp", path)
    print("export:", path, os.path.getsize(path), "bytes", flush=True)


def export(work, cfg, sprites):
    folder = os.path.join(work, "export")
    os.makedirs(folder, exist_ok=True)
    merges = "\n".join(" ".join(m) for m in read_merges(cfg.merges)) + "\n"
    metadata = {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.title": "sdgo-noto",
        "modelspec.description": "Draws Noto emoji on plain backgrounds and in four places, 128x128.",
        "modelspec.license": LICENSE,
        "modelspec.resolution": "128x128",
        "modelspec.prediction_type": "v",
        "sdgo.guidance": "3",
        "sdgo.tokenizer.merges": merges,
        "sdgo.native_size": "128",
    }
    tensors = state_dict(work, cfg)
    write(os.path.join(folder, "sdgo-noto.safetensors"), tensors, torch.float16, metadata)
    write(os.path.join(folder, "sdgo-noto-f32.safetensors"), tensors, torch.float32, metadata)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + merges)
    if os.path.exists(os.path.join(work, "distilled.pt")):
        write(os.path.join(folder, "four-steps.safetensors"), distill.kohya(work), torch.float16, {
            "modelspec.title": "sdgo-noto-four-steps",
            "modelspec.license": LICENSE,
            "modelspec.description": "sdgo-noto in four steps of euler on the schedule sgm_uniform, guidance 1",
            "ss_network_dim": str(cfg.rank),
        })
    if weights := progress.load(os.path.join(work, "boxed.pt")):
        net = boxed_judge.build(len(sprites.names))
        net.load_state_dict(weights)
        boxed_judge.write(os.path.join(folder, "judge.safetensors"), net, sprites)
    sizes = {p: sum(v.numel() for k, v in tensors.items() if k.startswith(p)) for p in ("model.", "first_stage", "cond_stage")}
    print("export: weights", json.dumps(sizes), flush=True)
