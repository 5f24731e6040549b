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
import layers
import train_vae


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work", help="folder for downloads, states and logs (several GB)")
    p.add_argument("--until", default="export", choices=["data", "vae", "latents", "diffusion", "export"])
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--vae-steps", type=int, default=6000)
    p.add_argument("--vae-batch", type=int, default=8)
    p.add_argument("--vae-lr", type=float, default=1.5e-3)
    p.add_argument("--kl-weight", type=float, default=2e-4)
    return p.parse_args()


def main():
    cfg = parse()
    torch.set_num_threads(cfg.threads)
    os.makedirs(cfg.work, exist_ok=True)
    layers.use_fused_norm(os.path.join(cfg.work, "build"))
    amp = functools.partial(torch.autocast, "cpu", torch.bfloat16)
    sprites = data.prepare(cfg.work)
    if cfg.until == "data":
        return
    train_vae.train(cfg.work, sprites, cfg, amp)


if __name__ == "__main__":
    main()
