"""Draws one picture with OpenVINO for pictures.py: the networks of diffusers_picture.py, converted once into a
folder, then compiled for the CPU. Type int8 is the UNet with weights and activations of 8 bits (NNCF, W8A8).

    pip install torch diffusers transformers openvino nncf
    python bench/peers/openvino_picture.py --size 256 --steps 8 --type bf16 --cache openvino-networks
"""

import argparse
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from diffusers_picture import parts


class Output(torch.nn.Module):
    """A network whose first output is a tensor, as conversion wants it."""

    def __init__(self, network, call):
        super().__init__()
        self.network, self.call = network, call

    def forward(self, *inputs):
        return self.call(self.network, *inputs)


def converted(folder, name, make, inputs, quantized=False):
    """A network's file, which is written if it is not there yet."""
    path = folder / f"{name}.xml"
    if not path.exists():
        model = ov.convert_model(make(), example_input=inputs)
        if quantized:
            import nncf

            model = nncf.quantize(model, nncf.Dataset([tuple(x.numpy() for x in inputs)]), subset_size=1, model_type=nncf.ModelType.TRANSFORMER)
        folder.mkdir(parents=True, exist_ok=True)
        ov.save_model(model, path)
    return path


@torch.no_grad()
def networks(options):
    side, folder = options.size // 8, options.cache / f"{options.size}{'-small' if options.small else ''}"
    torch.manual_seed(0)
    unet, vae, text = (n.eval() for n in parts(options.small))
    inputs = (torch.randn(2, 4, side, side), torch.tensor([500, 500]), torch.randn(2, 77, 768))
    quantized = options.type == "int8"
    return (
        converted(folder, "unet-int8" if quantized else "unet", lambda: Output(unet, lambda n, x, t, c: n(x, t, c, return_dict=False)[0]), inputs, quantized),
        converted(folder, "decoder", lambda: Output(vae, lambda n, z: n.decode(z, return_dict=False)[0]), (torch.randn(1, 4, side, side),)),
        converted(folder, "text", lambda: Output(text, lambda n, ids: n(ids, return_dict=False)[0]), (torch.randint(0, 49407, (2, 77)),)),
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--type", choices=["f32", "bf16", "int8"], default="bf16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("openvino-networks"))
    parser.add_argument("--small", action="store_true", help="small networks, to try the script")
    options = parser.parse_args()
    files = networks(options)
    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32" if options.type == "f32" else "bf16", "INFERENCE_NUM_THREADS": options.threads}
    unet, decoder, text = (core.compile_model(f, "CPU", settings) for f in files)
    rng = np.random.default_rng(0)
    context = text([rng.integers(0, 49407, (2, 77))])[0]
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    table = ((1 - np.cumprod(1 - betas)) / np.cumprod(1 - betas)) ** 0.5
    times = np.linspace(0, 999, options.steps)[::-1]
    sigmas = np.append(np.interp(times, np.arange(1000), table), 0)
    side = options.size // 8
    x = rng.standard_normal((1, 4, side, side)) * sigmas[0]
    for t, sigma, after in zip(times, sigmas, sigmas[1:]):
        scaled = (x / (sigma**2 + 1) ** 0.5).astype(np.float32)
        negative, positive = unet([np.concatenate([scaled, scaled]), np.array([int(t)] * 2), context])[0]
        x = x + (negative + 7 * (positive - negative))[None] * (after - sigma)
    decoder([(x / 0.18215).astype(np.float32)])


if __name__ == "__main__":
    main()
