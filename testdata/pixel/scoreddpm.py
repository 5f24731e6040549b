"""The DDPM's network as score_sde has it, in plain PyTorch."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class ScoreMatrix(nn.Module):
    """A layer over channels whose matrix has a row for each input."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.W, self.b = nn.Parameter(torch.randn(c_in, c_out) / c_in**0.5), nn.Parameter(torch.zeros(c_out))

    def forward(self, x):
        return torch.einsum("nihw,io->nohw", x, self.W) + self.b[:, None, None]


class ScoreDDPMBlock(nn.Module):
    def __init__(self, c_in, c_out, embed, groups):
        super().__init__()
        self.GroupNorm_0, self.Conv_0, self.Dense_0 = nn.GroupNorm(groups, c_in, eps=1e-6), nn.Conv2d(c_in, c_out, 3, padding=1), nn.Linear(embed, c_out)
        self.GroupNorm_1, self.Conv_1 = nn.GroupNorm(groups, c_out, eps=1e-6), nn.Conv2d(c_out, c_out, 3, padding=1)
        self.NIN_0 = ScoreMatrix(c_in, c_out) if c_in != c_out else None

    def forward(self, x, emb):
        h = self.Conv_0(F.silu(self.GroupNorm_0(x))) + self.Dense_0(F.silu(emb))[:, :, None, None]
        return (self.NIN_0(x) if self.NIN_0 else x) + self.Conv_1(F.silu(self.GroupNorm_1(h)))


class ScoreDDPMAttention(nn.Module):
    def __init__(self, c, groups):
        super().__init__()
        self.GroupNorm_0 = nn.GroupNorm(groups, c, eps=1e-6)
        self.NIN_0, self.NIN_1, self.NIN_2, self.NIN_3 = (ScoreMatrix(c, c) for _ in range(4))

    def forward(self, x, emb):
        h = self.GroupNorm_0(x)
        q, k, v = (m(h).flatten(2) for m in (self.NIN_0, self.NIN_1, self.NIN_2))
        weights = torch.softmax(q.transpose(1, 2) @ k / x.shape[1] ** 0.5, dim=-1)
        return x + self.NIN_3((v @ weights.transpose(1, 2)).view(x.shape))


class ScoreDDPMResize(nn.Module):
    def __init__(self, c, up):
        super().__init__()
        self.up, self.Conv_0 = up, nn.Conv2d(c, c, 3, stride=1 if up else 2, padding=int(up))

    def forward(self, x, emb):
        return self.Conv_0(F.interpolate(x, scale_factor=2, mode="nearest") if self.up else F.pad(x, (0, 1, 0, 1)))


class ScoreDDPM(nn.Module):
    """The DDPM's network (Ho et al. 2020) as score_sde has it, under its names: all modules in one list, attention once after a level of the way up."""

    def __init__(self, width, mult, blocks, attention, groups):
        super().__init__()
        embed, c, skips, self.width = 4 * width, width, [width], width
        down, up = [], []
        for level, m in enumerate(mult):
            for _ in range(blocks):
                down.append([ScoreDDPMBlock(c, width * m, embed, groups)] + ([ScoreDDPMAttention(width * m, groups)] if attention[level] else []))
                c = width * m
                skips.append(c)
            if level + 1 < len(mult):
                down.append([ScoreDDPMResize(c, False)])
                skips.append(c)
        middle = [ScoreDDPMBlock(c, c, embed, groups), ScoreDDPMAttention(c, groups), ScoreDDPMBlock(c, c, embed, groups)]
        for level in reversed(range(len(mult))):
            for i in range(blocks + 1):
                up.append([ScoreDDPMBlock(c + skips.pop(), width * mult[level], embed, groups)])
                c = width * mult[level]
            up[-1] += ([ScoreDDPMAttention(c, groups)] if attention[level] else []) + ([ScoreDDPMResize(c, True)] if level else [])
        self.parts = [len(m) for m in down], [len(m) for m in up]
        ends = [nn.Linear(width, embed), nn.Linear(embed, embed), nn.Conv2d(3, width, 3, padding=1)], [nn.GroupNorm(groups, c, eps=1e-6), nn.Conv2d(c, 3, 3, padding=1)]
        self.all_modules = nn.ModuleList([*ends[0], *(m for part in down for m in part), *middle, *(m for part in up for m in part), *ends[1]])

    def forward(self, x, t):
        modules = iter(self.all_modules)
        half = self.width // 2
        angles = t[:, None] * torch.exp(-math.log(10000) / (half - 1) * torch.arange(half))
        emb = next(modules)(torch.cat([angles.sin(), angles.cos()], dim=1))
        emb = next(modules)(F.silu(emb))
        h = next(modules)(x)
        hs = [h]
        for n in self.parts[0]:
            for _ in range(n):
                h = next(modules)(h, emb)
            hs.append(h)
        for _ in range(3):
            h = next(modules)(h, emb)
        for n in self.parts[1]:
            h = torch.cat([h, hs.pop()], dim=1)
            for _ in range(n):
                h = next(modules)(h, emb)
        h = F.silu(next(modules)(h))
        return next(modules)(h)
