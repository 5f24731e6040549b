"""The judge: which thing a picture shows (a small convolutional net) and which colour its background has (the frame's median)."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import progress
from scenes import NAMES, PALETTE, Composer
from train_vae import to_tensor


class Classifier(nn.Module):
    """Pictures [n, 3, 128, 128] in -1..1 to scores of the things."""

    def __init__(self, classes):
        super().__init__()
        block = lambda a, b, stride: [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            *block(32, 64, 2), *block(64, 64, 1), *block(64, 128, 2), *block(128, 128, 1), *block(128, 256, 2), *block(256, 256, 1))
        self.head = nn.Linear(256, classes)

    def forward(self, x):
        return self.head(self.body(x).float().amax(dim=(2, 3)))


def blur(x, rng):
    """Half of the batches lose detail, as a decoder does."""
    if rng.random() < 0.5:
        return x
    small = int(rng.integers(48, 112))
    return F.interpolate(F.interpolate(x, size=(small, small), mode="area"), size=x.shape[2:], mode="bilinear")


def single(composer, thing):
    while True:
        scene = composer.scene(thing)
        if len(scene.figures) == 1:
            return scene


def prepare(work, sprites, amp, steps=1200, batch=64):
    """Trains work/classifier.pt on training pairs unless it is there; returns it."""
    path = os.path.join(work, "classifier.pt")
    net = Classifier(len(sprites.names)).to(memory_format=torch.channels_last)
    if os.path.exists(path):
        net.load_state_dict(progress.load(path))
        return net.eval()
    torch.manual_seed(7)
    composer = Composer(sprites, 777)
    rng, log = composer.rng, progress.Log(os.path.join(work, "classifier.log"))
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
    for step in range(steps):
        for group in opt.param_groups:
            group["lr"] = 2e-3 * progress.cosine(step, steps, 100)
        labels = rng.integers(len(sprites.names), size=batch)
        x = blur(to_tensor([composer.draw(single(composer, int(i))) for i in labels]), rng)
        x = x + torch.randn_like(x) * float(rng.uniform(0, 0.08))
        with amp():
            scores = net(x)
        loss = F.cross_entropy(scores, torch.from_numpy(labels), label_smoothing=0.05)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 100 == 0:
            log(step=step, loss=loss.item(), right=(scores.argmax(1).numpy() == labels).mean().item())
    progress.save(path, net.state_dict())
    return net.eval()


@torch.no_grad()
def judge(net, pictures):
    """uint8 [n, 128, 128, 3] to (thing indices, colour indices), both [n]."""
    things = torch.cat([net(to_tensor(list(part))).argmax(1) for part in np.array_split(pictures, max(1, len(pictures) // 50))])
    frame = np.ones(pictures.shape[1:3], bool)
    frame[4:-4, 4:-4] = False
    median = np.median(pictures[:, frame].astype(np.float32), axis=1)
    colours = np.square(median[:, None] - PALETTE).sum(-1).argmin(1)
    return things.numpy(), colours


def colour_names(indices):
    return [NAMES[i] for i in indices]
