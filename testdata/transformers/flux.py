"""Makes the tiny FLUX.1, Chroma and Stable Diffusion 3.5 transformers of this folder, in the diffusers library's layout, and
what the library computes with them in float32.

pip install torch==2.15.0 diffusers==0.42.1 safetensors
python testdata/transformers/flux.py
"""

from pathlib import Path

import torch
from diffusers import ChromaTransformer2DModel, FluxTransformer2DModel, SD3Transformer2DModel
from randomise import randomise
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)


def save(model, name):
    state = {k: v.to(torch.float16) for k, v in model.state_dict().items()}
    save_file(state, HERE / f"{name}.safetensors")
    return model


def packed(x):
    """FLUX's tokens: 2x2 pixels, a channel's next to each other."""
    n, c, h, w = x.shape
    return x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w // 4, c * 4)


def unpacked(x, h, w):
    n, _, c = x.shape
    return x.view(n, h // 2, w // 2, c // 4, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(n, c // 4, h, w)


def places(h, w, first=0):
    ids = torch.zeros(h // 2, w // 2, 3)
    ids[..., 0] = first
    ids[..., 1] += torch.arange(h // 2)[:, None]
    ids[..., 2] += torch.arange(w // 2)[None]
    return ids.reshape(-1, 3)


generator = torch.Generator().manual_seed(1)
reference = {}


def random(*shape):
    return torch.randn(*shape, generator=generator)


# Two pictures that are not square, at different times.
HEIGHT, WIDTH, LENGTH = 8, 12, 7
times = torch.tensor([0.93, 0.4])
small = dict(num_layers=2, num_single_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=(4, 14, 14))
for name, channels in ("flux", 4), ("flux-fill", 24):
    model = save(randomise(FluxTransformer2DModel(in_channels=4 * channels, out_channels=16, pooled_projection_dim=24, guidance_embeds=True,
                                                  **small), 2 + channels), name)
    x, context, pooled = random(2, channels, HEIGHT, WIDTH), random(2, LENGTH, 48), random(2, 24)
    scale = torch.tensor([3.5, 30.0])
    reference |= {f"{name}.x": x, f"{name}.context": context, f"{name}.pooled": pooled, f"{name}.sigmas": times, f"{name}.guidance": scale}
    with torch.no_grad():
        out = model(packed(x), context, pooled, times, places(HEIGHT, WIDTH), torch.zeros(LENGTH, 3), scale, return_dict=False)[0]
        reference[f"{name}.sample"] = unpacked(out, HEIGHT, WIDTH)
        if name == "flux":  # Kontext: another picture after the noisy one
            other = random(2, channels, 4, 8)
            out = model(torch.cat([packed(x), packed(other)], 1), context, pooled, times, torch.cat([places(HEIGHT, WIDTH), places(4, 8, 1)]),
                        torch.zeros(LENGTH, 3), scale, return_dict=False)[0][:, :HEIGHT * WIDTH // 4]
            reference |= {"kontext.reference": other, "kontext.sample": unpacked(out, HEIGHT, WIDTH)}
            # Without guidance, as schnell.
            plain = FluxTransformer2DModel(in_channels=4 * channels, out_channels=16, pooled_projection_dim=24, guidance_embeds=False, **small)
            plain.load_state_dict({k: v for k, v in model.state_dict().items() if "guidance" not in k})
            out = plain(packed(x), context, pooled, times, places(HEIGHT, WIDTH), torch.zeros(LENGTH, 3), None, return_dict=False)[0]
            reference["schnell.sample"] = unpacked(out, HEIGHT, WIDTH)

# Chroma. Of LENGTH tokens of text the last three are masked, as booleans: the library's pipeline adds the mask to the products
# as ones and zeros, which masks nothing.
model = save(randomise(ChromaTransformer2DModel(in_channels=16, approximator_num_channels=64, approximator_hidden_dim=40, approximator_layers=2,
                                                **small), 7), "chroma")
x, context = random(2, 4, HEIGHT, WIDTH), random(2, LENGTH, 48)
mask = torch.ones(2, LENGTH + HEIGHT * WIDTH // 4, dtype=torch.bool)
mask[:, LENGTH - 3:LENGTH] = False
with torch.no_grad():
    out = model(packed(x), context, times, places(HEIGHT, WIDTH), torch.zeros(LENGTH, 3), mask, return_dict=False)[0]
reference |= {"chroma.x": x, "chroma.context": context[:, :LENGTH - 3], "chroma.sigmas": times, "chroma.sample": unpacked(out, HEIGHT, WIDTH)}

# Stable Diffusion 3.5 medium's kind, with attention of two kinds in the first two blocks, and 3's, without norms of queries and keys.
mmdit = dict(sample_size=16, patch_size=2, in_channels=4, num_layers=3, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=40,
             caption_projection_dim=64, pooled_projection_dim=48, out_channels=4, pos_embed_max_size=9)
for name, more in ("sd35", dict(dual_attention_layers=(0, 1), qk_norm="rms_norm")), ("sd3", {}):
    model = save(randomise(SD3Transformer2DModel(**mmdit, **more), 8), name)
    x, context, pooled = random(2, 4, HEIGHT, WIDTH), random(2, LENGTH, 40), random(2, 48)
    with torch.no_grad():
        out = model(x, context, pooled, 1000 * times, return_dict=False)[0]
    reference |= {f"{name}.x": x, f"{name}.context": context, f"{name}.pooled": pooled, f"{name}.sigmas": times, f"{name}.sample": out}

save_file({k: v.clone().contiguous() for k, v in reference.items()}, HERE / "flux-reference.safetensors")
