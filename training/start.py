"""Warm start: the weights of a checkpoint that sdgo has written (GGUF: F32, F16, q8_0), such as builtin/noto.gguf, as those that the
trainings begin from. Tokens keep their number when merges are added: only the start and end tokens, which come last, move."""

import os

import gguf
import numpy as np
import torch

import progress
from text import TextEncoder, Tokenizer, read_merges
from unet import UNet
from vae import AutoencoderKL

PARTS = {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text": "cond_stage_model.transformer.text_model."}


def read(path):
    """{part: {weight name: tensor}} of a checkpoint."""
    parts = {part: {} for part in PARTS}
    for t in gguf.GGUFReader(path).tensors:
        part, prefix = next((part, prefix) for part, prefix in PARTS.items() if t.name.startswith(prefix))
        values = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        parts[part][t.name.removeprefix(prefix)] = torch.from_numpy(values.reshape([int(n) for n in reversed(t.shape)]).copy())
    return parts


def fill(module, weights):
    """Loads weights, whose shapes may have lost or gained dimensions of one."""
    own = module.state_dict()
    if missing := own.keys() - weights.keys():
        raise SystemExit(f"the checkpoint to start from lacks {sorted(missing)[:3]}")
    module.load_state_dict({name: weights[name].reshape(own[name].shape) for name in own})


def grow(embedding, vocab):
    """Token embeddings for a vocabulary with more merges: new tokens start as the mean of all."""
    more = vocab - len(embedding)
    return torch.cat([embedding[:-2], embedding[:-2].mean(0, keepdim=True).expand(more, -1), embedding[-2:]])


def prepare(work, path, cfg):
    """Writes work/vae.pt, text.pt and unet.pt, those that are not there."""
    todo = [part for part in PARTS if not os.path.exists(os.path.join(work, part + ".start.pt"))]
    if not todo:
        return
    parts = read(path)
    vocab = len(Tokenizer(read_merges(cfg.merges)).ids)
    tokens = parts["text"]["embeddings.token_embedding.weight"]
    parts["text"]["embeddings.token_embedding.weight"] = grow(tokens, vocab)
    for part, module in (("unet", UNet()), ("vae", AutoencoderKL()), ("text", TextEncoder(vocab))):
        if part in todo:
            fill(module, parts[part])
            progress.save(os.path.join(work, part + ".start.pt"), module.state_dict())
