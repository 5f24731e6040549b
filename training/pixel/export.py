"""Writes the trained networks as files of F16 that sdgo, and programs that know guided diffusion's names, read.

    python training/pixel/export.py --work DIR     # DIR/sdgo-emoji.safetensors, DIR/sdgo-emoji-classifier.safetensors
"""

import argparse
import json
import os

import torch
from safetensors.torch import save_file

import data
from train import STEPS
from unet import GROUPS, HEADS

NAME = "sdgo-emoji"


def shared():
    """What no shape tells of either network."""
    return {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.license": "Apache-2.0 and MIT (pictures: Noto Emoji by Google, FxEmoji by Mozilla; Fluent Emoji by Microsoft)",
        "modelspec.resolution": "32x32",
        "sdgo.pixel.labels": json.dumps(data.names()),
        "sdgo.pixel.size": str(data.SIDE),
        "sdgo.pixel.norm_groups": str(GROUPS),
        "sdgo.pixel.heads": str(HEADS),
        "sdgo.pixel.qkv_by_head": "0",
        "sdgo.pixel.process": "ddpm",
        "sdgo.pixel.betas": "cosine",
        "sdgo.pixel.steps": str(STEPS),
    }


def write(work, part, title, metadata):
    weights = torch.load(os.path.join(work, part + ".pt"), map_location="cpu", weights_only=True)
    path = os.path.join(work, title + ".safetensors")
    tensors = {k: v.half().contiguous(memory_format=torch.contiguous_format) for k, v in sorted(weights.items())}
    save_file(tensors, path + ".tmp", dict(sorted((shared() | metadata | {"modelspec.title": title}).items())))
    os.replace(path + ".tmp", path)
    print(path, sum(v.numel() for v in tensors.values()), "weights", os.path.getsize(path), "bytes")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    work = parser.parse_args().work
    classes = len(data.names())
    write(work, "denoiser", NAME, {
        "modelspec.description": f"Draws emoji of {classes} classes, 32x32 pixels.",
        "modelspec.prediction_type": "v",
        "sdgo.pixel.prediction": "v",
        "sdgo.pixel.variance": "fixed_small",
        "sdgo.pixel.clip": "1",
        "sdgo.pixel.classes": str(classes),
        "sdgo.pixel.null_class": str(classes),
        "sdgo.pixel.sampler": "ddpm_small",  # its noise takes away what small networks leave
        "sdgo.guidance": "2",
    })
    if os.path.exists(os.path.join(work, "classifier.pt")):
        write(work, "classifier", NAME + "-classifier", {"modelspec.description": f"Tells {classes} classes of noisy emoji apart."})


if __name__ == "__main__":
    main()
