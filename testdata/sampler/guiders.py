"""What the guiders of the diffusers library give in a run of five steps.

python -P guiders.py > guiders.json

Needs diffusers 0.42 and torch; the file says the versions that made it. The numbers of each step are
what a net would predict (epsilon, v, a velocity: guiders do not ask) with and without the condition,
and from a perturbed net. The cases are named by this project's guidance and its parameters.

Dynamic thresholding is the library's DDIMScheduler's, of clean samples. What the library has inside
of pipelines only, and what the web UI's extension sd-dynamic-thresholding does with its usual
settings, is written down here once more, in float64.
"""

import importlib.metadata
import json
import logging

import torch

logging.disable(logging.CRITICAL)
import diffusers  # noqa: E402
from diffusers import guiders as G  # noqa: E402

SHAPE, SIGMAS, SCALE = (2, 2, 3, 4), [10.0, 5.0, 2.5, 1.25, 0.625, 0.0], 6.5
STEPS = len(SIGMAS) - 1


def floats(t):
    return [float(f"{v:.9g}") for v in t.flatten().tolist()]


torch.manual_seed(7)
steps = []
for sigma in SIGMAS[:-1]:
    cond = torch.randn(SHAPE)
    steps.append({
        "x": torch.randn(SHAPE) * (1 + sigma**2) ** 0.5, "cond": cond,
        "uncond": 0.7 * cond + 0.6 * torch.randn(SHAPE),  # as near to one another as in models
        "perturbed": 0.8 * cond + 0.5 * torch.randn(SHAPE),
    })
cases = []


def run(guidance, parameters, guider, perturbed=False, steps_known=True, scale=SCALE):
    out = []
    for i, s in enumerate(steps):
        guider.set_state(step=i, num_inference_steps=STEPS if steps_known else None, timestep=None)
        if i == 0 and getattr(guider, "adaptive_projected_guidance_momentum", None) is not None:
            guider.momentum_buffer = G.adaptive_projected_guidance.MomentumBuffer(guider.adaptive_projected_guidance_momentum)
        answers = [s["cond"], s["uncond"]] + ([s["perturbed"]] if perturbed else [])
        out.append(floats(guider.forward(*answers).pred))
    cases.append({"guidance": guidance, "scale": scale, "parameters": parameters, "predictions": out})


CFG = G.ClassifierFreeGuidance
run("cfg", {}, CFG(guidance_scale=SCALE))
run("cfg", {}, CFG(guidance_scale=1.0), scale=1.0)
run("cfg", {"start": 0.2, "stop": 0.8}, CFG(guidance_scale=SCALE, start=0.2, stop=0.8))
run("cfg", {"start": 0.5}, CFG(guidance_scale=SCALE, start=0.5))
run("cfg_rescale", {"phi": 0.7}, CFG(guidance_scale=SCALE, guidance_rescale=0.7))
run("cfg_rescale", {"phi": 1, "stop": 0.6}, CFG(guidance_scale=SCALE, guidance_rescale=1.0, stop=0.6))


def apg(momentum, bound, eta, **interval):
    # The paper's form, cond + (scale - 1)·update, is the library's "original formulation".
    return G.AdaptiveProjectedGuidance(guidance_scale=SCALE - 1, adaptive_projected_guidance_momentum=momentum,
                                       adaptive_projected_guidance_rescale=bound, eta=eta, use_original_formulation=True, **interval)


run("apg", {"model_space": 1, "momentum": -0.5, "norm_threshold": 2.5, "parallel": 0.3}, apg(-0.5, 2.5, 0.3))
run("apg", {"model_space": 1, "momentum": 0, "norm_threshold": 0, "parallel": 0}, apg(None, 0.0, 0.0))
run("apg", {"model_space": 1, "momentum": -0.75, "norm_threshold": 15, "parallel": 1, "start": 0.2}, apg(-0.75, 15.0, 1.0, start=0.2))

ZERO = G.ClassifierFreeZeroStarGuidance
run("cfg_zero_star", {}, ZERO(guidance_scale=SCALE, zero_init_steps=0))
run("cfg_zero_star", {"zero_steps": 2, "stop": 0.8}, ZERO(guidance_scale=SCALE, zero_init_steps=2, stop=0.8))
run("cfg_zero_star", {"zero_steps": 1, "start": 0.4}, ZERO(guidance_scale=SCALE, zero_init_steps=1, start=0.4))

PAG = G.PerturbedAttentionGuidance
run("pag", {"pag_scale": 2.5}, PAG(SCALE, 2.5, perturbed_guidance_layers=[0]), True, steps_known=False)
# The library's perturbed part begins one step after the one that its start names.
run("pag", {"pag_scale": 2.5, "pag_start": 0.2, "pag_stop": 0.6},
    PAG(SCALE, 2.5, perturbed_guidance_start=0.0, perturbed_guidance_stop=0.6, perturbed_guidance_layers=[0]), True)

# Of clean samples.
for step in steps:
    step["guided"] = step["uncond"] + SCALE * (step["cond"] - step["uncond"])


def clean(guidance, parameters, f):
    cases.append({"guidance": guidance, "scale": SCALE, "parameters": parameters, "clean": [floats(f(s)) for s in steps]})


for ratio, top in [(0.9, 3.0), (0.995, 1.0), (0.8, 1e9)]:
    scheduler = diffusers.DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=ratio, sample_max_value=top)
    clean("dynamic_thresholding", {"percentile": ratio, "max_value": top}, lambda s: scheduler._threshold_sample(s["guided"]))


def mimic(s, scale, percentile, separate, phi):
    cond, uncond = s["cond"].double(), s["uncond"].double()
    low, high = (uncond + k * (cond - uncond) for k in (scale, SCALE))
    mean = high.mean(dim=(2, 3), keepdim=True)
    low, centered = low - low.mean(dim=(2, 3), keepdim=True), high - mean
    groups = (2, 3) if separate else (1, 2, 3)  # the extension's are those of one picture
    shape = [1 if d in groups else n for d, n in enumerate(low.shape)]
    flat = lambda t: t.abs().flatten(min(groups))  # noqa: E731
    reach = flat(low).max(dim=-1).values.view(shape)
    bound = torch.maximum(torch.quantile(flat(centered), percentile, dim=-1).view(shape), reach)
    limited = centered.clamp(-bound, bound) / bound * reach + mean
    return phi * limited + (1 - phi) * high


for scale, percentile, separate, phi in [(7.0, 1.0, 1, 1.0), (3.0, 0.9, 1, 1.0), (3.0, 0.9, 0, 1.0), (4.0, 0.95, 1, 0.7)]:
    clean("mimic", {"mimic_scale": scale, "percentile": percentile, "separate_channels": separate, "phi": phi},
          lambda s: mimic(s, scale, percentile, separate, phi))

# Equation 3 of InstructPix2Pix; "perturbed" stands for the answer with the picture alone.
clean("instruct_pix2pix", {"image_scale": 1.5}, lambda s: (s["uncond"].double() + 1.5 * (s["perturbed"].double() - s["uncond"])
                                                           + SCALE * (s["cond"].double() - s["perturbed"])))
# Equation 11 of Composable Diffusion with the weights 0.8 and -0.3; "perturbed" is the second prompt.
clean("composable", {}, lambda s: (s["uncond"].double() + SCALE * (0.8 * (s["cond"].double() - s["uncond"])
                                                                   - 0.3 * (s["perturbed"].double() - s["uncond"]))))



def normed(s, patch):
    """The pipeline of Qwen-Image, of tokens of a square of pixels with all channels: comb_pred * (cond_norm / noise_norm)."""
    cond, out = s["cond"].double(), (s["uncond"].double() + SCALE * (s["cond"].double() - s["uncond"].double()))
    for y in range(0, SHAPE[2], patch):
        for x in range(0, SHAPE[3], patch):
            token = (slice(None), slice(None), slice(y, y + patch), slice(x, x + patch))
            norm = lambda t: t[token].flatten(1).norm(dim=1).view(-1, 1, 1, 1)  # noqa: E731
            out[token] = out[token] * (norm(cond) / norm(out))
    return out


for patch in (2, 1, 16):
    cases.append({"guidance": "cfg_norm", "scale": SCALE, "parameters": {"patch": patch}, "predictions": [floats(normed(s, patch)) for s in steps]})

print(json.dumps({
    "versions": {p: importlib.metadata.version(p) for p in ("torch", "diffusers")}, "sigmas": SIGMAS,
    "steps": [{k: floats(s[k]) for k in ("x", "cond", "uncond", "perturbed")} for s in steps], "cases": cases,
}))
