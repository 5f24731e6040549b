"""The bank: many scenes, encoded once, with a few tokenised captions each, in parts that can be added to while the denoiser trains."""

import glob
import os
from dataclasses import dataclass

import numpy as np
import torch

import progress
from scenes import KINDS, Composer
from text import LENGTH, Tokenizer, read_merges
from train_vae import LATENT_SCALE, to_tensor
from vae import AutoencoderKL

CAPTIONS = 4
PART = 1000  # scenes a file


@dataclass
class Bank:
    latents: torch.Tensor  # f16 [n, channels, 16, 16], as the UNet sees them
    tokens: torch.Tensor   # int16 [n, CAPTIONS, 77]
    things: torch.Tensor   # int16 [n, 2]: the second is -1 where there is one
    kinds: torch.Tensor    # uint8 [n], of KINDS
    grounds: torch.Tensor  # uint8 [n], of GROUNDS


def load_vae(work):
    """The sharpest decoder so far."""
    vae = AutoencoderKL().to(memory_format=torch.channels_last).eval()
    for name in ("vae.sharp.pt", "vae.sharpening.pt", "vae.pt"):
        if weights := progress.load(os.path.join(work, name)):
            vae.load_state_dict(weights)
            return vae
    raise SystemExit(f"{work} has no autoencoder yet")


@torch.no_grad()
def encoded(vae, composer, tokenizer, things, amp):
    """The arrays of one part of the bank."""
    out = {name: [] for name in ("latents", "tokens", "things", "kinds", "grounds")}
    kinds = list(KINDS)
    for at in range(0, len(things), 50):
        scenes = [composer.scene(int(t)) for t in things[at : at + 50]]
        with amp():
            mean, _ = vae.encode(to_tensor([composer.draw(s) for s in scenes]))
        out["latents"].append((mean * LATENT_SCALE).numpy().astype(np.float16))
        words = [composer.caption(s) for s in scenes for _ in range(CAPTIONS)]
        out["tokens"].append(tokenizer(words).view(len(scenes), CAPTIONS, LENGTH).numpy().astype(np.int16))
        for s in scenes:
            shown = list(dict.fromkeys(f.thing for f in s.figures))
            out["things"].append(np.array([(shown + [-1])[:2]], np.int16))
            out["kinds"].append(np.array([kinds.index(s.kind)], np.uint8))
            out["grounds"].append(np.array([s.ground], np.uint8))
    return {name: np.concatenate(parts) for name, parts in out.items()}


def prepare(work, sprites, cfg, amp):
    """work/bank/000.npz, …: cfg.bank scenes, of which things that the start does not know get twice as many."""
    folder = os.path.join(work, "bank")
    os.makedirs(folder, exist_ok=True)
    names = [os.path.join(folder, f"{n:03}.npz") for n in range(-(-cfg.bank // PART))]
    todo = [(n, name) for n, name in enumerate(names) if not os.path.exists(name)]
    if not todo:
        return
    vae, tokenizer = load_vae(work), Tokenizer(read_merges(cfg.merges))
    composer = Composer(sprites, cfg.seed + 1000 + todo[0][0])
    order = np.array([*range(len(sprites.names)), *range(cfg.known, len(sprites.names))])
    for n, name in todo:
        arrays = encoded(vae, composer, tokenizer, order[np.arange(n * PART, (n + 1) * PART) % len(order)], amp)
        print(f"bank: part {n + 1} of {len(names)}, latent std {arrays['latents'].astype(np.float32).std():.3f}", flush=True)
        np.savez(name + ".tmp.npz", **arrays)
        os.replace(name + ".tmp.npz", name)


def load(work):
    """All parts that are there."""
    parts = [np.load(name) for name in sorted(glob.glob(os.path.join(work, "bank", "[0-9][0-9][0-9].npz")))]
    return Bank(**{name: torch.from_numpy(np.concatenate([p[name] for p in parts])) for name in Bank.__dataclass_fields__})
