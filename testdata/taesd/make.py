"""Makes a tiny random-weight TAESD, its halves under their author's names, and what AutoencoderTiny makes of latents and pictures.

Run it in any folder: python make.py. The one of the real shape is too large for
a repository: its weights are made of a hash of their places, here and in the test.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent


def hashed(names_and_shapes):
    """Murmur3's finalizer of a weight's place, from -1 to 1, times sqrt(3 / fan-in); biases times 0.1."""
    out = {}
    for k, (name, shape) in enumerate(sorted(names_and_shapes.items())):
        n = int(np.prod(shape))
        with np.errstate(over="ignore"):
            h = np.arange(n, dtype=np.uint32) + np.uint32(0x9E3779B9) * np.uint32(k + 1)
            h ^= h >> 16
            h *= np.uint32(0x85EBCA6B)
            h ^= h >> 13
            h *= np.uint32(0xC2B2AE35)
            h ^= h >> 16
        v = h.astype(np.float64) / 2**31 - 1
        scale = (3 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
        out[name] = torch.from_numpy((v * scale).astype(np.float32)).reshape(shape)
    return out


def load(model, half):
    w = hashed({k: tuple(v.shape) for k, v in model.state_dict().items()})
    if half:
        w = {k: v.half().float() for k, v in w.items()}
    model.load_state_dict(w)
    return model.eval()


class Pool(torch.nn.Module):
    """A block of TAEF2, whose author's taesd.py has it (use_midblock_gn): x + pool(x) is what the block of TAESD gets."""

    def __init__(self, block, n):
        super().__init__()
        self.block = block
        self.pool = torch.nn.Sequential(torch.nn.Conv2d(n, 4 * n, 1, bias=False), torch.nn.GroupNorm(4, 4 * n), torch.nn.ReLU(), torch.nn.Conv2d(4 * n, n, 1, bias=False))

    def forward(self, x):
        return self.block(x + self.pool(x))


def taef2():
    """AutoencoderTiny for latents of 32 channels, with pools in the blocks of the latent's size. Returns its tensors by their names in taef2.safetensors, too."""
    model = AutoencoderTiny(latent_channels=32, encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                            num_encoder_blocks=(1, 1, 1, 2), num_decoder_blocks=(2, 1, 1, 1))
    for half, places in ((model.decoder, (2, 3)), (model.encoder, (7, 8))):
        for place in places:
            half.layers[place] = Pool(half.layers[place], 8)
    load(model, half=True)
    for name, v in model.named_parameters():
        if name.endswith(".pool.1.weight"):
            v += 1  # else the pools hardly matter
            v.copy_(v.half())
    return model, {k.replace(".block.", "."): v.half().contiguous() for k, v in model.state_dict().items()}


def halves(state):
    """The names of the author's files: places in a sequence, the decoder's after a layer that clamps latents."""
    decoder, encoder = {}, {}
    for name, t in state.items():
        half, _, place, rest = name.split(".", 3)
        if half == "encoder":
            encoder[f"{place}.{rest}"] = t
        else:
            decoder[f"{int(place) + 1}.{rest}"] = t
    return decoder, encoder


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    g = torch.Generator().manual_seed(9)
    z = torch.randn(1, 4, 8, 6, generator=g) * 2
    image = torch.rand(1, 3, 48, 64, generator=g) * 2 - 1
    out = {"z": z, "image": image}
    tiny = load(AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4,
                                num_encoder_blocks=(1, 2, 1, 1), num_decoder_blocks=(2, 1, 1, 1)), half=True)
    for name, model in (("tiny", tiny), ("real", load(AutoencoderTiny(), half=False))):
        out[f"{name}.decoded"] = model.decode(z).sample
        out[f"{name}.encoded"] = model.encode(image).latents
    model16, z16 = load(AutoencoderTiny(latent_channels=16), half=False), torch.randn(1, 16, 8, 6, generator=g) * 2
    out |= {"z16": z16, "real16.decoded": model16.decode(z16).sample, "real16.encoded": model16.encode(image).latents}
    two, state = taef2()
    z32 = torch.randn(1, 32, 8, 6, generator=g) * 2
    out |= {"z32": z32, "taef2.decoded": two.decode(z32).sample, "taef2.encoded": two.encode(image).latents}
    save_file(state, HERE / "taef2.safetensors", {"format": "pt"})
    state = {k: v.half().contiguous() for k, v in tiny.state_dict().items()}
    save_file(state, HERE / "tiny.safetensors", {"format": "pt"})
    decoder, encoder = halves(state)
    save_file(decoder, HERE / "decoder.safetensors", {"format": "pt"})
    torch.save(encoder, HERE / "encoder.pth")
    save_file({k: v.contiguous() for k, v in out.items()}, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
