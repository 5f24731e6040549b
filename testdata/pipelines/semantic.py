"""Makes semantic.safetensors: latents that diffusers' SemanticStableDiffusionPipeline draws.

Run it after ../nets/make.py: python -P semantic.py. The networks are those of ../nets/sd1-diffusers,
the sampler is Euler's method at timesteps evenly from 999 to 0, which are whole ones, and the noise
that of a CPU generator with seed 42. Each case is a tensor, the latent after the last step; its
numbers are in the file's metadata, as the command line takes them.
"""

import importlib.metadata
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, SemanticStableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "nets" / "sd1-diffusers"
PROMPT, NEGATIVE, SEED, STEPS, GUIDANCE = "a red apple on a table", "blurry", 42, 10, 7.0
FIRST, SECOND, THIRD = "a green bird", "white flowers", "an old house"

# Edits: text, away, scale, threshold, warm-up, cool-down, weight; then momentum and beta.
CASES = {
    "plain": ([], 0.1, 0.4),
    "usual": ([(FIRST, False, 5, 0.9, 2, None, 1)], 0.1, 0.4),
    "away": ([(FIRST, True, 6, 0.5, 3, None, 1)], 0.5, 0.6),
    "ends": ([(FIRST, False, 5, 0.8, 0, 6, 1)], 0.3, 0.6),
    "two": ([(FIRST, False, 5, 0.9, 2, None, 1), (SECOND, True, 4, 0.7, 2, None, 0.5)], 0.2, 0.4),
    # One is over its warm-up before the other, and the first ends before the third begins.
    "apart": ([(FIRST, False, 5, 0.9, 1, 4, 2), (SECOND, True, 4, 0.7, 3, None, 0.5), (THIRD, False, 7, 0.95, 6, 9, 1)], 0.3, 0.5),
    "still": ([(FIRST, False, 5, 0.9, 2, None, 1), (SECOND, False, 5, 0.9, 5, None, 3)], 0.0, 0.4),
}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    parts = {n: k.from_pretrained(FOLDER / n, torch_dtype=torch.float32) for n, k in (
        ("unet", UNet2DConditionModel), ("vae", AutoencoderKL), ("text_encoder", CLIPTextModel))}
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", timestep_spacing="linspace")
    pipe = SemanticStableDiffusionPipeline(
        **parts, tokenizer=CLIPTokenizer.from_pretrained(FOLDER / "tokenizer"), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    out, said = {}, {}
    for name, (edits, momentum, beta) in CASES.items():
        text, away, scale, threshold, warm, cool, weight = ([list(c) for c in zip(*edits)] or [[]] * 7)
        numbers = {} if not edits else dict(
            editing_prompt=text, reverse_editing_direction=away, edit_guidance_scale=scale, edit_threshold=threshold,
            edit_warmup_steps=warm, edit_weights=weight, edit_cooldown_steps=[c or STEPS for c in cool],
            edit_momentum_scale=momentum, edit_mom_beta=beta)
        latent = pipe(PROMPT, negative_prompt=NEGATIVE, height=64, width=64, num_inference_steps=STEPS,
                      guidance_scale=GUIDANCE, latents=noise, output_type="latent", **numbers).images
        assert latent.isfinite().all(), name
        out[name] = latent
        said[name] = {"momentum": momentum, "beta": beta, "edit": ",".join(
            ("-" if a else "+") + f"{t},scale={s},threshold={q},warmup={w},weight={k}" + (f",cooldown={c}" if c else "")
            for t, a, s, q, w, c, k in edits)}
    versions = {p: importlib.metadata.version(p) for p in ("torch", "diffusers", "transformers")}
    save_file(out, HERE / "semantic.safetensors", {
        "prompt": PROMPT, "negative": NEGATIVE, "cases": json.dumps(said), "versions": json.dumps(versions)})


if __name__ == "__main__":
    main()
