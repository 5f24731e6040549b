"""The loops of the diffusers library's tests/schedulers/test_scheduler_*.py, run with the library.

python -P diffusers.py > diffusers.json

Needs diffusers 0.42. The names are the files and tests whose published numbers
sampler/diffusers_test.go repeats; each gets the sum and the mean of absolute values. The
published numbers come out to the digits they have. Cases named "float64" run the same loop with
alphas_cumprod in float64: the library's float32 loses up to four digits of 1 - alphas_cumprod.
"""

import inspect
import json
import logging
import warnings

import torch

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import diffusers as D  # noqa: E402
import diffusers.schedulers.scheduling_ddpm as ddpm_module  # noqa: E402
import diffusers.schedulers.scheduling_unclip as unclip_module  # noqa: E402

COUNT = 4 * 3 * 8 * 8
results = {}


def dummy(flipped=False):
    x = torch.arange(COUNT)
    x = x.flip(-1) if flipped else x
    return (x.reshape(3, 8, 8, 4) / COUNT).permute(3, 0, 1, 2)


def model(x, t, *args):
    t = torch.as_tensor(t)
    t = t.reshape(-1, 1, 1, 1) if t.dim() else t
    return x * t.to(x.dtype) / (t + 1)


def keep(name, x):
    results[name] = {"sum": x.abs().sum().item(), "mean": x.abs().mean().item()}


def exact(scheduler):
    """Recompute the process in float64."""
    scheduler.betas = scheduler.betas.double()
    scheduler.alphas = 1 - scheduler.betas
    scheduler.alphas_cumprod = torch.cumprod(scheduler.alphas, 0)
    scheduler.one = scheduler.one.double()
    randn = lambda shape, generator=None, **_: torch.randn(shape, generator=generator).double()  # noqa: E731
    ddpm_module.randn_tensor = unclip_module.randn_tensor = randn


def loop(scheduler, n=10, start=None, scaled=False, skips=False, double=False, **options):
    if n is not None:
        scheduler.set_timesteps(n)
    x, noise = dummy(), dummy(True)
    if double:
        exact(scheduler)
        x, noise = x.double(), noise.double()
    if scaled:
        x = x * scheduler.init_noise_sigma
    generator = torch.manual_seed(0)
    if "generator" in inspect.signature(scheduler.step).parameters:
        options["generator"] = generator
    timesteps = scheduler.timesteps
    if start is not None:
        timesteps = timesteps[start * scheduler.order:]
        x = scheduler.add_noise(x, noise, timesteps[:1])
    for i, t in enumerate(timesteps):
        if scaled:
            x = scheduler.scale_model_input(x, t)
        if skips:
            options["prev_timestep"] = timesteps[i + 1] if i + 1 < len(timesteps) else None
        x = scheduler.step(model(x, t), t, x, **options).prev_sample
    return x


linear = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
v = {"prediction_type": "v_prediction"}

c = {**linear, "clip_sample": True}
steep = {**c, "beta_start": 0.01}
keep("ddim: full_loop_no_noise", loop(D.DDIMScheduler(**c)))
keep("ddim: full_loop_with_v_prediction", loop(D.DDIMScheduler(**c, **v)))
keep("ddim: full_loop_with_set_alpha_to_one", loop(D.DDIMScheduler(**steep, set_alpha_to_one=True)))
keep("ddim: full_loop_with_no_set_alpha_to_one", loop(D.DDIMScheduler(**steep, set_alpha_to_one=False)))
keep("ddim: full_loop_with_noise", loop(D.DDIMScheduler(**c), start=8))

keep("ddpm: full_loop_no_noise", loop(D.DDPMScheduler(**c), 1000))
keep("ddpm: full_loop_with_v_prediction", loop(D.DDPMScheduler(**c, **v), 1000))
keep("ddpm: full_loop_with_noise", loop(D.DDPMScheduler(**c), 1000, start=998))
keep("not published: ddpm with fixed_large", loop(D.DDPMScheduler(**c, variance_type="fixed_large"), 1000))
unclip = {"num_train_timesteps": 1000, "variance_type": "fixed_small_log", "clip_sample": True,
          "clip_sample_range": 1.0, "prediction_type": "epsilon"}
keep("unclip: full_loop", loop(D.UnCLIPScheduler(**unclip), None))
keep("unclip: full_loop_skip_timesteps", loop(D.UnCLIPScheduler(**unclip), 25, skips=True))

k = {**linear, "num_train_timesteps": 1100}
for name, cls in [("euler", D.EulerDiscreteScheduler), ("euler_ancestral", D.EulerAncestralDiscreteScheduler),
                  ("heun", D.HeunDiscreteScheduler), ("lms", D.LMSDiscreteScheduler),
                  ("kdpm2_discrete", D.KDPM2DiscreteScheduler), ("kdpm2_ancestral", D.KDPM2AncestralDiscreteScheduler)]:
    keep(name + ": full_loop_no_noise", loop(cls(**k), scaled=True))
    keep(name + ": full_loop_with_v_prediction", loop(cls(**k, **v), scaled=True))
    if name != "lms":
        keep(name + ": full_loop_with_noise", loop(cls(**k), start=8, scaled=True))
    if name in ("euler", "heun", "lms"):
        keep(name + ": full_loop_device_karras_sigmas", loop(cls(**k, use_karras_sigmas=True), scaled=True))


def pndm(**options):
    scheduler = D.PNDMScheduler(**{**linear, **options})
    scheduler.set_timesteps(10)
    x = dummy()
    for t in scheduler.prk_timesteps:
        x = scheduler.step_prk(model(x, t), t, x).prev_sample
    for t in scheduler.plms_timesteps:
        x = scheduler.step_plms(model(x, t), t, x).prev_sample
    return x


keep("pndm: full_loop_no_noise", pndm())
keep("pndm: full_loop_with_set_alpha_to_one", pndm(beta_start=0.01, set_alpha_to_one=True))
keep("pndm: full_loop_with_no_set_alpha_to_one", pndm(beta_start=0.01, set_alpha_to_one=False))
keep("not published: pndm with skip_prk_steps", loop(D.PNDMScheduler(**linear, skip_prk_steps=True)))

m = {**linear, "solver_order": 2, "algorithm_type": "dpmsolver++", "solver_type": "midpoint",
     "lower_order_final": False, "euler_at_final": False, "final_sigmas_type": "sigma_min"}
M = D.DPMSolverMultistepScheduler
keep("dpm_multi: full_loop_no_noise", loop(M(**m)))
keep("dpm_multi: full_loop_no_noise_thres",
     loop(M(**m, thresholding=True, dynamic_thresholding_ratio=0.87, sample_max_value=0.5)))
keep("dpm_multi: full_loop_with_v_prediction", loop(M(**m, **v)))
keep("dpm_multi: full_loop_with_karras_and_v_prediction", loop(M(**m, **v, use_karras_sigmas=True)))
keep("dpm_multi: full_loop_with_noise", loop(M(**m), start=5))

keep("dpm_multi: full_loop_with_lu_and_v_prediction", loop(M(**m, **v, use_lu_lambdas=True)))
keep("not published: dpm_multi with sde-dpmsolver++",
     loop(M(**{**m, "algorithm_type": "sde-dpmsolver++"})))

# Draws noise in each step, used or not.
S = D.SASolverScheduler
keep("sasolver: full_loop_device", loop(S(**k)))
keep("sasolver: full_loop_with_v_prediction", loop(S(**k, **v)))
keep("sasolver: full_loop_device_karras_sigmas", loop(S(**k, use_karras_sigmas=True)))

for name, scheduler in [("ddim", D.DDIMParallelScheduler(**c)), ("ddpm", D.DDPMParallelScheduler(**c))]:
    x = torch.stack([dummy(), dummy() + 0.1, dummy() - 0.1]).flatten(0, 1)
    scheduler.set_timesteps(10 if name == "ddim" else 1000)
    t = torch.arange(3)[:, None].repeat(1, 4).flatten()
    keep(name + "_parallel: batch_step_no_noise", scheduler.batch_step_no_noise(model(x, t), t, x))

u = {**linear, "solver_order": 2, "solver_type": "bh2", "final_sigmas_type": "sigma_min"}
U = D.UniPCMultistepScheduler
keep("unipc: full_loop_no_noise", loop(U(**u)))
keep("unipc: full_loop_with_karras", loop(U(**u, use_karras_sigmas=True)))
keep("unipc: full_loop_with_v_prediction", loop(U(**u, **v)))
keep("unipc: full_loop_with_karras_and_v_prediction", loop(U(**u, **v, use_karras_sigmas=True)))
keep("unipc: full_loop_with_noise", loop(U(**u), start=8))
keep("not published: unipc of order 3, bh1", loop(U(**{**u, "solver_type": "bh1", "solver_order": 3})))

e = {**linear, "solver_order": 2}
keep("deis: full_loop_no_noise", loop(D.DEISMultistepScheduler(**e)))
keep("deis: full_loop_with_v_prediction", loop(D.DEISMultistepScheduler(**e, **v)))
keep("deis: full_loop_with_noise", loop(D.DEISMultistepScheduler(**e), start=8))
keep("not published: deis of order 3", loop(D.DEISMultistepScheduler(**{**e, "solver_order": 3})))

latent = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.0120, "beta_schedule": "scaled_linear"}
keep("lcm: full_loop_onestep", loop(D.LCMScheduler(**latent), 1))
keep("lcm: full_loop_multistep", loop(D.LCMScheduler(**latent), 10))
keep("tcd: full_loop_onestep_deter", loop(D.TCDScheduler(**latent), 1, eta=0.0))
keep("tcd: full_loop_multistep_deter", loop(D.TCDScheduler(**latent), 10, eta=0.0))
keep("not published: tcd with eta 0.3", loop(D.TCDScheduler(**latent), 10, eta=0.3))

I = D.DDIMInverseScheduler  # noqa: E741
keep("ddim_inverse: full_loop_no_noise", loop(I(**c)))
keep("ddim_inverse: full_loop_with_set_alpha_to_one", loop(I(**steep, set_alpha_to_one=True)))

scheduler = D.EDMEulerScheduler(num_train_timesteps=256, sigma_min=0.002, sigma_max=80.0)
scheduler.set_timesteps(10)
x = dummy() * scheduler.init_noise_sigma
for t in scheduler.timesteps:
    x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x).prev_sample
keep("edm_euler: full_loop_no_noise", x)

w = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "num_train_timesteps": 1000, "solver_order": 2,
     "algorithm_type": "dpmsolver++", "solver_type": "midpoint", "lower_order_final": False,
     "euler_at_final": False, "final_sigmas_type": "sigma_min"}
W = D.EDMDPMSolverMultistepScheduler
keep("edm_dpmsolver_multistep: full_loop_no_noise", loop(W(**w)))
keep("edm_dpmsolver_multistep: full_loop_with_noise", loop(W(**w), start=5))
keep("edm_dpmsolver_multistep: full_loop_no_noise_thres",
     loop(W(**w, thresholding=True, dynamic_thresholding_ratio=0.87, sample_max_value=0.5)))
keep("edm_dpmsolver_multistep: full_loop_with_v_prediction", loop(W(**w, **v)))

for name, options in [("onestep", {"num_inference_steps": 1}), ("multistep", {"timesteps": [106, 0]})]:
    scheduler = D.CMStochasticIterativeScheduler(num_train_timesteps=201, sigma_min=0.002, sigma_max=80.0)
    scheduler.set_timesteps(**options)
    generator = torch.manual_seed(0)
    x = dummy() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(model(scheduler.scale_model_input(x, t), t), t, x, generator=generator).prev_sample
    keep("consistency_model: full_loop_no_noise_" + name, x)

scheduler = D.ScoreSdeVeScheduler(num_train_timesteps=2000, snr=0.15, sigma_min=0.01, sigma_max=1348, sampling_eps=1e-5)
scheduler.set_sigmas(3)
scheduler.set_timesteps(3)
generator = torch.manual_seed(0)
x = dummy()
for i, t in enumerate(scheduler.timesteps):
    sigma = scheduler.sigmas[i]
    x = scheduler.step_correct(model(x, sigma), x, generator=generator).prev_sample
    x = scheduler.step_pred(model(x, sigma), t, x, generator=generator).prev_sample
keep("score_sde_ve: full_loop_no_noise", x)

keep("float64 ddpm: full_loop_with_noise", loop(D.DDPMScheduler(**c), 1000, start=998, double=True))
keep("float64 unclip: full_loop", loop(D.UnCLIPScheduler(**unclip), None, double=True))
keep("float64 unclip: full_loop_skip_timesteps", loop(D.UnCLIPScheduler(**unclip), 25, skips=True, double=True))

print(json.dumps(results, indent=0))
