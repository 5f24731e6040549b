"""Makes reference.safetensors: small pictures whose models say in their configuration files that they were trained
in another way than Stable Diffusion, drawn by diffusers' networks and schedulers.

Run it in any folder: python make.py. README.md describes the result.
"""

import importlib.util
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EDMEulerScheduler, EulerDiscreteScheduler, UNet2DConditionModel
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

HERE = Path(__file__).resolve().parent


def load(path):
    spec = importlib.util.spec_from_file_location(path.parent.name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pipelines = load(HERE.parent / "pipelines" / "make.py")
FOLDER = HERE.parent / "nets" / "sd1-diffusers"
GUIDANCE, SEED = 2.0, 42
# Exact in float32 and in the text of a configuration file.
BETAS = [round(0.0005 + 0.00001 * i, 6) for i in range(1000)]

# name: steps, share of rescaled guidance, then what the configuration files say.
CASES = {
    "zero-snr": (4, 0.7, {"scheduler": {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"}}),
    "linear": (4, 0, {"scheduler": {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}}),
    "trained": (4, 0, {"scheduler": {"trained_betas": BETAS}}),
    "cosine": (5, 0, {"scheduler": {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "leading", "steps_offset": 0, "prediction_type": "v_prediction"}}),
    "sample": (2, 0, {"scheduler": {"beta_schedule": "linear", "num_train_timesteps": 500, "timestep_spacing": "leading", "steps_offset": 1, "prediction_type": "sample"}}),
    "karras": (5, 0, {"scheduler": {"use_karras_sigmas": True}}),
    "edm": (5, 0, {"scheduler": {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"},
                   "vae": {"scaling_factor": 0.5, "latents_mean": [-1.6574, 1.886, -1.383, 2.5155], "latents_std": [8.4927, 5.9022, 6.5498, 5.2299]}}),
    "edm-v": (5, 0, {"scheduler": {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0, "prediction_type": "v_prediction",
                                   "sigma_schedule": "exponential"}}),
    "networks": (4, 0, {"unet": {"norm_num_groups": 16, "norm_eps": 0.01}, "vae": {"norm_num_groups": 8, "shift_factor": 0.25}}),
}


def configured(kind, part, changes):
    """A network of the folder with other numbers in its configuration, and the same weights."""
    net = kind.from_pretrained(FOLDER / part, torch_dtype=torch.float32).eval()
    if not changes:
        return net
    other = kind.from_config({**net.config, **changes}).eval()
    other.load_state_dict(net.state_dict())
    return other


def scheduler(changes):
    config = json.loads((FOLDER / "scheduler" / "scheduler_config.json").read_text()) | changes
    kind = {"EDMEulerScheduler": EDMEulerScheduler}.get(config["_class_name"], EulerDiscreteScheduler)
    return kind.from_config(config)


def draw(steps, rescale, files, context):
    unet = configured(UNet2DConditionModel, "unet", files.get("unet"))
    vae = configured(AutoencoderKL, "vae", files.get("vae"))
    schedule = scheduler(files.get("scheduler", {}))
    schedule.set_timesteps(steps)
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    # k-diffusion's start; some schedulers of diffusers take sqrt(sigma²+1) instead.
    x = x * schedule.sigmas[0]
    for t in schedule.timesteps:
        scaled = schedule.scale_model_input(x, t).float()
        negative, positive = unet(scaled.repeat(2, 1, 1, 1), t.float(), context).sample.chunk(2)
        out = negative + GUIDANCE * (positive - negative)
        if rescale:
            out = rescale_noise_cfg(out, positive, rescale)
        x = schedule.step(out, t, x).prev_sample.float()
    x = x / vae.config.scaling_factor
    if vae.config.latents_mean is not None:  # as in StableDiffusionXLPipeline
        x = x * torch.tensor(vae.config.latents_std).view(1, 4, 1, 1) + torch.tensor(vae.config.latents_mean).view(1, 4, 1, 1)
    if vae.config.shift_factor is not None:  # as in StableDiffusion3Pipeline
        x = x + vae.config.shift_factor
    image = (vae.decode(x).sample / 2 + 0.5).clamp(0, 1)
    return schedule.sigmas.float(), (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    text = pipelines.load_sd1()[2]
    end = pipelines.tokenizer.eos_token_id
    context = torch.cat([pipelines.embed(text, 2, *pipelines.chunks([(words, 1.0)], end)) for words in (pipelines.NEGATIVE, pipelines.PROMPT)])
    out = {}
    for name, (steps, rescale, files) in CASES.items():
        out[f"{name}.sigmas"], out[f"{name}.pixels"] = draw(steps, rescale, files, context)
    files = {name: json.dumps({"steps": steps, **files}) for name, (steps, _, files) in CASES.items()}
    pipelines.nets.save(out, HERE / "reference.safetensors", {"prompt": pipelines.PROMPT, "negative": pipelines.NEGATIVE, **files})


if __name__ == "__main__":
    main()
