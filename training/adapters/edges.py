"""Scores a T2I-Adapter of the built-in model for edges: are pictures drawn along the edges that they are given, and do they still show what the prompt says?

    python training/adapters/edges.py --work DIR --sdgo ./sdgo --adapter run/adapter.safetensors --classifier judge/model.safetensors

Things that the classifier knows (pictures.py --classes) are turned by up to 25 degrees, mirrored, moved and scaled, and their Canny
edges are what is given. F1 of edges: the harmonic mean of the shares of the picture's edges that are at most two pixels from given ones, and
of given ones that are at most two pixels from the picture's.
"""

import argparse
import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image, ImageFilter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(os.path.dirname(HERE), "pixel")]
from score import judge  # noqa: E402
import data  # noqa: E402
import scenes  # noqa: E402
from pictures import sprites  # noqa: E402


def edges(path):
    return np.asarray(Image.open(path).convert("L")) > 127


def near(mask):
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(5))) > 0


def f1(a, b):
    hits, found = (a & near(b)).sum() / max(a.sum(), 1), (b & near(a)).sum() / max(b.sum(), 1)
    return 2 * hits * found / max(hits + found, 1e-9)


def compose(pixels, colour, rng):
    canvas = Image.new("RGB", (scenes.SIZE, scenes.SIZE), tuple(int(v) for v in scenes.PALETTE[colour]))
    size = int(rng.integers(76, 101))
    sprite = Image.fromarray(pixels, "RGBa").convert("RGBA").resize((size, size), Image.Resampling.BICUBIC)
    if rng.random() < 0.5:
        sprite = sprite.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    sprite = sprite.rotate(float(rng.uniform(-25, 25)), Image.Resampling.BICUBIC, expand=True)
    at = [scenes.SIZE // 2 - s // 2 + int(rng.integers(-8, 9)) for s in sprite.size]
    canvas.paste(sprite, tuple(at), sprite)
    return canvas


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--sdgo", default="./sdgo")
    parser.add_argument("--adapter", required=True)
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--weight", default="1")
    args = parser.parse_args()
    folder = os.path.join(args.work, "edges")
    os.makedirs(folder, exist_ok=True)
    run = lambda *more: subprocess.run([args.sdgo, *more], check=True, stdout=subprocess.DEVNULL)
    rng, jobs, icons = np.random.default_rng(9), {"with": [], "without": []}, []
    chosen = data.things()[::24]
    for k, (pixels, (icon, name)) in enumerate(zip(sprites(args.work, chosen).pixels, chosen)):
        for i in range(2):
            n, colour = 2 * k + i, scenes.held_out(icon)[i % 2]
            stem = os.path.join(folder, f"{n:03}")
            compose(pixels, colour, rng).save(stem + "-scene.png")
            run("preprocess", "canny", "-i", stem + "-scene.png", "-o", stem + "-given.png")
            job = {"prompt": f"{name} on a {scenes.NAMES[colour]} background".replace(" a orange", " an orange"), "seed": 500 + n}
            jobs["without"].append(job | {"output": f"{n:03}-without.png"})
            jobs["with"].append(job | {"output": f"{n:03}-with.png", "control": [{"name": os.path.abspath(args.adapter), "image": os.path.abspath(stem + "-given.png"), "weight": float(args.weight)}]})
            icons.append(icon)
    for name, all_jobs in jobs.items():
        path = os.path.join(folder, name + ".jsonl")
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(json.dumps(j) + "\n" for j in all_jobs)
        more = ["--control-dir", os.path.dirname(os.path.abspath(args.adapter))] if name == "with" else []
        run("batch", path, "-o", folder, "--batch-size", "8", "-q", *more)
        scores = []
        for n in range(len(icons)):
            drawn = os.path.join(folder, f"{n:03}-{name}")
            run("preprocess", "canny", "-i", drawn + ".png", "-o", drawn + "-edges.png")
            scores.append(f1(edges(drawn + "-edges.png"), edges(os.path.join(folder, f"{n:03}-given.png"))))
        seen = judge(args.classifier, [os.path.join(folder, f"{n:03}-{name}.png") for n in range(len(icons))])
        print(f"{name}: F1 of edges {np.mean(scores):.3f}, thing right {np.mean([a == b for a, b in zip(seen, icons)]):.1%} of {len(icons)}", flush=True)


if __name__ == "__main__":
    main()
