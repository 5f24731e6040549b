"""The layers that the autoencoder and the UNet share: group norm with 32 groups, optionally followed by SiLU."""

import os

import torch
import torch.nn.functional as F
from torch import nn

LATENT_CHANNELS = 16

_fused = None


def use_fused_norm(build_dir):
    """Compiles norm_silu.cpp (needs a C++ compiler and ninja); False, and plain PyTorch, where that cannot be done."""
    global _fused
    try:
        from torch.utils.cpp_extension import load

        os.makedirs(build_dir, exist_ok=True)
        here = os.path.dirname(os.path.abspath(__file__))
        flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512", "-fopenmp"]
        _fused = load("norm_silu", [os.path.join(here, "norm_silu.cpp")], extra_cflags=flags, build_directory=build_dir)
    except (RuntimeError, OSError, ImportError) as why:
        print("norm_silu: plain PyTorch instead:", str(why).splitlines()[0])
    return _fused is not None


class _FusedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, groups, eps, silu):
        x = x.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        y, mean, rstd = _fused.forward(x, weight, bias, groups, eps, silu)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        ctx.groups, ctx.silu = groups, silu
        return y

    @staticmethod
    def backward(ctx, gy):
        x, weight, bias, mean, rstd = ctx.saved_tensors
        gy = gy.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        gx, gw, gb = _fused.backward(gy, x, weight, bias, mean, rstd, ctx.groups, ctx.silu)
        return gx, gw, gb, None, None, None


class Norm(nn.GroupNorm):
    """GroupNorm, of 32 groups in SD 1.x; there eps is 1e-5 in the UNet's residual blocks and 1e-6 everywhere else."""

    def __init__(self, channels, eps=1e-6, groups=32):
        super().__init__(groups, channels, eps=eps)

    def forward(self, x, silu=False):
        if _fused is not None and not x.is_cuda and torch.is_autocast_enabled("cpu"):
            return _FusedNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps, silu)
        y = super().forward(x)
        return F.silu(y) if silu else y


def conv3(cin, cout, stride=1):
    return nn.Conv2d(cin, cout, 3, stride=stride, padding=1)


def attention(q, k, v, causal=False):
    """softmax(q k^T / sqrt(d)) v over [n, heads, tokens, d]. Written out: for heads this small PyTorch's fused backward pass is
    many times slower on a CPU."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        n = q.shape[-2]
        scores = scores + torch.full((n, n), float("-inf"), device=q.device, dtype=scores.dtype).triu(1)
    return scores.softmax(-1).to(v.dtype) @ v
