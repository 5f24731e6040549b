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

SPREAD = 8  # what makes untrained latents about as large as trained ones
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


def latent_channels(vae):
    """Those of an autoencoder's weights."""
    return len(vae["post_quant_conv.weight"])


def grow(embedding, vocab):
    """Token embeddings for a vocabulary with more merges: new tokens start as the mean of all."""
    more = vocab - len(embedding)
    return torch.cat([embedding[:-2], embedding[:-2].mean(0, keepdim=True).expand(more, -1), embedding[-2:]])


def widen_vae(weights, vae):
    """Weights of an autoencoder with fewer latent channels for this one, whose others start as they are in it: the first channels, and what
    comes of them, stay as they were."""
    old, new = latent_channels(weights), vae.post_quant_conv.in_channels
    if old == new:
        return weights
    both = torch.tensor([*range(old), *range(new, new + old)])  # means, then variances
    out = {**weights}
    own = {name: value.clone() for name, value in vae.state_dict().items()}
    for name in ("encoder.conv_out.weight", "encoder.conv_out.bias"):
        out[name] = SPREAD * own[name]
        out[name][both] = weights[name]
    for name, kept in (("quant_conv", both), ("post_quant_conv", torch.arange(old))):
        out[name + ".weight"] = torch.eye(len(own[name + ".weight"]))[:, :, None, None]
        out[name + ".bias"] = torch.zeros(len(own[name + ".bias"]))
        out[name + ".weight"][kept[:, None], kept] = weights[name + ".weight"].reshape(len(kept), len(kept), 1, 1)
        out[name + ".bias"][kept] = weights[name + ".bias"]
    out["quant_conv.weight"][new + old :] = 0
    out["quant_conv.bias"][new + old :] = -6
    out["decoder.conv_in.weight"] = own["decoder.conv_in.weight"]
    out["decoder.conv_in.weight"][:, :old] = weights["decoder.conv_in.weight"]
    return out


def widen_unet(weights, unet):
    """The same for a UNet: at first it sees nothing of the other channels and predicts zeros."""
    out = {**weights}
    own = unet.state_dict()
    for name in ("input_blocks.0.0.weight", "out.2.weight", "out.2.bias"):
        out[name] = torch.zeros_like(own[name])
        out[name][tuple(slice(n) for n in weights[name].shape)] = weights[name]
    return out


def prepare(work, path, cfg):
    """Writes work/vae.start.pt, text.start.pt and unet.start.pt, those that are not there."""
    todo = [part for part in PARTS if not os.path.exists(os.path.join(work, part + ".start.pt"))]
    parts = read(path)
    cfg.start_channels = latent_channels(parts["vae"])
    if not todo:
        return
    vocab = len(Tokenizer(read_merges(cfg.merges)).ids)
    tokens = parts["text"]["embeddings.token_embedding.weight"]
    parts["text"]["embeddings.token_embedding.weight"] = grow(tokens, vocab)
    modules = {"unet": UNet(), "vae": AutoencoderKL(), "text": TextEncoder(vocab)}
    parts["unet"], parts["vae"] = widen_unet(parts["unet"], modules["unet"]), widen_vae(parts["vae"], modules["vae"])
    for part, module in modules.items():
        if part in todo:
            fill(module, parts[part])
            progress.save(os.path.join(work, part + ".start.pt"), module.state_dict())
