"""Makes img2img.safetensors: what the diffusers library's pipelines draw with the tiny models of this folder that begin with a picture, in float32.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors sentencepiece
HF_HUB_OFFLINE=1 python testdata/flux/img2img.py
"""

from pathlib import Path

import torch
from diffusers import FluxImg2ImgPipeline, StableDiffusion3Img2ImgPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
PROMPT, NEGATIVE, SEED, STEPS = "a red apple on a table", "blurry", 42, 4
WIDTH, HEIGHT = 48, 32

# The latents have next to no variance: that no noise is drawn for it leaves the generator to the sampler.
DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    picture = Image.fromarray(load_file(HERE / "reference.safetensors")["picture"].numpy())
    out = {}
    for name, kind, guidance in ("flux", FluxImg2ImgPipeline, dict(guidance_scale=3.5)), ("sd35", StableDiffusion3Img2ImgPipeline, dict(guidance_scale=4.5, negative_prompt=NEGATIVE)):
        pipe = kind.from_pretrained(HERE / name, torch_dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        for strength in 0.5, 0.75, 1.0:
            latent = pipe(PROMPT, image=picture, strength=strength, width=WIDTH, height=HEIGHT, num_inference_steps=STEPS, output_type="latent",
                          generator=torch.Generator().manual_seed(SEED), **guidance).images
            if name == "flux":
                latent = pipe._unpack_latents(latent, HEIGHT, WIDTH, pipe.vae_scale_factor)
            out[f"{name}.{strength}"] = latent
    save_file({k: v.clone().contiguous() for k, v in out.items()}, HERE / "img2img.safetensors")
    (HERE / "img2img.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
