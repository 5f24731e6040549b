"""Writes prompts.txt: 500 prompts of thing+background pairs that training never saw, one a line: prompt, icon, colour.

A pair is left out where the thing can hardly be seen: its mean colour is nearer than 60 (of 441) to the background's.
"""

import hashlib
import os

import numpy as np

import data
from scenes import NAMES, PALETTE, held_out, with_size

COUNT = 500
FORMS = [
    ("", "{} on {}"), ("", "{} on {}"), ("", "{} on {}"), ("", "{}, {}"), ("big", "{} on {}"),
    ("small", "{} on {}"), ("", "{} on the left on {}"), ("small", "{} on the right, {}"),
]


def visible(sprite, colour):
    alpha = sprite[..., 3].astype(np.float64)
    mean = sprite[..., :3].reshape(-1, 3).sum(0) * 255 / alpha.sum()
    return np.linalg.norm(mean - PALETTE[colour]) >= 60


def choose(sprites):
    pairs = [(n, i, c) for n, i in enumerate(sprites.ids[: len(sprites.names)]) for c in held_out(i) if visible(sprites.pixels[n], c)]
    pairs.sort(key=lambda pair: hashlib.sha256(f"{pair[1]}+{pair[2]}".encode()).digest())
    seen, first, rest = set(), [], []
    for pair in pairs:  # a thing's second pair comes after every thing's first
        (rest if pair[0] in seen else first).append(pair)
        seen.add(pair[0])
    lines = []
    for k, (n, icon, c) in enumerate((first + rest)[:COUNT]):
        size, form = FORMS[k % len(FORMS)]
        ground = f"{'an' if NAMES[c] == 'orange' else 'a'} {NAMES[c]} background"
        lines.append(f"{form.format(with_size(sprites.names[n], size), ground)}\t{icon}\t{NAMES[c]}\n")
    return lines


def path():
    return os.path.join(data.HERE, "prompts.txt")


def read():
    """[(prompt, icon, colour), …]"""
    with open(path(), encoding="utf-8") as f:
        return [tuple(line.rstrip("\n").split("\t")) for line in f]


def prepare(sprites):
    if not os.path.exists(path()):
        with open(path(), "w", encoding="utf-8") as f:
            f.writelines(choose(sprites))
