"""Writes the lists of prompts that scores are of, in the folder prompts: held-out pairs of a thing and a background, of a thing and a
place, and of two things. One prompt a line: prompt, icons with commas between, background, how many figures.

A pair is left out where the thing can hardly be seen: its mean colour is nearer than 60 (of 441) to the background's.
`prompts.txt` is the list of the first model, one of its 333 things each.
"""

import os

import numpy as np

import data
import places
from scenes import GROUNDS, NAMES, NUMBERS, PALETTE, rank, held_out, held_pair, held_place, with_size

COUNTS = {"one": 500, "two": 150, "three": 150, "pair": 200, "stack": 100, "place": 100}
FORMS = [
    ("", "{} on {}"), ("", "{} on {}"), ("", "{} on {}"), ("", "{}, {}"), ("big", "{} on {}"),
    ("small", "{} on {}"), ("", "{} on the left on {}"), ("small", "{} on the right, {}"),
]
TOGETHER = ["{} and {}", "{} next to {}", "{} on the left and {} on the right", "{} and {}"]


def folder():
    return os.path.join(data.HERE, "prompts")


def visible(sprite, colour):
    alpha = sprite[..., 3].astype(np.float64)
    mean = sprite[..., :3].reshape(-1, 3).sum(0) * 255 / alpha.sum()
    return np.linalg.norm(mean - PALETTE[colour]) >= 60


def on(colour):
    return f"on {'an' if NAMES[colour] == 'orange' else 'a'} {NAMES[colour]} background"


class Chooser:
    def __init__(self, sprites):
        self.sprites, self.icons = sprites, sprites.ids[: len(sprites.names)]
        self.seen = [[visible(sprites.pixels[n], c) for c in range(len(NAMES))] for n in range(len(self.icons))]

    def pairs(self):
        """Held-out (thing, colour), every thing's first before any thing's second."""
        pairs = [(n, c) for n, i in enumerate(self.icons) for c in held_out(i) if self.seen[n][c]]
        pairs.sort(key=lambda pair: rank(f"{self.icons[pair[0]]}+{NAMES[pair[1]]}"))
        known = set()
        first = [known.add(n) or (n, c) for n, c in pairs if n not in known]
        return first + [pair for pair in pairs if pair not in set(first)]

    def one(self):
        for k, (n, c) in enumerate(self.pairs()):
            size, form = FORMS[k % len(FORMS)]
            names = [self.sprites.names[n], *self.sprites.others[n]]
            name = names[(k // len(FORMS)) % len(names)] if k % 5 == 0 else names[0]  # now and then another name
            yield form.format(with_size(name, size), on(c).removeprefix("on ")), [n], 1, c

    def counted(self, number):
        for n, c in self.pairs()[::-1]:
            if self.sprites.plurals[n]:
                yield f"{NUMBERS[number][0]} {self.sprites.plurals[n]} {on(c)}", [n], number, c

    def together(self, stacked):
        """Held-out pairs of things, on a colour that neither is held out on."""
        order = sorted(range(len(self.icons)), key=lambda n: rank(f"{stacked}/{self.icons[n]}"))
        for k, a in enumerate(order):
            for b in order[k + 1 : k + 40]:
                free = [c for c in range(len(NAMES)) if self.seen[a][c] and self.seen[b][c]
                        and not {c} & {*held_out(self.icons[a]), *held_out(self.icons[b])}]
                if held_pair(self.icons[a], self.icons[b]) and free:
                    form = "{} on top of {}" if stacked else TOGETHER[k % len(TOGETHER)]
                    c = free[k % len(free)]
                    yield f"{form.format(self.sprites.names[a], self.sprites.names[b])} {on(c)}", [a, b], 2, c
                    break

    def place(self):
        for n in sorted(range(len(self.icons)), key=lambda n: rank(f"place/{self.icons[n]}")):
            ground = held_place(self.icons[n])
            yield f"{self.sprites.names[n]} {places.WORDS[GROUNDS[ground]][0]}", [n], 1, ground


def read(name):
    """[(prompt, icons, ground, figures), …] of one of the lists; "first" is that of the first model."""
    with open(os.path.join(data.HERE, "prompts.txt") if name == "first" else os.path.join(folder(), name + ".txt"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f]
    return [(prompt, icons.split(","), ground, int(*figures or [1])) for prompt, icons, ground, *figures in rows]


def prepare(sprites):
    if os.path.exists(folder()):
        return
    chooser = Chooser(sprites)
    lists = {"one": chooser.one(), "two": chooser.counted(2), "three": chooser.counted(3), "pair": chooser.together(False),
             "stack": chooser.together(True), "place": chooser.place()}
    os.makedirs(folder())
    for name, rows in lists.items():
        with open(os.path.join(folder(), name + ".txt"), "w", encoding="utf-8") as f:
            for _, (prompt, things, figures, ground) in zip(range(COUNTS[name]), rows):
                f.write(f"{prompt}\t{','.join(chooser.icons[n] for n in things)}\t{GROUNDS[ground]}\t{figures}\n")
