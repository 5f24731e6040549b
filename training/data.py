"""Data step: Google's Noto emoji (npm package @iconify-json/noto, Apache 2.0) as 128-pixel sprites with alpha.

Needs `npm` (or the unpacked package) and librsvg's `rsvg-convert`.
"""

import json
import os
import re
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

PACKAGE = "@iconify-json/noto@1.2.9"
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Sprites:
    """pixels[i] is the premultiplied RGBA picture of icon ids[i]; the first len(names) icons are the things, with their names."""

    pixels: np.ndarray  # uint8 [n, 128, 128, 4]
    ids: list
    names: list


def things():
    """[(icon id, name with its article), …] of things.txt."""
    with open(os.path.join(HERE, "things.txt"), encoding="utf-8") as f:
        lines = [line.rstrip("\n") for line in f]
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def fetch(folder):
    """Unpacks the npm package into folder/package."""
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(os.path.join(folder, "package", "icons.json")):
        done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
        with tarfile.open(os.path.join(folder, done.stdout.split()[-1])) as tar:
            tar.extractall(folder, filter="data")
    return os.path.join(folder, "package")


def _render(body, size=128):
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 128 128">{body}</svg>'
    png = subprocess.run(["rsvg-convert", "-w", str(size), "-h", str(size)], input=svg.encode(), check=True, capture_output=True).stdout
    rgba = np.asarray(Image.open(BytesIO(png)).convert("RGBA")).astype(np.uint16)
    rgba[..., :3] = rgba[..., :3] * rgba[..., 3:] // 255
    return rgba.astype(np.uint8)


def prepare(work):
    """Renders every icon but skin-tone variants, flags and people once into work/sprites.npz; returns Sprites."""
    path = os.path.join(work, "sprites.npz")
    chosen = things()
    if not os.path.exists(path):
        package = fetch(os.path.join(work, "dl"))
        with open(os.path.join(package, "icons.json"), encoding="utf-8") as f:
            icons = json.load(f)["icons"]
        with open(os.path.join(package, "metadata.json"), encoding="utf-8") as f:
            categories = json.load(f)["categories"]
        skip = re.compile(r"skin-tone|^(man|woman|men|women|person|people|family|couple|keycap|letter|japanese)-|oclock|thirty|button")
        others = sorted({i for c, ids in categories.items() if not c.startswith("Flags") for i in ids if i in icons and not skip.search(i)})
        ids = [i for i, _ in chosen] + [i for i in others if i not in {i for i, _ in chosen}]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels = np.stack(list(pool.map(lambda i: _render(icons[i]["body"]), ids)))
        np.savez(path + ".tmp.npz", pixels=pixels, ids=np.array(ids))
        os.replace(path + ".tmp.npz", path)
    stored = np.load(path)
    ids = stored["ids"].tolist()
    if ids[: len(chosen)] != [i for i, _ in chosen]:
        raise SystemExit(f"{path} was made from another things.txt: remove it to render again")
    return Sprites(stored["pixels"], ids, [name for _, name in chosen])
