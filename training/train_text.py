"""Prepares the text encoder before the UNet sees it, as Stable Diffusion's was by CLIP: the output at the end tokens must say, through
one linear layer each, which thing the scene shows and what its latents look like. Without this the UNet spends thousands of steps
until the words' meaning has come through the noise."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import progress
from latents import CAPTIONS
from text import TextEncoder, Tokenizer, read_merges


def train(work, sprites, cfg, amp, start=None):
    """Writes work/text.pt unless it is there; `start`: weights to begin from instead of random ones."""
    final = os.path.join(work, "text.pt")
    if os.path.exists(final):
        return
    torch.manual_seed(cfg.seed + 2)
    text = TextEncoder(len(Tokenizer(read_merges(cfg.merges)).ids))
    if start:
        text.load_state_dict(start)
    bank = np.load(os.path.join(work, "bank.npz"))
    latents, tokens = torch.from_numpy(bank["latents"]).flatten(1), torch.from_numpy(bank["tokens"])
    names = torch.arange(len(latents)) % len(sprites.names)  # the bank's order
    heads = nn.ModuleDict({"thing": nn.Linear(128, len(sprites.names)), "latent": nn.Linear(128, latents.shape[1])})
    weights = [*text.parameters(), *heads.parameters()]
    opt = torch.optim.AdamW(weights, lr=cfg.text_lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    rng, log = torch.Generator().manual_seed(cfg.seed), progress.Log(os.path.join(work, "text.log"))
    for step in range(cfg.text_steps):
        for group in opt.param_groups:
            group["lr"] = cfg.text_lr * progress.cosine(step, cfg.text_steps, 50)
        pick = torch.randint(0, len(latents), (96,), generator=rng)
        ids = tokens[pick, torch.randint(0, CAPTIONS, (96,), generator=rng)].long()
        with amp():
            ends = text(ids)[:, torch.randint(26, 77, (4,), generator=rng)].flatten(0, 1).float()
            naming = F.cross_entropy(heads["thing"](ends).float(), names[pick].repeat_interleave(4))
            drawing = F.mse_loss(heads["latent"](ends).float(), latents[pick].float().repeat_interleave(4, dim=0))
        loss = 0.1 * naming + drawing
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        opt.step()
        if step % 50 == 0:
            log(step=step, naming=naming.item(), drawing=drawing.item())
    progress.save(final, text.state_dict())
