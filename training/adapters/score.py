"""How many pictures show what their prompts say, as a classifier sees them that `sdgo train classifier` made.

    python training/adapters/score.py --classifier judge/model.safetensors --folder pictures [--only llama]

Pictures are those of prompts.txt (pictures.py --prompts) in the order of their names, equally many of each prompt.
"""

import argparse
import json
import os
import sys

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.join(os.path.dirname(HERE), "pixel")]
from unet import Classifier  # noqa: E402, before the folder above, which has another one, is searched
from pictures import listed  # noqa: E402


def judge(classifier, paths, channels="24,48,64"):
    """The classes that pictures are seen as."""
    torch.set_num_threads(1)
    with safe_open(classifier, "pt") as f:
        labels = json.loads(f.metadata()["sdgo.pixel.labels"])
        net = Classifier(len(labels), tuple(int(c) for c in channels.split(",")))
        net.load_state_dict({k: f.get_tensor(k).float() for k in f.keys()})
    net.eval()
    seen = []
    for path in paths:
        img = Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)
        x = torch.from_numpy(np.array(img)).permute(2, 0, 1)[None].float() / 127.5 - 1
        with torch.no_grad():
            seen.append(labels[net(x, torch.zeros(1)).argmax().item()])
    return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--channels", default="24,48,64")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--only")
    args = parser.parse_args()
    icons = [icon for icon, _ in listed(os.path.join(HERE, "things.txt")) if args.only in (None, icon)]
    files = sorted(n for n in os.listdir(args.folder) if n.endswith(".png"))
    seen = judge(args.classifier, [os.path.join(args.folder, n) for n in files], args.channels)
    right = {icon: [] for icon in icons}
    for i, label in enumerate(seen):
        icon = icons[i * len(icons) // len(files)]
        right[icon].append(label == icon)
    print(", ".join(f"{icon} {sum(r)}/{len(r)}" for icon, r in right.items()))
    print("%d of %d" % (sum(sum(r) for r in right.values()), len(files)))


if __name__ == "__main__":
    main()
