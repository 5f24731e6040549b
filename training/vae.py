"""The KL autoencoder of latent diffusion (Rombach et al. 2022): f = 8, 16 latent channels, weight names of the original code.

Attribute names are the checkpoint's names (encoder.down.0.block.0.norm1.weight, …): the class tree is the file's table of contents.
"""

import torch
import torch.nn.functional as F
from torch import nn

from layers import LATENT_CHANNELS, Norm, conv3


class ResnetBlock(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.norm1, self.conv1 = Norm(cin), conv3(cin, cout)
        self.norm2, self.conv2 = Norm(cout), conv3(cout, cout)
        if cin != cout:
            self.nin_shortcut = nn.Conv2d(cin, cout, 1)

    def forward(self, x):
        h = self.conv1(self.norm1(x, silu=True))
        h = self.conv2(self.norm2(h, silu=True))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class AttnBlock(nn.Module):
    """One head over all pixels."""

    def __init__(self, c):
        super().__init__()
        self.norm = Norm(c)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(c, c, 1) for _ in range(4))

    def forward(self, x):
        n, c, h, w = x.shape
        y = self.norm(x)
        q, k, v = (f(y).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))  # [n, hw, c]
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, c, h, w)
        return x + self.proj_out(y)


class Downsample(nn.Module):
    """Stride 2 with one pixel of padding on the right and at the bottom only."""

    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = conv3(c, c)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Mid(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.block_1, self.attn_1, self.block_2 = ResnetBlock(c, c), AttnBlock(c), ResnetBlock(c, c)

    def forward(self, h):
        return self.block_2(self.attn_1(self.block_1(h)))


class Level(nn.Module):
    def __init__(self, cin, cout, blocks):
        super().__init__()
        self.block = nn.ModuleList(ResnetBlock(cin if i == 0 else cout, cout) for i in range(blocks))


class Encoder(nn.Module):
    def __init__(self, ch, mult, blocks, z):
        super().__init__()
        self.conv_in = conv3(3, ch)
        self.down = nn.ModuleList()
        cin = ch
        for i, m in enumerate(mult):
            level = Level(cin, ch * m, blocks)
            cin = ch * m
            if i < len(mult) - 1:
                level.downsample = Downsample(cin)
            self.down.append(level)
        self.mid = Mid(cin)
        self.norm_out, self.conv_out = Norm(cin), conv3(cin, 2 * z)

    def forward(self, x):
        h = self.conv_in(x)
        for level in self.down:
            for block in level.block:
                h = block(h)
            if hasattr(level, "downsample"):
                h = level.downsample(h)
        return self.conv_out(self.norm_out(self.mid(h), silu=True))


class Decoder(nn.Module):
    def __init__(self, ch, mult, blocks, z):
        super().__init__()
        cin = ch * mult[-1]
        self.conv_in, self.mid = conv3(z, cin), Mid(cin)
        levels = []
        for i, m in reversed(list(enumerate(mult))):
            level = Level(cin, ch * m, blocks + 1)
            cin = ch * m
            if i > 0:
                level.upsample = Upsample(cin)
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = Norm(cin), conv3(cin, 3)

    def forward(self, z):
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            for block in level.block:
                h = block(h)
            if hasattr(level, "upsample"):
                h = level.upsample(h)
        return self.conv_out(self.norm_out(h, silu=True))


class AutoencoderKL(nn.Module):
    """`blocks` residual blocks a level in the encoder, one more in the decoder.

    The norms have 32 groups as in every SD 1.x model. With 32 channels a group is one channel: the norm before the last
    convolution then removes each channel's mean, which is the background's colour, and training crawls; with 96 it does not.
    """

    def __init__(self, ch=96, mult=(1, 1, 1, 1), blocks=0, z=LATENT_CHANNELS):
        super().__init__()
        self.encoder, self.decoder = Encoder(ch, mult, blocks, z), Decoder(ch, mult, blocks, z)
        self.quant_conv, self.post_quant_conv = nn.Conv2d(2 * z, 2 * z, 1), nn.Conv2d(z, z, 1)
        with torch.no_grad():  # start with little noise on the latents: the decoder has nothing to read otherwise
            self.quant_conv.bias[z:] = -6
            self.quant_conv.weight[z:] *= 0.1
            self.quant_conv.weight[:z] *= 3

    def encode(self, x):
        """Pictures [n, 3, h, w] in -1..1 to the mean and the log variance of the latents [n, z, h/8, w/8]."""
        mean, logvar = self.quant_conv(self.encoder(x)).float().chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))

    @torch.no_grad()
    def recentre(self, mean, factor):
        """Makes the latents (z - mean) * factor, channel by channel, in encoder and decoder both, so that pictures stay the same."""
        z = self.post_quant_conv.in_channels
        self.quant_conv.weight[:z] *= factor[:, None, None, None]
        self.quant_conv.bias[:z] = (self.quant_conv.bias[:z] - mean) * factor
        self.quant_conv.bias[z:] += 2 * factor.log()
        weight = self.post_quant_conv.weight
        self.post_quant_conv.bias += weight[:, :, 0, 0] @ mean
        weight /= factor[None, :, None, None]
