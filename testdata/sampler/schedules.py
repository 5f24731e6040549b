"""Noise schedules and betas, written again from their published formulas in NumPy and SciPy.

python schedules.py schedules.json betas.json

The schedules are those that ComfyUI's comfy/samplers.py, AUTOMATIC1111's sd_schedulers.py and
stable-diffusion.cpp's denoiser define; the betas are the diffusers library's own.
"""

import json
import logging
import sys

import numpy as np
import torch
from scipy import stats

logging.disable(logging.CRITICAL)
from diffusers import DDIMScheduler, DDPMScheduler  # noqa: E402
from diffusers.schedulers import AysSchedules  # noqa: E402

alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
levels = (((1 - alphas) / alphas) ** 0.5).double().numpy()
logs = np.log(levels)
lo, hi = levels[0], levels[-1]


def at(t):
    return np.exp(np.interp(t, np.arange(1000), logs))


def simple(n):
    return [levels[-(1 + int(i * (1000 / n)))] for i in range(n)]


def sgm_uniform(n):
    return at(np.linspace(999, 0, n + 1)[:-1])


def beta(n):
    ts = np.rint(stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6) * 999)
    return [levels[int(t)] for t in ts]


def kl_optimal(n):
    i = np.arange(n) / (n - 1)
    return np.tan(i * np.arctan(lo) + (1 - i) * np.arctan(hi))


def linear_quadratic(n):
    half = n // 2
    head = [i * 0.025 / half for i in range(half)]
    diff = half - 0.025 * n
    rest = n - half
    a, b = diff / (half * rest**2), 0.025 / half - 2 * diff / rest**2
    return [hi * (1 - s) for s in head + [a * i**2 + b * i + a * half**2 for i in range(half, n)]]


def smoothstep(n):
    u = 1 - np.arange(n) / n
    return at(np.floor(u * u * (3 - 2 * u) * 999 + 0.5))


def trailing(n):
    return [levels[int(t) - 1] for t in np.round(np.arange(1000, 0, -1000 / n))][:n]


def lcm(n):
    origin = (np.arange(1, 51) * 20 - 1)[::-1]
    return [levels[origin[int(k)]] for k in np.floor(np.linspace(0, 50, n, endpoint=False))]


def ays(n):
    table = [14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092,
             0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582]
    xs = np.linspace(0, 1, len(table))
    return np.exp(np.interp(np.linspace(0, 1, n + 1), xs, np.log(table[::-1])))[::-1][:-1]


def stretched(table, n):
    """n of the table's noise levels, log-linear between them; the last one stands for 0."""
    xs = np.linspace(0, 1, len(table))
    return np.exp(np.interp(np.linspace(1, 0, n + 1), xs, np.log(table[::-1])))[:-1]


def gits(n):
    """nodes_gits.py of ComfyUI, coefficient 1.20, for 10 and for 20 steps."""
    if n == 10:
        return stretched([14.61464119, 5.85520077, 2.84484982, 1.67050016, 1.08895338, 0.74807048, 0.50118381,
                          0.32104823, 0.19894916, 0.09824532, 0.02916753], n)
    return stretched([14.61464119, 7.49001646, 4.65472794, 3.07277966, 2.19988537, 1.61558151, 1.24153244, 0.95350921,
                      0.74807048, 0.59516323, 0.50118381, 0.41087446, 0.34370604, 0.29807833, 0.25053367, 0.22545385,
                      0.19894916, 0.17026083, 0.13792117, 0.09824532, 0.02916753], n)


def ays_svd(n):
    return stretched(AysSchedules["StableDiffusionVideoSigmas"][:-1] + [0.002], n)


def bong_tangent(n):
    steps, mid_sigma = n + 2, lo + (hi - lo) / 2
    mid, slope = int(steps * 0.6), 0.2 / (steps / 40)

    def arc(count, centre, start, end):
        v = (2 / np.pi * np.arctan(-slope * (np.arange(count) - centre)) + 1) / 2
        return (v - v[-1]) / (v[0] - v[-1]) * (start - end) + end

    return np.concatenate([arc(mid, mid, hi, mid_sigma)[:-1], arc(steps - mid, 0, mid_sigma, lo)])[:n]


def shift(t, k):
    """The FLUX programs' time shift, exp(mu) = k."""
    return [k / (k + 1 / v - 1) for v in t]


def even(n):
    return 1 - np.arange(n) / n


# Fractions of the last timestep, for 4096 tokens.
def flux(n):
    slope = (1.15 - 0.5) / (4096 - 256)
    return shift(even(n), np.exp(slope * 4096 + 0.5 - slope * 256))


def flux2(n):
    m200, m10 = 0.00016927 * 4096 + 0.45666666, 8.73809524e-05 * 4096 + 1.89833333
    a = (m200 - m10) / 190
    return shift(even(n), np.exp(a * n + m200 - 200 * a))


def ltx2(n):
    s = np.array(shift(even(n), np.exp(2.05)))
    return s if n == 1 else 1 - (1 - s) / ((1 - s[-1]) / (1 - 0.1))


def qwen_image(n):
    s = np.array(shift(even(n), np.exp(0.5 + 0.4 * (4096 - 256) / (8192 - 256))))
    return s if n == 1 else 1 - (1 - s) / ((1 - s[-1]) / (1 - 0.02))


def logit_normal(n):
    y = 0.5 * np.log(4096 / 1024) + 1.75 * stats.norm.ppf(even(n))
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    return np.clip(sigmoid(y), sigmoid(-15 / 2), sigmoid(18 / 2))


def llada_image(n):
    s = np.linspace(0.001, 1, n + 1)[:-1]
    return 1 - (1 - (1 - s**1.17) ** 0.8) ** 1.1


def align_your_steps(n, name="StableDiffusionSigmas"):
    table = AysSchedules[name][:-1] + [0.029]
    return np.exp(np.interp(np.linspace(1, 0, n), np.linspace(0, 1, len(table)), np.log(table[::-1])))


def align_your_steps_sdxl(n):
    return align_your_steps(n, "StableDiffusionXLSigmas")


out = []
for n in (10, 20, 33):
    out.append({"name": "gits", "n": n, "sigmas": [float(s) for s in gits(n)] + [0.0]})
for f in [flux, flux2, qwen_image, ltx2, logit_normal, llada_image]:
    for n in (1, 4, 20, 33):
        out.append({"name": f.__name__, "n": n, "fractions": True, "sigmas": [float(s) for s in f(n)] + [0.0]})
for f in [align_your_steps, align_your_steps_sdxl, ays_svd, simple, sgm_uniform, beta, kl_optimal, linear_quadratic, smoothstep, trailing, lcm, ays, bong_tangent]:
    for n in (4, 10, 20, 33):
        out.append({"name": f.__name__, "n": n, "sigmas": [float(s) for s in f(n)] + [0.0]})
quantiles = [{"a": a, "b": b, "u": u, "x": float(stats.beta.ppf(u, a, b))}
             for a, b in [(0.6, 0.6), (0.5, 0.7), (2, 5)] for u in (0.001, 0.1, 0.5, 0.77, 0.999)]
with open(sys.argv[1], "w") as f:
    json.dump({"schedules": out, "quantiles": quantiles}, f)


def sampled(scheduler):
    return [float(a) for a in scheduler.alphas_cumprod[::111]]


with open(sys.argv[2], "w") as f:
    json.dump({
        "linear": sampled(DDPMScheduler(beta_schedule="linear")),
        "scaled_linear": sampled(DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)),
        "cosine": sampled(DDPMScheduler(beta_schedule="squaredcos_cap_v2")),
        "sigmoid": sampled(DDPMScheduler(beta_schedule="sigmoid")),
        "zero_snr": sampled(DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
                                          rescale_betas_zero_snr=True))[:9],
    }, f)
