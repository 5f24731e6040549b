"""Data step: Google's Noto emoji (npm package @iconify-json/noto, Apache 2.0) as sprites with alpha, twice as large as a scene.

Needs `npm` (or the unpacked package) and librsvg's `rsvg-convert`.
"""

import json
import os
import re
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image

PACKAGE = "@iconify-json/noto@1.2.9"
SIDE = 256  # of sprites: a scene's are always smaller, so that scaling is always down
HERE = os.path.dirname(os.path.abspath(__file__))


@dataclass
class Thing:
    icon: str      # its name in the package
    name: str      # with its article, as captions say it
    others: list   # other names
    plural: str    # "" where it is not counted


@dataclass
class Sprites:
    """pixels[i] is the premultiplied RGBA picture of icon ids[i]; the first len(names) icons are the things, with their names."""

    pixels: np.ndarray  # uint8 [n, SIDE, SIDE, 4]
    ids: list
    names: list
    others: list = field(default_factory=list)   # of each thing
    plurals: list = field(default_factory=list)  # of each thing, or ""


def things():
    """The list of things.txt."""
    with open(os.path.join(HERE, "things.txt"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if line.strip() and not line.startswith("#")]
    return [Thing(icon, name, [o for o in others.split(",") if o], plural) for icon, name, others, plural in rows]


def fetch(folder):
    """Unpacks the npm package into folder/package."""
    os.makedirs(folder, exist_ok=True)
    if not os.path.exists(os.path.join(folder, "package", "icons.json")):
        done = subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=folder, check=True, capture_output=True, text=True)
        with tarfile.open(os.path.join(folder, done.stdout.split()[-1])) as tar:
            tar.extractall(folder, filter="data")
    return os.path.join(folder, "package")


def _render(body, size=SIDE):
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
        known = {t.icon for t in chosen}
        others = sorted({i for c, ids in categories.items() if not c.startswith("Flags") for i in ids
                         if i in icons and i not in known and not skip.search(i)})
        ids = [t.icon for t in chosen] + others
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            pixels = np.stack(list(pool.map(lambda i: _render(icons[i]["body"]), ids)))
        np.savez_compressed(path + ".tmp.npz", pixels=pixels, ids=np.array(ids))
        os.replace(path + ".tmp.npz", path)
    stored = np.load(path)
    ids = stored["ids"].tolist()
    if ids[: len(chosen)] != [t.icon for t in chosen]:
        raise SystemExit(f"{path} was made from another things.txt: remove it to render again")
    return Sprites(stored["pixels"], ids, [t.name for t in chosen], [t.others for t in chosen], [t.plural for t in chosen])
