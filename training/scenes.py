"""Scenes: things on a plain background or in a simple place, and captions in varied wording that say what is to be seen where.

A pair of a thing and a background, and of two things, is either for training or held out, by fixed rules (`held_out`, `held_pair`),
never both.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

import places

SIZE = 128
COLOURS = {
    "red": (220, 50, 47), "orange": (245, 140, 40), "yellow": (250, 215, 60), "green": (70, 170, 80),
    "cyan": (70, 200, 210), "blue": (50, 110, 220), "purple": (140, 80, 190), "pink": (245, 150, 190),
    "brown": (130, 85, 55), "black": (25, 25, 28), "gray": (140, 145, 150), "white": (248, 248, 248),
}
NAMES = list(COLOURS)
GROUNDS = NAMES + places.NAMES  # what a scene's ground is an index of
PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
SIDES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
NUMBERS = {2: ("two", "2"), 3: ("three", "3")}
# How often each kind of scene: "pair" is two things side by side, "contrast" a big and a small one, "stack" one on the other.
KINDS = {"plain": 0.27, "big": 0.06, "small": 0.06, "side": 0.07, "small side": 0.06, "two": 0.09, "three": 0.10, "pair": 0.17, "contrast": 0.05,
         "stack": 0.07}
PLACE_SHARE = 0.22
DRAWN = 48  # pictures of each place that a composer draws from


@dataclass
class Figure:
    thing: int
    size: int
    cx: int
    cy: int


@dataclass
class Scene:
    figures: list
    ground: int          # of GROUNDS
    kind: str = "plain"
    size_word: str = ""  # of one thing: "", "small", "big"
    side: str = ""       # of one thing: "", or a key of SIDES
    words: list = field(default_factory=list)  # of two things: the size word of each


def rank(text):
    return hashlib.sha256(text.encode()).digest()


def held_out(icon, count=2):
    """The background colours (indices) that never appear with this thing in training."""
    return sorted(range(len(NAMES)), key=lambda i: rank(f"{icon}/{NAMES[i]}"))[:count]


def held_place(icon):
    """The place (index of GROUNDS) that never appears with this thing in training."""
    return len(NAMES) + min(range(len(places.NAMES)), key=lambda i: rank(f"{icon}/{places.NAMES[i]}"))


def held_pair(a, b):
    """Whether these two icons never appear together in training: one pair in ten."""
    return rank("+".join(sorted((a, b))))[0] < 26


class Composer:
    def __init__(self, sprites, seed):
        self.sprites, self.rng = sprites, np.random.default_rng(seed)
        self.images = [Image.fromarray(p, "RGBa") for p in sprites.pixels]
        self.boxes = [image.getbbox() for image in self.images]  # what is opaque: left, top, right, bottom
        self.banned = [{*held_out(i), held_place(i)} for i in sprites.ids]
        self.places = [[places.draw(name, self.rng, SIZE) for _ in range(DRAWN)] for name in places.NAMES]

    def second(self, thing):
        """Another thing, of a pair that is not held out."""
        while True:
            other = int(self.rng.integers(len(self.sprites.names)))
            if other != thing and not held_pair(self.sprites.ids[thing], self.sprites.ids[other]):
                return other

    def scene(self, thing, ground=None, kind=None, other=None):
        """A random scene of this thing, alone, several times, or with a second one."""
        rng, jitter = self.rng, self.jitter
        kind = kind or str(rng.choice(list(KINDS), p=list(KINDS.values())))
        if kind in ("two", "three") and not (thing < len(self.sprites.plurals) and self.sprites.plurals[thing]):
            kind = "plain"
        things = [thing]
        if kind in ("pair", "contrast", "stack"):
            things.append(self.second(thing) if other is None else other)
            if other is None and rng.random() < 0.5:
                things.reverse()
        if ground is None:
            free = [g for g in range(len(GROUNDS)) if not any(g in self.banned[t] for t in things)]
            place = rng.random() < PLACE_SHARE and free[-1] >= len(NAMES)
            ground = int(rng.choice([g for g in free if (g >= len(NAMES)) == place]))
        mid = SIZE // 2
        low = mid + (8 if ground >= len(NAMES) else 0)  # in a place things stand lower
        words = []
        if kind == "pair":
            figures = [Figure(t, 60 + jitter(3), mid + d * 31 + jitter(2), low + jitter(4)) for t, d in zip(things, (-1, 1))]
        elif kind == "two":
            figures = [Figure(thing, 58 + jitter(3), mid + d * 31 + jitter(2), low + jitter(4)) for d in (-1, 1)]
        elif kind == "three":
            row, size, above = [(-42, 0), (0, 0), (42, 0)], 41, 2
            if rng.random() < 0.6:
                row, size, above = [(-31, 27), (0, -29), (31, 27)], 56, 2
            size += jitter(2)
            figures = [Figure(thing, size, mid + dx + jitter(above), mid + dy + jitter(above)) for dx, dy in row]
        elif kind == "contrast":
            words = ["big", "small"] if rng.random() < 0.5 else ["small", "big"]
            first = 0.63 if words[0] == "big" else 0.37  # share of the width that the first one has
            figures, floor = [], low + 38 + jitter(3)
            for t, word, x in zip(things, words, (first / 2, (1 + first) / 2)):
                size = (78 if word == "big" else 42) + jitter(3)
                figures.append(Figure(t, size, int(x * SIZE) + jitter(1), floor - size // 2))
        elif kind == "stack":
            figures = self.stack(*things)
        else:
            return self.single(thing, ground, kind, low)
        return Scene(figures, ground, kind, words=words)

    def jitter(self, reach):
        return int(self.rng.integers(-reach, reach + 1))

    def single(self, thing, ground, kind, low):
        jitter, mid = self.jitter, SIZE // 2
        if "side" in kind:
            side = str(self.rng.choice(list(SIDES)))
            dx, dy = SIDES[side]
            size, away = (46 + jitter(3), 34) if "small" in kind else (64 + jitter(3), 28)
            figure = Figure(thing, size, mid + dx * away + jitter(3), mid + dy * away + jitter(3))
            return Scene([figure], ground, kind, "small" if "small" in kind else "", side)
        size = {"plain": 88 + jitter(4), "big": 112 + jitter(4), "small": 50 + jitter(3)}[kind]
        figure = Figure(thing, size, mid + jitter(3), (mid if kind == "big" else low) + jitter(3))
        return Scene([figure], ground, kind, "" if kind == "plain" else kind)

    def stack(self, upper, lower):
        """Figures of one thing standing on the other: what is opaque of them meets."""
        sizes = [52 + self.jitter(3), 66 + self.jitter(3)]
        x, floor = SIZE // 2 + self.jitter(3), 122 + self.jitter(2)
        side = self.sprites.pixels.shape[1]
        tops = [self.boxes[t][1] / side * s for t, s in zip((upper, lower), sizes)]
        bottoms = [self.boxes[t][3] / side * s for t, s in zip((upper, lower), sizes)]
        y = floor - bottoms[1]                       # of the lower one's upper edge
        above = y + tops[1] + 3 - bottoms[0]         # of the upper one's
        return [Figure(upper, sizes[0], x, int(above + sizes[0] / 2)), Figure(lower, sizes[1], x, int(y + sizes[1] / 2))]

    def draw(self, scene, wobble=5):
        """The scene's pixels, uint8 [128, 128, 3]; a plain background differs from its colour's value by up to `wobble`."""
        if scene.ground < len(NAMES):
            rgb = np.clip(PALETTE[scene.ground] + self.rng.integers(-wobble, wobble + 1, 3), 0, 255)
            canvas = Image.new("RGB", (SIZE, SIZE), tuple(int(v) for v in rgb))
        else:
            canvas = self.places[scene.ground - len(NAMES)][self.rng.integers(DRAWN)].copy()
        for f in reversed(scene.figures):  # of a stack the lower one first
            sprite = self.images[f.thing].resize((f.size, f.size), Image.Resampling.LANCZOS, reducing_gap=3.0).convert("RGBA")
            canvas.paste(sprite, (f.cx - f.size // 2, f.cy - f.size // 2), sprite)
        return np.asarray(canvas)

    def caption(self, scene):
        return caption(scene, self.sprites, self.rng)


def with_size(name, word):
    """("an apple", "small") -> "a small apple"."""
    if not word:
        return name
    first, _, rest = name.partition(" ")
    return f"a {word} {rest}" if first in ("a", "an") else f"{word} {name}"


def bare(name):
    first, _, rest = name.partition(" ")
    return rest if first in ("a", "an") else name


def caption(scene, sprites, rng):
    pick = lambda *options: str(rng.choice(options))
    synonym = lambda word: {"": "", "small": pick("small", "small", "tiny", "little"), "big": pick("big", "big", "large", "huge")}[word]
    what = _what(scene, sprites, rng, pick, synonym)
    where = ""
    if scene.side:
        where = pick(f" on the {scene.side}", f" at the {scene.side}") if scene.side in ("left", "right") else f" at the {scene.side}"
    elif len(scene.figures) == 1 and rng.random() < 0.08:
        where = pick(" in the middle", " in the center")
    form = rng.random()
    if scene.ground >= len(NAMES):
        place = pick(*places.WORDS[GROUNDS[scene.ground]])
        if form < 0.12:
            return f"{place}, {what}{where}"
        return f"{pick('a picture of ', 'a drawing of ') if form > 0.92 else ''}{what}{where} {place}"
    colour = NAMES[scene.ground]
    if colour == "gray" and rng.random() < 0.3:
        colour = "grey"
    ground = pick(f"{colour} background", f"a {colour} background") if colour != "orange" else pick("orange background", "an orange background")
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


def _what(scene, sprites, rng, pick, synonym):
    """The things in words: one in three times, a thing that has other names gets one of them."""
    def name(i, word=""):
        others = sprites.others[i] if i < len(sprites.others) else []
        said = pick(*others) if others and rng.random() < 0.33 else sprites.names[i]
        return with_size(said, synonym(word))

    shown = [f.thing for f in scene.figures]
    if scene.kind in ("two", "three"):
        words = NUMBERS[len(shown)]
        return f"{words[rng.random() < 0.15]} {sprites.plurals[shown[0]]}"
    if len(shown) == 1:
        said = name(shown[0], scene.size_word)
        return bare(said) if rng.random() < 0.2 else said
    words = [name(i, word) for i, word in zip(shown, scene.words or ("", ""))]
    if scene.kind == "stack":
        a, b = words
        return pick(f"{a} on {b}", f"{a} on top of {b}", f"{a} on top of {b}", f"{a} standing on {b}")
    if rng.random() < 0.1:
        words = [bare(w) for w in words]
    a, b = words
    return pick(f"{a} and {b}", f"{a} and {b}", f"{a} and {b}", f"{a} next to {b}", f"{a} beside {b}", f"{a} on the left and {b} on the right",
                f"{b} to the right of {a}", f"{a} to the left of {b}")
