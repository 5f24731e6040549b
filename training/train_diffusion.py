"""Trains text encoder and UNet together: v-prediction (Salimans and Ho 2022) on q(x_t | x_0) of SD 1.x's schedule, weights
capped at low noise (as min-SNR of Hang et al. 2023, but not lowered at high noise, where text decides what and which colour),
dropped captions for classifier-free guidance, averaged weights."""

import os

import torch
from torch import nn

import latents
import progress
from layers import LATENT_CHANNELS
from text import EncoderLayer, TextEncoder, Tokenizer, read_merges
from unet import BasicTransformerBlock, UNet
from workers import Workers

AVERAGE_EVERY = 8  # steps between averages, of processes and over time
TEXT_LR_SHARE = 0.2  # the text encoder comes trained


def alphas_cumprod():
    """Scaled-linear betas, 1,000 steps, as every SD 1.x checkpoint."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


class Denoiser(nn.Module):
    """Text encoder and UNet as one module; v(x_t, t, token ids)."""

    def __init__(self, vocab, channels=LATENT_CHANNELS):
        super().__init__()
        self.text, self.unet, self.channels = TextEncoder(vocab), UNet(latent=channels), channels

    def forward(self, x, t, ids):
        return self.unet(x.contiguous(memory_format=torch.channels_last), t, self.text(ids))


def loss_of(model, x0, ids, abar, rng, gamma=5.0):
    t = (len(abar) * torch.rand(len(x0), generator=rng) ** 0.75).long()  # more often at high noise: there the thing is decided
    a = abar[t][:, None, None, None]
    noise = torch.randn(x0.shape, generator=rng)
    x = a.sqrt() * x0 + (1 - a).sqrt() * noise
    v = a.sqrt() * noise - (1 - a).sqrt() * x0
    error = (model(x, t, ids) - v).square().mean(dim=(1, 2, 3))
    snr1 = 1 / (1 - abar[t])  # SNR + 1: the weight of the error of x_0 that the error of v stands for
    return (snr1.clamp(max=gamma) / snr1 * error).mean()


def shares_of(bank, cfg):
    """How often each scene of the bank is picked: things that the start does not know, and scenes of several things, more often."""
    share = torch.ones(len(bank.latents))
    share[(bank.things >= cfg.known).any(dim=1)] *= cfg.new_share
    share[bank.things[:, 1] >= 0] *= cfg.pair_share
    return share


def build(cfg, channels=LATENT_CHANNELS):
    tokenizer = Tokenizer(read_merges(cfg.merges))
    return Denoiser(len(tokenizer.ids), channels).to(memory_format=torch.channels_last), tokenizer


def load_averaged(work, cfg):
    """The averaged weights of the last milestone, and the tokenizer."""
    model, tokenizer = build(cfg)
    model.load_state_dict(progress.load(os.path.join(work, "denoiser.pt")))
    return model.eval(), tokenizer


def train(work, cfg, amp):
    path, final = os.path.join(work, "denoiser.state.pt"), os.path.join(work, "denoiser.pt")
    torch.manual_seed(cfg.seed)
    model, tokenizer = build(cfg)
    model.text.load_state_dict(progress.load(os.path.join(work, "text.pt")))
    if begin := progress.load(os.path.join(work, "unet.start.pt")):
        model.unet.load_state_dict(begin)
    groups = [
        {"params": [p for p in part.parameters() if (p.ndim > 1) == big], "weight_decay": 0.01 if big else 0.0, "share": share}
        for part, share in ((model.unet, 1.0), (model.text, TEXT_LR_SHARE)) for big in (True, False)
    ]
    opt = torch.optim.AdamW(groups, lr=cfg.lr, betas=(0.9, 0.99), fused=True)
    ema, log, start = progress.Ema(model, 0.998**AVERAGE_EVERY), progress.Log(os.path.join(work, "denoiser.log")), 0
    if state := progress.load(path):
        model.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        ema.shadow, start = state["ema"], state["step"]
    if start >= cfg.steps:
        return
    if cfg.compile:
        for module in model.modules():
            if isinstance(module, (BasicTransformerBlock, EncoderLayer)):
                module.compile(dynamic=False)
    bank = latents.load(work)
    shares = shares_of(bank, cfg)
    empty, abar = tokenizer([""]), alphas_cumprod()
    workers = Workers(model)
    rng = torch.Generator().manual_seed(cfg.seed + start + 1000003 * workers.rank)
    averaged, _ = build(cfg)
    recent = []
    for step in range(start, cfg.steps):
        for group in opt.param_groups:
            group["lr"] = group["share"] * cfg.lr * progress.cosine(step, cfg.steps, 200, floor=0.01)
        pick = torch.multinomial(shares, cfg.batch, replacement=True, generator=rng)
        ids = bank.tokens[pick, torch.randint(0, latents.CAPTIONS, (cfg.batch,), generator=rng)].long()
        ids[torch.rand(cfg.batch, generator=rng) < 0.1] = empty
        opt.zero_grad(set_to_none=True)
        with amp():
            loss = loss_of(model, bank.latents[pick].float(), ids, abar, rng)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % AVERAGE_EVERY == 0 or step + 1 == cfg.steps:
            workers.average()
            ema.update(step)
        recent.append(loss.item())
        if workers.rank > 0:
            continue
        if (step + 1) % 50 == 0:
            log(step=step + 1, loss=sum(recent) / len(recent))
            recent = []
        if (step + 1) % cfg.milestone == 0 or step + 1 == cfg.steps:
            progress.save(path, {"model": model.state_dict(), "opt": opt.state_dict(), "ema": ema.shadow, "step": step + 1})
            ema.copy_to(averaged)
            progress.save(final, averaged.state_dict())
