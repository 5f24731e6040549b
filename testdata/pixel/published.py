"""Writes ../convert/families/pixel.tsv.gz: names, types and shapes of the weights of
models without text as they are published.

    HF_HUB_OFFLINE=1 python testdata/pixel/published.py

The sizes are those of the authors' tables and configuration files; the networks are the
diffusers library's and those of networks.py, on PyTorch's "meta" device.
"""

import gzip
import importlib.util
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel, UNet2DModel, VQModel

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import magnitude  # noqa: E402
import names  # noqa: E402
import networks  # noqa: E402

files = {}


def shapes(make):
    with torch.device("meta"):
        return {k: list(v.shape) for k, v in make().state_dict().items()}


def guided(width, mult, blocks, attention, **other):
    """attention are the levels that have it."""
    levels = [level in attention for level in range(len(mult))]
    return shapes(lambda: networks.Guided(width, mult, blocks, levels, 32, **({"c_in": 3, "c_out": 6} | other)))


# Dhariwal and Nichol 2021: openai/guided-diffusion's README, and its scripts' defaults.
files["adm-64"] = guided(192, (1, 2, 3, 4), 3, (1, 2, 3), classes=1000)
files["adm-128"] = guided(256, (1, 1, 2, 3, 4), 2, (2, 3, 4), classes=1000)
files["adm-512"] = guided(256, (0.5, 1, 1, 2, 2, 4, 4), 2, (4, 5, 6), classes=1000)
files["adm-64-256-upsampler"] = guided(192, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), c_in=6, classes=1000)
files["adm-128-512-upsampler"] = guided(192, (1, 1, 2, 2, 4, 4), 2, (4, 5), c_in=6, classes=1000)
for size, mult, blocks in (64, (1, 2, 3, 4), 4), (128, (1, 1, 2, 3, 4), 2), (256, (1, 1, 2, 2, 4, 4), 2), (512, (0.5, 1, 1, 2, 2, 4, 4), 2):
    n = len(mult)
    files[f"adm-{size}-classifier"] = guided(128, mult, blocks, (n - 3, n - 2, n - 1), c_out=1000, positions=64)
# Nichol and Dhariwal 2021: openai/improved-diffusion's README.
files["iddpm-cifar10"] = guided(128, (1, 2, 2, 2), 3, (1, 2), resample_blocks=False)
files["iddpm-imagenet64"] = guided(128, (1, 2, 3, 4), 3, (2, 3), resample_blocks=False)
# Song et al. 2023: openai/consistency_models' scripts.
files["consistency-imagenet64"] = guided(192, (1, 2, 3, 4), 3, (1, 2, 3), c_out=3, classes=1000)
files["consistency-lsun256"] = guided(256, (1, 1, 2, 2, 4, 4), 2, (3, 4, 5), c_out=3)

cifar = shapes(lambda: UNet2DModel(sample_size=32, block_out_channels=(128, 256, 256, 256), attention_head_dim=None,
                                   down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
                                   up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D")))
files["ddpm-cifar10-diffusers"] = cifar
files["ddpm-cifar10-diffusers-older"] = {names.older(k): v for k, v in cifar.items()}
files["ddpm-cifar10"] = {names.ddpm(k, 4): v + [1, 1] if ".attn" in names.ddpm(k, 4) and len(v) == 2 else v for k, v in cifar.items()}
files["consistency-imagenet64-diffusers"] = shapes(lambda: UNet2DModel(
    sample_size=64, layers_per_block=3, num_class_embeds=1000, block_out_channels=(192, 384, 576, 768), attention_head_dim=64,
    down_block_types=("ResnetDownsampleBlock2D",) + ("AttnDownBlock2D",) * 3, up_block_types=("AttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",),
    resnet_time_scale_shift="scale_shift", attn_norm_num_groups=32, upsample_type="resnet", downsample_type="resnet"))

# Peebles and Xie 2023, table 1; 512x512 pixels are 64x64 in latents.
files["dit-xl-2-512"] = shapes(lambda: networks.DiT(1152, 28, 16, 32, classes=1000))
files["dit-s-8"] = shapes(lambda: networks.DiT(384, 12, 6, 4, patch=8, classes=1000))



def song(side, mult, blocks, attention, edm=True, width=128, **other):
    """Karras et al. 2022 (NVlabs/edm's train.py), whose networks are in what scales their inputs, and Song et al. 2021 (score_sde's configs)."""
    with torch.device("meta"):
        net = networks.Song(side, width, mult, blocks, attention, **other)
        state = {"model." + k: v for k, v in net.state_dict().items()} if edm else {"module.sigmas": torch.zeros(1000)} | net.score_state()
    return {k: list(v.shape) for k, v in state.items()}




def edm2(width, channels=4, side=64):
    """Karras et al. 2024, table 2: ImageNet 512x512 in latents; 64x64 in pixels."""
    with torch.device("meta"):
        net = magnitude.MPUNet(side, channels, width, (1, 2, 3, 4), 3, (16, 8), 64, classes=1000)
    return {"unet." + k: list(v.shape) for k, v in net.state_dict().items()} | {"logvar_fourier.freqs": [128], "logvar_fourier.phases": [128], "logvar_linear.weight": [1, 128]}


files["edm2-img512-xs"] = edm2(128)
files["edm2-img64-s"] = edm2(192, 3)

fir = dict(fourier=True, taps=(1, 3, 3, 1))
files["edm-cifar10-vp"] = song(32, (2, 2, 2), 4, (16,), classes=10, augment=9)
files["edm-cifar10-ve"] = song(32, (2, 2, 2), 4, (16,), encoder="residual", augment=9, **fir)
files["edm-ffhq-64-vp"] = song(64, (1, 2, 2, 2), 4, (16,), augment=9)
files["edm-imagenet-64"] = song(64, (1, 2, 3, 4), 3, (32, 16, 8), width=192, guided=True, head_dim=64, classes=1000)
files["score-cifar10-ncsnpp"] = song(32, (1, 2, 2, 2), 4, (16,), False, encoder="residual", **fir)
files["score-cifar10-ncsnpp-vp"] = song(32, (1, 2, 2, 2), 4, (16,), False, encoder="residual", taps=(1, 3, 3, 1))
files["score-cifar10-ddpmpp-deep"] = song(32, (1, 2, 2, 2), 8, (16,), False)
files["score-church-256"] = song(256, (1, 1, 2, 2, 2, 2, 2), 2, (16,), False, encoder="skip", decoder="skip", **fir)
files["score-ffhq-1024"] = song(1024, (1, 2, 4, 8, 16, 32, 32, 32), 1, (16,), False, width=16, encoder="skip", decoder="skip", **fir)
files["score-church-256-diffusers"] = shapes(lambda: UNet2DModel(
    sample_size=256, block_out_channels=(128, 128, 256, 256, 256, 256, 256), time_embedding_type="fourier", norm_num_groups=None, attention_head_dim=None,
    mid_block_scale_factor=2**0.5, down_block_types=("SkipDownBlock2D",) * 4 + ("AttnSkipDownBlock2D",) + ("SkipDownBlock2D",) * 2,
    up_block_types=("SkipUpBlock2D",) * 2 + ("AttnSkipUpBlock2D",) + ("SkipUpBlock2D",) * 4))



def latent(state, kind, mult, **settings):
    """Rombach et al. 2022, table 15, and the configurations beside CompVis/latent-diffusion's models: a UNet and an autoencoder."""
    widths = tuple(128 * m for m in mult)
    vae = shapes(lambda: kind(down_block_types=("DownEncoderBlock2D",) * len(mult), up_block_types=("UpDecoderBlock2D",) * len(mult), block_out_channels=widths,
                              layers_per_block=2, **settings))
    flat = lambda k, v: v + [1, 1] if ".attn_1." in k and len(v) == 2 else v
    out = dict(state)
    for k, v in vae.items():
        k = names.autoencoder(k, len(mult))
        out[k] = flat(k, v)
    return out


vq = dict(kind=VQModel, mult=(1, 2, 4), latent_channels=3, num_vq_embeddings=8192)
inside = lambda state: {"model.diffusion_model." + k: v for k, v in state.items()}
cin = shapes(lambda: UNet2DConditionModel(
    in_channels=3, out_channels=3, block_out_channels=(192, 384, 576, 960), cross_attention_dim=512, attention_head_dim=1,
    down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 3, up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",)))
cin = {names.latent_unet(k, 2, (False, True, True, True)): v for k, v in cin.items()} | {"cond_stage_model.embedding.weight": [1001, 512]}
files["ldm-cin256"] = latent(cin, **vq)
plain = dict(scale_shift=False, resample_blocks=False)
files["ldm-celeba256"] = latent(inside(guided(224, (1, 2, 3, 4), 2, (1, 2, 3), c_out=3, **plain)), **vq)
files["ldm-churches256"] = latent(inside(guided(192, (1, 2, 2, 4, 4), 2, (0, 1, 2, 3), c_in=4, c_out=4)), AutoencoderKL, (1, 2, 4, 4), latent_channels=4)
files["ldm-bsr-sr"] = latent(inside(guided(160, (1, 2, 2, 4), 2, (3,), c_in=6, c_out=3, **plain)), **vq)

spec = importlib.util.spec_from_file_location("deepfloyd", HERE.parent / "deepfloyd" / "make.py")
deepfloyd = importlib.util.module_from_spec(spec)
spec.loader.exec_module(deepfloyd)
for name, width in ("m", 192), ("l", 320), ("xl", 704):  # DeepFloyd/IF-I-{M,L,XL}-v1.0: 0.37, 0.94 and 4.30 billion weights
    with torch.device("meta"):
        net = UNet2DConditionModel(
            sample_size=64, out_channels=6, in_channels=3, block_out_channels=(width, 2 * width, 3 * width, 4 * width), layers_per_block=3,
            down_block_types=("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 3, mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            up_block_types=("SimpleCrossAttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",), cross_attention_dim=4 * width, encoder_hid_dim=4096,
            attention_head_dim=64, addition_embed_type="text", addition_embed_type_num_heads=64, cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift", act_fn="gelu", time_embedding_dim=4 * width)
    files[f"deepfloyd-1-{name}-diffusers"] = {k: list(v.shape) for k, v in net.state_dict().items()}
    files[f"deepfloyd-1-{name}"] = {k: list(v.shape) for k, v in deepfloyd.authors(net).items()}

lines = [f"{case}\t{name}\tF16\t{','.join(map(str, shape))}" for case, f in files.items() for name, shape in f.items()]
with open(HERE.parent / "convert" / "families" / "pixel.tsv.gz", "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as z:
    z.write(("\n".join(lines) + "\n").encode())
print(len(files), "files,", len(lines), "weights")
