"""Euler sampling in the notation of Karras et al. 2022 with classifier-free guidance; SD's discrete schedule of noise levels."""

import torch

from train_diffusion import alphas_cumprod
from train_vae import LATENT_SCALE


def sigmas(steps):
    """`steps` timesteps evenly from 999 to 0 with their noise levels, and a last level of 0."""
    t = torch.linspace(999, 0, steps) if steps > 1 else torch.tensor([999.0])
    abar = alphas_cumprod()
    log_all = ((1 - abar) / abar).sqrt().log()
    low = t.floor().long().clamp(max=998)
    log_sigma = log_all[low] + (t - low) * (log_all[low + 1] - log_all[low])
    return t, torch.cat([log_sigma.exp(), torch.zeros(1)])


@torch.no_grad()
def sample(denoiser, tokenizer, prompts, cfg_scale=5.0, steps=20, seed=0):
    """Latents [n, 4, 16, 16] of unit variance for n prompts."""
    n = len(prompts)
    t, sigma = sigmas(steps)
    context = denoiser.text(tokenizer(list(prompts) + [""] * n))
    x = torch.randn(n, 4, 16, 16, generator=torch.Generator().manual_seed(seed)) * sigma[0]
    for i in range(steps):
        s = sigma[i]
        scaled = (x / (s**2 + 1).sqrt()).repeat(2, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        v = denoiser.unet(scaled, t[i].repeat(2 * n), context)
        denoised = x.repeat(2, 1, 1, 1) / (s**2 + 1) - v * s / (s**2 + 1).sqrt()
        cond, uncond = denoised.chunk(2)
        guided = uncond + cfg_scale * (cond - uncond)
        x = x + (x - guided) / s * (sigma[i + 1] - s)
    return x


@torch.no_grad()
def pictures(vae, latents):
    """Latents to uint8 pictures [n, 128, 128, 3]."""
    out = [vae.decode(z.contiguous(memory_format=torch.channels_last)).float() for z in (latents / LATENT_SCALE).split(32)]
    return ((torch.cat(out).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
