"""Four steps that look like twenty: a LoRA of the UNet, so that each of the four steps of Euler's method on the schedule sgm_uniform,
without guidance, lands where the teacher's five steps with guidance do (Salimans and Ho 2022, four times at once, with guidance as in
Meng et al. 2023). The teacher's paths are computed once and kept."""

import glob
import math
import os

import torch
from torch import nn

import latents
import progress
from sample import guided, noise, schedule
from train_diffusion import load_averaged

STEPS, PARTS, GUIDANCE = 4, 5, 3.0  # the student's, the teacher's in each of them, and its guidance
PIECE = 128                         # paths a file


class LoRA(nn.Module):
    """A linear layer or a convolution of 1 or 3x3 pixels, with up(down(x)) added."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base.requires_grad_(False)
        if isinstance(base, nn.Linear):
            self.down, self.up = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        else:
            self.down = nn.Conv2d(base.in_channels, rank, base.kernel_size, base.stride, base.padding, bias=False)
            self.up = nn.Conv2d(rank, base.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(x))


def attach(unet, rank):
    """Puts a LoRA around every layer but the first, the last and those of the time; returns them by the layer's name."""
    unet.requires_grad_(False)
    chosen = {name: m for name, m in unet.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))
              and not name.startswith(("input_blocks.0.", "out.", "time_embed.")) and "emb_layers" not in name}
    added = {}
    for name, layer in chosen.items():
        parent, _, last = name.rpartition(".")
        holder = unet.get_submodule(parent)
        added[name] = LoRA(layer, rank)
        setattr(holder, last, added[name])
    return added


@torch.no_grad()
def prepare(work, cfg, amp):
    """work/paths/000.pt, …: token ids, and x at the student's five noise levels [n, 5, channels, 16, 16]."""
    folder = os.path.join(work, "paths")
    os.makedirs(folder, exist_ok=True)
    names = [os.path.join(folder, f"{n:03}.pt") for n in range(-(-cfg.trajectories // PIECE))]
    if all(os.path.exists(name) for name in names):
        return
    teacher, tokenizer = load_averaged(work, cfg)
    bank, empty = latents.load(work), teacher.text(tokenizer([""]))
    t, sigma = schedule(STEPS * PARTS, "sgm_uniform")
    for n, name in enumerate(names):
        if os.path.exists(name):
            continue
        pick = torch.randint(0, len(bank.tokens), (PIECE,), generator=torch.Generator().manual_seed(n))
        ids = bank.tokens[pick, n % latents.CAPTIONS].long()
        with amp():
            context = teacher.text(ids)
            x = noise(PIECE, 70000 + n) * sigma[0]
            kept = [x]
            for i in range(STEPS * PARTS):
                picture = guided(teacher.unet, x, sigma[i], t[i], context, empty, GUIDANCE)
                x = x + (x - picture) / sigma[i] * (sigma[i + 1] - sigma[i])
                if (i + 1) % PARTS == 0:
                    kept.append(x)
        progress.save(name, {"ids": ids.short(), "x": torch.stack(kept, 1)})
        print(f"paths: {n + 1} of {len(names)}", flush=True)


def load_paths(work):
    parts = [progress.load(name) for name in sorted(glob.glob(os.path.join(work, "paths", "*.pt")))]
    return torch.cat([p["ids"] for p in parts]), torch.cat([p["x"] for p in parts])


def student(work, cfg):
    """The averaged model with its LoRA, if that is there."""
    denoiser, tokenizer = load_averaged(work, cfg)
    added = nn.ModuleDict({name.replace(".", "/"): lora for name, lora in attach(denoiser.unet, cfg.rank).items()})
    if weights := progress.load(os.path.join(work, "distilled.pt")):
        load_weights(added, weights)
    return denoiser, tokenizer, added


def own_weights(added):
    return {k: v for k, v in added.state_dict().items() if ".base." not in k}


def load_weights(added, weights):
    missing = added.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys and all(".base." in k for k in missing.missing_keys)


def train(work, cfg, amp):
    """Writes work/distilled.pt unless it is there."""
    final, state_path = os.path.join(work, "distilled.pt"), os.path.join(work, "distill.state.pt")
    if os.path.exists(final):
        return
    prepare(work, cfg, amp)
    torch.manual_seed(cfg.seed + 3)
    denoiser, tokenizer, added = student(work, cfg)
    weights = [p for p in added.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(weights, lr=cfg.distill_lr, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    log, start = progress.Log(os.path.join(work, "distill.log")), 0
    if state := progress.load(state_path):
        load_weights(added, state["lora"])
        opt.load_state_dict(state["opt"])
        start = state["step"]
    ids, paths = load_paths(work)
    t, sigma = schedule(STEPS, "sgm_uniform")
    rng, recent = torch.Generator().manual_seed(cfg.seed + start), []
    for step in range(start, cfg.distill_steps):
        for group in opt.param_groups:
            group["lr"] = cfg.distill_lr * progress.cosine(step, cfg.distill_steps, 50)
        pick = torch.randint(0, len(paths), (cfg.batch,), generator=rng)
        at = torch.randint(0, STEPS, (cfg.batch,), generator=rng)
        x, wanted = paths[pick, at], paths[pick, at + 1]
        s, after = sigma[at][:, None, None, None], sigma[at + 1][:, None, None, None]
        target = x + (wanted - x) * s / (s - after)  # the picture whose step lands there
        # as v, so that all noise levels count alike: target = x / (s² + 1) - v s / sqrt(s² + 1)
        v = (x / (s**2 + 1) - target) * (s**2 + 1).sqrt() / s
        with torch.no_grad(), amp():
            context = denoiser.text(ids[pick].long())
        with amp():
            got = denoiser.unet((x / (s**2 + 1).sqrt()).contiguous(memory_format=torch.channels_last), t[at], context)
        error = (got - v).square().mean(dim=(1, 2, 3))
        loss = ((error + 1e-4).sqrt()).mean()  # far ones count less
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        opt.step()
        recent.append(error.mean().item())
        if (step + 1) % 50 == 0:
            log(step=step + 1, error=sum(recent) / len(recent))
            recent = []
        if (step + 1) % 200 == 0:
            progress.save(state_path, {"lora": own_weights(added), "opt": opt.state_dict(), "step": step + 1})
    progress.save(final, own_weights(added))


def kohya(work):
    """The LoRA with kohya's names and shapes."""
    tensors = {}
    for key, value in progress.load(os.path.join(work, "distilled.pt")).items():
        layer, which, _ = key.rsplit(".", 2)
        name = "lora_unet_" + layer.replace("/", "_")
        tensors[f"{name}.lora_{which}.weight"] = value
        if which == "down":
            tensors[f"{name}.alpha"] = torch.tensor(float(len(value)))  # as large as the rank: strength 1
    return tensors
