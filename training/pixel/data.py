"""The training set: emoji of five free sets (npm packages of Iconify), 32 by 32 pixels, on plain light backgrounds.

Needs `npm` (or the unpacked packages) and librsvg's `rsvg-convert`.
"""

import colorsys
import json
import os
import subprocess
import tarfile
from io import BytesIO

import numpy as np
import torch
from PIL import Image

SIDE = 32
LARGE = 8 * SIDE  # of the drawings that are turned and made smaller
VARIANTS = 64  # of each drawing, of which the last eighth is kept for tests

# The packages with their licences; each has one drawing of most classes.
SETS = {
    "noto@1.2.9": "Apache-2.0",
    "noto-v1@1.2.5": "Apache-2.0",
    "fluent-emoji-flat@1.2.6": "MIT",
    "fluent-emoji@1.2.7": "MIT",
    "fxemoji@1.2.2": "Apache-2.0",
}
HERE = os.path.dirname(os.path.abspath(__file__))


def classes():
    """[(name, icon, icon of FxEmoji or "-"), …]"""
    with open(os.path.join(HERE, "classes.txt"), encoding="utf-8") as f:
        return [tuple(line.rstrip("\n").split("\t")) for line in f if not line.startswith("#")]


def names():
    return [c[0] for c in classes()]


def fetch(package, folder):
    """Unpacks a package and returns its icons.json."""
    place = os.path.join(folder, package.split("@")[0])
    if not os.path.exists(os.path.join(place, "package", "icons.json")):
        os.makedirs(place, exist_ok=True)
        done = subprocess.run(["npm", "pack", "--silent", "@iconify-json/" + package], cwd=place, check=True, capture_output=True, text=True)
        with tarfile.open(os.path.join(place, done.stdout.split()[-1])) as tar:
            tar.extractall(place, filter="data")
    with open(os.path.join(place, "package", "icons.json"), encoding="utf-8") as f:
        return json.load(f)


def render(icon, width, height):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
    size = ["-w", str(LARGE), "-h", str(LARGE)]
    png = subprocess.run(["rsvg-convert", "--unlimited", *size], input=svg.encode(), check=True, capture_output=True).stdout
    picture = Image.open(BytesIO(png)).convert("RGBA")
    return picture.crop(picture.getbbox())  # sets leave margins of different widths


def variant(picture, rng):
    """A premultiplied [32, 32, 4] of a drawing: mirrored or not, a little turned, made smaller, moved."""
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    rgba = np.asarray(picture).astype(np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    h, w = rgba.shape[:2]
    canvas = np.zeros((2 * LARGE, 2 * LARGE, 4), np.float32)
    canvas[LARGE - h // 2 : LARGE - h // 2 + h, LARGE - w // 2 : LARGE - w // 2 + w] = rgba
    scale = rng.uniform(0.80, 0.92) * SIDE / max(h, w)
    angle = rng.uniform(-8, 8) * np.pi / 180
    move = rng.uniform(-1, 1, 2)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    at = SIDE / 2 + move
    matrix = (cos, sin, LARGE - cos * at[0] - sin * at[1], -sin, cos, LARGE + sin * at[0] - cos * at[1])
    over = 8  # samples a pixel along each side, which are averaged
    fine = (matrix[0] / over, matrix[1] / over, matrix[2], matrix[3] / over, matrix[4] / over, matrix[5])
    planes = [np.asarray(Image.fromarray(canvas[..., c]).transform((SIDE * over, SIDE * over), Image.Transform.AFFINE, fine, Image.Resampling.BILINEAR)) for c in range(4)]
    return np.stack(planes, -1).reshape(SIDE, over, SIDE, over, 4).mean((1, 3))


def prepare(work):
    """work/bank.npz: pictures uint8 [n, 32, 32, 4], labels [n], and whether one is kept for tests [n]."""
    path = os.path.join(work, "bank.npz")
    if not os.path.exists(path):
        rng, pictures, labels, kept = np.random.default_rng(1), [], [], []
        for package in SETS:
            icons = fetch(package, os.path.join(work, "dl"))
            for label, (name, icon, other) in enumerate(classes()):
                found = icons["icons"].get(other if package.startswith("fxemoji") else icon)
                if found is None:
                    continue
                drawing = render(found, found.get("width", icons.get("width", 16)), found.get("height", icons.get("height", 16)))
                for i in range(VARIANTS):
                    pictures.append(np.clip(variant(drawing, rng) * 255 + 0.5, 0, 255).astype(np.uint8))
                    labels.append(label)
                    kept.append(i >= VARIANTS * 7 // 8)
        np.savez(path + ".tmp.npz", pictures=np.stack(pictures), labels=np.array(labels), kept=np.array(kept))
        os.replace(path + ".tmp.npz", path)
    return np.load(path)


def backgrounds(n, rng):
    """n light colours [n, 3, 1, 1], from 0 to 1."""
    hue, much, value = rng.random(n), rng.uniform(0.05, 0.35, n), rng.uniform(0.85, 1.0, n)
    return torch.tensor([colorsys.hsv_to_rgb(*c) for c in zip(hue, much, value)], dtype=torch.float32)[:, :, None, None]


class Pictures:
    """Draws batches: pictures from -1 to 1 and labels, of the training set or of what is kept for tests."""

    def __init__(self, work, seed, kept=False):
        bank = prepare(work)
        chosen = bank["kept"] == kept
        self.pictures = torch.from_numpy(bank["pictures"][chosen]).permute(0, 3, 1, 2)
        self.labels = torch.from_numpy(bank["labels"][chosen])
        self.rng = np.random.default_rng(seed)

    def batch(self, n):
        pick = torch.from_numpy(self.rng.integers(len(self.labels), size=n))
        rgba = self.pictures[pick].float() / 255
        x = rgba[:, :3] + (1 - rgba[:, 3:]) * backgrounds(n, self.rng)
        return x * 2 - 1, self.labels[pick]
