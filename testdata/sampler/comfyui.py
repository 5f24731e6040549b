"""Samplers that ComfyUI alone has, or has in its own way, written a second time in float64: those of
CFG++, SEEDS-3, SA-Solver, tAB-DEIS and IPNDM_V (comfy/k_diffusion/sampling.py, sa_solver.py and deis.py).

python comfyui.py > comfyui.json

Start and sigmas as in others.py, whose mixture is the unguided model; the guided one is drawn to 1/2.
Weights that are integrals are computed by SciPy's adaptive quadrature, over other variables than the
library's.
"""

import json
import math

import numpy as np
import torch
from scipy.integrate import quad

from others import D, ancestral, karras, randn, run

SCALE = 0.8


def cond(x, s):
    """One Gaussian, at 1/2 with deviation 0.3."""
    return (0.09 * x + s * s * 0.5) / (0.09 + s * s)


def both(x, s):
    u = D(x, s)
    return u + SCALE * (cond(x, s) - u), u


def euler(x, sigmas, eta):
    for s, t in zip(sigmas, sigmas[1:]):
        d, u = both(x, s)
        down, up = ancestral(s, t, eta)
        x = d + (x - u) / s * down
        if up > 0:
            x = x + up * randn(x)
    return x


def dpmpp_2m(x, sigmas):
    old = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d, u = both(x, s)
        mix = -t / s * u
        if old is not None and t > 0:
            r = math.log(sigmas[i - 1] / s) / math.log(s / t)
            mix = mix + (1 - t / s) / (2 * r) * (d - old)
        x, old = d + mix + t / s * x, u
    return x


def dpmpp_2s_ancestral(x, sigmas):
    for s, t in zip(sigmas, sigmas[1:]):
        d, u = both(x, s)
        down, up = ancestral(s, t, 1)
        if down == 0:
            x = x - (x - u)
        else:
            mid = math.exp((math.log(s) + math.log(down)) / 2)
            _, u2 = both(mid / s * x + (1 - mid / s) * u, mid)
            x = down / s * x + (1 - down / s) * u2
        if t > 0:
            x = x + up * randn(x)
        x = x + d - u
    return x


def res_multistep(x, sigmas, eta):
    old = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d, u = both(x, s)
        down, up = ancestral(s, t, eta)
        if old is None or down == 0:
            x = d + (x - u) / s * down
        else:
            h = math.log(s / down)
            c2 = math.log(old[1] / sigmas[i - 1]) / h
            p1 = math.expm1(-h) / -h
            p2 = (p1 - 1) / -h
            x = math.exp(-h) * (x + d - u) + h * ((p1 - p2 / c2) * u + p2 / c2 * old[0])
        if up > 0:
            x = x + up * randn(x)
        old = u, down
    return x


def gradient_estimation(x, sigmas):
    old = None
    for s, t in zip(sigmas, sigmas[1:]):
        d0, u = both(x, s)
        d = (x - u) / s
        x = d0 + d * t
        if old is not None and t > 0:
            x = x + (d - old) * (t - s)
        old = d
    return x


def ud10_ab(x, sigmas):
    last = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d0, u = both(x, s)
        slope, h = (x - u) / s, t - s
        moved = slope
        if last is not None:
            before = s - sigmas[i - 1]
            moved = slope + 0.1 * h / before * (slope - last[1])
        euler_step = d0 + t * moved - x
        step = euler_step
        if last is not None:
            c = h * h / (2 * before)
            step = 0.75 * euler_step + 0.25 * ((h + c) * euler_step / h - c * last[2])
        x = x + step
        if t == 0 and last is not None:
            x = d0 - s * (d0 - last[0]) / before
        last = d0, slope, euler_step / h
    return x


def lagrange(nodes, j, at):
    p = 1.0
    for k, node in enumerate(nodes):
        if k != j:
            p *= (at - node) / (nodes[j] - node)
    return p


def deis(x, sigmas):
    """eps as a polynomial in the time of the SDE between sigma 0.002 and 80, integrated over sigma."""
    lo, hi, eps = 0.002, 80, 1e-3
    beta_d = 2 * (math.log1p(lo**2) / eps - math.log1p(hi**2)) / (eps - 1)
    beta_min = math.log1p(hi**2) - beta_d / 2
    time = lambda q: (math.sqrt(beta_min**2 + 2 * beta_d * math.log1p(q * q)) - beta_min) / beta_d  # noqa: E731
    history = []
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d0 = D(x, s)
        history = [(x - d0) / s] + history[:2]
        if t == 0:
            x = d0
            continue
        nodes = [time(q) for q in sigmas[i::-1][:len(history)]]
        for j, e in enumerate(history):
            x = x + e * quad(lambda q: lagrange(nodes, j, time(q)), s, t, epsabs=1e-13, epsrel=1e-12)[0]
    return x


def ipndm_v(x, sigmas):
    history = []
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d0 = D(x, s)
        history = [(x - d0) / s] + history[:3]
        if t == 0:
            x = d0
            continue
        h = [sigmas[k + 1] - sigmas[k] for k in range(i, max(i - 4, -1), -1)]
        w = np.zeros(4)
        w[0] = 1
        if i >= 1:
            w += [h[0] / h[1] / 2, -h[0] / h[1] / 2, 0, 0]
        if i >= 2:
            a = (1 - h[0] / (3 * (h[0] + h[1])) * (h[0] * (h[0] + h[1])) / (h[1] * (h[1] + h[2]))) / 2
            w += [a, -(1 + h[1] / h[2]) * a, a * h[1] / h[2], 0]
        if i >= 3:
            b = (1 - h[0] / (3 * (h[0] + h[1]))) / 2
            b += (1 - h[0] / (2 * (h[0] + h[1]))) * h[0] / (6 * (h[0] + h[1] + h[2]))
            b *= h[0] * (h[0] + h[1]) * (h[0] + h[1] + h[2]) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
            q = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
            w += [b, -(1 + h[1] / h[2] + q) * b, (h[1] / h[2] + q * (1 + h[2] / h[3])) * b, -b * q * h[1] / h[2]]
        x = x + (t - s) * sum(float(v) * d for v, d in zip(w, history))
    return x


alphas = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
logs = np.log(((1 - alphas) / alphas) ** 0.5)
FROM, TO = (math.exp(np.interp(999 * p, np.arange(1000), logs)) for p in (0.8, 0.2))


def sa_solver(x, sigmas, pece, tau_at=lambda t: 1.0 if TO <= t <= FROM else 0.0):
    """Equations 14 and 17 of the paper, integrated over y = exp((1 + tau²)·(lambda - lambda_end))."""
    n = len(sigmas) - 1
    lam = [-math.log(q) if q else math.inf for q in sigmas]

    def weights(nodes, a, b, tau):
        k = 1 + tau * tau
        start = math.exp(-k * (b - a))
        return [quad(lambda y: lagrange(nodes, j, b + math.log(y) / k), start, 1, epsabs=1e-13, epsrel=1e-11,
                     limit=400)[0] for j in range(len(nodes))]

    history, noise, tau, before = [], 0, 0, None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = D(x, s)
        history = [d] + history[:3]
        order = min(4, i + 1, n - i)
        if before is not None and (t > 0 or pece):
            w = weights(lam[i::-1][:order], lam[i - 1], lam[i], tau)
            r = s / sigmas[i - 1] * math.exp(-tau * tau * (lam[i] - lam[i - 1]))
            x = r * before + sum(k * m for k, m in zip(w, history)) + (noise if tau else 0)
            if pece:
                d = history[0] = D(x, s)
        if t == 0:
            return d
        tau = tau_at(t)
        w = weights(lam[i::-1][:min(3, i + 1, n - 1 - i)], lam[i], lam[i + 1], tau)
        h = lam[i + 1] - lam[i]
        before = x
        x = t / s * math.exp(-tau * tau * h) * x + sum(k * m for k, m in zip(w, history))
        if tau:
            noise = t * math.sqrt(-math.expm1(-2 * tau * tau * h)) * randn(x)
            x = x + noise
    return x


def seeds_3(x, sigmas):
    """Three stages of a step, with eta 1; phi_k are the functions of exponential integrators."""
    r1, r2 = 1 / 3, 2 / 3
    phi1 = lambda h: math.expm1(h) / h  # noqa: E731
    phi2 = lambda h: (phi1(h) - 1) / h  # noqa: E731
    for s, t in zip(sigmas, sigmas[1:]):
        d1 = D(x, s)
        if t == 0:
            x = d1
            continue
        h = math.log(s / t)
        at = [s * math.exp(-r * h) for r in (0, r1, r2)] + [t]
        path = 0
        ends = []  # the noise at the end of each stage: it fades by e^(-eta h) on the way and gets some more
        for a, b in zip(at, at[1:]):
            g = math.log(a / b)
            path = math.exp(-g) * path + math.sqrt(-math.expm1(-2 * g)) * randn(x)
            ends.append(path * b)
        x2 = math.exp(-2 * r1 * h) * x + 2 * r1 * h * phi1(-2 * r1 * h) * d1 + ends[0]
        d2 = D(x2, at[1])
        a32 = r2 / r1 * 2 * r2 * h * phi2(-2 * r2 * h)
        x3 = math.exp(-2 * r2 * h) * x + (2 * r2 * h * phi1(-2 * r2 * h) - a32) * d1 + a32 * d2 + ends[1]
        d3 = D(x3, at[2])
        b3 = 2 * h * phi2(-2 * h) / r2
        x = math.exp(-2 * h) * x + (2 * h * phi1(-2 * h) - b3) * d1 + b3 * d3 + ends[2]
    return x


guided = {
    "euler_cfg_pp": lambda x, s: euler(x, s, 0),
    "euler_ancestral_cfg_pp": lambda x, s: euler(x, s, 1),
    "dpmpp_2m_cfg_pp": dpmpp_2m,
    "dpmpp_2s_ancestral_cfg_pp": dpmpp_2s_ancestral,
    "res_multistep_cfg_pp": lambda x, s: res_multistep(x, s, 0),
    "res_multistep_ancestral_cfg_pp": lambda x, s: res_multistep(x, s, 1),
    "gradient_estimation_cfg_pp": gradient_estimation,
    "cfgpp_ud10_ab": ud10_ab,
}
plain = {
    "deis": deis,
    "ipndm_v": ipndm_v,
    "seeds_3": seeds_3,
    "sa_solver": lambda x, s: sa_solver(x, s, False),
    "sa_solver_pece": lambda x, s: sa_solver(x, s, True),
}
if __name__ == "__main__":
    runs = [run(name, f, n) for name, f in {**guided, **plain}.items() for n in (2, 7, 24)]
    for r in runs:
        r["scale"] = SCALE if r["sampler"] in guided else 0
    print(json.dumps({"runs": runs}))
