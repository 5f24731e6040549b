"""Samplers with their own numbers: k-diffusion's s_churn between s_tmin and s_tmax and its s_noise,
and eta of the diffusers library's DDIM.

python -P options.py > options.json

Needs k-diffusion 0.1.1, diffusers 0.42 and torch; the file says the versions that made it. The model is
the exact denoiser of a mixture of two Gaussians, ±1 with deviation 0.3, for each element on its own.
Random numbers are torch.manual_seed(seed)'s: first the start, then what the sampler draws.
"""

import importlib.metadata
import importlib.util
import json
import logging
import sys
import types

import torch

logging.disable(logging.CRITICAL)
import diffusers  # noqa: E402

# k-diffusion's __init__ imports its training code and all that that needs.
package = types.ModuleType("k_diffusion")
package.__path__ = importlib.util.find_spec("k_diffusion").submodule_search_locations
sys.modules["k_diffusion"] = package
for missing in ["torchvision", "torchvision.transforms"]:
    try:
        __import__(missing)
    except ImportError:
        sys.modules[missing] = types.ModuleType(missing)
        if missing.endswith("transforms"):
            sys.modules[missing].functional = None
from k_diffusion import sampling as K  # noqa: E402

SHAPE, SEED = (1, 4, 4, 4), 3


def denoise(x, sigma):
    x, s2, c2 = x.double(), sigma**2, 0.09
    v = c2 + s2
    return ((c2 * x + s2 * torch.tanh(x / v)) / v).float()


def model(x, sigma, **kwargs):
    return denoise(x, sigma.double().view(-1, 1, 1, 1))


betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
alphas = torch.cumprod(1 - betas, 0)
levels = ((1 - alphas) / alphas) ** 0.5
runs = []


def run(name, function, n, brownian=False, **options):
    sigmas = K.get_sigmas_karras(n, float(levels[0]), float(levels[-1]))
    torch.manual_seed(SEED)
    x = torch.randn(SHAPE) * sigmas[0]
    more = {"noise_sampler": lambda a, b: torch.randn_like(x)} if brownian else {}
    out = function(model, x, sigmas, disable=True, **options, **more)
    keep(name, "karras", n, options, out)


def keep(name, schedule, n, options, x):
    runs.append({"sampler": name, "schedule": schedule, "n": n, "seed": SEED, "options": options,
                 "x": [float(f"{v:.9g}") for v in x.flatten().tolist()]})


def churned(name, function, n, **options):
    """k-diffusion draws in each step, other programs only where the noise is used: here it does, too."""
    sigmas = iter(K.get_sigmas_karras(n, float(levels[0]), float(levels[-1])))
    low, high, draw = options.get("s_tmin", 0.0), options.get("s_tmax", float("inf")), torch.randn_like
    torch.randn_like = lambda x: draw(x) if low <= next(sigmas) <= high else torch.zeros_like(x)
    run(name, function, n, **options)
    torch.randn_like = draw


for name, function in [("euler", K.sample_euler), ("heun", K.sample_heun), ("dpm2", K.sample_dpm_2)]:
    churned(name, function, 12, s_churn=4.0, s_tmin=0.3, s_tmax=6.0, s_noise=1.02)
    churned(name, function, 12, s_churn=40.0, s_tmin=1.0)
run("euler_a", K.sample_euler_ancestral, 12, eta=1.3, s_noise=1.05)
run("dpm2_a", K.sample_dpm_2_ancestral, 12, eta=0.7, s_noise=0.9)
run("dpm++2s_a", K.sample_dpmpp_2s_ancestral, 12, eta=0.7, s_noise=0.9)
run("dpm++sde", K.sample_dpmpp_sde, 12, True, eta=0.7, s_noise=0.9)
run("dpm++2m_sde", K.sample_dpmpp_2m_sde, 12, True, eta=0.7, s_noise=0.9)
run("dpm++3m_sde", K.sample_dpmpp_3m_sde, 12, True, eta=0.7, s_noise=0.9)
run("lms", K.sample_lms, 12, order=3)

for eta in (0.0, 0.6, 1.0):
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                                        set_alpha_to_one=True, steps_offset=1)
    scheduler.set_timesteps(20)
    torch.manual_seed(SEED)
    sigma = float(levels[scheduler.timesteps[0]])
    x = torch.randn(SHAPE) * sigma / (1 + sigma**2) ** 0.5
    for t in scheduler.timesteps:
        sigma = float(levels[t])
        noisy = x * (1 + sigma**2) ** 0.5
        epsilon = (noisy - denoise(noisy, sigma)) / sigma
        x = scheduler.step(epsilon, t, x, eta=eta).prev_sample
    keep("ddim", "ddim_uniform", 20, {"eta": eta}, x)

versions = {p: importlib.metadata.version(p) for p in ("torch", "diffusers", "k-diffusion")}
print(json.dumps({"versions": versions, "runs": runs}))
