"""Makes tiny random-weight upscalers and what they make of a picture.

Run it in any folder: python make.py. RRDBNet is written out here after the
paper (Wang et al. 2018, arXiv:1809.00219, figure 4) and the layers' names in
the files of Real-ESRGAN, ESRGAN and BSRGAN. Weights are exact in float16.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
FEATURES, GROWTH, BLOCKS = 8, 4, 2


def shapes(channels, doublings):
    """The layers under Real-ESRGAN's names: output and input channels."""
    out = {"conv_first": (FEATURES, channels)}
    for i in range(BLOCKS):
        for r in 1, 2, 3:
            for k in range(5):
                out[f"body.{i}.rdb{r}.conv{k + 1}"] = (GROWTH if k < 4 else FEATURES, FEATURES + k * GROWTH)
    out["conv_body"] = (FEATURES, FEATURES)
    for i in range(doublings):
        out[f"conv_up{i + 1}"] = (FEATURES, FEATURES)
    return out | {"conv_hr": (FEATURES, FEATURES), "conv_last": (3, FEATURES)}


def weights(channels, doublings, seed):
    g = torch.Generator().manual_seed(seed)
    out = {}
    for name, (o, i) in shapes(channels, doublings).items():
        out[name + ".weight"] = (torch.randn(o, i, 3, 3, generator=g) * (2 / (9 * i)) ** 0.5).half()
        out[name + ".bias"] = (torch.randn(o, generator=g) * 0.1).half()
    return out


def enlarge(w, x, doublings):
    conv = lambda name, x: F.conv2d(x, w[name + ".weight"].float(), w[name + ".bias"].float(), padding=1)
    lrelu = lambda x: F.leaky_relu(x, 0.2)
    first = h = conv("conv_first", x)
    for i in range(BLOCKS):
        outer = h
        for r in 1, 2, 3:
            seen = [h]
            for k in 1, 2, 3, 4:
                seen.append(lrelu(conv(f"body.{i}.rdb{r}.conv{k}", torch.cat(seen, 1))))
            h = conv(f"body.{i}.rdb{r}.conv5", torch.cat(seen, 1)) * 0.2 + h
        h = h * 0.2 + outer
    h = first + conv("conv_body", h)
    for i in range(doublings):
        h = lrelu(conv(f"conv_up{i + 1}", F.interpolate(h, scale_factor=2, mode="nearest")))
    return conv("conv_last", lrelu(conv("conv_hr", h)))


def esrgan_names(w):
    """The names in ESRGAN's own files: layers counted in a sequence, the body the second of them."""
    layers = {"conv_first": "model.0", "conv_body": f"model.1.sub.{BLOCKS}", "conv_up1": "model.3", "conv_up2": "model.6",
              "conv_hr": "model.8", "conv_last": "model.10"}
    out = {}
    for name, t in w.items():
        layer, kind = name.rsplit(".", 1)
        if layer.startswith("body."):
            _, i, r, c = layer.split(".")
            layers[layer] = f"model.1.sub.{i}.{r.upper()}.{c}.0"
        out[f"{layers[layer]}.{kind}"] = t
    return out


@torch.no_grad()
def main():
    torch.manual_seed(1)
    x = torch.rand(1, 3, 10, 14)
    four, two = weights(3, 2, 51), weights(12, 2, 52)
    torch.save({"params_ema": four}, HERE / "x4.pth")
    torch.save(esrgan_names(four), HERE / "x4-older.pth")
    save_file(two, HERE / "x2.safetensors", {"format": "pt"})
    save_file({"image": x, "x4": enlarge(four, x, 2), "x2": enlarge(two, F.pixel_unshuffle(x, 2), 2)}, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
