"""Writes sparse files of full size with the names and shapes of pruned and distilled models.

    python skeletons.py FOLDER

Each is a single file in the original layout, whose UNet is that of the published
configuration at its true width; the other parts are those of ../convert/families. All
weights are zero, so a file takes no space on the disk. For tests by hand:

    for f in FOLDER/*; do sdgo info $f; sdgo txt2img -m $f --steps 1 -W 64 -H 64 -o x.png; done
"""

import gzip
import json
import sys
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel

import make

HERE = Path(__file__).resolve().parent
FAMILIES = HERE.parent / "convert" / "families" / "families.tsv.gz"
SIZES = {"F16": 2, "F32": 4, "I64": 8}


def parts(family):
    """The tensors beside the UNet."""
    for line in gzip.open(FAMILIES, "rt"):
        name, tensor, dtype, shape = line.rstrip("\n").split("\t")
        if name == family and not tensor.startswith(make.PREFIX):
            yield tensor, dtype, [int(d) for d in shape.split(",")] if shape else []


def unet(name):
    """The tensors of the UNet at its true width."""
    settings = dict(make.NETS[name])
    levels, first = settings.pop("levels", 3), 0 if "levels" in make.NETS[name] else 1
    last = first + settings.pop("attention", 2)
    has = [first <= i < last for i in range(levels)]
    kinds = [(make.CROSS if a else make.PLAIN) for a in has]
    if first:
        settings |= {"cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20), "addition_time_embed_dim": 256,
                     "projection_class_embeddings_input_dim": 2816}
    else:
        settings |= {"cross_attention_dim": 768}
    widths = (320, 640, 1280, 1280)[:levels]
    with torch.device("meta"):
        net = UNet2DConditionModel(block_out_channels=widths, down_block_types=[k.format("Down") for k in kinds],
                                   up_block_types=[k.format("Up") for k in reversed(kinds)], **settings)
    for key, v in net.state_dict().items():
        yield make.original(key, net.config.layers_per_block, levels, has), "F16", list(v.shape)


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in make.NETS:
        header, at = {}, 0
        for tensor, dtype, shape in [*parts("sdxl" if "levels" not in make.NETS[name] else "sd1"), *unet(name)]:
            end = at + SIZES[dtype]
            for d in shape:
                end += (end - at) * (d - 1)
            header[tensor] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
            at = end
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(folder / f"{name}.safetensors", "wb") as f:
            f.write(len(text).to_bytes(8, "little") + text)
            f.truncate(8 + len(text) + at)


if __name__ == "__main__":
    main()
