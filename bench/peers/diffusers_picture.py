"""Draws one picture with the diffusers library for pictures.py: Stable Diffusion 1.5 of full size with
random weights, guidance, Euler; text encoder, UNet and autoencoder as its pipeline runs them.

    pip install torch diffusers transformers
    python bench/peers/diffusers_picture.py --size 256 --steps 8 --type bf16 --threads 2
"""

import argparse

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel


def parts(small=False):
    """The networks; small ones try the script."""
    widths = (32, 64) if small else (320, 640, 1280, 1280)
    n = len(widths)
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=widths,
        down_block_types=("CrossAttnDownBlock2D",) * (n - 1) + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (n - 1))
    widths = (32, 32, 32, 32) if small else (128, 256, 512, 512)
    vae = AutoencoderKL(block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, latent_channels=4)
    text = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=1 if small else 12, num_attention_heads=12, projection_dim=768))
    return unet, vae, text


def draw(unet, vae, text, size, steps, dtype):
    """One picture; the prompts' tokens are made up, for no vocabulary is needed."""
    ids = torch.randint(0, 49407, (2, 77))
    negative, positive = text(ids)[0].chunk(2)
    pipe = StableDiffusionPipeline(vae=vae, text_encoder=None, tokenizer=None, unet=unet, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
                                   scheduler=EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))
    pipe.set_progress_bar_config(disable=True)
    return pipe(prompt_embeds=positive.to(dtype), negative_prompt_embeds=negative.to(dtype), num_inference_steps=steps, guidance_scale=7, height=size, width=size).images[0]


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--type", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="small networks, to try the script")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    dtype = torch.bfloat16 if options.type == "bf16" else torch.float32
    networks = [n.to(dtype).eval() for n in parts(options.small)]
    draw(*networks, options.size, options.steps, dtype)


if __name__ == "__main__":
    main()
