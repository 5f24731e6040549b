#!/usr/bin/env python3
"""Scores pictures of prompts.txt: is the thing right (top-1 of all things), is the background right?

    python training/evaluate.py --work DIR                        samples in PyTorch, guidance 5, 20 steps
    python training/evaluate.py --work DIR --sweep                the table of the model card
    python training/evaluate.py --work DIR --images FOLDER        scores FOLDER's PNGs, in name order one a prompt
                                                                  (--against FOLDER: and how near they are to others)
"""

import argparse
import functools
import os
import types

import numpy as np
import torch
from PIL import Image

import classifier
import data
import layers
import prompts
import sample
from latents import load_vae
from train_diffusion import load_averaged


def score(net, pictures, rows, sprites):
    """Percentages (thing right, background right)."""
    index = {icon: i for i, icon in enumerate(sprites.ids)}
    things, colours = classifier.judge(net, pictures)
    thing_right = np.mean([index[icon] == t for (_, icon, _), t in zip(rows, things)])
    colour_right = np.mean([colour == c for (_, _, colour), c in zip(rows, classifier.colour_names(colours))])
    return 100 * thing_right, 100 * colour_right


def generate(denoiser, tokenizer, vae, rows, amp, **how):
    out = []
    for at in range(0, len(rows), 50):
        with amp():
            z = sample.sample(denoiser, tokenizer, [r[0] for r in rows[at : at + 50]], seed=1000 + at, **how)
            out.append(sample.pictures(vae, z))
    return torch.cat(out).numpy()


def sheet(pictures, columns=8):
    rows = [np.concatenate(list(pictures[i : i + columns]), 1) for i in range(0, len(pictures) // columns * columns, columns)]
    return Image.fromarray(np.concatenate(rows, 0))


def read_images(folder):
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(".png"))
    return np.stack([np.asarray(Image.open(os.path.join(folder, n)).convert("RGB")) for n in names])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work")
    p.add_argument("--images")
    p.add_argument("--against", help="a folder of pictures that those of --images are compared with")
    p.add_argument("--sweep", action="store_true")
    p.add_argument("--count", type=int, default=500)
    p.add_argument("--cfg-scale", type=float, default=5.0)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--merges", type=int, default=2000)
    p.add_argument("--sheet", help="write the first 64 pictures to this PNG")
    p.add_argument("--f32", action="store_true", help="no bfloat16, which processors without instructions for it compute slowly")
    args = p.parse_args()
    layers.use_fused_norm(os.path.join(args.work, "build"))
    amp = functools.partial(torch.autocast, "cpu", torch.bfloat16, enabled=not args.f32)
    sprites = data.prepare(args.work)
    net = classifier.prepare(args.work, sprites, amp)
    rows = prompts.read()[: args.count]
    if args.images:
        pictures = read_images(args.images)
        text = "thing %.1f %%, background %.1f %%" % score(net, pictures, rows[: len(pictures)], sprites)
        if args.against:
            apart = np.square(pictures - read_images(args.against).astype(np.float32)).mean((1, 2, 3))
            text += ", mean PSNR %.1f dB" % np.mean(10 * np.log10(255**2 / np.maximum(apart, 1e-9)))
        print(text)
        return
    denoiser, tokenizer = load_averaged(args.work, types.SimpleNamespace(merges=args.merges))
    vae = load_vae(args.work)
    settings = [(args.cfg_scale, args.steps)]
    if args.sweep:
        settings = [(5.0, s) for s in (4, 10, 20, 50)] + [(float(c), 20) for c in (1, 2, 3, 4, 7, 9, 12)]
    for scale, steps in settings:
        pictures = generate(denoiser, tokenizer, vae, rows, amp, cfg_scale=scale, steps=steps)
        print("guidance %4.1f, %2d steps: thing %5.1f %%, background %5.1f %%" % (scale, steps, *score(net, pictures, rows, sprites)), flush=True)
        if args.sheet:
            sheet(pictures[:64]).save(args.sheet)


if __name__ == "__main__":
    main()
