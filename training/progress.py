"""What both trainings need: files that are written whole or not at all, a learning-rate schedule, averaged weights, a log."""

import math
import os
import time

import torch


def save(path, state):
    own = f"{path}.{os.getpid()}.tmp"  # several processes may write the same
    torch.save(state, own)
    os.replace(own, path)


def load(path):
    return torch.load(path, map_location="cpu", weights_only=True) if os.path.exists(path) else None


def cosine(step, total, warmup, floor=0.02):
    """Learning-rate factor: linear warm-up, then a half cosine down to `floor`."""
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done))


class Ema:
    """Exponential moving average of a module's weights; the decay grows to `decay` as (1 + step) / (10 + step)."""

    def __init__(self, module, decay):
        self.decay, self.source = decay, list(module.parameters())
        self.shadow = [p.detach().clone() for p in self.source]

    @torch.no_grad()
    def update(self, step):
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.shadow, [p.detach() for p in self.source], 1 - decay)

    @torch.no_grad()
    def copy_to(self, module):
        for p, s in zip(module.parameters(), self.shadow):
            p.copy_(s)


class Log:
    """Appends lines to a file and to the terminal, with the seconds since the start."""

    def __init__(self, path):
        self.path, self.start = path, time.time()

    def __call__(self, **fields):
        line = f"{time.time() - self.start:8.0f}s " + " ".join(
            f"{k}={v:.5g}" if isinstance(v, float) else f"{k}={v}" for k, v in fields.items())
        print(line, flush=True)
        with open(self.path, "a", encoding="utf-8") as f:
            f.write(line + "\n")
