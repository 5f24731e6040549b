"""Scores a network for edges of the built-in model (a ControlNet, a Control-LoRA, a T2I-Adapter): are pictures drawn along the edges that they
are given, and do they still show what the prompt says?

    python training/adapters/edges.py --work DIR --sdgo ./sdgo --adapter edges.safetensors [--classifier judge/model.safetensors]
    python training/adapters/edges.py --work DIR --sheet builtin/testdata/edges.png

Things are placed, turned and mirrored as in turned.py, by another seed and on backgrounds that their training never had; their Canny edges are
what is given. Every seventh thing is once, or with a classifier (pictures.py --classes, which knows every 24th) those that it knows four
times. F1 of edges: the harmonic mean of the shares of the picture's edges that are at most one pixel from given ones, and of given ones that
are at most one pixel from the picture's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image, ImageFilter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.dirname(HERE)]
import data  # noqa: E402
import scenes  # noqa: E402
from turned import compose, edges  # noqa: E402


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


def near(mask):
    return np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))) > 0


def f1(a, b):
    hits, found = (a & near(b)).sum() / max(a.sum(), 1), (b & near(a)).sum() / max(b.sum(), 1)
    return 2 * hits * found / max(hits + found, 1e-9)


def write_jobs(folder, sprites, every, each, control):
    """Scenes, their edges, and jobs with and without the network; returns the icons."""
    rng, jobs, icons = np.random.default_rng(77), {"with": [], "without": []}, []
    for k in range(0, len(sprites.names), every):
        for i in range(each):
            n, colour = len(icons), scenes.held_out(sprites.ids[k])[i % 2]
            scene, given = compose(sprites.pixels[k], colour, rng), os.path.join(folder, f"{n:03}-given.png")
            Image.fromarray(scene).save(os.path.join(folder, f"{n:03}-scene.png"))
            Image.fromarray(edges(scene)).save(given)
            prompt = f"{sprites.names[k]} on a {scenes.NAMES[colour]} background".replace(" a orange", " an orange")
            job = {"prompt": prompt, "seed": 500 + n}
            jobs["without"].append(job | {"output": f"{n:03}-without.png"})
            jobs["with"].append(job | {"output": f"{n:03}-with.png", "control": [control | {"image": os.path.abspath(given)}]})
            icons.append(sprites.ids[k])
    for name, all_jobs in jobs.items():
        with open(os.path.join(folder, name + ".jsonl"), "w", encoding="utf-8") as f:
            f.writelines(json.dumps(j) + "\n" for j in all_jobs)
    return icons


def write_sheet(folder, path, chosen):
    rows = [read(os.path.join(folder, f"{n:03}-given.png"))[..., 0] > 127 for n in chosen]
    Image.fromarray(np.concatenate(rows, 1)).save(path, optimize=True)
    with open(os.path.join(folder, "with.jsonl"), encoding="utf-8") as f:
        prompts = [json.loads(line)["prompt"] for line in f]
    with open(os.path.splitext(path)[0] + ".txt", "w", encoding="utf-8") as f:
        f.writelines(prompts[n] + "\n" for n in chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--sdgo", default="./sdgo")
    parser.add_argument("--adapter")
    parser.add_argument("--classifier")
    parser.add_argument("--weight", type=float, default=1)
    parser.add_argument("--sheet", help="write eight of the edges there and their prompts beside them, which builtin's test draws, and stop")
    args = parser.parse_args()
    folder = os.path.join(args.work, "edges")
    shutil.rmtree(folder, ignore_errors=True)  # pictures that are there, of another network of this name, would not be drawn again
    os.makedirs(folder)
    every, each = (24, 4) if args.classifier else (7, 1)
    icons = write_jobs(folder, data.prepare(args.work), every, each, {"name": os.path.abspath(args.adapter or "edges"), "weight": args.weight})
    if args.sheet:
        write_sheet(folder, args.sheet, range(0, len(icons), 6))
        return
    if args.classifier:  # which knows things that stand in the middle alone
        from score import judge

        seen = judge(args.classifier, [os.path.join(folder, f"{n:03}-scene.png") for n in range(len(icons))])
        print(f"scenes: thing right {np.mean([a == b for a, b in zip(seen, icons)]):.1%}", flush=True)
    for name in ("without", "with"):
        more = ["--control-dir", os.path.dirname(os.path.abspath(args.adapter))] if name == "with" else []
        subprocess.run([args.sdgo, "batch", os.path.join(folder, name + ".jsonl"), "-o", folder, "--batch-size", "8", "-q", *more], check=True, stdout=subprocess.DEVNULL)
        files = [os.path.join(folder, f"{n:03}-{name}.png") for n in range(len(icons))]
        scores = [f1(edges(read(file)), read(file.replace(f"-{name}", "-given"))[..., 0] > 127) for file in files]
        right = ""
        if args.classifier:
            right = f", thing right {np.mean([a == b for a, b in zip(judge(args.classifier, files), icons)]):.1%}"
        print(f"{name}: F1 of edges {np.mean(scores):.3f}{right}, of {len(icons)}", flush=True)


if __name__ == "__main__":
    main()
