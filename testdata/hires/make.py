"""Makes reference.safetensors: latents brought to other sizes by torch, and a picture in two passes.

Run it after ../nets/make.py and ../pipelines/make.py, in any folder: python make.py.
The first pass is the picture of ../pipelines; the second is what
StableDiffusionImg2ImgPipeline of diffusers makes of a latent, with Euler's
method: noise from the seed's first numbers at the new size, then the last steps.
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
PIPELINES = HERE.parent / "pipelines"
MODES = {"latent": ("bilinear", False), "latent-antialiased": ("bilinear", True), "latent-bicubic": ("bicubic", False),
         "latent-bicubic-antialiased": ("bicubic", True), "latent-nearest": ("nearest", False), "latent-nearest-exact": ("nearest-exact", False)}
SIZES = ((16, 20), (11, 13), (24, 10), (5, 7), (8, 10))  # from 8, 10


def pipelines():
    spec = importlib.util.spec_from_file_location("pipelines", PIPELINES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def resize(x, mode, size):
    name, antialias = MODES[mode]
    return F.interpolate(x, size=size, mode=name, antialias=antialias)


def second_pass(p, latent, steps, strength):
    """2x by "latent", then `steps` steps, the last of int(steps / strength)."""
    unet, vae, _ = p.load_sd1()
    known = load_file(PIPELINES / "pipeline.safetensors")
    context = torch.cat([known["sd1.uncond.embedding"], known["sd1.cond.embedding"]])
    x0 = resize(latent, "latent", (16, 16))
    p.STEPS = int(steps / strength)
    t, sigmas = p.schedule()
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(p.SEED))
    first = p.STEPS - steps
    x = x0 + noise * sigmas[first]
    for i in range(first, p.STEPS):
        clean = p.denoise(unet, "epsilon", x, sigmas[i], t[i], context)
        x = x + (x - clean) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
    image = (vae.decode(x / 0.18215).sample / 2 + 0.5).clamp(0, 1)
    return {"latent": x, "pixels": (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous()}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    x = torch.randn(1, 4, 8, 10, generator=torch.Generator().manual_seed(3))
    out = {"x": x}
    for mode in MODES:
        for h, w in SIZES:
            out[f"{mode}.{h}x{w}"] = resize(x, mode, (h, w))
    p = pipelines()
    latent = load_file(PIPELINES / "pipeline.safetensors")["sd1.latent.5"]
    out |= {f"pass.{k}": v for k, v in second_pass(p, latent, steps=4, strength=0.7).items()}
    save_file(out, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
