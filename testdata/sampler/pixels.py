"""Numbers of samplers for models of pixels: learned variances, clipping, thresholding, spacing of
timesteps, predictor and corrector.

python pixels.py > pixels.json

Made with diffusers 0.42.1 and torch 2.15 where that library has the thing: UnCLIPScheduler's variances are
guided-diffusion's, those of respaced betas. What it has not is written here from the publications:
space_timesteps of Nichol and Dhariwal 2021, and the VE and VP samplers of Song et al. 2021 (algorithms 2 to
5; reverse diffusion, Langevin dynamics), on data that is one Gaussian for each element.
"""

import json
import math
import sys

sys.path.pop(0)  # this folder has a diffusers.py

import torch
import diffusers.schedulers.scheduling_ddpm as ddpm_module
import diffusers.schedulers.scheduling_unclip as unclip_module
from diffusers import DDIMScheduler, DDPMScheduler, UnCLIPScheduler

torch.set_num_threads(1)
N = 32


def randn(shape, generator=None, **_):
    """float32's numbers, in float64."""
    return torch.randn(shape, generator=generator).double()


ddpm_module.randn_tensor = unclip_module.randn_tensor = randn


def exact(scheduler):
    """The library's alphas_cumprod, and what follows of them in float64: at the ends of the cosine, betas of
    float32 have few digits."""
    bars = scheduler.alphas_cumprod.double()
    scheduler.alphas_cumprod = bars
    scheduler.alphas = bars / torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    scheduler.betas = 1 - scheduler.alphas
    return scheduler


def start():
    return torch.linspace(-2, 2, N, dtype=torch.float64)[None, None, None, :]


def model(x, t):
    """eps and v of a net that predicts both."""
    eps = 0.8 * x + 0.1 * torch.sin(3 * x + float(t) / 100)
    return torch.cat([eps, torch.cos(2 * x)], 1)


def learned(scheduler, count):
    g = torch.Generator().manual_seed(0)
    exact(scheduler).set_timesteps(count)
    x, ts = start(), [int(t) for t in scheduler.timesteps]
    for i, t in enumerate(ts):
        more = {}
        if isinstance(scheduler, UnCLIPScheduler):
            more["prev_timestep"] = ts[i + 1] if i + 1 < len(ts) else None
        x = scheduler.step(model(x, t), t, x, generator=g, **more).prev_sample
    return {"timesteps": ts, "x": x.flatten().tolist()}


def ddim(**config):
    s = DDIMScheduler(beta_schedule="linear", timestep_spacing="trailing", **config)
    exact(s).set_timesteps(20)
    x = start()
    for t in s.timesteps:
        x = s.step(model(x, t)[:, :1], t, x, use_clipped_model_output=True).prev_sample
    return {"timesteps": [int(t) for t in s.timesteps], "x": x.flatten().tolist()}


def space(total, text):
    if text.startswith("ddim"):
        want = int(text[4:])
        for k in range(1, total):
            if len(range(0, total, k)) == want:
                return list(range(0, total, k))
        return None
    counts = [int(c) for c in text.split(",")]
    out, begin = [], 0
    for i, count in enumerate(counts):
        size = total // len(counts) + (1 if i < total % len(counts) else 0)
        if size < count:
            return None
        stride = 1 if count <= 1 else (size - 1) / (count - 1)
        at = 0.0
        for _ in range(count):
            out.append(begin + round(at))
            at += stride
        begin += size
    return out


MEAN, SPREAD = 0.3, 0.5


def score(x, m, std):
    """of m·x0 + std·eps."""
    return -(x - m * MEAN) / (m * m * SPREAD * SPREAD + std * std)


def langevin(x, s, snr, alpha, z):
    step = (snr * z.norm() / s.norm()) ** 2 * 2 * alpha
    return x + step * s + torch.sqrt(step * 2) * z


def ve(count):
    """score_sde's VESDE between 0.01 and 50 with reverse diffusion and Langevin dynamics."""
    g = torch.Generator().manual_seed(0)
    sigmas = [0.01 * 5000 ** (i / (count - 1)) for i in range(count)]
    x = start().flatten() * 25
    for i in range(count - 1, -1, -1):
        s, before = sigmas[i], sigmas[i - 1] if i else 0
        z = randn(N, generator=g)
        x = langevin(x, score(x, 1, s), 0.16, 1, z)
        g2 = s * s - before * before
        x = x + g2 * score(x, 1, s)
        if i:
            x = x + math.sqrt(g2) * randn(N, generator=g)
    return {"sigmas": sigmas[::-1] + [0], "x": x.tolist()}


def vp(count):
    """score_sde's VPSDE, beta 0.1 to 20, in its own discretization (that of DDPM)."""
    g = torch.Generator().manual_seed(0)
    betas = torch.linspace(0.1 / count, 20 / count, count, dtype=torch.float64).tolist()
    bars, bar = [], 1.0
    for b in betas:
        bar *= 1 - b
        bars.append(bar)
    x = start().flatten()
    for i in range(count - 1, -1, -1):
        m, std, beta = math.sqrt(bars[i]), math.sqrt(1 - bars[i]), betas[i]
        z = randn(N, generator=g)
        x = langevin(x, score(x, m, std), 0.16, 1 - beta, z)
        x = (2 - math.sqrt(1 - beta)) * x + beta * score(x, m, std)
        if i:
            x = x + math.sqrt(beta) * randn(N, generator=g)
    return {"sigmas": [math.sqrt((1 - b) / b) for b in bars[::-1]] + [0], "x": x.tolist()}


linear = dict(beta_schedule="linear", beta_start=0.0001, beta_end=0.02)
json.dump(
    {
        "learned": {
            "unclip": learned(UnCLIPScheduler(variance_type="learned_range", clip_sample=False), 25),
            "unclip clipped": learned(UnCLIPScheduler(variance_type="learned_range", clip_sample=True), 25),
            "ddpm": learned(DDPMScheduler(num_train_timesteps=60, variance_type="learned_range", clip_sample=False,
                                          **linear), 60),
        },
        "ddim": {
            "clip": ddim(clip_sample=True, clip_sample_range=1.0),
            "threshold": ddim(clip_sample=False, thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1.5),
        },
        "spacing": {
            f"{total} {text}": space(total, text)
            for total in (1000, 4000)
            for text in ("250", "27", "1", "ddim25", "ddim50", "ddim33", "10,15,20", "90,60,60,20,20", "10,10,3,2,2")
        },
        "ve": ve(300),
        "vp": vp(1000),
    },
    sys.stdout,
)
print()
