"""Makes reference.safetensors: 20 steps of training a tiny UNet, and of a tiny classifier, by PyTorch.

python make.py, with ../../../training/pixel/unet.py. Made with torch 2.15. The layers that begin with zeros get small
numbers, so that every layer has a gradient from the first step on. Both nets see the same pictures and noise:
x0 and eps [20, 4, 3, 8, 8], times and classes [20, 4]; class 3 of the UNet's is none.

The UNet predicts v of a cosine schedule with min-SNR's weight at gamma 5, is trained by AdamW with a learning rate of
2e-3 that rises for 4 steps and then falls as half a cosine, gradients clipped to the norm 0.5, and its average has the
decay min(0.9, (1 + n) / (10 + n)). The classifier's labels are smoothed by 0.1, its rate is 3e-3 and its norm 1.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [str(HERE.parents[2] / "training" / "pixel"), str(HERE.parents[2] / "training")]
from unet import Classifier, UNet  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(22)
STEPS, BATCH, SIDE, CLASSES = 20, 4, 8, 3
out = {}


def alphas_cumprod():
    """The squared cosine of Nichol and Dhariwal (2021), betas at most 0.999."""
    f = torch.cos((torch.arange(1001, dtype=torch.float64) / 1000 + 0.008) / 1.008 * torch.pi / 2) ** 2
    return (1 - (1 - f[1:] / f[:-1]).clamp(max=0.999)).cumprod(0)


def begin(name, net):
    for p in net.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.05)
    for k, p in net.named_parameters():
        out[f"{name}.first.{k}"] = p.detach().clone()


def train(name, net, rate, norm, loss):
    begin(name, net)
    opt = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    average = {k: p.detach().clone() for k, p in net.named_parameters()}
    losses, norms = [], []
    for step in range(STEPS):
        factor = (step + 1) / 4 if step < 4 else 0.5 * (1 + math.cos(math.pi * (step - 4) / (STEPS - 4)))
        opt.param_groups[0]["lr"] = rate * factor
        opt.zero_grad()
        value = loss(step)
        value.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(net.parameters(), norm))
        opt.step()
        decay = min(0.9, (2 + step) / (11 + step))
        for k, p in net.named_parameters():
            average[k].lerp_(p.detach(), 1 - decay)
        losses.append(value.detach())
    out[f"{name}.losses"], out[f"{name}.norms"] = torch.stack(losses), torch.stack(norms)
    for k, p in net.named_parameters():
        out[f"{name}.last.{k}"] = p.detach().clone()
        if k in ("out.2.bias", "out.2.c_proj.bias"):
            out[f"{name}.average.{k}"] = average[k]
    print(name, sum(p.numel() for p in net.parameters()), "weights; losses", [round(v.item(), 4) for v in losses])


abar = alphas_cumprod()
shapes = torch.stack([torch.linspace(-1, 1, SIDE).sin()[None, :, None].expand(3, SIDE, SIDE) * s for s in (1, -1, 0.5)])
classes = torch.randint(0, CLASSES, (STEPS, BATCH))
x0 = (shapes[classes] + 0.1 * torch.randn(STEPS, BATCH, 3, SIDE, SIDE)).clamp(-1, 1)
eps, times = torch.randn(x0.shape), torch.randint(0, 1000, (STEPS, BATCH))
given = torch.where(torch.rand(STEPS, BATCH) < 0.2, CLASSES, classes)
out |= {"x0": x0, "eps": eps, "times": times.float(), "classes": classes.float(), "given": given.float()}


def noised(step):
    a = abar[times[step]][:, None, None, None]
    x = a.sqrt().float() * x0[step] + (1 - a).sqrt().float() * eps[step]
    v = a.sqrt().float() * eps[step] - (1 - a).sqrt().float() * x0[step]
    return x, v


unet = UNet(CLASSES + 1, (16, 24), 1, (1,))


def unet_loss(step):
    x, v = noised(step)
    a = abar[times[step]]
    snr = a / (1 - a)
    weight = (snr.clamp(max=5) / (snr + 1)).float()
    return (weight * (unet(x, times[step], given[step]) - v).square().mean(dim=(1, 2, 3))).mean()


train("unet", unet, 2e-3, 0.5, unet_loss)
classifier = Classifier(CLASSES, (16, 24), 1, (1,), SIDE)
train("classifier", classifier, 3e-3, 1.0, lambda step: F.cross_entropy(classifier(noised(step)[0], times[step]), classes[step], label_smoothing=0.1))
# What is compared at the end; all of it would be four times the size.
keep = ("out.", "time_embed.0.", "label_emb", "middle_block.1.", "input_blocks.0.")
out = {k: v.contiguous() for k, v in out.items() if ".last." not in k or k.split(".last.")[1].startswith(keep)}
save_file(out, HERE / "reference.safetensors")
