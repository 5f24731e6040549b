"""Makes reference.json: 50 steps of optimizers on two tensors, by PyTorch and prodigyopt.

python make.py. Made with torch 2.15 and prodigyopt 1.1.2. The weights are 0.5 * sin(1 + i);
the loss is sum(c * (w - g)^2) + 0.1 * sum(w^4) with c = 1 + i % 5 and g = cos(i), i counting the elements of
a tensor, so the gradient is 2 * c * (w - g) + 0.4 * w^3. Gradients of both tensors are clipped to the global norm 3.
Prodigy begins with the estimate 1e-3: with its usual 1e-6 the first steps are a few units in the last place of a
float32, and what they round to decides what comes after.
"""

import json
from pathlib import Path

import torch
from prodigyopt import Prodigy

torch.set_num_threads(1)
SIZES = [7, 20]


def weights():
    return [torch.nn.Parameter((0.5 * torch.sin(1 + torch.arange(n, dtype=torch.float64))).float()) for n in SIZES]


def gradients(w):
    for p in w:
        i = torch.arange(p.numel(), dtype=torch.float64)
        c, g = (1 + i % 5).float(), torch.cos(i).float()
        p.grad = (2 * c * (p.detach() - g) + 0.4 * p.detach() ** 3).contiguous()


def run(make, steps=50, factor=None):
    w = weights()
    opt, norms = make(w), []
    base = opt.param_groups[0]["lr"]
    for step in range(steps):
        gradients(w)
        norms.append(torch.nn.utils.clip_grad_norm_(w, 3.0).item())
        if factor:
            opt.param_groups[0]["lr"] = base * factor(step)
        opt.step()
    out = {"weights": [p.detach().tolist() for p in w], "norms": norms}
    if "d" in opt.param_groups[0]:
        out["distance"] = opt.param_groups[0]["d"]
    return out


def average():
    """The moving average of diffusers' and others' trainers: decay min(0.95, (1 + n) / (10 + n))."""
    w = weights()
    opt = torch.optim.AdamW(w, lr=0.01, weight_decay=0)
    shadow = [p.detach().clone() for p in w]
    for step in range(1, 51):
        gradients(w)
        opt.step()
        decay = min(0.95, (1 + step) / (10 + step))
        for s, p in zip(shadow, w):
            s.lerp_(p.detach(), 1 - decay)
    return {"weights": [s.tolist() for s in shadow]}


out = {
    "adamw": run(lambda w: torch.optim.AdamW(w, lr=0.02, weight_decay=0.1)),
    "adamw-betas": run(lambda w: torch.optim.AdamW(w, lr=0.005, betas=(0.8, 0.95), eps=1e-4, weight_decay=0), factor=lambda s: min(1, (s + 1) / 10)),
    "prodigy": run(lambda w: Prodigy(w, lr=1.0, d0=1e-3)),
    "prodigy-more": run(lambda w: Prodigy(w, lr=1.0, weight_decay=0.01, d_coef=2.0, use_bias_correction=True, safeguard_warmup=True, d0=1e-3), factor=lambda s: min(1, (s + 1) / 10)),
    "average": average(),
}
Path(__file__).with_name("reference.json").write_text(json.dumps(out) + "\n")
