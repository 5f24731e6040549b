"""Processes that train one net together."""

import os

import torch


class Workers:
    """Local SGD (Stich 2019) for `torchrun --nproc-per-node N train.py --threads 1`: each process trains on its own, their weights are
    averaged every few steps. On cores that other programs use too, this loses far less than threads that wait for each other."""

    def __init__(self, model):
        self.rank, self.count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.weights = list(model.parameters())
        if self.count > 1 and not torch.distributed.is_initialized():  # by an earlier stage
            torch.distributed.init_process_group("gloo")

    @torch.no_grad()
    def average(self):
        if self.count == 1:
            return
        flat = torch.cat([p.flatten() for p in self.weights])
        torch.distributed.all_reduce(flat)
        at = 0
        for p in self.weights:
            p.copy_(flat[at : at + p.numel()].view_as(p) / self.count)
            at += p.numel()
