"""Trains the autoencoder on whole scenes: absolute, squared and gradient error plus a small KL term."""

import os

import numpy as np
import torch
import torch.nn.functional as F

import progress
from scenes import Composer
from vae import AutoencoderKL
from workers import Workers

NOISE = 0.04  # that a decoder learns to bear, of latents of unit variance: a denoiser's are never exact
LATENT_SCALE = 0.18215  # what every program multiplies an SD 1.x latent by; recentre() makes it give unit variance
DETAIL_STD = 0.6        # of channels that are new to the start's denoiser: less than one, so that they are drawn after the others
AVERAGE_EVERY = 8       # steps between averages of processes


def to_tensor(pictures):
    x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)


def unseen_icons(sprites):
    """Every twentieth icon that is no thing: never shown to the autoencoder."""
    return list(range(len(sprites.names), len(sprites.ids), 20))


def draw_batch(composer, size, pool, thing_share):
    rng, n = composer.rng, len(composer.sprites.names)
    picks = [int(rng.integers(n)) if rng.random() < thing_share else int(rng.choice(pool)) for _ in range(size)]
    return to_tensor([composer.draw(composer.scene(i)) for i in picks])


def crops(x, size, rng, tries=3):
    """A square of each picture, the most varied of a few: most of a scene is background, of which there is nothing to learn."""
    free = (x.shape[-1] - size) // 8 + 1
    found = []
    for picture in x:
        corners = [8 * rng.integers(0, free, 2) for _ in range(tries)]
        windows = [picture[:, top : top + size, left : left + size] for top, left in corners]
        found.append(max(windows, key=lambda w: w.std(dim=(1, 2)).sum()))
    return torch.stack(found).contiguous(memory_format=torch.channels_last)


def gradients(x):
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


class Anchor:
    """The start's encoder: its latents, which a denoiser knows, stay the first channels of the trained one."""

    def __init__(self, weights, channels):
        self.channels = channels
        self.vae = AutoencoderKL().to(memory_format=torch.channels_last).requires_grad_(False)
        self.vae.load_state_dict(weights)

    def __call__(self, mean, x):
        with torch.no_grad():
            known = self.vae.encode(x)[0][:, : self.channels]
        return (mean[:, : self.channels] - known).square().mean() / known.var()


def loss_of(vae, x, kl_weight, anchor=None):
    """Without a weight of the KL term, the encoder is a trained one: its latents get a fixed noise, whatever their scale."""
    mean, logvar = vae.encode(x)
    spread = torch.exp(0.5 * logvar) if kl_weight else NOISE * mean.detach().std(dim=(0, 2, 3), keepdim=True)
    y = vae.decode(mean + torch.randn_like(mean) * spread).float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    edges = sum((a - b).abs().mean() for a, b in zip(gradients(y), gradients(x)))
    mse = F.mse_loss(y, x)
    loss = F.l1_loss(y, x) + 4 * mse + 0.5 * edges + kl_weight * kl
    if anchor:
        loss = loss + anchor(mean, x)
    return loss, mse, kl


def psnr(y, x):
    """Mean over pictures of the PSNR in dB, pixels 0..1."""
    return -10 * torch.log10(((y - x) / 2).square().mean(dim=(1, 2, 3))).mean().item()


@torch.no_grad()
def restored(vae, x):
    """decode(encode(x))"""
    return torch.cat([vae.decode(vae.encode(part)[0]).float().clamp(-1, 1) for part in x.split(16)])


def train(work, sprites, cfg, amp):
    path, final = os.path.join(work, "vae.state.pt"), os.path.join(work, "vae.pt")
    if os.path.exists(final):
        return
    torch.manual_seed(cfg.seed)
    vae = AutoencoderKL().to(memory_format=torch.channels_last)
    begin, anchor = progress.load(os.path.join(work, "vae.start.pt")), None
    if begin:
        vae.load_state_dict(begin)
        anchor = Anchor(begin, cfg.start_channels)
    opt = torch.optim.AdamW(vae.parameters(), lr=cfg.vae_lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    ema, log, start = progress.Ema(vae, 0.99), progress.Log(os.path.join(work, "vae.log")), 0
    if state := progress.load(path):
        vae.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        ema.shadow, start = state["ema"], state["step"]
    unseen = unseen_icons(sprites)
    pool = sorted(set(range(len(sprites.names), len(sprites.ids))) - set(unseen))
    check = Composer(sprites, 12345)
    known_x, unseen_x = draw_batch(check, 64, pool, 1.0), draw_batch(check, 64, unseen, 0.0)
    workers = Workers(vae)
    composer = Composer(sprites, cfg.seed + start + 1000003 * workers.rank)
    torch.manual_seed(cfg.seed + start + workers.rank)
    for step in range(start, cfg.vae_steps):
        for group in opt.param_groups:
            group["lr"] = cfg.vae_lr * progress.cosine(step, cfg.vae_steps, 200)
        x = draw_batch(composer, cfg.vae_batch, pool, 0.75)
        if cfg.vae_crop:
            x = crops(x, cfg.vae_crop, composer.rng)
        opt.zero_grad(set_to_none=True)
        with amp():
            loss, mse, kl = loss_of(vae, x, cfg.kl_weight, anchor)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        opt.step()
        if step % AVERAGE_EVERY == 0 or step + 1 == cfg.vae_steps:
            workers.average()
        ema.update(step)
        if workers.rank > 0:
            continue
        if step % 50 == 0:
            log(step=step, loss=loss.item(), mse=mse.item(), kl=kl.item())
        if (step + 1) % 250 == 0 or step + 1 == cfg.vae_steps:
            progress.save(path, {"model": vae.state_dict(), "opt": opt.state_dict(), "ema": ema.shadow, "step": step + 1})
            eval_vae = AutoencoderKL().to(memory_format=torch.channels_last)
            ema.copy_to(eval_vae)
            with amp():
                log(step=step + 1, psnr_things=psnr(restored(eval_vae, known_x), known_x), psnr_unseen=psnr(restored(eval_vae, unseen_x), unseen_x))
    if workers.rank > 0:
        return
    ema.copy_to(vae)
    recentre(vae, known_x, log, cfg.start_channels if begin else 0)
    progress.save(final, vae.state_dict())


@torch.no_grad()
def recentre(vae, x, log, known=0):
    """Recentres the latents so that LATENT_SCALE gives each channel mean 0 and variance 1; checks that pictures stay the same. The first
    `known` channels stay as the start's denoiser knows them, and the others get DETAIL_STD."""
    before = psnr(restored(vae, x), x)
    encode = lambda: torch.cat([vae.encode(part)[0] for part in x.split(16)]).transpose(0, 1).flatten(1)
    z = encode()
    mean, factor = z.mean(dim=1), (DETAIL_STD if known else 1) / (LATENT_SCALE * z.std(dim=1))
    mean[:known], factor[:known] = 0, 1
    vae.recentre(mean, factor)
    log(psnr_f32=psnr(restored(vae, x), x), psnr_before=before, channel_mean=str(z.mean(dim=1).tolist()), channel_std=str(z.std(dim=1).tolist()),
        correlation=str([round(v, 2) for v in torch.corrcoef(z).flatten().tolist()]), largest=encode().abs().max().item() * LATENT_SCALE)
