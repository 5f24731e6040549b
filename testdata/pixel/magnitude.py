"""The UNet of EDM2 (Karras et al. 2024, arXiv:2312.02696, figure 21 and appendix B), whose layers preserve magnitudes, in plain
PyTorch, with the authors' names of weights."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def unit(x, dims):
    """x over 1e-4 and its root mean square along dims."""
    return x / (1e-4 + x.square().mean(dim=dims, keepdim=True).sqrt())


def silu(x):
    return F.silu(x) / 0.596


def mix(a, b, t):
    return ((1 - t) * a + t * b) / math.sqrt((1 - t) ** 2 + t**2)


class MPConv(nn.Module):
    """A convolution or, without kernel, a linear layer; each row of its weight has a length of 1."""

    def __init__(self, c_in, c_out, kernel=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, *[kernel, kernel] if kernel else []))

    def forward(self, x, gain=1):
        rows = self.weight.flatten(1)
        w = (unit(rows, 1) * gain / math.sqrt(rows.shape[1])).view_as(self.weight)
        return x @ w.T if w.ndim == 2 else F.conv2d(x, w, padding=w.shape[-1] // 2)


class MPFourier(nn.Module):
    def __init__(self, count):
        super().__init__()
        self.register_buffer("freqs", 2 * math.pi * torch.randn(count))
        self.register_buffer("phases", 2 * math.pi * torch.rand(count))

    def forward(self, t):
        return (t[:, None] * self.freqs + self.phases).cos() * math.sqrt(2)


class MPBlock(nn.Module):
    def __init__(self, c_in, c_out, embed, encoder, resample=None, heads=0):
        super().__init__()
        self.encoder, self.resample, self.heads = encoder, resample, heads
        self.emb_gain = nn.Parameter(torch.tensor(0.4))
        self.conv_res0, self.emb_linear = MPConv(c_out if encoder else c_in, c_out, 3), MPConv(embed, c_out)
        self.conv_res1 = MPConv(c_out, c_out, 3)
        self.conv_skip = MPConv(c_in, c_out, 1) if c_in != c_out else None
        self.attn_qkv, self.attn_proj = (MPConv(c_out, 3 * c_out, 1), MPConv(c_out, c_out, 1)) if heads else (None, None)

    def forward(self, x, emb):
        if self.resample:
            x = F.avg_pool2d(x, 2) if self.resample == "down" else F.interpolate(x, scale_factor=2, mode="nearest")
        skip = self.conv_skip or (lambda x: x)
        if self.encoder:
            x = unit(skip(x), 1)
        y = self.conv_res0(silu(x))
        y = self.conv_res1(silu(y * (1 + self.emb_linear(emb, self.emb_gain))[:, :, None, None]))
        x = mix(x if self.encoder else skip(x), y, 0.3)
        if self.heads:
            n, c, h, w = x.shape
            q, k, v = unit(self.attn_qkv(x).view(n, self.heads, c // self.heads, 3, h * w), 2).unbind(3)
            weights = torch.softmax(torch.einsum("nhcq,nhck->nhqk", q, k) / math.sqrt(c // self.heads), dim=-1)
            a = torch.einsum("nhqk,nhck->nhcq", weights, v).reshape(x.shape)
            x = mix(x, self.attn_proj(a), 0.3)
        return x.clamp(-256, 256)


class MPUNet(nn.Module):
    def __init__(self, side, channels, width, mult, blocks, attention, head_dim, classes=0):
        super().__init__()
        widths = [width * m for m in mult]
        embed = max(widths)
        self.out_gain = nn.Parameter(torch.tensor(0.7))
        self.emb_fourier, self.emb_noise = MPFourier(widths[0]), MPConv(widths[0], embed)
        self.emb_label = MPConv(classes, embed) if classes else None
        block = lambda i, o, encoder, how=None, attend=False: MPBlock(i, o, embed, encoder, how, o // head_dim if attend else 0)
        enc, dec, skips, c = {f"{side}x{side}_conv": MPConv(channels + 1, widths[0], 3)}, {}, [widths[0]], widths[0]
        for level, o in enumerate(widths):
            name, attend = f"{side >> level}x{side >> level}_", side >> level in attention
            if level:
                enc[name + "down"] = block(c, c, True, "down")
                skips.append(c)
            for i in range(blocks):
                enc[f"{name}block{i}"] = block(c, o, True, attend=attend)
                c = o
                skips.append(c)
        for level in reversed(range(len(widths))):
            name, attend, o = f"{side >> level}x{side >> level}_", side >> level in attention, widths[level]
            if level + 1 == len(widths):
                dec[name + "in0"], dec[name + "in1"] = block(c, c, False, attend=True), block(c, c, False)
            else:
                dec[name + "up"] = block(c, c, False, "up")
            for i in range(blocks + 1):
                dec[f"{name}block{i}"] = block(c + skips.pop(), o, False, attend=attend)
                c = o
        self.enc, self.dec, self.out_conv = nn.ModuleDict(enc), nn.ModuleDict(dec), MPConv(c, channels, 3)

    def forward(self, x, t, y=None):
        """y is one-hot; zeros stand for no class."""
        emb = self.emb_noise(self.emb_fourier(t))
        if y is not None:
            emb = mix(emb, self.emb_label(y * math.sqrt(y.shape[1])), 0.5)
        emb, skips = silu(emb), []
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        for name, module in self.enc.items():
            x = module(x) if name.endswith("_conv") else module(x, emb)
            skips.append(x)
        for name, module in self.dec.items():
            if "block" in name:
                s = skips.pop()
                a, b = x.shape[1], s.shape[1]
                x = torch.cat([x * math.sqrt((a + b) / a / 2), s * math.sqrt((a + b) / b / 2)], dim=1)
            x = module(x, emb)
        return self.out_conv(x, self.out_gain)
