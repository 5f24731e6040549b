"""Pictures of new things for adapters of the built-in model, in the way of its training set (scenes.py): one thing on a plain background.

    python training/adapters/pictures.py --work DIR -o new                      # things.txt with captions, for `sdgo train lora`
    python training/adapters/pictures.py --work DIR -o one --only llama --count 12   # for `sdgo train embedding`
    python training/adapters/pictures.py --work DIR -o judge --classes          # folders by class, for `sdgo train classifier`
    python training/adapters/pictures.py --work DIR --prompts prompts.txt       # prompts whose colours no picture has, with the icon
    python training/adapters/pictures.py --work DIR --thumbnails new.png        # 32x32 each, which builtin's test compares with

Pictures are Google's Noto Emoji, Apache 2.0 (npm package @iconify-json/noto 1.2.9). With --classes there are known things, too, every
24th of the model's, and all are in the middle. Two backgrounds of each thing are held out, as in the model's own training.
"""

import argparse
import json
import os
import sys

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.dirname(HERE)]
import data  # noqa: E402
import scenes  # noqa: E402


def listed(path):
    with open(path, encoding="utf-8") as f:
        return [tuple(line.rstrip("\n").split("\t")) for line in f if line.strip() and not line.startswith("#")]


def sprites(work, chosen):
    package = data.fetch(os.path.join(work, "dl"))
    with open(os.path.join(package, "icons.json"), encoding="utf-8") as f:
        icons = json.load(f)["icons"]
    return data.Sprites(np.stack([data._render(icons[i]["body"]) for i, _ in chosen]), [i for i, _ in chosen], [name for _, name in chosen])


def single(composer, thing, plain):
    """A scene of this thing alone on a colour, in the middle if plain."""
    kind = "plain" if plain else str(composer.rng.choice(["plain", "plain", "big", "small", "side", "small side"]))
    colours = [c for c in range(len(scenes.NAMES)) if c not in composer.banned[thing]]
    return composer.scene(thing, int(composer.rng.choice(colours)), kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("-o", "--output")
    parser.add_argument("--count", type=int, default=24, help="pictures of each thing")
    parser.add_argument("--only", help="one thing of things.txt; its captions have {} in place of its name")
    parser.add_argument("--classes", action="store_true")
    parser.add_argument("--prompts")
    parser.add_argument("--thumbnails")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    chosen = [t for t in listed(os.path.join(HERE, "things.txt")) if args.only in (None, t[0])]
    if args.prompts:
        with open(args.prompts, "w", encoding="utf-8") as f:
            for icon, name in chosen:
                for colour in scenes.held_out(icon):
                    f.write(f"{name} on a {scenes.NAMES[colour]} background\t{icon}\n".replace(" a orange", " an orange"))
        return
    if args.thumbnails:
        sheet = Image.new("RGBA", (32 * len(chosen), 32))
        for i, pixels in enumerate(sprites(args.work, chosen).pixels):
            sheet.paste(Image.fromarray(pixels, "RGBa").resize((32, 32), Image.Resampling.BOX).convert("RGBA"), (32 * i, 0))
        sheet.save(args.thumbnails, optimize=True)
        return
    if args.classes:
        chosen += [(t.icon, t.name) for t in data.things()[::24]]
    if args.only:
        chosen = [(chosen[0][0], "{}")]
    composer = scenes.Composer(sprites(args.work, chosen), args.seed)
    for k, (icon, _) in enumerate(chosen):
        folder = os.path.join(args.output, icon) if args.classes else args.output
        os.makedirs(folder, exist_ok=True)
        for i in range(args.count):
            scene = single(composer, k, args.classes)
            stem = os.path.join(folder, f"{icon}-{i:02}")
            Image.fromarray(composer.draw(scene)).save(stem + ".png")
            if not args.classes:
                with open(stem + ".txt", "w", encoding="utf-8") as f:
                    f.write(composer.caption(scene))


if __name__ == "__main__":
    main()
