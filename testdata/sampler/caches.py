"""What step caches leave out of runs on data that is known in closed form, and where they end.

python -P caches.py > caches.json

Needs diffusers 0.42 and torch; the file says the versions that made it. The data is a mixture of two
Gaussians, each number on its own: the net of the conditional prediction knows it, that of the
unconditional one knows a single Gaussian. Euler's method with classifier-free guidance, in float64.

easy: Zhou et al. 2025 (arXiv:2507.02860), as its authors' code for Wan has it: previous inputs and outputs
of the conditional ("even") calls decide, and both calls reuse their own difference of output and input.
taylor: Liu et al. 2025 (arXiv:2503.06923); the arithmetic is diffusers.hooks' TaylorSeerState, and the
order of full and predicted steps that of the authors' code (first_enhance, then every N-th).
"""

import importlib.metadata
import json
import logging

import numpy as np
import torch

logging.disable(logging.CRITICAL)
from diffusers.hooks.taylorseer_cache import TaylorSeerState  # noqa: E402

SCALE, N, COUNT = 3.0, 20, 24
LOW, HIGH, SPREAD, SHARE = 0.5, 1.5, 0.35, 0.6


def clean(x, alpha, sigma):
    """The mean of the mixture, given x = alpha·x0 + sigma·eps."""
    v = alpha**2 * SPREAD**2 + sigma**2
    odds = np.log(SHARE / (1 - SHARE)) + alpha * (HIGH - LOW) / v * (x - alpha * (HIGH + LOW) / 2)
    mean = LOW + (HIGH - LOW) / (1 + np.exp(-odds))
    return mean + alpha * SPREAD**2 / v * (x - alpha * mean)


def plain(x, alpha, sigma):
    """The same of a Gaussian around 1 with deviation 0.6."""
    v = alpha**2 * 0.36 + sigma**2
    return 1 + alpha * 0.36 / v * (x - alpha)


class Epsilon:
    """x = x0 + sigma·eps, the net sees x/sqrt(1 + sigma²) and predicts eps."""

    name = "epsilon"
    sigmas = np.append(np.geomspace(14, 0.05, N), 0)

    def scaled(self, x, sigma):
        return x / np.sqrt(1 + sigma**2)

    def net(self, seen, sigma, of):
        x = seen * np.sqrt(1 + sigma**2)
        return (x - of(x, 1.0, sigma)) / sigma

    def clean(self, x, out, sigma):
        return x - sigma * out


class Flow:
    """x = (1 - sigma)·x0 + sigma·eps, the net sees x and predicts eps - x0."""

    name = "flow"
    sigmas = np.linspace(1, 0, N + 1)

    def scaled(self, x, sigma):
        return x

    def net(self, x, sigma, of):
        x0 = of(x, 1 - sigma, sigma)
        return (x - (1 - sigma) * x0) / sigma - x0

    def clean(self, x, out, sigma):
        return x - sigma * out


class EasyCache:
    def __init__(self, threshold, first, last):
        self.thresh, self.first, self.last = threshold, first, last  # steps that are always made
        self.accumulated, self.k = 0.0, None
        self.previous_raw_input = self.previous_raw_output = self.input_of_output = None
        self.cache = {}
        self.margin = np.inf

    def step(self, i, seen, nets):
        if i < self.first or i >= self.last:
            calc, self.accumulated = True, 0.0
        elif self.k is None:
            calc = True
        else:
            change = np.abs(seen - self.previous_raw_input).mean()
            self.accumulated += self.k * change / np.abs(self.previous_raw_output).mean()
            self.margin = min(self.margin, abs(self.accumulated - self.thresh))
            calc = not self.accumulated < self.thresh
            if calc:
                self.accumulated = 0.0
        self.previous_raw_input = seen.copy()
        if not calc:
            return calc, [seen + self.cache[j] for j in range(len(nets))]
        out = [net() for net in nets]
        if self.previous_raw_output is not None:
            self.k = np.abs(out[0] - self.previous_raw_output).mean() / np.abs(seen - self.input_of_output).mean()
        self.previous_raw_output, self.input_of_output = out[0].copy(), seen.copy()
        self.cache = {j: o - seen for j, o in enumerate(out)}
        return calc, out


class TaylorSeer:
    margin = np.inf

    def __init__(self, every, order, first, last):
        self.every, self.first, self.last = every, first, last
        self.states = [TaylorSeerState(torch.float64, order) for _ in range(2)]
        self.counter = 0

    def step(self, i, seen, nets):
        for s in self.states:
            s.current_step = i
        calc = i < self.first or i >= self.last or self.counter == self.every - 1
        if not calc:
            self.counter += 1
            return calc, [s.predict()[0].numpy() for s in self.states]
        self.counter = 0
        out = [net() for net in nets]
        for s, o in zip(self.states, out):
            s.update((torch.from_numpy(o),))
        return calc, out


def run(model, cache, start):
    x, made = start.copy(), []
    for i, (sigma, after) in enumerate(zip(model.sigmas[:-1], model.sigmas[1:])):
        seen = model.scaled(x, sigma)
        calc, out = cache.step(i, seen, [lambda of=of: model.net(seen, sigma, of) for of in (clean, plain)])
        made.append(bool(calc))
        cond, uncond = (model.clean(x, o, sigma) for o in out)
        denoised = uncond + SCALE * (cond - uncond)
        x = x + (x - denoised) / sigma * (after - sigma)
    assert cache.margin > 1e-4, "a decision that rounding may turn"
    return made, x


floats = lambda a: [float(f"{v:.12g}") for v in a]  # noqa: E731
noise = np.random.default_rng(5).standard_normal(COUNT).astype(np.float32).astype(np.float64)
cases = []
for model in (Epsilon(), Flow()):
    start = (noise * model.sigmas[0]).astype(np.float32).astype(np.float64)
    for threshold, first, last in [(0.02, 3, N - 1), (0.05, 3, N - 1), (0.2, 1, 15), (0.0, 3, N - 1)]:
        made, x = run(model, EasyCache(threshold, first, last), start)
        cases.append({"model": model.name, "sigmas": floats(model.sigmas), "begin": floats(start), "cache": "easy",
                      "parameters": {"threshold": threshold, "start": first / N, "stop": (last + (last == N - 1)) / N}, "made": made, "end": floats(x)})
    for every, order, first, last in [(2, 1, 3, N - 1), (3, 2, 3, N - 1), (4, 0, 1, 15), (3, 1, 2, N - 1), (1, 1, 3, N - 1)]:
        made, x = run(model, TaylorSeer(every, order, first, last), start)
        cases.append({"model": model.name, "sigmas": floats(model.sigmas), "begin": floats(start), "cache": "taylor",
                      "parameters": {"every": every, "order": order, "start": first / N, "stop": (last + (last == N - 1)) / N}, "made": made, "end": floats(x)})
print(json.dumps({"versions": {p: importlib.metadata.version(p) for p in ("torch", "diffusers", "numpy")}, "scale": SCALE, "cases": cases}))
