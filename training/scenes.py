"""Scenes: one or two things on a plain background, and captions in varied wording that say what is to be seen where.

A thing+background pair is either for training or held out, by a fixed rule (`held_out`), never both.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIZE = 128
COLOURS = {
    "red": (220, 50, 47), "orange": (245, 140, 40), "yellow": (250, 215, 60), "green": (70, 170, 80),
    "cyan": (70, 200, 210), "blue": (50, 110, 220), "purple": (140, 80, 190), "pink": (245, 150, 190),
    "brown": (130, 85, 55), "black": (25, 25, 28), "gray": (140, 145, 150), "white": (248, 248, 248),
}
NAMES = list(COLOURS)
PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


@dataclass
class Figure:
    thing: int
    size: int
    cx: int
    cy: int


@dataclass
class Scene:
    figures: list
    colour: int
    size_word: str = ""  # "", "small", "big"
    side: str = ""       # "", or a key of SIDES


def held_out(icon, count=2):
    """The background colours (indices) that never appear with this thing in training."""
    rank = lambda c: hashlib.sha256(f"{icon}/{c}".encode()).digest()
    return sorted(range(len(NAMES)), key=lambda i: rank(NAMES[i]))[:count]


class Composer:
    def __init__(self, sprites, seed):
        self.sprites, self.rng = sprites, np.random.default_rng(seed)
        self.images = [Image.fromarray(p, "RGBa") for p in sprites.pixels]
        self.banned = [set(held_out(i)) for i in sprites.ids]

    def scene(self, thing, colour=None):
        """A random scene of this thing (and in one of eight a second one beside it)."""
        rng = self.rng
        kind = rng.choice(["plain", "big", "small", "side", "small side", "two"], p=[0.44, 0.10, 0.11, 0.13, 0.10, 0.12])
        jitter = lambda r: int(rng.integers(-r, r + 1))
        things = [thing]
        if kind == "two":
            things.append(int(rng.integers(len(self.sprites.names))))
            if rng.random() < 0.5:
                things.reverse()
        if colour is None:
            banned = set().union(*(self.banned[t] for t in things))
            colour = int(rng.choice([c for c in range(len(NAMES)) if c not in banned]))
        mid = SIZE // 2
        if kind == "two":
            figures = [Figure(t, 58 + jitter(3), mid + d * 31 + jitter(2), mid + jitter(4)) for t, d in zip(things, (-1, 1))]
            return Scene(figures, colour)
        if "side" in kind:
            side = str(rng.choice(list(SIDES)))
            dx, dy = SIDES[side]
            size, away = (46 + jitter(3), 34) if "small" in kind else (64 + jitter(3), 28)
            figure = Figure(thing, size, mid + dx * away + jitter(3), mid + dy * away + jitter(3))
            return Scene([figure], colour, "small" if "small" in kind else "", side)
        size = {"plain": 88 + jitter(4), "big": 112 + jitter(4), "small": 50 + jitter(3)}[kind]
        return Scene([Figure(thing, size, mid + jitter(3), mid + jitter(3))], colour, "" if kind == "plain" else kind)

    def draw(self, scene, wobble=5):
        """The scene's pixels, uint8 [128, 128, 3]; the background differs from its colour's value by up to `wobble`."""
        rgb = np.clip(PALETTE[scene.colour] + self.rng.integers(-wobble, wobble + 1, 3), 0, 255)
        canvas = Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in rgb))
        for f in scene.figures:
            sprite = self.images[f.thing].resize((f.size, f.size), Image.Resampling.BICUBIC).convert("RGBA")
            canvas.paste(sprite, (f.cx - f.size // 2, f.cy - f.size // 2), sprite)
        return np.asarray(canvas)

    def caption(self, scene):
        return caption(scene, self.sprites.names, self.rng)


def with_size(name, word):
    """("an apple", "small") -> "a small apple"."""
    if not word:
        return name
    first, _, rest = name.partition(" ")
    return f"a {word} {rest}" if first in ("a", "an") else f"{word} {name}"


def bare(name):
    first, _, rest = name.partition(" ")
    return rest if first in ("a", "an") else name


def caption(scene, names, rng):
    pick = lambda *options: str(rng.choice(options))
    word = {"": "", "small": pick("small", "small", "tiny", "little"), "big": pick("big", "big", "large", "huge")}[scene.size_word]
    what = " and ".join(with_size(names[f.thing], word) for f in scene.figures)
    if rng.random() < 0.2:
        what = " and ".join(bare(with_size(names[f.thing], word)) for f in scene.figures)
    where = ""
    if scene.side:
        where = pick(f" on the {scene.side}", f" at the {scene.side}") if scene.side in ("left", "right") else f" at the {scene.side}"
    elif len(scene.figures) == 1 and rng.random() < 0.08:
        where = pick(" in the middle", " in the center")
    colour = NAMES[scene.colour]
    if colour == "gray" and rng.random() < 0.3:
        colour = "grey"
    ground = pick(f"{colour} background", f"a {colour} background") if colour != "orange" else pick("orange background", "an orange background")
    form = rng.random()
    if form < 0.45:
        return f"{what}{where} on {ground}"
    if form < 0.65:
        return f"{what}{where}, {ground}"
    if form < 0.75:
        return f"{ground}, {what}{where}"
    if form < 0.85:
        return f"{pick('a picture of', 'an emoji of', 'a drawing of')} {what}{where} on {ground}"
    if form < 0.93:
        return f"{what}{where} on {colour}"
    return f"{what}{where} in front of {ground}"
