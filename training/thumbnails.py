#!/usr/bin/env python3
"""Writes the sheet of small pictures of every thing that builtin's test compares with: 32x32 each, 20 a row, in things.txt's order.

    python training/thumbnails.py --work DIR --output builtin/testdata/things.png
"""

import argparse

import numpy as np
from PIL import Image

import data

SIDE, COLUMNS = 32, 20


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", default="work")
    p.add_argument("--output", required=True)
    args = p.parse_args()
    sprites = data.prepare(args.work)
    count = len(sprites.names)
    sheet = Image.new("RGBA", (SIDE * COLUMNS, SIDE * -(-count // COLUMNS)))
    for i in range(count):
        small = Image.fromarray(sprites.pixels[i], "RGBa").resize((SIDE, SIDE), Image.Resampling.BOX).convert("RGBA")
        sheet.paste(small, (i % COLUMNS * SIDE, i // COLUMNS * SIDE))
    pixels = np.asarray(sheet).copy()
    pixels[pixels[..., 3] == 0] = 0  # no colour where nothing is, and fewer colours: smaller
    pixels = (pixels.astype(np.float32) / 8).round().clip(0, 31) * 255 / 31
    pixels = pixels.round().astype(np.uint8)
    Image.fromarray(pixels).save(args.output, optimize=True)


if __name__ == "__main__":
    main()
