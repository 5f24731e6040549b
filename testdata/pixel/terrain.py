"""Draws the pictures terrain-*.png with the package adaptive-terrain-diffusion 0.4.2 (MIT): its ONNX file under onnxruntime.

python terrain.py terrain_consistency_unet_difficulty100.onnx

One step from sigma 80, as its README draws, but with PyTorch's noise: seed i for the i-th difficulty.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image

HERE = Path(__file__).resolve().parent


def main():
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    for i, difficulty in enumerate((0.01, 0.4, 1.0)):
        noise = 80 * torch.randn(1, 1, 128, 128, generator=torch.Generator().manual_seed(i)).numpy()
        feed = {"noisy": noise, "sigma": np.float32([80]), "difficulty": np.float32([difficulty])}
        (got,) = session.run(None, feed)
        levels = np.clip((got[0, 0].astype(np.float64) + 1) * 127.5, 0, 255)
        Image.fromarray(np.round(levels).astype(np.uint8)).save(HERE / f"terrain-{difficulty:g}.png", optimize=True)


if __name__ == "__main__":
    main()
