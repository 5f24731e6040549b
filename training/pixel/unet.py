"""A UNet on pixels and a classifier of noisy pictures, with the weight names of improved and guided diffusion (Nichol and
Dhariwal 2021, arXiv:2102.09672, arXiv:2105.05233), so that any program that reads their files reads these."""

import math
import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

sys.path[1:1] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
from layers import Norm  # noqa: E402

GROUPS = 8  # of each normalisation; 32 would leave one channel in some of them, and take away its mean
HEADS = 4


def timestep_embedding(t, dim):
    """[n] steps to [n, dim]: cosines, then sines, of frequencies falling from 1 to 1/10000."""
    freqs = torch.exp(-math.log(10000) / (dim // 2) * torch.arange(dim // 2, dtype=torch.float32))
    angles = t.float()[:, None] * freqs
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def norm(c):
    return Norm(c, 1e-5, GROUPS)


def zero(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class ResBlock(nn.Module):
    """change: 0, or -1 and 1 for a block that halves and doubles the size."""

    def __init__(self, cin, cout, emb, change=0):
        super().__init__()
        self.change = change
        self.in_layers = nn.Sequential(norm(cin), nn.Identity(), nn.Conv2d(cin, cout, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, 2 * cout))
        self.out_layers = nn.Sequential(norm(cout), nn.Identity(), nn.Identity(), zero(nn.Conv2d(cout, cout, 3, padding=1)))
        self.skip_connection = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def resize(self, x):
        if self.change < 0:
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2.0, mode="nearest") if self.change > 0 else x

    def forward(self, x, emb):
        h = self.in_layers[2](self.resize(self.in_layers[0](x, silu=True)))
        scale, shift = self.emb_layers(emb).to(h.dtype)[:, :, None, None].chunk(2, dim=1)
        h = self.out_layers[3](F.silu(self.out_layers[0](h) * (1 + scale) + shift))
        return self.skip_connection(self.resize(x)) + h


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.qkv, self.proj_out = norm(c), nn.Conv1d(c, 3 * c, 1), zero(nn.Conv1d(c, c, 1))

    def forward(self, x, emb):
        n, c, h, w = x.shape
        y = attend(self.qkv(self.norm(x).reshape(n, c, h * w)), HEADS)
        return x + self.proj_out(y).reshape(n, c, h, w)


def attend(qkv, heads):
    """[n, 3 c, tokens], all queries first, to [n, c, tokens]."""
    q, k, v = (y.unflatten(1, (heads, -1)) for y in qkv.chunk(3, dim=1))
    scores = (q * q.shape[2] ** -0.5).transpose(-1, -2) @ k
    return (v @ scores.softmax(-1).to(v.dtype).transpose(-1, -2)).flatten(1, 2)


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.op = nn.Conv2d(c, c, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Down(nn.Module):
    """The way down and the middle, which both nets have."""

    def __init__(self, channels, blocks, attention, resample_blocks):
        super().__init__()
        first, self.emb = channels[0], 4 * channels[0]
        self.time_embed = nn.Sequential(nn.Linear(first, self.emb), nn.SiLU(), nn.Linear(self.emb, self.emb))
        self.input_blocks = nn.ModuleList([nn.ModuleList([First(3, first, 3, padding=1)])])
        self.widths, c = [first], first
        for level, width in enumerate(channels):
            for _ in range(blocks):
                self.input_blocks.append(nn.ModuleList([ResBlock(c, width, self.emb)] + ([Attention(width)] if level in attention else [])))
                c = width
                self.widths.append(c)
            if level < len(channels) - 1:
                self.input_blocks.append(nn.ModuleList([ResBlock(c, c, self.emb, -1) if resample_blocks else Downsample(c)]))
                self.widths.append(c)
        self.middle_block = nn.ModuleList([ResBlock(c, c, self.emb), Attention(c), ResBlock(c, c, self.emb)])

    def embed(self, t):
        return self.time_embed(timestep_embedding(t, self.time_embed[0].in_features))

    def down(self, x, emb):
        skips = []
        for layers in self.input_blocks:
            x = run(layers, x, emb)
            skips.append(x)
        return run(self.middle_block, x, emb), skips


def run(layers, x, emb):
    for layer in layers:
        x = layer(x, emb)
    return x


class UNet(Down):
    """classes: rows of the table, the one for no class among them."""

    def __init__(self, classes, channels=(32, 64, 96), blocks=1, attention=(2,)):
        super().__init__(channels, blocks, attention, False)
        self.label_emb = nn.Embedding(classes, self.emb)
        self.output_blocks = nn.ModuleList()
        widths, c = list(self.widths), channels[-1]
        for level, width in reversed(list(enumerate(channels))):
            for i in range(blocks + 1):
                layers = [ResBlock(c + widths.pop(), width, self.emb)] + ([Attention(width)] if level in attention else [])
                c = width
                if i == blocks and level > 0:
                    layers.append(Upsample(c))
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(norm(c), nn.Identity(), zero(nn.Conv2d(c, 3, 3, padding=1)))

    def forward(self, x, t, labels):
        """x [n, 3, h, w], t [n] from 0 to 999, labels [n] -> v [n, 3, h, w]."""
        emb = self.embed(t) + self.label_emb(labels)
        h, skips = self.down(x, emb)
        for layers in self.output_blocks:
            h = run(layers, torch.cat([h, skips.pop()], dim=1), emb)
        return self.out[2](self.out[0](h, silu=True)).float()


class Pool(nn.Module):
    """CLIP's attention pooling: what the mean of all positions attends to."""

    def __init__(self, c, positions, classes):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(c, positions + 1) / c**0.5)
        self.qkv_proj, self.c_proj = nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, classes, 1)

    def forward(self, x):
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=-1, keepdim=True), x], dim=-1) + self.positional_embedding.to(x.dtype)
        return attend(self.qkv_proj(x), HEADS)[:, :, :1]


class Classifier(Down):
    """Which of the classes a noisy picture shows; guided diffusion's layout."""

    def __init__(self, classes, channels=(24, 48, 72), blocks=1, attention=(2,), side=32):
        super().__init__(channels, blocks, attention, True)
        positions = (side >> (len(channels) - 1)) ** 2
        self.out = nn.Sequential(norm(channels[-1]), nn.Identity(), Pool(channels[-1], positions, classes))

    def features(self, x, t):
        """[n, channels]: what the last layer makes logits of."""
        h, _ = self.down(x, self.embed(t))
        return self.out[2](self.out[0](h, silu=True)).float()[:, :, 0]

    def forward(self, x, t):
        """x [n, 3, side, side], t [n] -> logits [n, classes]."""
        last = self.out[2].c_proj
        return F.linear(self.features(x, t), last.weight[:, :, 0], last.bias)
