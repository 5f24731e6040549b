#!/usr/bin/env python3
"""One command to a checkpoint: data, judge, autoencoder, latents, text encoder, UNet, sharper decoder, distillation, export.

    python training/train.py --work DIR                              from nothing
    python training/train.py --work DIR --start builtin/noto.gguf    on from that model

Every stage is skipped when its result exists and continues from its last state when it was interrupted.
"""

import argparse
import functools
import os

import torch

import boxed_judge
import classifier
import data
import distill
import export
import latents
import layers
import prompts
import sharpen
import start
import train_diffusion
import train_text
import train_vae

STAGES = ["data", "judge", "vae", "bank", "text", "diffusion", "sharp", "distill", "boxed", "export"]


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work", help="folder for downloads, states and logs (several GB)")
    p.add_argument("--until", default="export", choices=STAGES, help="the last stage")
    p.add_argument("--only", help="these stages alone, with commas between: two processes can do different ones")
    p.add_argument("--start", help="a checkpoint (GGUF) to train on from, instead of from nothing")
    p.add_argument("--f32", action="store_true", help="no bfloat16, which pays only on processors with AMX")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--judge-steps", type=int, default=1600)
    p.add_argument("--vae-steps", type=int, default=8000)
    p.add_argument("--vae-batch", type=int, default=4)
    p.add_argument("--vae-crop", type=int, default=0, help="the side of squares of the scenes that the autoencoder learns from, 0: whole scenes")
    p.add_argument("--vae-lr", type=float, default=1e-3)
    p.add_argument("--kl-weight", type=float, default=2e-4, help="0 from a start: the latents keep their scale")
    p.add_argument("--sharp-steps", type=int, default=4000)
    p.add_argument("--sharp-lr", type=float, default=2e-4)
    p.add_argument("--merges", type=int, default=2000, help="how many of CLIP's merges the vocabulary keeps")
    p.add_argument("--bank", type=int, default=48000, help="scenes encoded once; a larger number adds to them")
    p.add_argument("--text-steps", type=int, default=1200)
    p.add_argument("--text-lr", type=float, default=1e-3)
    p.add_argument("--steps", type=int, default=6000)
    p.add_argument("--batch", type=int, default=48)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--known", type=int, default=0, help="how many of the things the start knows")
    p.add_argument("--new-share", type=float, default=1.0, help="how many times more often the others are trained")
    p.add_argument("--pair-share", type=float, default=1.0, help="how many times more often two things are trained than one")
    p.add_argument("--compile", action="store_true", help="compile the transformer blocks: a sixth faster, half a minute to start")
    p.add_argument("--milestone", type=int, default=500, help="steps between saved states")
    p.add_argument("--trajectories", type=int, default=4096, help="pictures that the distillation learns from")
    p.add_argument("--distill-steps", type=int, default=2000)
    p.add_argument("--distill-lr", type=float, default=1e-3)
    p.add_argument("--rank", type=int, default=8, help="of the distillation's LoRA")
    return p.parse_args()


def main():
    cfg = parse()
    torch.set_num_threads(cfg.threads)
    os.makedirs(cfg.work, exist_ok=True)
    if not cfg.f32:
        layers.use_fused_norm(os.path.join(cfg.work, "build"))
    amp = functools.partial(torch.autocast, "cpu", torch.bfloat16, enabled=not cfg.f32)
    sprites = data.prepare(cfg.work)
    prompts.prepare(sprites)
    if cfg.start:
        start.prepare(cfg.work, cfg.start, cfg)
    run = {
        "data": lambda: None,
        "judge": lambda: classifier.prepare(cfg.work, sprites, amp, steps=cfg.judge_steps),
        "vae": lambda: train_vae.train(cfg.work, sprites, cfg, amp),
        "bank": lambda: latents.prepare(cfg.work, sprites, cfg, amp),
        "text": lambda: train_text.train(cfg.work, sprites, cfg, amp),
        "diffusion": lambda: train_diffusion.train(cfg.work, cfg, amp),
        "sharp": lambda: sharpen.train(cfg.work, sprites, cfg, amp),
        "distill": lambda: distill.train(cfg.work, cfg, amp),
        "boxed": lambda: boxed_judge.prepare(cfg.work, sprites, amp, steps=cfg.judge_steps),
        "export": lambda: export.export(cfg.work, cfg, sprites),
    }
    for stage in cfg.only.split(",") if cfg.only else STAGES[: STAGES.index(cfg.until) + 1]:
        run[stage]()


if __name__ == "__main__":
    main()
