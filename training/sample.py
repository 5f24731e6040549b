"""Euler sampling in the notation of Karras et al. 2022 with classifier-free guidance; SD's discrete schedule of noise levels."""

import torch

from layers import LATENT_CHANNELS
from train_diffusion import alphas_cumprod
from train_vae import LATENT_SCALE


def levels(t):
    """Noise levels of timesteps, also between two."""
    abar = alphas_cumprod()
    log_all = ((1 - abar) / abar).sqrt().log()
    low = t.floor().long().clamp(max=998)
    return (log_all[low] + (t - low) * (log_all[low + 1] - log_all[low])).exp()


def schedule(steps, spacing="discrete"):
    """`steps` timesteps evenly from 999 to 0, or without the 0 (sgm_uniform), with their noise levels, and a last level of 0."""
    t = torch.linspace(999, 0, steps + 1)[:-1] if spacing == "sgm_uniform" else torch.linspace(999, 0, steps)
    return t, torch.cat([levels(t), torch.zeros(1)])


def denoised(unet, x, sigma, t, context):
    """The prediction of the picture in x, which has noise of this level."""
    scaled = (x / (sigma**2 + 1).sqrt()).contiguous(memory_format=torch.channels_last)
    v = unet(scaled, t.expand(len(x)), context)
    return x / (sigma**2 + 1) - v * sigma / (sigma**2 + 1).sqrt()


def guided(unet, x, sigma, t, context, empty, scale):
    """The same with guidance; without it, of scale 1, at half the cost."""
    if scale == 1:
        return denoised(unet, x, sigma, t, context)
    both = denoised(unet, x.repeat(2, 1, 1, 1), sigma, t, torch.cat([context, empty.expand_as(context)]))
    wanted, other = both.chunk(2)
    return other + scale * (wanted - other)


def noise(n, seed, channels=LATENT_CHANNELS):
    return torch.randn(n, channels, 16, 16, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def sample(denoiser, tokenizer, prompts, cfg_scale=3.0, steps=20, seed=0, spacing="discrete"):
    """Latents [n, channels, 16, 16], as the UNet sees them, for n prompts."""
    t, sigma = schedule(steps, spacing)
    context, empty = denoiser.text(tokenizer(list(prompts))), denoiser.text(tokenizer([""]))
    x = noise(len(prompts), seed, denoiser.channels) * sigma[0]
    for i in range(steps):
        picture = guided(denoiser.unet, x, sigma[i], t[i], context, empty, cfg_scale)
        x = x + (x - picture) / sigma[i] * (sigma[i + 1] - sigma[i])
    return x


@torch.no_grad()
def pictures(vae, latents):
    """Latents to uint8 pictures [n, 128, 128, 3]."""
    out = [vae.decode(z.contiguous(memory_format=torch.channels_last)).float() for z in (latents / LATENT_SCALE).split(32)]
    return ((torch.cat(out).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
