"""A Control-LoRA of the built-in model: a ControlNet (Zhang et al. 2023) whose encoder is the model's own with low-rank differences.

    python training/adapters/train_control.py --work DIR --model base.safetensors --steps 1500 -o control.safetensors

Trained on what turned.py made. The frozen UNet's encoder runs without gradients; they go back through its decoder into the network's outputs.
At first the convolutions that encode the edges learn alone, to tell latents (`--warm` steps): with zero convolutions behind them they would
wait for long. An interrupted training continues. Written are Stability AI's names: up and down of weights, and whole norms, biases, hint block
and zero convolutions, in float16.
"""

import argparse
import copy
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import parametrize

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.dirname(HERE)]
import progress  # noqa: E402
from layers import conv3, use_fused_norm  # noqa: E402
from train_diffusion import alphas_cumprod  # noqa: E402
from turned import open_base  # noqa: E402
from unet import _chain, timestep_embedding  # noqa: E402

HINT = (8, 24, 64, 96)  # channels of the hint's convolutions at 1, 1/2, 1/4 and 1/8 of the picture's size


class LowRank(nn.Module):
    def __init__(self, weight, rank):
        super().__init__()
        ones = (1,) * (weight.ndim - 2)
        self.down, self.up = nn.Parameter(torch.empty(rank, *weight.shape[1:])), nn.Parameter(torch.zeros(weight.shape[0], rank, *ones))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight):
        return weight + (self.up.flatten(1) @ self.down.flatten(1)).view_as(weight)


class Control(nn.Module):
    """Outputs for the skips, and for the middle block's, of a UNet whose encoder it shares."""

    def __init__(self, unet, conv_rank=16, linear_rank=4):
        super().__init__()
        self.channels = unet.channels
        self.trunk = copy.deepcopy(nn.ModuleDict({k: getattr(unet, k) for k in ("time_embed", "input_blocks", "middle_block")}))
        for name, p in self.trunk.named_parameters():
            p.requires_grad_(p.ndim == 1)
        for name, m in list(self.trunk.named_modules()):
            if isinstance(m, (nn.Conv2d, nn.Linear)) and not name.startswith("time_embed"):
                rank = conv_rank if m.weight.ndim == 4 and m.kernel_size[0] > 1 else linear_rank
                parametrize.register_parametrization(m, "weight", LowRank(m.weight, rank))
        a, b, c, d = HINT
        layers = [conv3(3, a), conv3(a, a), conv3(a, b, 2), conv3(b, b), conv3(b, c, 2), conv3(c, c), conv3(c, d, 2), conv3(d, self.channels)]
        self.input_hint_block = nn.Sequential(*[x for layer in layers for x in (layer, nn.SiLU())][:-1])
        with torch.no_grad():
            h, emb, widths = torch.zeros(1, unet.input_blocks[0][0].in_channels, 16, 16), torch.zeros(1, 4 * self.channels), []
            for layers in unet.input_blocks:
                h = _chain(layers, h, emb, torch.zeros(1, 1, 128))
                widths.append(h.shape[1])
        zero = lambda c: nn.ModuleList([nn.Conv2d(c, c, 1)])
        self.zero_convs, self.middle_block_out = nn.ModuleList(zero(c) for c in widths), zero(widths[-1])
        for p in [*self.zero_convs.parameters(), *self.middle_block_out.parameters()]:
            nn.init.zeros_(p)

    def forward(self, x, t, context, hint):
        emb = self.trunk["time_embed"](timestep_embedding(t, self.channels))
        h, outs = x, []
        for i, layers in enumerate(self.trunk["input_blocks"]):
            h = _chain(layers, h, emb, context)
            if i == 0:
                h = h + hint
            outs.append(self.zero_convs[i][0](h))
        return outs, self.middle_block_out[0](_chain(self.trunk["middle_block"], h, emb, context))

    def tensors(self):
        """What the file has: factors, and whole what was changed otherwise."""
        all = {"lora_controlnet": torch.ones(1)}
        for name, p in self.named_parameters():
            if p.requires_grad:
                name = name.removeprefix("trunk.").replace(".parametrizations.weight.0.", ".")
                all[name] = p.detach()
        return all


def steered(unet, control, x, t, context, hint):
    """The UNet's output for x with what the control adds."""
    with torch.no_grad():
        emb = unet.time_embed(timestep_embedding(t, unet.channels))
        h, skips = x, []
        for layers in unet.input_blocks:
            skips.append(h := _chain(layers, h, emb, context))
        h = _chain(unet.middle_block, h, emb, context)
    outs, middle = control(x, t, context, hint)
    h = h + middle
    for layers in unet.output_blocks:
        h = _chain(layers, torch.cat([h, skips.pop() + outs.pop()], dim=1), emb, context)
    return unet.out[2](unet.out[0](h, silu=True)).float()


class Bank:
    def __init__(self, path, empty, drop, rng):
        stored = np.load(path)
        self.latents, self.tokens = torch.from_numpy(stored["latents"]), torch.from_numpy(stored["tokens"])
        self.edges, self.empty, self.drop, self.rng = stored["edges"], empty, drop, rng

    def batch(self, n):
        pick = torch.randint(0, len(self.latents), (n,), generator=self.rng)
        lines = torch.from_numpy(np.unpackbits(self.edges[pick.numpy()], axis=-1)).float()
        ids = self.tokens[pick].long()
        ids[torch.rand(n, generator=self.rng) < self.drop] = self.empty
        pictures = lines[:, None].expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return self.latents[pick].float(), pictures, ids


def loss_of(unet, text, control, head, batch, abar, aux, rng, gamma=5.0):
    x0, pictures, ids = batch
    hint = control.input_hint_block(pictures)
    loss = aux * (head(hint).float() - x0).square().mean() if aux else 0.0
    if text is None:
        return loss, loss
    t = (len(abar) * torch.rand(len(x0), generator=rng) ** 0.5).long()  # more often at high noise, where places and outlines are decided
    a = abar[t][:, None, None, None]
    noise = torch.randn(x0.shape, generator=rng)
    x = (a.sqrt() * x0 + (1 - a).sqrt() * noise).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        context = text(ids)
    error = (steered(unet, control, x, t, context, hint) - (a.sqrt() * noise - (1 - a).sqrt() * x0)).square().mean(dim=(1, 2, 3))
    snr1 = 1 / (1 - abar[t])
    main = (snr1.clamp(max=gamma) / snr1 * error).mean()
    return loss + main, main


def trimmed(tensors, rank):
    """Factors of at most a rank: the best approximation of their product."""
    for name in [k.removesuffix(".up") for k in tensors if k.endswith(".up")]:
        up, down = tensors[name + ".up"], tensors[name + ".down"]
        if len(down) <= rank:
            continue
        u, s, v = torch.linalg.svd(up.flatten(1) @ down.flatten(1), full_matrices=False)
        root = s[:rank].sqrt()
        tensors[name + ".up"] = (u[:, :rank] * root).view(-1, rank, *up.shape[2:])
        tensors[name + ".down"] = (root[:, None] * v[:rank]).view(rank, *down.shape[1:])
    return tensors


def export(control, shadow, path, rank):
    averaged = copy.deepcopy(control)
    for p, s in zip((p for p in averaged.parameters() if p.requires_grad), shadow):
        p.data.copy_(s)
    tensors = {k: v.half().contiguous(memory_format=torch.contiguous_format) for k, v in trimmed(averaged.tensors(), rank).items()}
    save_file(tensors, path + ".tmp", {"format": "pt", "modelspec.title": "Edges for sdgo-noto", "modelspec.license": "Apache-2.0 (pictures: Noto Emoji, Google)"})
    os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--warm", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--drop", type=float, default=0.25, help="share of captions that are dropped")
    parser.add_argument("--milestone", type=int, default=100)
    parser.add_argument("--rank", type=int, default=13, help="of convolutions in the file; they are trained with 16")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    if args.bfloat16:
        use_fused_norm(os.path.join(args.work, "norm_silu"))
    unet, _, text, tokenizer = open_base(args.model)
    control = Control(unet).to(memory_format=torch.channels_last)
    head = nn.Conv2d(unet.channels, 4, 1)
    learned = [p for p in control.parameters() if p.requires_grad]
    opt = torch.optim.AdamW([{"params": learned}, {"params": head.parameters()}], lr=args.rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    shadow, start, path = [p.detach().clone() for p in learned], -args.warm, os.path.join(args.work, "control.state.pt")
    if state := progress.load(path):
        control.load_state_dict(state["control"])
        head.load_state_dict(state["head"])
        opt.load_state_dict(state["opt"])
        shadow, start = state["shadow"], state["step"]
    rng = torch.Generator().manual_seed(args.seed + start + args.warm)
    bank, abar = Bank(os.path.join(args.work, "turned.npz"), tokenizer([""]), args.drop, rng), alphas_cumprod()
    log, recent = progress.Log(os.path.join(args.work, "control.log")), []
    print(sum(v.numel() for v in control.tensors().values()), "numbers", flush=True)
    for step in range(start, args.steps):
        warm = step < 0
        rate = args.rate * (1 if warm else progress.cosine(step, args.steps, 20, floor=0.02))
        for group in opt.param_groups:
            group["lr"] = rate
        opt.zero_grad(set_to_none=True)
        aux = 1.0 if warm else max(0.0, 0.2 * (1 - 2 * step / args.steps))
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
            loss, shown = loss_of(unet, None if warm else text, control, head, bank.batch(args.batch), abar, aux, rng)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        opt.step()
        decay = 0.0 if warm else min(0.99, (1 + step) / (10 + step))
        torch._foreach_lerp_(shadow, [p.detach() for p in learned], 1 - decay)
        recent.append(shown.item())
        if (step + 1) % 25 == 0:
            log(step=step + 1, loss=sum(recent) / len(recent))
            recent = []
        if step >= 0 and ((step + 1) % args.milestone == 0 or step + 1 == args.steps):
            progress.save(path, {"control": control.state_dict(), "head": head.state_dict(), "opt": opt.state_dict(), "shadow": shadow, "step": step + 1})
            export(control, shadow, args.output, args.rank)


if __name__ == "__main__":
    main()
