"""Samplers that no Python package carries, written a second time from ComfyUI's, the web UI's and
stable-diffusion.cpp's definitions, in float64.

python others.py > others.json

Model, start and random numbers as in kdiffusion.py; sigmas of Karras et al. between the ends of
Stable Diffusion's.
"""

import json
import math

import torch

LO, HI = 0.0291671771556139, 14.614646911621094


def karras(n, lo=LO, hi=HI):
    a, b = hi ** (1 / 7), lo ** (1 / 7)
    return [(a + (i / (n - 1) if n > 1 else 0) * (b - a)) ** 7 for i in range(n)] + [0.0]


def D(x, s):
    v = 0.09 + s * s
    return (0.09 * x + s * s * torch.tanh(x / v)) / v


def randn(x):
    return torch.randn(x.shape).double()


def ancestral(s, t, eta):
    up = min(t, eta * math.sqrt(t * t * (s * s - t * t) / (s * s)))
    return math.sqrt(t * t - up * up), up


def res_multistep(x, sigmas, eta):
    old = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = D(x, s)
        down, up = ancestral(s, t, eta)
        if down == 0 or old is None:
            x = x + (x - d) / s * (down - s)
        else:
            old_d, old_down = old
            lam = lambda q: -math.log(q)  # noqa: E731
            h = lam(down) - lam(s)
            c2 = (lam(sigmas[i - 1]) - lam(old_down)) / h
            p1 = math.expm1(-h) / -h
            p2 = (p1 - 1) / -h
            x = math.exp(-h) * x + h * ((p1 - p2 / c2) * d + p2 / c2 * old_d)
        if t > 0 and up > 0:
            x = x + randn(x) * up
        old = d, down
    return x


def res_2s(x, sigmas):
    for s, t in zip(sigmas, sigmas[1:]):
        d = D(x, s)
        if t == 0:
            x = d
            continue
        h, c = math.log(s / t), 0.5
        p1 = lambda q: math.expm1(q) / q  # noqa: E731
        p2 = (p1(-h) - 1) / -h
        x2 = x + h * c * p1(-h * c) * (d - x)
        d2 = D(x2, s * math.exp(-h * c))
        x = x + h * ((p1(-h) - p2 / c) * (d - x) + p2 / c * (d2 - x))
    return x


def gradient_estimation(x, sigmas):
    old = None
    for s, t in zip(sigmas, sigmas[1:]):
        d0 = D(x, s)
        d = (x - d0) / s
        if t == 0:
            x = d0
        else:
            x = x + d * (t - s) + (0 if old is None else (d - old) * (t - s))
        old = d
    return x


def er_sde(x, sigmas):
    f = lambda q: q * (math.exp(q**0.3) + 10)  # noqa: E731
    old, old_slope = None, None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = D(x, s)
        if t == 0:
            x = d
            continue
        r = f(t) / f(s)
        x = r * x + (1 - r) * d
        if i >= 1:
            h = (s - t) / 200
            points = [t + k * h for k in range(200)]
            total = sum(1 / f(p) for p in points) * h
            slope = (d - old) / (s - sigmas[i - 1])
            x = x + (t - s + total * f(t)) * slope
            if i >= 2:
                moment = sum((p - s) / f(p) for p in points) * h
                x = x + ((t - s) ** 2 / 2 + moment * f(t)) * (slope - old_slope) / ((s - sigmas[i - 2]) / 2)
            old_slope = slope
        x = x + randn(x) * math.sqrt(t * t - s * s * r * r)
        old = d
    return x


def heunpp2(x, sigmas):
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = (x - D(x, s)) / s
        if t == 0:
            x = x + d * (t - s)
            continue
        x2 = x + d * (t - s)
        d2 = (x2 - D(x2, t)) / t
        u = sigmas[i + 2]
        if u == 0:
            w2 = t / (2 * sigmas[0])
            x = x + (d * (1 - w2) + d2 * w2) * (t - s)
        else:
            x3 = x2 + d2 * (u - t)
            d3 = (x3 - D(x3, u)) / u
            w2, w3 = t / (3 * sigmas[0]), u / (3 * sigmas[0])
            x = x + ((1 - w2 - w3) * d + w2 * d2 + w3 * d3) * (t - s)
    return x


def restart(x, sigmas):
    n = len(sigmas) - 1
    steps, times = (n // 4, 2) if n >= 36 else (9, 1)
    if n < 20:
        times = 0
    else:
        sigmas = karras(n - steps * times, sigmas[-2], sigmas[0])
    near = lambda q: min(range(len(sigmas)), key=lambda i: abs(sigmas[i] - q))  # noqa: E731
    pairs = []
    for i in range(len(sigmas) - 1):
        pairs.append((sigmas[i], sigmas[i + 1]))
        if times and i + 1 == near(0.1):
            again = karras(steps + 1, sigmas[near(0.1)], sigmas[near(2)])[:-1]
            for _ in range(times):
                pairs += list(zip(again, again[1:]))
    last = pairs[0][0]
    for s, t in pairs:
        if last < s:
            x = x + randn(x) * math.sqrt(s * s - last * last)
        d = (x - D(x, s)) / s
        x2 = x + d * (t - s)
        x = x2 if t == 0 else x + (d + (x2 - D(x2, t)) / t) / 2 * (t - s)
        last = t
    return x


def ipndm(x, sigmas):
    table, ds = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]], []
    for s, t in zip(sigmas, sigmas[1:]):
        d0 = D(x, s)
        ds = [(x - d0) / s] + ds[:3]
        x = d0 if t == 0 else x + (t - s) * sum(w * d for w, d in zip(table[len(ds) - 1], ds))
    return x


def dpmpp_2m_v2(x, sigmas):
    old = None
    for i, (s, t) in enumerate(zip(sigmas, sigmas[1:])):
        d = D(x, s)
        if i == 0 or t == 0:
            x = t / s * x + (1 - t / s) * d
        else:
            h, last = math.log(s / t), math.log(sigmas[i - 1] / s)
            r = max(h, last) / min(h, last)
            x = t / s * x - math.expm1(-(h + last) / 2) * ((1 + 1 / (2 * r)) * d - 1 / (2 * r) * old)
        old = d
    return x


def lcm(x, sigmas):
    for s, t in zip(sigmas, sigmas[1:]):
        x = D(x, s)
        if t > 0:
            x = x + t * randn(x)
    return x


def seeds_2(x, sigmas, eta, r, heun):
    for s, t in zip(sigmas, sigmas[1:]):
        d = D(x, s)
        if t == 0:
            x = d
            continue
        h = math.log(s / t)
        he, mid = h * (1 + eta), s * math.exp(-r * h)
        x2 = mid / s * math.exp(-r * h * eta) * x - math.expm1(-r * he) * d
        if eta:
            z = math.sqrt(-math.expm1(-2 * r * h * eta)) * randn(x)
            x2 = x2 + z * mid
        d2 = D(x2, mid)
        x = t / s * math.exp(-h * eta) * x
        if heun:
            b2 = (math.expm1(-he) + he) / -he / r
            x = x - ((math.expm1(-he) - b2) * d + b2 * d2)
        else:
            x = x - math.expm1(-he) * (d + (d2 - d) / (2 * r))
        if eta:
            k = (r - 1) * h * eta
            z = z * math.exp(k)
            if r < 1:
                z = z + math.sqrt(-math.expm1(2 * k)) * randn(x)
            x = x + z * t
    return x


cases = {
    "res_multistep": lambda x, s: res_multistep(x, s, 0),
    "res_multistep_ancestral": lambda x, s: res_multistep(x, s, 1),
    "res_2s": res_2s,
    "gradient_estimation": gradient_estimation,
    "er_sde": er_sde,
    "heunpp2": heunpp2,
    "restart": restart,
    "ipndm": ipndm,
    "dpm++2mv2": dpmpp_2m_v2,
    "lcm": lcm,
    "seeds_2": lambda x, s: seeds_2(x, s, 1, 0.5, False),
    "exp_heun_2_x0": lambda x, s: seeds_2(x, s, 0, 1.0, True),
    "exp_heun_2_x0_sde": lambda x, s: seeds_2(x, s, 1, 1.0, True),
}

def run(name, f, n):
    """What a sampler makes of the start: f takes it and the sigmas."""
    sigmas = karras(n)
    torch.manual_seed(3)
    x = torch.randn(1, 4, 4, 4).double() * sigmas[0]
    return {"sampler": name, "n": n, "seed": 3, "x": [float(v) for v in f(x, sigmas).flatten()]}


if __name__ == "__main__":
    print(json.dumps({"runs": [run(name, f, n) for name, f in cases.items() for n in (2, 7, 24, 40)]}))
