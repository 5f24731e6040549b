"""Trains the small class-conditional model on pixels that comes with sdgo, and the classifier of noisy pictures that goes with it.

    python training/pixel/train.py --work DIR [--minutes 80] [--classifier-minutes 8]

Stages continue from their last state. The learning rate falls with the time that is left, so that a stage is complete when its
minutes have passed, on any machine; --minutes again goes on from there, with the learning rate it had in the middle.
"""

import argparse
import os
import sys
import time

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[1:1] = [os.path.dirname(HERE)]
import data  # noqa: E402
import progress  # noqa: E402
from layers import use_fused_norm  # noqa: E402
from unet import Classifier, UNet  # noqa: E402

STEPS = 1000
CHANNELS, CLASSIFIER_CHANNELS = (24, 48, 80), (24, 48, 64)


def alphas_cumprod():
    """The squared cosine of Nichol and Dhariwal (2021), betas at most 0.999."""
    f = torch.cos((torch.arange(STEPS + 1, dtype=torch.float64) / STEPS + 0.008) / 1.008 * torch.pi / 2) ** 2
    return (1 - (1 - f[1:] / f[:-1]).clamp(max=0.999)).cumprod(0).float()


def noised(x0, abar, rng):
    """x_t and t of q(x_t | x_0), and what the network must predict: v of Salimans and Ho (2022)."""
    t = torch.randint(0, STEPS, (len(x0),), generator=rng)
    a = abar[t][:, None, None, None]
    eps = torch.randn(x0.shape, generator=rng)
    return a.sqrt() * x0 + (1 - a).sqrt() * eps, t, a.sqrt() * eps - (1 - a).sqrt() * x0


class Run:
    """A stage: weights, optimizer, averaged weights, kept in work/NAME.state.pt; the averaged ones alone in NAME.pt."""

    def __init__(self, work, name, net, lr, decay):
        self.path, self.final = os.path.join(work, name + ".state.pt"), os.path.join(work, name + ".pt")
        self.net = net.to(memory_format=torch.channels_last)
        self.opt = torch.optim.AdamW(net.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=decay, fused=True)
        self.lr, self.ema, self.log = lr, progress.Ema(net, 0.998), progress.Log(os.path.join(work, name + ".log"))
        self.step, self.spent = 0, 0.0
        if state := progress.load(self.path):
            net.load_state_dict(state["net"])
            self.opt.load_state_dict(state["opt"])
            self.ema.shadow, self.step, self.spent = state["ema"], state["step"], state["spent"]

    def save(self):
        progress.save(self.path, {"net": self.net.state_dict(), "opt": self.opt.state_dict(), "ema": self.ema.shadow, "step": self.step, "spent": self.spent})
        weights = dict(self.net.state_dict())
        weights.update({k: s for (k, _), s in zip(self.net.named_parameters(), self.ema.shadow)})
        progress.save(self.final, weights)

    def train(self, minutes, loss):
        """loss() is a batch's loss. The time of earlier runs of a stage counts."""
        began, saved, recent = time.time() - self.spent, time.time(), []
        while self.spent < 60 * minutes:
            rate = max(0.01, 1 - max(0.0, self.spent / (60 * minutes) - 0.25) / 0.75)  # constant, then linearly down
            for group in self.opt.param_groups:
                group["lr"] = self.lr * rate * min(1.0, (self.step + 1) / 200)
            self.opt.zero_grad(set_to_none=True)
            value = loss()
            value.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.opt.step()
            self.ema.update(self.step)
            self.step += 1
            self.spent = time.time() - began
            recent.append(value.item())
            if len(recent) == 100:
                self.log(step=self.step, loss=sum(recent) / len(recent), rate=rate)
                recent = []
            if time.time() - saved > 120:
                self.save()
                saved = time.time()
        self.save()


def amp():
    return torch.autocast("cpu", torch.bfloat16)


def train_denoiser(args):
    torch.manual_seed(1)
    classes = len(data.names())
    pictures, abar = data.Pictures(args.work, 1), alphas_cumprod()
    net = UNet(classes + 1, CHANNELS)
    run = Run(args.work, "denoiser", net, 2e-3, 0.0)
    rng = torch.Generator().manual_seed(run.step)
    pictures.rng = data.np.random.default_rng(run.step)

    def loss():
        x0, labels = pictures.batch(args.batch)
        labels = torch.where(torch.rand(len(labels), generator=rng) < 0.1, classes, labels)  # no class: for guidance
        x, t, v = noised(x0, abar, rng)
        with amp():
            got = net(x.contiguous(memory_format=torch.channels_last), t, labels)
        snr1 = 1 / (1 - abar[t])  # SNR + 1, which the error of v is to that of x_0
        return (snr1.clamp(max=6.0) / snr1 * (got - v).square().mean(dim=(1, 2, 3))).mean()  # min-SNR (Hang et al. 2023)

    run.train(args.minutes, loss)


def train_classifier(args):
    torch.manual_seed(2)
    pictures, abar = data.Pictures(args.work, 2), alphas_cumprod()
    net = Classifier(len(data.names()), CLASSIFIER_CHANNELS)
    run = Run(args.work, "classifier", net, 1e-3, 0.02)
    rng = torch.Generator().manual_seed(run.step)
    pictures.rng = data.np.random.default_rng(run.step)

    def loss():
        x0, labels = pictures.batch(args.batch)
        x, t, _ = noised(x0, abar, rng)
        clean = torch.rand(len(t), generator=rng) < 0.1  # it also judges finished pictures
        x[clean], t[clean] = x0[clean], 0
        with amp():
            return F.cross_entropy(net(x.contiguous(memory_format=torch.channels_last), t), labels)

    run.train(args.classifier_minutes, loss)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--minutes", type=float, default=80)
    parser.add_argument("--classifier-minutes", type=float, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["denoiser", "classifier"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    os.makedirs(args.work, exist_ok=True)
    use_fused_norm(os.path.join(args.work, "norm"))
    if args.only != "denoiser":
        train_classifier(args)
    if args.only != "classifier":
        train_denoiser(args)


if __name__ == "__main__":
    main()
