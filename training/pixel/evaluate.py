"""Scores pictures that sdgo draws: how often the classifier sees the class that was asked for, and the Fréchet distance (Heusel et
al. 2017) of its features to those of the training set.

    python training/pixel/evaluate.py --work DIR --sdgo ./sdgo --model builtin/sdgo-emoji.safetensors [-- --cfg-scale 2 …]

The classifier is the one of the box, of noisy pictures, at t = 0. The distance between the training set and drawings of it that were
kept for tests says how small a distance can be.
"""

import argparse
import os
import subprocess
import sys

import numpy as np
import torch
from PIL import Image

import data
from train import CLASSIFIER_CHANNELS
from unet import Classifier


def load_classifier(work):
    net = Classifier(len(data.names()), CLASSIFIER_CHANNELS)
    net.load_state_dict(torch.load(os.path.join(work, "classifier.pt"), map_location="cpu", weights_only=True))
    return net.eval()


@torch.no_grad()
def features(net, x):
    """x [n, 3, 32, 32] from -1 to 1 -> features [n, c] and the classes that it sees [n]."""
    rows = torch.cat([net.features(part, torch.zeros(len(part))) for part in x.split(256)])
    last = net.out[2].c_proj
    return rows.double().numpy(), torch.nn.functional.linear(rows, last.weight[:, :, 0], last.bias).argmax(1).numpy()


def frechet(a, b):
    """Of two sets of features, as Gaussians."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.sqrt(np.maximum(np.linalg.eigvals(ca @ cb).real, 0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(ca) + np.trace(cb) - 2 * root)


def draw(args, label, folder):
    """args.count pictures of a class by sdgo; [n, 3, 32, 32]."""
    command = [args.sdgo, "sample", "-m", args.model, "--class", str(label), "-n", str(args.count), "-s", str(1000 * label), "--batch-size", "10", "-q",
               "-o", os.path.join(folder, f"{label}-%d.png"), *args.more]
    paths = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    pictures = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def main():
    if "--" in sys.argv:
        at = sys.argv.index("--")
        own, more = sys.argv[1:at], sys.argv[at + 1 :]
    else:
        own, more = sys.argv[1:], []
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--sdgo", default="./sdgo")
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=40, help="pictures of each class")
    args = parser.parse_args(own)
    args.more = more
    torch.set_num_threads(1)
    folder = os.path.join(args.work, "drawn")
    os.makedirs(folder, exist_ok=True)
    net, names = load_classifier(args.work), data.names()
    train, _ = features(net, data.Pictures(args.work, 5).batch(4800)[0])
    x, labels = data.Pictures(args.work, 6, kept=True).batch(960)
    kept, seen = features(net, x)
    print(f"kept drawings: {100 * (seen == labels.numpy()).mean():.1f} % right, distance {frechet(train, kept):.3f}", flush=True)
    drawn, right, worst = [], [], []
    for label, name in enumerate(names):
        rows, seen = features(net, draw(args, label, folder))
        drawn.append(rows)
        right.append((seen == label).mean())
        worst.append((right[-1], name))
    distance = frechet(train, np.concatenate(drawn))
    print(f"drawn {' '.join(more)}: {100 * np.mean(right):.1f} % right, distance {distance:.3f}; worst: " +
          ", ".join(f"{name} {100 * share:.0f} %" for share, name in sorted(worst)[:4]), flush=True)


if __name__ == "__main__":
    main()
