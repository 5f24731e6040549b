"""Writes the training set as `sdgo train` reads it: a folder for each class, with transparent pictures.

    python training/pixel/folder.py --work DIR -o emoji            # what is trained on
    python training/pixel/folder.py --work DIR -o kept --kept      # what is kept for tests
    sdgo train unet emoji -o run --background light
"""

import argparse
import os

import numpy as np
from PIL import Image

import data


def straight(rgba):
    """Of a premultiplied picture, whose colours PNG files have undivided."""
    alpha = rgba[..., 3:].astype(np.float32)
    colours = np.divide(rgba[..., :3].astype(np.float32) * 255, alpha, out=np.zeros_like(alpha.repeat(3, -1)), where=alpha > 0)
    return np.concatenate([np.clip(colours + 0.5, 0, 255).astype(np.uint8), rgba[..., 3:]], -1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--kept", action="store_true")
    args = parser.parse_args()
    bank, names = data.prepare(args.work), data.names()
    for i in np.flatnonzero(bank["kept"] == args.kept):
        folder = os.path.join(args.output, names[bank["labels"][i]])
        os.makedirs(folder, exist_ok=True)
        Image.fromarray(straight(bank["pictures"][i])).save(os.path.join(folder, f"{i:05}.png"))


if __name__ == "__main__":
    main()
