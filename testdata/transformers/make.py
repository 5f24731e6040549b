"""Makes the tiny Z-Image transformer of this folder and the reference values, as the diffusers library computes them in
float32.

pip install torch==2.15.0 diffusers==0.42.1 safetensors
python testdata/transformers/make.py
"""

from pathlib import Path

import torch
from diffusers import ZImageTransformer2DModel
from safetensors.torch import save_file

from tiny import randomise, usual

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)

model = randomise(ZImageTransformer2DModel(
    all_patch_size=(2,), all_f_patch_size=(1,), in_channels=4, dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
    cap_feat_dim=24, axes_dims=[8, 12, 12], axes_lens=[256, 32, 32]), 1, usual)
save_file({k: v.to(torch.float16) for k, v in model.state_dict().items()}, HERE / "zimage.safetensors")

generator = torch.Generator().manual_seed(2)
reference = {}
for case, (height, width, length) in {"filled": (12, 20, 21), "whole": (16, 8, 32)}.items():
    x = torch.randn(2, 4, height, width, generator=generator)
    context = torch.randn(2, length, 24, generator=generator)
    t = torch.tensor([0.25, 0.8])  # 0 is noise
    with torch.no_grad():
        out = model([x[i][:, None] for i in range(2)], t, [context[i] for i in range(2)], return_dict=False)[0]
    reference |= {f"{case}.x": x, f"{case}.context": context, f"{case}.timesteps": 1000 * t, f"{case}.sample": torch.stack([o[:, 0] for o in out])}
save_file(reference, HERE / "reference.safetensors")
