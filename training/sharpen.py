"""Trains the decoder alone for sharp pictures: the latents, and so the denoiser, stay valid. Besides the absolute and squared error, with
edges weighed, there are the distance of the judge's features (Zhang et al. 2018) and a discriminator of wavelet bands (as in Esser et al.
2021, whose balance of the two gradients it has; bands as in Gal et al. 2021)."""

import os

import torch
import torch.nn.functional as F
from torch import nn

import classifier
import progress
from scenes import Composer
from train_vae import LATENT_SCALE, NOISE, draw_batch, gradients, psnr, restored, unseen_icons
from vae import AutoencoderKL

EDGE = 0.08  # the change from pixel to pixel, of 2, from which on it is an edge
ADVERSARIAL, PERCEPTUAL = 0.5, 0.1
DETAIL = 4  # how many times larger the discriminator sees the bands of detail, which are small


def bands(x):
    """Haar's wavelet bands: [n, 3, h, w] to [n, 12, h/2, w/2]."""
    a, b, c, d = x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return torch.cat([a + b + c + d, DETAIL * (a - b + c - d), DETAIL * (a + b - c - d), DETAIL * (a - b - c + d)], 1) / 2


class Discriminator(nn.Module):
    """A score for each patch of 22x22 pixels. Without spectral norms: with them it could not tell blurred pictures from sharp ones
    in 1,000 steps (a hinge loss of 1.8 of 2)."""

    def __init__(self, width=48):
        super().__init__()
        conv = lambda a, b, stride=1: nn.Conv2d(a, b, 3, stride, 1)
        act = nn.LeakyReLU(0.2)
        self.body = nn.Sequential(conv(12, width), act, conv(width, width, 2), act, conv(width, 2 * width), act, conv(2 * width, 2 * width), act,
                                  nn.Conv2d(2 * width, 1, 1))

    def forward(self, x):
        return self.body(bands(x))


def steepness(x):
    """The largest change to a neighbour, [n, 1, h, w]."""
    across, down = gradients(x)
    return torch.maximum(F.pad(across.abs(), (0, 1)), F.pad(down.abs(), (0, 0, 0, 1))).amax(1, keepdim=True)


def acutance(y, x):
    """How steep y is at the edges of x, as a share of x."""
    edge = steepness(x) > EDGE
    return (steepness(y)[edge].mean() / steepness(x)[edge].mean()).item()


def fidelity(y, x, judge):
    edge = F.max_pool2d((steepness(x) > EDGE).float(), 3, 1, 1)
    absolute = ((1 + 2 * edge) * (y - x).abs()).mean()
    change = sum((a - b).abs().mean() for a, b in zip(gradients(y), gradients(x)))
    return absolute + 6 * F.mse_loss(y, x) + change + PERCEPTUAL * classifier.distance(judge, y, x).mean()


def balance(good, wanted, last):
    """The weight that gives the adversarial loss a fixed share of the other's gradient in the last layer."""
    norms = [torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (good, wanted)]
    return (norms[0] / (norms[1] + 1e-6)).clamp(max=10).detach()


@torch.no_grad()
def measure(vae, x, judge):
    """(PSNR in dB, acutance, distance) of decode(encode(x))."""
    y = restored(vae, x)
    return psnr(y, x), acutance(y, x), classifier.distance(judge, y, x).mean().item()


def log_measures(log, step, vae, judge, checks):
    for name, x in checks.items():
        db, edges, apart = measure(vae, x, judge)
        log(step=step, scenes=name, psnr=db, acutance=edges, distance=apart)


def train(work, sprites, cfg, amp):
    """Writes work/vae.sharp.pt unless it is there."""
    path, final = os.path.join(work, "sharp.state.pt"), os.path.join(work, "vae.sharp.pt")
    if os.path.exists(final):
        return
    torch.manual_seed(cfg.seed + 1)
    judge = classifier.prepare(work, sprites, amp).requires_grad_(False)
    vae = AutoencoderKL().to(memory_format=torch.channels_last)
    vae.load_state_dict(progress.load(os.path.join(work, "vae.pt")))
    discriminator = Discriminator().to(memory_format=torch.channels_last)
    weights = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    opt = torch.optim.AdamW(weights, lr=cfg.sharp_lr, betas=(0.5, 0.99), weight_decay=0.0, fused=True)
    opt_d = torch.optim.AdamW(discriminator.parameters(), lr=2 * cfg.sharp_lr, betas=(0.5, 0.99), weight_decay=0.0, fused=True)
    ema, log, start = progress.Ema(vae, 0.995), progress.Log(os.path.join(work, "sharp.log")), 0
    if state := progress.load(path):
        for part, key in ((vae, "model"), (opt, "opt"), (discriminator, "discriminator"), (opt_d, "opt_d")):
            part.load_state_dict(state[key])
        ema.shadow, start = state["ema"], state["step"]
    unseen = unseen_icons(sprites)
    pool = sorted(set(range(len(sprites.names), len(sprites.ids))) - set(unseen))
    check = Composer(sprites, 12345)
    checks = {"things": draw_batch(check, 64, pool, 1.0), "unseen": draw_batch(check, 64, unseen, 0.0)}
    log_measures(log, start, vae, judge, checks)
    averaged = AutoencoderKL().to(memory_format=torch.channels_last).eval()
    averaged.load_state_dict(vae.state_dict())
    composer = Composer(sprites, cfg.seed + 5000 + start)
    for step in range(start, cfg.sharp_steps):
        for optimizer, share in ((opt, 1.0), (opt_d, 2.0)):
            for group in optimizer.param_groups:
                group["lr"] = share * cfg.sharp_lr * progress.cosine(step, cfg.sharp_steps, 50)
        x = draw_batch(composer, cfg.vae_batch, pool, 0.9)
        with amp():
            with torch.no_grad():
                z, _ = vae.encode(x)
            y = vae.decode(z + NOISE / LATENT_SCALE * torch.randn_like(z)).float()
            good = fidelity(y, x, judge)
            discriminator.requires_grad_(False)
            wanted = -discriminator(y).mean()
        share = ADVERSARIAL * min(1.0, step / 100) * balance(good, wanted, vae.decoder.conv_out.weight)
        opt.zero_grad(set_to_none=True)
        (good + share * wanted).backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        opt.step()
        ema.update(step)
        discriminator.requires_grad_(True)
        with amp():
            hinge = F.relu(1 - discriminator(x)).mean() + F.relu(1 + discriminator(y.detach())).mean()
        opt_d.zero_grad(set_to_none=True)
        hinge.backward()
        opt_d.step()
        if step % 50 == 0:
            log(step=step, good=good.item(), hinge=hinge.item(), share=float(share))
        if (step + 1) % 250 == 0 or step + 1 == cfg.sharp_steps:
            progress.save(path, {"model": vae.state_dict(), "opt": opt.state_dict(), "discriminator": discriminator.state_dict(),
                                 "opt_d": opt_d.state_dict(), "ema": ema.shadow, "step": step + 1})
            ema.copy_to(averaged)
            progress.save(os.path.join(work, "vae.sharpening.pt"), averaged.state_dict())
            log_measures(log, step + 1, averaged, judge, checks)
    ema.copy_to(vae)
    progress.save(final, vae.state_dict())
