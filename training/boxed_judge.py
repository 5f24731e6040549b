"""The judge that fits in the box: a classifier in guided diffusion's layout (pixel/unet.py), which sdgo reads, of pictures of half the
side, 64x64. Most of what it learns from is clean; the rest is noisy, so that it can also guide. One score a thing, of scenes with two
things one half each."""

import importlib.util
import json
import os

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import classifier
import progress
from data import HERE
from scenes import Composer
from train_diffusion import alphas_cumprod

CHANNELS, SIDE, CLEAN = (16, 48, 64), 64, 0.7


def pixel_unet():
    """pixel/unet.py, whose name is also that of the file here."""
    spec = importlib.util.spec_from_file_location("pixel_unet", os.path.join(HERE, "pixel", "unet.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build(things):
    return pixel_unet().Classifier(things, CHANNELS, side=SIDE).to(memory_format=torch.channels_last)


def smaller(x):
    return F.interpolate(x, size=(SIDE, SIDE), mode="area").contiguous(memory_format=torch.channels_last)


def prepare(work, sprites, amp, steps=1600, batch=64):
    """Writes work/boxed.pt unless it is there; returns the net."""
    path, state_path = os.path.join(work, "boxed.pt"), os.path.join(work, "boxed.state.pt")
    net = build(len(sprites.names))
    if os.path.exists(path):
        net.load_state_dict(progress.load(path))
        return net.eval()
    torch.manual_seed(5)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, betas=(0.9, 0.99), weight_decay=0.02, fused=True)
    log, start = progress.Log(os.path.join(work, "boxed.log")), 0
    if state := progress.load(state_path):
        net.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        start = state["step"]
    composer, abar = Composer(sprites, 31 + start), alphas_cumprod()
    for step in range(start, steps):
        for group in opt.param_groups:
            group["lr"] = 2e-3 * progress.cosine(step, steps, 100)
        x, shares, *_ = classifier.batch_of(composer, batch)
        x = smaller(classifier.blur(x, composer.rng))
        t = torch.randint(0, len(abar), (batch,)) * (torch.rand(batch) > CLEAN)
        a = abar[t][:, None, None, None]
        x = torch.where(t[:, None, None, None] > 0, a.sqrt() * x + (1 - a).sqrt() * torch.randn_like(x), x)
        with amp():
            scores = net(x.contiguous(memory_format=torch.channels_last), t).float()
        loss = F.cross_entropy(scores, shares)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        if (step + 1) % 50 == 0:
            clean = t == 0
            log(step=step + 1, loss=loss.item(), right=(shares.gather(1, scores.argmax(1, keepdim=True))[clean, 0] > 0).float().mean().item())
        if (step + 1) % 100 == 0:
            progress.save(state_path, {"model": net.state_dict(), "opt": opt.state_dict(), "step": step + 1})
    progress.save(path, net.state_dict())
    return net.eval()


def write(path, net, sprites):
    pixel = pixel_unet()
    tensors = {k: v.half().contiguous(memory_format=torch.contiguous_format) for k, v in sorted(net.state_dict().items())}
    save_file(tensors, path + ".tmp", {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": "sdgo-noto-judge",
        "modelspec.description": f"Tells {len(sprites.names)} things apart in scenes, also noisy ones.",
        "modelspec.license": "Apache-2.0 (pictures: Noto Emoji, Google)",
        "modelspec.resolution": f"{SIDE}x{SIDE}",
        "sdgo.pixel.labels": json.dumps(sprites.names),
        "sdgo.pixel.size": str(SIDE),
        "sdgo.pixel.norm_groups": str(pixel.GROUPS),
        "sdgo.pixel.heads": str(pixel.HEADS),
        "sdgo.pixel.qkv_by_head": "0",
        "sdgo.pixel.process": "ddpm",
        "sdgo.pixel.betas": "scaled_linear",
        "sdgo.pixel.steps": "1000",
    })
    os.replace(path + ".tmp", path)
    print("export:", path, sum(v.numel() for v in tensors.values()), "weights", os.path.getsize(path), "bytes", flush=True)
