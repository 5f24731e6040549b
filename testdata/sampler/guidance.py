"""Guidance by the diffusers library's functions, and variation seeds by AUTOMATIC1111's formula.

python -P guidance.py > guidance.json
"""

import json
import logging

import torch

logging.disable(logging.CRITICAL)
from diffusers import DDIMScheduler  # noqa: E402
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance  # noqa: E402
from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale  # noqa: E402
from diffusers.guiders.guider_utils import rescale_noise_cfg  # noqa: E402

torch.manual_seed(5)
SHAPE = (2, 3, 4, 5)
x, cond, uncond = torch.randn(SHAPE), torch.randn(SHAPE), torch.randn(SHAPE) * 0.8
sigma, scale = 2.5, 6.5


def floats(t):
    return [float(v) for v in t.flatten()]


# An epsilon model: D = x - sigma·eps.
eps_c, eps_u = (x - cond) / sigma, (x - uncond) / sigma
rescaled = rescale_noise_cfg(eps_u + scale * (eps_c - eps_u), eps_c, 0.7)

# A flow: D = x - sigma·v.
alpha = cfg_zero_star_scale(eps_c.flatten(1), eps_u.flatten(1)).view(-1, 1, 1, 1)
zero_star = eps_u * alpha + scale * (eps_c - eps_u * alpha)

momentum = MomentumBuffer(-0.5)
apg = [normalized_guidance(cond, uncond, scale - 1, momentum, eta=0.2, norm_threshold=5.0,
                           use_original_formulation=True) for _ in range(2)]

scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=1.5)


def columns(val, low, high):
    """One picture, [C, H, W]: the arc of each column, by AUTOMATIC1111's definition."""
    dot = (low / low.norm(dim=1, keepdim=True) * high / high.norm(dim=1, keepdim=True)).sum(1)
    omega = torch.acos(dot)
    s = torch.sin(omega)
    return (torch.sin((1 - val) * omega) / s).unsqueeze(1) * low + (torch.sin(val * omega) / s).unsqueeze(1) * high


print(json.dumps({
    "x": floats(x), "cond": floats(cond), "uncond": floats(uncond), "sigma": sigma, "scale": scale,
    "rescale": floats(x - sigma * rescaled),
    "zero_star": floats(x - sigma * zero_star),
    "apg": [floats(a) for a in apg],
    "threshold": floats(scheduler._threshold_sample(cond * 2)),
    "columns": floats(columns(0.3, cond[0], uncond[0])),
}))
