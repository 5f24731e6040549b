"""Pictures for a ControlNet of edges of the built-in model: one thing at a place, of a size, turned and mirrored as no caption says, so that
who draws it must look at the edges.

    python training/adapters/turned.py --work DIR --model base.safetensors --count 12000

base.safetensors is the built-in model in float32 (`sdgo convert --type f32 -o base.safetensors builtin/noto.gguf`). Result: DIR/turned.npz
with latents (float16, [n, channels, 16, 16], as the UNet sees them), edges (bits of [n, 128, 128]) and token ids ([n, 77]). Edges are OpenCV's Canny with
100 and 200, which `sdgo preprocess canny` computes to the bit (opencv-python-headless).
"""

import argparse
import os
import sys

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.dirname(HERE)]
import data  # noqa: E402
import scenes  # noqa: E402


def open_base(path):
    """The parts of the built-in model's file, frozen, and its tokenizer."""
    from text import TextEncoder, Tokenizer  # here, for those who only compose have another unet.py
    from unet import UNet
    from vae import AutoencoderKL

    with safe_open(path, "pt") as f:
        merges = [tuple(m.split()) for m in f.metadata()["tokenizer.ggml.merges"].split("\n")]
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    tokenizer = Tokenizer(merges)
    channels = len(tensors["first_stage_model.post_quant_conv.weight"])
    parts = {
        "model.diffusion_model.": UNet(latent=channels),
        "first_stage_model.": AutoencoderKL(z=channels),
        "cond_stage_model.transformer.text_model.": TextEncoder(len(tokenizer.ids)),
    }
    for prefix, part in parts.items():
        part.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        part.requires_grad_(False).eval().to(memory_format=torch.channels_last)
    return *parts.values(), tokenizer


def compose(pixels, colour, rng, wobble=5):
    """A thing (premultiplied RGBA) on a background, as uint8 [128, 128, 3]."""
    rgb = np.clip(scenes.PALETTE[colour] + rng.integers(-wobble, wobble + 1, 3), 0, 255)
    canvas = Image.new("RGB", (scenes.SIZE, scenes.SIZE), tuple(int(v) for v in rgb))
    sprite = Image.fromarray(pixels, "RGBa").resize((size := int(rng.integers(56, 109)),) * 2, Image.Resampling.BICUBIC).convert("RGBA")
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.rotate(float(rng.uniform(-35, 35)), Image.Resampling.BICUBIC, expand=True)
    reach = (scenes.SIZE - size) // 2 + 4
    at = [(scenes.SIZE - s) // 2 + int(rng.integers(-reach, reach + 1)) for s in sprite.size]
    canvas.paste(sprite, tuple(at), sprite)
    return np.asarray(canvas)


def edges(picture):
    return cv2.Canny(picture, 100, 200) > 0


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    from train_vae import LATENT_SCALE, to_tensor

    torch.set_num_threads(1)
    _, vae, _, tokenizer = open_base(args.model)
    sprites, rng = data.prepare(args.work), np.random.default_rng(args.seed)
    order = np.concatenate([rng.permutation(len(sprites.names)) for _ in range(args.count // len(sprites.names) + 1)])[: args.count]
    banned = [set(scenes.held_out(i)) for i in sprites.ids]
    latents, lines, tokens = [], [], []
    for at in range(0, args.count, 50):
        pictures, captions = [], []
        for thing in order[at : at + 50]:
            colour = int(rng.choice([c for c in range(len(scenes.NAMES)) if c not in banned[thing]]))
            pictures.append(compose(sprites.pixels[thing], colour, rng))
            captions.append(scenes.caption(scenes.Scene([scenes.Figure(thing, 0, 0, 0)], colour), sprites, rng))
        latents.append((vae.encode(to_tensor(pictures))[0] * LATENT_SCALE).half().numpy())
        lines.append(np.packbits(np.stack([edges(p) for p in pictures]), axis=-1))
        tokens.append(tokenizer(captions).to(torch.int16).numpy())
        if at % 1000 == 0:
            print(f"{at} of {args.count}, latent std {latents[-1].astype(np.float32).std():.3f}", flush=True)
        if at % 4000 == 0 or at + 50 >= args.count:
            path = os.path.join(args.work, "turned.npz")
            np.savez(path + ".tmp.npz", latents=np.concatenate(latents), edges=np.concatenate(lines), tokens=np.concatenate(tokens))
            os.replace(path + ".tmp.npz", path)


if __name__ == "__main__":
    main()
