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


class DiTBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.adaLN_modulation = Sequential(at1=nn.Linear(width, 6 * width))
        self.heads = heads

    def forward(self, x, c):
        norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-6)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation["1"](F.silu(c))[:, None].chunk(6, dim=-1)
        h = self.attn["qkv"](norm(x) * (1 + scale1) + shift1).transpose(1, 2)
        x = x + gate1 * self.attn["proj"](attend(h, self.heads, False).transpose(1, 2))
        h = self.mlp["fc1"](norm(x) * (1 + scale2) + shift2)
        return x + gate2 * self.mlp["fc2"](F.gelu(h, approximate="tanh"))


class DiT(nn.Module):
    """The diffusion transformer (Peebles and Xie 2023, arXiv:2212.09748)."""

    def __init__(self, width, blocks, heads, side, patch=2, c_in=4, c_out=8, classes=10, shift=0):
        super().__init__()
        self.shift = shift
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(c_in, width, patch, stride=patch)})
        self.t_embedder = nn.ModuleDict({"mlp": Sequential(at0=nn.Linear(256, width), at2=nn.Linear(width, width))})
        self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(classes + 1, width)})
        self.pos_embed = nn.Parameter(self.positions(side, width))
        self.blocks = nn.ModuleList([DiTBlock(width, heads) for _ in range(blocks)])
        self.final_layer = nn.ModuleDict({"linear": nn.Linear(width, patch * patch * c_out),
                                          "adaLN_modulation": Sequential(at1=nn.Linear(width, 2 * width))})
        self.side, self.patch, self.c_out = side, patch, c_out

    @staticmethod
    def positions(side, width):
        """The first half of a row is of the column, the second of the row."""
        rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        half = [torch.cat([(f := p.flatten().double()[:, None] / 10000 ** (torch.arange(width // 4).double() / (width / 4))[None]).sin(), f.cos()], 1)
                for p in (columns, rows)]
        return torch.cat(half, dim=1).float()[None]

    def forward(self, x, t, y):
        c = self.t_embedder["mlp"]["2"](F.silu(self.t_embedder["mlp"]["0"](sinusoids(t, 256, shift=self.shift)))) + self.y_embedder["embedding_table"](y)
        h = self.x_embedder["proj"](x).flatten(2).transpose(1, 2) + self.pos_embed
        for block in self.blocks:
            h = block(h, c)
        shift, scale = self.final_layer["adaLN_modulation"]["1"](F.silu(c))[:, None].chunk(2, dim=-1)
        h = self.final_layer["linear"](F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        h = h.view(len(x), self.side, self.side, self.patch, self.patch, self.c_out)
        return torch.einsum("nhwpqc->nchpwq", h).reshape(len(x), self.c_out, self.side * self.patch, self.side * self.patch)


class SongNorm(nn.GroupNorm):
    def __init__(self, c, eps):
        super().__init__(min(32, c // 4), c, eps=eps)


class Resampled(nn.Module):
    """A convolution, or none, of an image that a filter makes larger or smaller (fused: its border is the filter's)."""

    def __init__(self, c_in, c_out, kernel, how, taps, fused=False):
        super().__init__()
        if kernel:
            self.weight, self.bias = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel) / (c_in * kernel**2) ** 0.5), nn.Parameter(torch.zeros(c_out))
        self.kernel, self.how, self.fused = kernel, how, fused
        if how:
            f = torch.tensor(taps, dtype=torch.float32)
            self.register_buffer("resample_filter", (f[:, None] * f[None] / f.sum() ** 2)[None, None])

    def filtered(self, x):
        if not self.how:
            return x
        n, c, h, w = x.shape
        f = self.resample_filter
        p = f.shape[-1] - 2
        if self.how == "up":
            zeros = torch.zeros(n, c, 2 * h, 2 * w)
            zeros[:, :, ::2, ::2] = x
            x = F.pad(zeros, ((p + 1) // 2 + 1, p // 2) * 2)
            return F.conv2d(x, f.flip(2, 3).repeat(c, 1, 1, 1) * 4, groups=c)
        x = F.pad(x, ((p + 1) // 2, p // 2) * 2)
        return F.conv2d(x, f.repeat(c, 1, 1, 1), groups=c, stride=2)

    def forward(self, x):
        if self.fused:  # filtered with a border of 2, then every second of the convolution's results
            c = x.shape[1]
            x = F.conv2d(F.pad(x, (2, 2, 2, 2)), self.resample_filter.repeat(c, 1, 1, 1), groups=c)
            return F.conv2d(x, self.weight, self.bias, stride=2)
        x = self.filtered(x)
        return F.conv2d(x, self.weight, self.bias, padding=self.kernel // 2) if self.kernel else x


class SongBlock(nn.Module):
    def __init__(self, c_in, c_out, embed, how=None, heads=0, taps=(1, 1), guided=False):
        super().__init__()
        eps = 1e-5 if guided else 1e-6
        self.norm0, self.conv0 = SongNorm(c_in, eps), Resampled(c_in, c_out, 3, how, taps)
        self.affine = nn.Linear(embed, 2 * c_out if guided else c_out)
        self.norm1, self.conv1 = SongNorm(c_out, eps), Resampled(c_out, c_out, 3, None, taps)
        if c_in != c_out or how:
            self.skip = Resampled(c_in, c_out, 0 if guided and c_in == c_out else 1, how, taps)
        if heads:
            self.norm2, self.qkv, self.proj = SongNorm(c_out, eps), nn.Conv2d(c_out, 3 * c_out, 1), nn.Conv2d(c_out, c_out, 1)
        self.heads, self.guided, self.scale = heads, guided, 1 if guided else 0.5**0.5

    def forward(self, x, emb):
        h = self.conv0(F.silu(self.norm0(x)))
        e = self.affine(emb)[:, :, None, None]
        if self.guided:
            scale, shift = e.chunk(2, dim=1)
            h = F.silu(self.norm1(h) * (1 + scale) + shift)
        else:
            h = F.silu(self.norm1(h + e))
        h = (self.conv1(h) + (self.skip(x) if hasattr(self, "skip") else x)) * self.scale
        if self.heads:
            n, c, height, width = h.shape
            q, k, v = self.qkv(self.norm2(h)).view(n, self.heads, c // self.heads, 3, -1).unbind(3)
            weights = torch.softmax(torch.einsum("nhdi,nhdj->nhij", q, k) / math.sqrt(c // self.heads), dim=-1)
            a = torch.einsum("nhij,nhdj->nhdi", weights, v).reshape(h.shape)
            h = (h + self.proj(a)) * self.scale
        return h


class Song(nn.Module):
    """The networks of score-based models (Song et al. 2021, arXiv:2011.13456), NCSN++ and DDPM++, and with guided EDM's form of
    guided diffusion's, all under the names of EDM (Karras et al. 2022, arXiv:2206.00364)."""

    def __init__(self, side, width, mult, blocks, attention, classes=0, fourier=False, taps=(1, 1), encoder=None, decoder=None, guided=False,
                 head_dim=None, augment=0):
        super().__init__()
        embed, noise = 4 * width, width * (2 if fourier else 1)
        self.width, self.noise, self.guided, self.encoder, self.decoder = width, noise, guided, encoder, decoder
        self.map_noise = nn.Module()
        if fourier:
            self.map_noise.register_buffer("freqs", torch.randn(noise // 2))
        if classes:
            self.map_label = nn.Linear(classes, embed if guided else noise, bias=not guided)
        if augment:
            self.map_augment = nn.Linear(augment, noise, bias=False)
        self.map_layer0, self.map_layer1 = nn.Linear(noise, embed), nn.Linear(embed, embed)
        heads = lambda c: c // head_dim if head_dim else 1
        block = lambda i, o, how=None, attend=False: SongBlock(i, o, embed, how, heads(o) if attend else 0, taps, guided)
        sides = [side >> level for level in range(len(mult))]
        c = width * (mult[0] if guided else 1)
        enc, dec, skips, aux = {f"{side}x{side}_conv": Resampled(3, c, 3, None, taps)}, {}, [c], 3
        for level, m in enumerate(mult):
            name = f"{sides[level]}x{sides[level]}_"
            if level:
                enc[name + "down"] = block(c, c, "down")
                skips.append(c)
                if encoder == "skip":
                    enc[name + "aux_down"], enc[name + "aux_skip"] = Resampled(3, 3, 0, "down", taps), Resampled(3, c, 1, None, taps)
                elif encoder == "residual":
                    enc[name + "aux_residual"] = Resampled(aux, c, 3, "down", taps, fused=True)
                    aux = c
            for i in range(blocks):
                enc[f"{name}block{i}"] = block(c, width * m, attend=sides[level] in attention)
                c = width * m
                skips.append(c)
        for level in reversed(range(len(mult))):
            name = f"{sides[level]}x{sides[level]}_"
            if level + 1 == len(mult):
                dec[name + "in0"], dec[name + "in1"] = block(c, c, attend=True), block(c, c)
            else:
                dec[name + "up"] = block(c, c, "up")
            for i in range(blocks + 1):
                o = width * mult[level]
                dec[f"{name}block{i}"] = block(c + skips.pop(), o, attend=sides[level] in attention and (guided or i == blocks))
                c = o
            if not guided and (decoder == "skip" or level == 0):
                if decoder == "skip" and level + 1 < len(mult):
                    dec[name + "aux_up"] = Resampled(3, 3, 0, "up", taps)
                dec[name + "aux_norm"], dec[name + "aux_conv"] = SongNorm(c, 1e-6), Resampled(c, 3, 3, None, taps)
        self.enc, self.dec = nn.ModuleDict(enc), nn.ModuleDict(dec)
        if guided:
            self.out_norm, self.out_conv = SongNorm(c, 1e-5), Resampled(c, 3, 3, None, taps)

    def embedding(self, t, y):
        if hasattr(self.map_noise, "freqs"):
            angles = 2 * math.pi * t[:, None] * self.map_noise.freqs[None]
            emb = torch.cat([angles.sin(), angles.cos()], dim=1)
        else:
            emb = sinusoids(t, self.noise, not self.guided, 0 if self.guided else 1)
        if y is not None and not self.guided:
            emb = emb + self.map_label(y * y.shape[1] ** 0.5)
        emb = self.map_layer1(F.silu(self.map_layer0(emb)))
        return F.silu(emb + self.map_label(y) if y is not None and self.guided else emb)

    def forward(self, x, t, y=None):
        """y is one-hot; zeros stand for no class."""
        emb, skips, aux, h = self.embedding(t, y), [], x, x
        for name, module in self.enc.items():
            if name.endswith("aux_down"):
                aux = module(aux)
            elif name.endswith("aux_skip"):
                h = skips[-1] = h + module(aux)
            elif name.endswith("aux_residual"):
                h = skips[-1] = aux = (h + module(aux)) * 0.5**0.5
            else:
                h = module(h, emb) if isinstance(module, SongBlock) else module(h)
                skips.append(h)
        aux = None
        for name, module in self.dec.items():
            if name.endswith("aux_up"):
                aux = module(aux)
            elif name.endswith("aux_norm"):
                norm = module(h)
            elif name.endswith("aux_conv"):
                aux = module(F.silu(norm)) if aux is None else aux + module(F.silu(norm))
            else:
                wants = module.norm0.num_channels
                h = module(h if h.shape[1] == wants else torch.cat([h, skips.pop()], dim=1), emb)
        return self.out_conv(F.silu(self.out_norm(h))) if self.guided else aux

    def score_state(self):
        """The tensors as score_sde lists them: modules by number, matrices of attention transposed and one for each of q, k and v."""
        out, n = {}, 0

        def add(**tensors):
            nonlocal n
            out.update({f"module.all_modules.{n}.{k.replace('__', '.')}": v for k, v in tensors.items()})
            n += 1

        layer = lambda name, m: {name + "__weight": m.weight, name + "__bias": m.bias}

        def block(m, attend=True):
            tensors = layer("GroupNorm_0", m.norm0) | layer("Conv_0", m.conv0) | layer("Dense_0", m.affine) | layer("GroupNorm_1", m.norm1) | layer("Conv_1", m.conv1)
            add(**tensors, **(layer("Conv_2", m.skip) if hasattr(m, "skip") else {}))
            if m.heads:
                c = m.proj.weight.shape[0]
                parts = [m.qkv.weight.view(c, 3, c)[:, i].T for i in range(3)] + [m.proj.weight.view(c, c).T]
                biases = [m.qkv.bias.view(c, 3)[:, i] for i in range(3)] + [m.proj.bias]
                add(**layer("GroupNorm_0", m.norm2), **{f"NIN_{i}__W": w for i, w in enumerate(parts)}, **{f"NIN_{i}__b": b for i, b in enumerate(biases)})

        plain = lambda m: add(weight=m.weight, bias=m.bias)
        if hasattr(self.map_noise, "freqs"):
            add(W=self.map_noise.freqs)
        plain(self.map_layer0)
        plain(self.map_layer1)
        for half in self.enc, self.dec:
            for name, m in half.items():
                if isinstance(m, SongBlock):
                    block(m)
                elif name.endswith(("aux_norm", "aux_conv", "_conv")):
                    plain(m)
                elif name.endswith("aux_skip"):
                    add(**layer("Conv_0", m))
                elif name.endswith("aux_residual"):
                    add(**layer("Conv2d_0", m))
        return {k: v.detach().clone() for k, v in out.items()}
