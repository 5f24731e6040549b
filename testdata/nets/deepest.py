"""Makes deepest.safetensors: the deepest features of sd1's UNet, and what it makes of another input's.

Run it after make.py: python -P deepest.py. a and b are two inputs, a that of reference.safetensors; h is
what diffusers' mid_block returns, and swapped is the output for a with b's in its place, the skip
connections being a's.
"""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    unet = UNet2DConditionModel.from_pretrained(HERE / "sd1-diffusers" / "unet", torch_dtype=torch.float32).eval()
    known = load_file(HERE / "reference.safetensors")
    a = [known[f"sd1.unet.{k}"] for k in ("x", "t", "context")]
    b = [torch.randn(a[0].shape, generator=torch.Generator().manual_seed(3)), a[1], a[2].flip(1)]
    kept, instead = [], []

    def middle(_module, _inputs, out):
        kept.append(out)
        return instead[0] if instead else None

    unet.mid_block.register_forward_hook(middle)
    outs = [unet(*v).sample for v in (a, b)]
    torch.testing.assert_close(outs[0], known["sd1.unet.out"])
    instead.append(kept[1])
    swapped = unet(*a).sample
    assert (swapped - outs[0]).abs().max() > 1e-2
    save_file({"a.h": kept[0], "b.h": kept[1], "b.x": b[0], "b.context": b[2].contiguous(), "b.out": outs[1], "swapped": swapped},
              HERE / "deepest.safetensors")


if __name__ == "__main__":
    main()
