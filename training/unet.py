"""The UNet of Stable Diffusion 1.x (Rombach et al. 2022), any width and depth, with the original checkpoint's weight names."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from layers import LATENT_CHANNELS, Norm, attention, conv3

HEADS = 8


def timestep_embedding(t, dim):
    """[n] timesteps to [n, dim]: cosines, then sines, of frequencies falling from 1 to 1/10000."""
    freqs = torch.exp(-math.log(10000) / (dim // 2) * torch.arange(dim // 2, device=t.device, dtype=torch.float32))
    angles = t.float()[:, None] * freqs
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    def __init__(self, cin, cout, emb):
        super().__init__()
        self.in_layers = nn.Sequential(Norm(cin, 1e-5), nn.Identity(), conv3(cin, cout))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, cout))
        self.out_layers = nn.Sequential(Norm(cout, 1e-5), nn.Identity(), nn.Identity(), conv3(cout, cout))
        self.skip_connection = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        nn.init.zeros_(self.out_layers[3].weight)
        nn.init.zeros_(self.out_layers[3].bias)

    def forward(self, x, emb, context):
        h = self.in_layers[2](self.in_layers[0](x, silu=True))
        h = h + self.emb_layers(emb).to(h.dtype)[:, :, None, None]
        h = self.out_layers[3](self.out_layers[0](h, silu=True))
        return self.skip_connection(x) + h


class CrossAttention(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k, self.to_v = nn.Linear(context_dim, dim, bias=False), nn.Linear(context_dim, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim))

    def forward(self, x, context):
        heads = lambda y: y.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        y = attention(heads(self.to_q(x)), heads(self.to_k(context)), heads(self.to_v(context)))
        return self.to_out(y.transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner)

    def forward(self, x):
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x):
        return self.net(x)


class BasicTransformerBlock(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.attn1, self.attn2 = CrossAttention(dim, dim), CrossAttention(dim, context_dim)
        self.ff = FeedForward(dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x, context):
        y = self.norm1(x)
        x = x + self.attn1(y, y)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    def __init__(self, dim, context_dim):
        super().__init__()
        self.norm, self.proj_in = Norm(dim), nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([BasicTransformerBlock(dim, context_dim)])
        self.proj_out = nn.Conv2d(dim, dim, 1)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, x, emb, context):
        n, c, h, w = x.shape
        y = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).reshape(n, h * w, c)
        for block in self.transformer_blocks:
            y = block(y, context)
        y = y.to(x.dtype).reshape(n, h, w, c).permute(0, 3, 1, 2)
        return x + self.proj_out(y)


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.op = conv3(c, c, stride=2)

    def forward(self, x, emb, context):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = conv3(c, c)

    def forward(self, x, emb, context):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x, emb, context):
        return super().forward(x)


class UNet(nn.Module):
    """attention: the downsampling factors (1, 2, 4, …) at which blocks attend to the text."""

    def __init__(self, channels=64, mult=(1, 2), blocks=2, attention=(2,), context_dim=128, latent=LATENT_CHANNELS):
        super().__init__()
        emb = 4 * channels
        self.channels = channels
        self.time_embed = nn.Sequential(nn.Linear(channels, emb), nn.SiLU(), nn.Linear(emb, emb))
        res = lambda cin, cout: ResBlock(cin, cout, emb)
        cross = lambda c: SpatialTransformer(c, context_dim)
        self.input_blocks = nn.ModuleList([nn.ModuleList([First(latent, channels, 3, padding=1)])])
        widths, c = [channels], channels
        for level, m in enumerate(mult):
            for _ in range(blocks):
                self.input_blocks.append(nn.ModuleList([res(c, channels * m)] + [cross(channels * m)] * (2**level in attention)))
                c = channels * m
                widths.append(c)
            if level < len(mult) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(c)]))
                widths.append(c)
        self.middle_block = nn.ModuleList([res(c, c), cross(c), res(c, c)])
        self.output_blocks = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for i in range(blocks + 1):
                layers = [res(c + widths.pop(), channels * m)] + [cross(channels * m)] * (2**level in attention)
                c = channels * m
                if i == blocks and level > 0:
                    layers.append(Upsample(c))
                self.output_blocks.append(nn.ModuleList(layers))
        self.out = nn.Sequential(Norm(c, 1e-5), nn.Identity(), conv3(c, latent))
        nn.init.zeros_(self.out[2].weight)
        nn.init.zeros_(self.out[2].bias)

    def forward(self, x, t, context):
        """x [n, latent, h, w], t [n], context [n, tokens, context_dim] -> [n, latent, h, w]."""
        emb = self.time_embed(timestep_embedding(t, self.channels))
        run = lambda layers, h: _chain(layers, h, emb, context)
        h, skips = x, []
        for layers in self.input_blocks:
            h = run(layers, h)
            skips.append(h)
        h = run(self.middle_block, h)
        for layers in self.output_blocks:
            h = run(layers, torch.cat([h, skips.pop()], dim=1))
        return self.out[2](self.out[0](h, silu=True)).float()


def _chain(layers, h, emb, context):
    for layer in layers:
        h = layer(h, emb, context)
    return h
