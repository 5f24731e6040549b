"""The bank: many scenes, encoded once, with a few tokenised captions each."""

import os

import numpy as np
import torch

import progress
from scenes import Composer
from text import LENGTH, Tokenizer, read_merges
from train_vae import LATENT_SCALE, to_tensor
from vae import AutoencoderKL

CAPTIONS = 4


def load_vae(work):
    vae = AutoencoderKL().to(memory_format=torch.channels_last).eval()
    refined = progress.load(os.path.join(work, "vae.refined.pt"))
    vae.load_state_dict(refined or progress.load(os.path.join(work, "vae.pt")))
    return vae


@torch.no_grad()
def prepare(work, sprites, cfg, amp):
    """work/bank.npz: latents f16 [n, 4, 16, 16] (unit variance), tokens int16 [n, CAPTIONS, 77]."""
    path = os.path.join(work, "bank.npz")
    if os.path.exists(path):
        return
    vae, composer = load_vae(work), Composer(sprites, cfg.seed + 1000)
    tokenizer = Tokenizer(read_merges(cfg.merges))
    things = np.arange(cfg.bank) % len(sprites.names)
    latents = np.empty((cfg.bank, 4, 16, 16), np.float16)
    tokens = np.empty((cfg.bank, CAPTIONS, LENGTH), np.int16)
    for at in range(0, cfg.bank, 64):
        scenes = [composer.scene(int(t)) for t in things[at : at + 64]]
        with amp():
            mean, _ = vae.encode(to_tensor([composer.draw(s) for s in scenes]))
        latents[at : at + 64] = (mean * LATENT_SCALE).numpy()
        words = [composer.caption(s) for s in scenes for _ in range(CAPTIONS)]
        tokens[at : at + 64] = tokenizer(words).view(len(scenes), CAPTIONS, LENGTH).numpy()
        if at % 6400 == 0:
            print(f"bank: {at} of {cfg.bank} scenes, latent std {latents[at : at + 64].astype(np.float32).std():.3f}", flush=True)
    np.savez(path + ".tmp.npz", latents=latents, tokens=tokens)
    os.replace(path + ".tmp.npz", path)
