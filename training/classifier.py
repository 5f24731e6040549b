"""The judge of pictures: a small convolutional net that says which things a scene shows, how many figures and on which background.
Its features also tell two pictures apart in the way of Zhang et al. 2018 (`distance`)."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import progress
from scenes import GROUNDS, NAMES, PALETTE, Composer
from train_vae import to_tensor

COUNTS = 3


class Classifier(nn.Module):
    """Pictures [n, 3, 128, 128] in -1..1 to scores of things, of counts (one to three figures) and of grounds."""

    def __init__(self, things):
        super().__init__()
        block = lambda a, b, stride: nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        first = nn.Sequential(nn.Conv2d(3, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.body = nn.ModuleList([first, block(32, 64, 2), block(64, 64, 1), block(64, 128, 2), block(128, 128, 1),
                                   block(128, 256, 2), block(256, 256, 1)])
        self.things, self.rest = nn.Linear(256, things), nn.Linear(512, COUNTS + len(GROUNDS))

    def features(self, x):
        """What each resolution's last layer says."""
        out = []
        for layer in self.body:
            x = layer(x)
            out.append(x)
        return [out[i] for i in (0, 2, 4, 6)]

    def forward(self, x):
        last = self.features(x)[-1].float()
        most, mean = last.amax(dim=(2, 3)), last.mean(dim=(2, 3))
        return self.things(most), *self.rest(torch.cat([most, mean], 1)).split([COUNTS, len(GROUNDS)], dim=1)


def distance(net, x, y, layers=(0, 1, 2)):
    """How far pictures [n, 3, h, w] are apart: squared distances of the features, each of unit length."""
    unit = lambda f: f / (f.square().sum(1, keepdim=True) + 1e-4).sqrt()
    a, b = net.features(x), net.features(y)
    return sum((unit(a[i]) - unit(b[i])).square().sum(1).mean(dim=(1, 2)) for i in layers)


def blur(x, rng):
    """Half of the batches lose detail, as a decoder does."""
    if rng.random() < 0.5:
        return x
    small = int(rng.integers(56, 112))
    return F.interpolate(F.interpolate(x, size=(small, small), mode="area"), size=x.shape[2:], mode="bilinear")


def batch_of(composer, size):
    """Scenes, and as targets: the share of each thing, the count less one, the ground."""
    count = len(composer.sprites.names)
    scenes = [composer.scene(int(composer.rng.integers(count))) for _ in range(size)]
    shares = torch.zeros(size, count)
    for row, scene in zip(shares, scenes):
        for f in scene.figures:
            row[f.thing] += 1 / len(scene.figures)
    numbers = lambda values: torch.tensor(list(values))
    return (to_tensor([composer.draw(s) for s in scenes]), shares,
            numbers(len(s.figures) - 1 for s in scenes), numbers(s.ground for s in scenes))


def rights(outputs, shares, counts, grounds):
    """Which of the pictures have every thing right, the count, the ground: three boolean tensors."""
    things, count, ground = outputs
    kinds = (shares > 0).sum(1)
    first = things.topk(2, dim=1).indices
    second = (kinds == 1) | (shares.gather(1, first[:, 1:])[:, 0] > 0)
    return (shares.gather(1, first[:, :1])[:, 0] > 0) & second, count.argmax(1) == counts, ground.argmax(1) == grounds


def prepare(work, sprites, amp, name="classifier", seed=777, steps=1600, batch=64):
    """Trains work/<name>.pt on training pairs unless it is there; returns it. Continues from its last state."""
    path, state_path = os.path.join(work, name + ".pt"), os.path.join(work, name + ".state.pt")
    net = Classifier(len(sprites.names)).to(memory_format=torch.channels_last)
    if os.path.exists(path):
        net.load_state_dict(progress.load(path))
        return net.eval()
    torch.manual_seed(seed)
    opt = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
    log, start = progress.Log(os.path.join(work, name + ".log")), 0
    if state := progress.load(state_path):
        net.load_state_dict(state["model"])
        opt.load_state_dict(state["opt"])
        start = state["step"]
    composer = Composer(sprites, seed + start)
    rng = composer.rng
    for step in range(start, steps):
        for group in opt.param_groups:
            group["lr"] = 2e-3 * progress.cosine(step, steps, 100)
        x, shares, counts, grounds = batch_of(composer, batch)
        x = blur(x, rng)
        x = x + torch.randn_like(x) * float(rng.uniform(0, 0.08))
        with amp():
            outputs = net(x)
        loss = F.cross_entropy(outputs[0], shares) + 0.3 * F.cross_entropy(outputs[1], counts) + 0.2 * F.cross_entropy(outputs[2], grounds)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if (step + 1) % 50 == 0:
            right = [r.float().mean().item() for r in rights(outputs, shares, counts, grounds)]
            log(step=step + 1, loss=loss.item(), things=right[0], count=right[1], ground=right[2])
        if (step + 1) % 100 == 0:
            progress.save(state_path, {"model": net.state_dict(), "opt": opt.state_dict(), "step": step + 1})
    progress.save(path, net.state_dict())
    return net.eval()


@torch.no_grad()
def judge(net, pictures):
    """uint8 [n, 128, 128, 3] to scores of things, counts and grounds, each [n, …]."""
    parts = [net(to_tensor(list(part))) for part in np.array_split(pictures, max(1, len(pictures) // 50))]
    return [torch.cat(outputs) for outputs in zip(*parts)]


def frame_colours(pictures):
    """The names of the plain backgrounds' colours: the median of the frame."""
    frame = np.ones(pictures.shape[1:3], bool)
    frame[4:-4, 4:-4] = False
    median = np.median(pictures[:, frame].astype(np.float32), axis=1)
    return [NAMES[i] for i in np.square(median[:, None] - PALETTE).sum(-1).argmin(1)]
