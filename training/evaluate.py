#!/usr/bin/env python3
"""Scores pictures of the lists of prompts (prompts.py): are the things right, the count, the background?

    python training/evaluate.py --work DIR                        samples in PyTorch, guidance 3, 20 steps
    python training/evaluate.py --work DIR --four                 the distilled model, 4 steps
    python training/evaluate.py --work DIR --of FILE.gguf         another checkpoint, such as builtin/noto.gguf
    python training/evaluate.py --work DIR --images FOLDER        scores FOLDER's PNGs, in name order one a prompt of the one list named
                                                                  (--against FOLDER: and how near they are to others)
    python training/evaluate.py --work DIR --decoder              the autoencoder's scores alone

A prompt of two things is right if both are among the judge's first two, one of a count if thing and count are.
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
import distill
import layers
import prompts
import sample
import sharpen
import start
from latents import load_vae
from scenes import GROUNDS, Composer
from train_diffusion import build, load_averaged
from train_vae import draw_batch, unseen_icons
from vae import AutoencoderKL


def targets(rows, sprites):
    """Shares of things, counts less one and grounds, as classifier.rights takes them."""
    index = {icon: i for i, icon in enumerate(sprites.ids)}
    shares = torch.zeros(len(rows), len(sprites.names))
    for row, (_, icons, _, _) in zip(shares, rows):
        for icon in icons:
            row[index[icon]] = 1 / len(icons)
    return shares, torch.tensor([r[3] - 1 for r in rows]), torch.tensor([GROUNDS.index(r[2]) for r in rows])


def score(net, pictures, rows, sprites):
    """Percentages: every thing right, that and the count, the background."""
    things, count, ground = classifier.rights(classifier.judge(net, pictures), *targets(rows, sprites))
    return [100 * part.float().mean().item() for part in (things, things & count, ground)]


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


def of_sheet():
    """64 prompts of all lists: the first of each."""
    counts = {"one": 24, "two": 8, "three": 8, "pair": 12, "stack": 4, "place": 8}
    return [row for name, count in counts.items() for row in prompts.read(name)[:count]]


def read_images(folder):
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(".png"))
    return np.stack([np.asarray(Image.open(os.path.join(folder, n)).convert("RGB")) for n in names])


def judge_alone(net, sprites, size=500):
    """What the judge makes of true scenes that it never saw: the most that a model can reach."""
    composer, right = Composer(sprites, 4242), []
    for _ in range(size // 50):
        x, *wanted = classifier.batch_of(composer, 50)
        with torch.no_grad():
            right.append([r.float().mean().item() for r in classifier.rights(net(x), *wanted)])
    return 100 * np.mean(right, 0)


def decoder(vae, net, sprites):
    composer = Composer(sprites, 12345)
    for name, icons, share in (("things", [0], 1.0), ("icons never seen", unseen_icons(sprites), 0.0)):
        x = draw_batch(composer, 64, icons, share)
        print("autoencoder, %s: PSNR %.2f dB, acutance %.3f, distance %.4f" % (name, *sharpen.measure(vae, x, net)), flush=True)


def models(args):
    """(denoiser, tokenizer, autoencoder) that are to be scored."""
    cfg = types.SimpleNamespace(merges=args.merges, rank=args.rank)
    if args.of:
        parts = start.read(args.of)
        channels = start.latent_channels(parts["vae"])
        (denoiser, tokenizer), vae = build(cfg, channels), AutoencoderKL(z=channels).to(memory_format=torch.channels_last)
        for part, module in (("unet", denoiser.unet), ("text", denoiser.text), ("vae", vae)):
            start.fill(module, parts[part])
        return denoiser.eval(), tokenizer, vae.eval()
    if args.four:
        return *distill.student(args.work, cfg)[:2], load_vae(args.work)
    return *load_averaged(args.work, cfg), load_vae(args.work)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work")
    p.add_argument("--lists", default=",".join([*prompts.COUNTS, "first"]), help="which lists, with commas between")
    p.add_argument("--count", type=int, default=500, help="prompts of each list at most")
    p.add_argument("--of", help="score this checkpoint (GGUF)")
    p.add_argument("--four", action="store_true", help="score the distilled model: 4 steps without guidance")
    p.add_argument("--images")
    p.add_argument("--against", help="a folder of pictures that those of --images are compared with")
    p.add_argument("--decoder", action="store_true")
    p.add_argument("--cfg-scale", type=float, default=3.0)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--spacing", default="discrete", choices=["discrete", "sgm_uniform"])
    p.add_argument("--merges", type=int, default=2000)
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--sheet", help="write 64 pictures of all lists to this PNG, and nothing else")
    p.add_argument("--judge", default="classifier", help="the judge's name in DIR; one that is not there is trained, from other noise")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--f32", action="store_true", help="no bfloat16, which processors without instructions for it compute slowly")
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    if not args.f32:
        layers.use_fused_norm(os.path.join(args.work, "build"))
    amp = functools.partial(torch.autocast, "cpu", torch.bfloat16, enabled=not args.f32)
    sprites = data.prepare(args.work)
    how = {"cfg_scale": args.cfg_scale, "steps": args.steps, "spacing": args.spacing}
    if args.four:
        how = {"cfg_scale": 1.0, "steps": distill.STEPS, "spacing": "sgm_uniform"}
    if args.sheet:
        sheet(generate(*models(args), of_sheet(), amp, **how)).save(args.sheet)
        return
    net = classifier.prepare(args.work, sprites, amp, name=args.judge, seed=sum(args.judge.encode()))
    if args.images:
        pictures = read_images(args.images)
        rows = prompts.read(args.lists)[: len(pictures)]
        text = "things %.1f %%, and count %.1f %%, background %.1f %%" % tuple(score(net, pictures, rows, sprites))
        if args.against:
            apart = np.square(pictures - read_images(args.against).astype(np.float32)).mean((1, 2, 3))
            text += ", mean PSNR %.1f dB" % np.mean(10 * np.log10(255**2 / np.maximum(apart, 1e-9)))
        print(text)
        return
    denoiser, tokenizer, vae = models(args)
    decoder(vae, net, sprites)
    if args.decoder:
        return
    print("the judge of true scenes: things %.1f %%, count %.1f %%, background %.1f %%" % tuple(judge_alone(net, sprites)), flush=True)
    for name in args.lists.split(","):
        rows = prompts.read(name)[: args.count]
        pictures = generate(denoiser, tokenizer, vae, rows, amp, **how)
        right = score(net, pictures, rows, sprites)
        print("%-6s %3d prompts: things %5.1f %%, and count %5.1f %%, background %5.1f %%" % (name, len(rows), *right), flush=True)


if __name__ == "__main__":
    main()
