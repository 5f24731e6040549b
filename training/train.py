#!/usr/bin/env python3
"""One command from nothing to a checkpoint: data, autoencoder, latents, text encoder + UNet, export.

    python training/train.py --work DIR

Every stage is skipped when its result exists and continues from its last state when it was interrupted.
"""

import argparse
import functools
import os

import torch

import data
import export
import latents
import layers
import prompts
import start
import train_diffusion
import train_text
import train_vae


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work", help="folder for downloads, states and logs (several GB)")
    p.add_argument("--until", default="export", choices=["data", "vae", "latents", "text", "refine", "diffusion", "export"])
    p.add_argument("--start", help="a checkpoint (GGUF) to train on from, instead of from nothing")
    p.add_argument("--f32", action="store_true", help="no bfloat16, which pays only on processors with AMX")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vae-steps", type=int, default=8000)
    p.add_argument("--vae-batch", type=int, default=4)
    p.add_argument("--vae-lr", type=float, default=1e-3)
    p.add_argument("--kl-weight", type=float, default=2e-4)
    p.add_argument("--refine-steps", type=int, default=1500)
    p.add_argument("--refine-lr", type=float, default=4e-4)
    p.add_argument("--merges", type=int, default=2000, help="how many of CLIP's merges the vocabulary keeps")
    p.add_argument("--bank", type=int, default=48000, help="scenes encoded once")
    p.add_argument("--text-steps", type=int, default=1200)
    p.add_argument("--text-lr", type=float, default=1e-3)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=48)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--plain-share", type=float, default=0.0, help="share of samples that show one thing in the middle: names are learnt first")
    p.add_argument("--compile", action="store_true", help="compile the transformer blocks: a sixth faster, half a minute to start")
    p.add_argument("--milestone", type=int, default=500, help="steps between saved states, each exported")
    return p.parse_args()


def main():
    cfg = parse()
    torch.set_num_threads(cfg.threads)
    os.makedirs(cfg.work, exist_ok=True)
    if not cfg.f32:
        layers.use_fused_norm(os.path.join(cfg.work, "build"))
    amp = functools.partial(torch.autocast, "cpu", torch.bfloat16, enabled=not cfg.f32)
    sprites = data.prepare(cfg.work)
    if cfg.until == "data":
        return
    if cfg.start:
        start.prepare(cfg.work, cfg.start, cfg)
    prompts.prepare(sprites)
    train_vae.train(cfg.work, sprites, cfg, amp)
    if cfg.until == "vae":
        return
    latents.prepare(cfg.work, sprites, cfg, amp)
    if cfg.until == "latents":
        return
    train_text.train(cfg.work, sprites, cfg, amp)
    if cfg.until == "text":
        return
    if cfg.until == "refine":
        return train_vae.refine(cfg.work, sprites, cfg, amp)
    train_diffusion.train(cfg.work, cfg, amp, milestone=lambda step: export.export(cfg.work, cfg, step))
    if cfg.until == "export":
        train_vae.refine(cfg.work, sprites, cfg, amp)
        export.export(cfg.work, cfg, cfg.steps)


if __name__ == "__main__":
    main()
