"""Prepares the text encoder before the UNet sees it, as Stable Diffusion's was by CLIP: the output at the end tokens must say, through
one linear layer each, which things the scene shows, how and on what ground, and what its latents look like. Without this the UNet spends
thousands of steps until the words' meaning has come through the noise."""

import os

import torch
import torch.nn.functional as F
from torch import nn

import latents
import progress
from scenes import GROUNDS, KINDS
from text import TextEncoder, Tokenizer, read_merges

BATCH = 96
HEADS_LR, HEADS_FIRST = 1e-3, 150  # from a start the linear layers alone learn at first: random ones would spoil what is there


def train(work, sprites, cfg, amp):
    """Writes work/text.pt unless it is there, from work/text.start.pt where that is."""
    final, state_path = os.path.join(work, "text.pt"), os.path.join(work, "text.state.pt")
    if os.path.exists(final):
        return
    torch.manual_seed(cfg.seed + 2)
    text = TextEncoder(len(Tokenizer(read_merges(cfg.merges)).ids))
    begin = progress.load(os.path.join(work, "text.start.pt"))
    if begin:
        text.load_state_dict(begin)
    bank = latents.load(work)
    pictures = bank.latents.flatten(1)
    sizes = {"thing": len(sprites.names), "kind": len(KINDS), "ground": len(GROUNDS), "latent": pictures.shape[1]}
    heads = nn.ModuleDict({name: nn.Linear(128, size) for name, size in sizes.items()})
    weights = [*text.parameters(), *heads.parameters()]
    opt = torch.optim.AdamW([{"params": list(text.parameters())}, {"params": list(heads.parameters())}],
                            lr=cfg.text_lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    log, start = progress.Log(os.path.join(work, "text.log")), 0
    if state := progress.load(state_path):
        text.load_state_dict(state["text"])
        heads.load_state_dict(state["heads"])
        opt.load_state_dict(state["opt"])
        start = state["step"]
    rng = torch.Generator().manual_seed(cfg.seed + start)
    for step in range(start, cfg.text_steps):
        waits = begin and step < HEADS_FIRST
        for group, lr in zip(opt.param_groups, (0.0 if waits else cfg.text_lr, HEADS_LR)):
            group["lr"] = lr * progress.cosine(step, cfg.text_steps, 50)
        pick = torch.randint(0, len(pictures), (BATCH,), generator=rng)
        ids = bank.tokens[pick, torch.randint(0, latents.CAPTIONS, (BATCH,), generator=rng)].long()
        shares = torch.zeros(BATCH, sizes["thing"] + 1)  # the last one takes what is not there
        shares.scatter_add_(1, bank.things[pick].long() % (sizes["thing"] + 1), torch.ones(BATCH, 2))
        shares = F.normalize(shares[:, :-1], p=1, dim=1).repeat_interleave(2, dim=0)
        with amp():
            ends = text(ids)[:, torch.randint(34, 77, (2,), generator=rng)].flatten(0, 1).float()
            naming = F.cross_entropy(heads["thing"](ends).float(), shares)
            kind = F.cross_entropy(heads["kind"](ends).float(), bank.kinds[pick].long().repeat_interleave(2))
            ground = F.cross_entropy(heads["ground"](ends).float(), bank.grounds[pick].long().repeat_interleave(2))
            drawing = F.mse_loss(heads["latent"](ends).float(), pictures[pick].float().repeat_interleave(2, dim=0))
        loss = 0.1 * naming + 0.03 * (kind + ground) + drawing
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        opt.step()
        if step % 50 == 0:
            log(step=step, naming=naming.item(), kind=kind.item(), ground=ground.item(), drawing=drawing.item())
        if (step + 1) % 200 == 0:
            progress.save(state_path, {"text": text.state_dict(), "heads": heads.state_dict(), "opt": opt.state_dict(), "step": step + 1})
    progress.save(final, text.state_dict())
