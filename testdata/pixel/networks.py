"""The networks of models without text that the diffusers library has no class for,
written from their papers in plain PyTorch, with the authors' names of weights.

    guided diffusion   Dhariwal and Nichol 2021, arXiv:2105.05233 (UNet, classifier)
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


def sinusoids(t, width, sines_first=False, shift=0):
    half = width // 2
    f = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - shift))
    angles = t.float()[:, None] * f[None]
    parts = [angles.sin(), angles.cos()] if sines_first else [angles.cos(), angles.sin()]
    return torch.cat(parts, dim=1)


class Sequential(nn.ModuleDict):
    """Modules at the places of a sequence that have weights; what is between has none."""

    def __init__(self, **at):
        super().__init__({k.removeprefix("at"): v for k, v in at.items()})


class GuidedBlock(nn.Module):
    """A residual block; resample is None, "up" or "down"."""

    def __init__(self, c_in, c_out, embed, groups, scale_shift=True, resample=None):
        super().__init__()
        self.in_layers = Sequential(at0=nn.GroupNorm(groups, c_in), at2=nn.Conv2d(c_in, c_out, 3, padding=1))
        self.emb_layers = Sequential(at1=nn.Linear(embed, 2 * c_out if scale_shift else c_out))
        self.out_layers = Sequential(at0=nn.GroupNorm(groups, c_out), at3=nn.Conv2d(c_out, c_out, 3, padding=1))
        if c_in != c_out:
            self.skip_connection = nn.Conv2d(c_in, c_out, 1)
        self.scale_shift, self.resample = scale_shift, resample

    def resampled(self, x):
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x, emb):
        h = self.in_layers["2"](self.resampled(F.silu(self.in_layers["0"](x))))
        x = self.resampled(x)
        e = self.emb_layers["1"](F.silu(emb))[:, :, None, None]
        if self.scale_shift:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers["0"](h) * (1 + scale) + shift
        else:
            h = self.out_layers["0"](h + e)
        h = self.out_layers["3"](F.silu(h))
        return h + (self.skip_connection(x) if hasattr(self, "skip_connection") else x)


def attend(qkv, heads, by_head):
    """qkv [N, 3C, L]; the rows are those of each head in turn, or all queries first."""
    n, c3, length = qkv.shape
    d = c3 // 3 // heads
    if by_head:
        q, k, v = qkv.view(n, heads, 3, d, length).unbind(2)
    else:
        q, k, v = qkv.view(n, 3, heads, d, length).unbind(1)
    weights = torch.softmax(torch.einsum("nhdi,nhdj->nhij", q, k) / math.sqrt(d), dim=-1)
    return torch.einsum("nhij,nhdj->nhdi", weights, v).reshape(n, c3 // 3, length)


class GuidedAttention(nn.Module):
    def __init__(self, c, head_dim, groups, by_head):
        super().__init__()
        self.norm, self.qkv, self.proj_out = nn.GroupNorm(groups, c), nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c, 1)
        self.heads, self.by_head = c // head_dim, by_head

    def forward(self, x, _):
        h = self.norm(x).flatten(2)
        h = self.proj_out(attend(self.qkv(h), self.heads, self.by_head))
        return x + h.view(x.shape)


class Element(nn.ModuleDict):
    """An element of the way down or up: modules after one another."""

    def __init__(self, *modules):
        super().__init__({str(i): m for i, m in enumerate(modules)})

    def forward(self, x, emb):
        for m in self.values():
            x = m(x) if isinstance(m, nn.Conv2d) else m(x, emb)
        return x


class Half(nn.ModuleDict):
    """Improved diffusion's convolutions that change the size."""

    def __init__(self, c, up):
        super().__init__({"conv" if up else "op": nn.Conv2d(c, c, 3, stride=1 if up else 2, padding=1)})
        self.up = up

    def forward(self, x, _):
        return self["conv"](F.interpolate(x, scale_factor=2, mode="nearest")) if self.up else self["op"](x)


class Guided(nn.Module):
    """Guided diffusion's UNet, or with positions its classifier."""

    def __init__(self, width, mult, blocks, attention, head_dim, c_in, c_out, classes=None, groups=32, by_head=True,
                 scale_shift=True, resample_blocks=True, positions=None):
        super().__init__()
        self.width, embed = width, 4 * width
        self.time_embed = Sequential(at0=nn.Linear(width, embed), at2=nn.Linear(embed, embed))
        if classes:
            self.label_emb = nn.Embedding(classes, embed)
        block = lambda i, o, how=None: GuidedBlock(i, o, embed, groups, scale_shift, how)
        attend = lambda c: GuidedAttention(c, head_dim, groups, by_head)
        change = lambda c, up: block(c, c, "up" if up else "down") if resample_blocks else Half(c, up)
        c = int(mult[0] * width)
        self.input_blocks = nn.ModuleList([Element(nn.Conv2d(c_in, c, 3, padding=1))])
        skips = [c]
        for level, m in enumerate(mult):
            for _ in range(blocks):
                wide = int(m * width)
                modules = [block(c, wide)] + ([attend(wide)] if attention[level] else [])
                self.input_blocks.append(Element(*modules))
                c = wide
                skips.append(c)
            if level + 1 < len(mult):
                self.input_blocks.append(Element(change(c, False)))
                skips.append(c)
        self.middle_block = Element(block(c, c), attend(c), block(c, c))
        self.positions = positions
        if positions:
            self.out = Sequential(at0=nn.GroupNorm(groups, c), at2=Pool(c, head_dim, positions, c_out))
            return
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(len(mult))):
            for i in range(blocks + 1):
                wide = int(mult[level] * width)
                modules = [block(c + skips.pop(), wide)] + ([attend(wide)] if attention[level] else [])
                c = wide
                if level and i == blocks:
                    modules.append(change(c, True))
                self.output_blocks.append(Element(*modules))
        self.out = Sequential(at0=nn.GroupNorm(groups, c), at2=nn.Conv2d(c, c_out, 3, padding=1))

    def forward(self, x, t, y=None):
        emb = self.time_embed["2"](F.silu(self.time_embed["0"](sinusoids(t, self.width))))
        if y is not None:
            emb = emb + self.label_emb(y)
        hs, h = [], x
        for element in self.input_blocks:
            h = element(h, emb)
            hs.append(h)
        h = self.middle_block(h, emb)
        if not self.positions:
            for element in self.output_blocks:
                h = element(torch.cat([h, hs.pop()], dim=1), emb)
        return self.out["2"](F.silu(self.out["0"](h)))


class Pool(nn.Module):
    """Attention of the mean to all positions, as CLIP's image encoder has it."""

    def __init__(self, c, head_dim, positions, c_out):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(c, positions + 1) / c**0.5)
        self.qkv_proj, self.c_proj = nn.Conv1d(c, 3 * c, 1), nn.Conv1d(c, c_out, 1)
        self.heads = c // head_dim

    def forward(self, x):
        x = x.flatten(2)
        x = torch.cat([x.mean(dim=-1, keepdim=True), x], dim=-1) + self.positional_embedding[None]
        return self.c_proj(attend(self.qkv_proj(x), self.heads, False))[:, :, 0]
