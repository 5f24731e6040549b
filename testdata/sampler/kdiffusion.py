"""What the k-diffusion package's samplers and schedules give.

python kdiffusion.py > kdiffusion.json

Needs k-diffusion 0.1.1 (with torchsde, torchdiffeq, scipy) and torch. The model is the exact
denoiser of a mixture of two Gaussians, ±1 with deviation 0.3, for each element on its own.
Random numbers are torch.manual_seed(seed)'s: first the start, then what the sampler draws.
"""

import importlib.util
import json
import sys
import types

import torch

# The package's __init__ imports its training code and all that that needs.
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
from k_diffusion import external, sampling as K  # noqa: E402

SHAPE = (1, 4, 4, 4)


def model(x, sigma, **kwargs):
    x, s2, c2 = x.double(), sigma.double().view(-1, 1, 1, 1) ** 2, 0.09
    v = c2 + s2
    return ((c2 * x + s2 * torch.tanh(x / v)) / v).float()


def floats(t):
    return [float(v) for v in t.flatten()]


betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
alphas_cumprod = torch.cumprod(1 - betas, 0)
eps_model = external.DiscreteEpsDDPMDenoiser(lambda x, t: torch.tanh(x) + t.view(-1, 1, 1, 1) / 1000, alphas_cumprod, False)
v_model = external.DiscreteVDDPMDenoiser(lambda x, t: torch.tanh(x) + t.view(-1, 1, 1, 1) / 1000, alphas_cumprod, False)
lo, hi = float(eps_model.sigma_min), float(eps_model.sigma_max)

schedules = []
for n in (1, 2, 5, 20, 50):
    schedules.append({"name": "discrete", "n": n, "sigmas": floats(eps_model.get_sigmas(n))})
    for name, f in [("karras", K.get_sigmas_karras), ("exponential", K.get_sigmas_exponential),
                    ("polyexponential", K.get_sigmas_polyexponential)]:
        schedules.append({"name": name, "n": n, "sigmas": floats(f(n, lo, hi))})
schedules.append({"name": "vp", "n": 20, "sigmas": floats(K.get_sigmas_vp(20))})

levels = torch.tensor([0.01, 0.0292, 0.03, 0.1, 0.5, 1.0, 1.7, 4.0, 10.0, 14.6, 20.0])
times = torch.tensor([0.0, 0.5, 1.0, 17.25, 500.0, 998.999, 999.0])
torch.manual_seed(1)
x = torch.randn(SHAPE)
process = {
    "alphas_cumprod": floats(alphas_cumprod[::111]),
    "levels": floats(levels), "sigma_to_t": floats(eps_model.sigma_to_t(levels)),
    "times": floats(times), "t_to_sigma": floats(eps_model.t_to_sigma(times)),
    "x": floats(x), "sigma": 2.5,
    "epsilon": floats(eps_model(x, torch.tensor([2.5]))),
    "v": floats(v_model(x, torch.tensor([2.5]))),
}


def run(name, function, n, kind="karras", seed=3, brownian=False, **options):
    sigmas = {"karras": K.get_sigmas_karras(n, lo, hi), "discrete": eps_model.get_sigmas(n)}[kind]
    torch.manual_seed(seed)
    x = torch.randn(SHAPE) * sigmas[0]
    if brownian:
        options["noise_sampler"] = lambda a, b: torch.randn_like(x)
    if name.startswith("dpm_"):
        out = function(model, x, float(sigmas[-2]), float(sigmas[0]), *([n] if name == "dpm_fast" else []), disable=True, **options)
    else:
        out = function(model, x, sigmas, disable=True, **options)
    options.pop("noise_sampler", None)
    options.pop("solver_type", None)  # part of the name
    return {"sampler": name, "schedule": kind, "n": n, "seed": seed, "options": options, "x": floats(out)}


runs = []
for n in (1, 2, 7, 20):
    for kind in ("karras", "discrete"):
        runs += [
            run("euler", K.sample_euler, n, kind),
            run("euler_a", K.sample_euler_ancestral, n, kind),
            run("heun", K.sample_heun, n, kind),
            run("dpm2", K.sample_dpm_2, n, kind),
            run("dpm2_a", K.sample_dpm_2_ancestral, n, kind),
            run("lms", K.sample_lms, n, kind),
            run("dpm++2s_a", K.sample_dpmpp_2s_ancestral, n, kind),
            run("dpm++sde", K.sample_dpmpp_sde, n, kind, brownian=True),
            run("dpm++2m", K.sample_dpmpp_2m, n, kind),
        ]
        if n > 1:  # the package's own code fails with a single step
            runs += [
                run("dpm++2m_sde", K.sample_dpmpp_2m_sde, n, kind, brownian=True),
                run("dpm++3m_sde", K.sample_dpmpp_3m_sde, n, kind, brownian=True),
            ]
for n in (3, 7, 12):
    runs += [run("dpm_fast", K.sample_dpm_fast, n), run("dpm_fast", K.sample_dpm_fast, n, eta=0.6)]
runs += [
    run("dpm_adaptive", K.sample_dpm_adaptive, 10),
    run("dpm_adaptive", K.sample_dpm_adaptive, 10, rtol=0.01, atol=0.001),
    run("dpm_adaptive", K.sample_dpm_adaptive, 10, order=2),
    run("dpm_adaptive", K.sample_dpm_adaptive, 10, eta=0.5),
    run("euler", K.sample_euler, 9, s_churn=5.0, s_noise=1.01),
    run("heun", K.sample_heun, 9, s_churn=5.0, s_noise=1.01),
    run("dpm2", K.sample_dpm_2, 9, s_churn=5.0, s_noise=1.01),
    run("euler_a", K.sample_euler_ancestral, 9, eta=0.4, s_noise=0.97),
    run("euler_a", K.sample_euler_ancestral, 9, eta=0.0),
    run("lms", K.sample_lms, 9, order=2),
    run("dpm++2s_a", K.sample_dpmpp_2s_ancestral, 9, eta=0.4),
    run("dpm++sde", K.sample_dpmpp_sde, 9, brownian=True, eta=0.3),
    run("dpm++2m_sde", K.sample_dpmpp_2m_sde, 9, brownian=True, eta=0.3),
    run("dpm++2m_sde", K.sample_dpmpp_2m_sde, 9, brownian=True, eta=0.0),
    run("dpm++2m_sde_heun", K.sample_dpmpp_2m_sde, 9, brownian=True, solver_type="heun"),
    run("dpm++3m_sde", K.sample_dpmpp_3m_sde, 9, brownian=True, eta=0.3),
]

print(json.dumps({"schedules": schedules, "process": process, "runs": runs}))
