"""Times a LoRA's training steps in PyTorch with diffusers and peft: the UNet of Stable
Diffusion 1.5 (random weights of full size), one picture of 256x256 pixels, rank 16 on the
projections of all attention layers, AdamW. Prints the seconds and the processors' seconds of
each step, their medians and the peak memory.

    pip install torch diffusers peft
    python bench/peers/lora_step.py --type bf16 --threads 2
"""

import argparse
import resource
import statistics
import time

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig


def network(dtype):
    unet = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    )
    unet.to(dtype).requires_grad_(False)
    unet.add_adapter(LoraConfig(r=16, lora_alpha=16, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
    factors = [p for p in unet.parameters() if p.requires_grad]
    for p in factors:
        p.data = p.data.float()
    return unet, factors


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--type", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    half = options.type == "bf16"
    unet, factors = network(torch.bfloat16 if half else torch.float32)
    optimizer = torch.optim.AdamW(factors, lr=1e-4)
    x, context = torch.randn(1, 4, 32, 32).to(unet.dtype), torch.randn(1, 77, 768).to(unet.dtype)
    target, t = torch.randn(1, 4, 32, 32), torch.tensor([500])
    walls, users = [], []
    for _ in range(options.steps):
        wall, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            out = unet(x, t, context).sample
        torch.nn.functional.mse_loss(out.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()
        after = resource.getrusage(resource.RUSAGE_SELF)
        walls.append(time.monotonic() - wall)
        users.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        print(f"{walls[-1]:.2f} s, {users[-1]:.2f} s of the processors")
    print(
        f"{options.type}: median {statistics.median(walls):.2f} s, {statistics.median(users):.2f} s of the processors, "
        f"{after.ru_maxrss / 1e6:.2f} GB at most"
    )


if __name__ == "__main__":
    main()
