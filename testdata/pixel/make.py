"""Makes the tiny models without text of this folder and what they compute.

Run it in any folder: python make.py. What it makes is described in README.md.

The weights are random. References are the diffusers library's in float32, and of
networks that it does not have those of networks.py. Every weight is first rounded to
four significant bits, as in ../nets/make.py.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import names  # noqa: E402
import networks  # noqa: E402


def randomise(model, seed):
    """Biases and norms away from 0 and 1, and every weight exact in float16."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data += 0.2 * torch.randn(p.shape, generator=g)
        elif p.abs().max() == 0 or ".proj" in name or "to_out" in name or "qkv" in name or "to_" in name:
            p.data = torch.randn(p.shape, generator=g) * 1.5 / max(1, p[0].numel()) ** 0.5
        mantissa, exponent = torch.frexp(p.data)
        p.data = torch.ldexp((mantissa * 16).round() / 16, exponent).half().float()
    return model.eval()


def half(tensors):
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}


def save(tensors, path, metadata):
    """A safetensors file whose metadata is in order, so that every run makes the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata or {"format": "pt"})
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted((metadata or {"format": "pt"}).items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def save_folder(name, unet, scheduler):
    """A model in the diffusers library's layout."""
    folder = HERE / name
    config = {"_class_name": type(unet).__name__} | json.loads(unet.to_json_string())
    config.pop("_diffusers_version", None)
    write_json(folder / "unet" / "config.json", config)
    save(half(unet.state_dict()), folder / "unet" / "diffusion_pytorch_model.safetensors", None)
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "DDPMPipeline", "scheduler": ["diffusers", scheduler["_class_name"]],
                                             "unet": ["diffusers", type(unet).__name__]})


def seeded(seed, make):
    torch.manual_seed(seed)
    return randomise(make(), seed)


def ddpm():
    """Ho et al. 2020 as the diffusers library has it: unconditional."""
    unet = seeded(1, lambda: UNet2DModel(
        sample_size=16, layers_per_block=1, block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), downsample_padding=0, flip_sin_to_cos=False, freq_shift=1, norm_eps=1e-6,
        attention_head_dim=None, norm_num_groups=4))
    save_folder("ddpm", unet, {"_class_name": "DDPMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02,
                               "beta_schedule": "linear", "variance_type": "fixed_large", "clip_sample": True, "prediction_type": "epsilon"})
    write_json(HERE / "names.json", {"ddpm": {k: names.ddpm(k, 2) for k in unet.state_dict()}, "older": {k: names.older(k) for k in unet.state_dict()}})
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([981.0, 17.3])
    return {"ddpm.x": x, "ddpm.timesteps": t, "ddpm.sample": unet(x, t).sample}


def consistency():
    """A consistency model's network: guided diffusion's in the diffusers library."""
    unet = seeded(2, lambda: UNet2DModel(
        sample_size=16, layers_per_block=1, num_class_embeds=10, block_out_channels=(8, 16), attention_head_dim=8,
        down_block_types=("ResnetDownsampleBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "ResnetUpsampleBlock2D"),
        resnet_time_scale_shift="scale_shift", norm_num_groups=4, attn_norm_num_groups=4, upsample_type="resnet", downsample_type="resnet"))
    save_folder("consistency", unet, {"_class_name": "CMStochasticIterativeScheduler", "num_train_timesteps": 40, "sigma_min": 0.002,
                                      "sigma_max": 80.0, "sigma_data": 0.5, "s_noise": 1.0, "rho": 7.0, "clip_denoised": True})
    x, t, y = torch.randn(2, 3, 16, 16), torch.tensor([1095.5, -312.4]), torch.tensor([3, 9])
    return {"consistency.x": x, "consistency.timesteps": t, "consistency.class": y[:, None].int(),
            "consistency.sample": unet(x, t, y).sample}


def guided():
    """Guided diffusion: the first level half as wide as the embedding, both orders of queries, a classifier and an upsampler."""
    out = {}
    make = lambda by_head, c_in: networks.Guided(16, (0.5, 1, 1.5), 1, (False, True, True), 8, c_in, 6, classes=10, groups=4, by_head=by_head)
    net = seeded(3, lambda: make(True, 3))
    common = {"sdgo.pixel.norm_groups": "4", "sdgo.pixel.head_dim": "8"}
    save(half(net.state_dict()), HERE / "guided.safetensors", common)
    other = make(False, 3).eval()
    other.load_state_dict(net.state_dict())
    x, t, y = torch.randn(2, 3, 16, 24), torch.tensor([981.0, 17.0]), torch.tensor([3, 9])
    out |= {"guided.x": x, "guided.timesteps": t, "guided.class": y[:, None].int(), "guided.sample": net(x, t, y),
            "guided.whole.sample": other(x, t, y)}

    net = seeded(4, lambda: networks.Guided(8, (1, 2), 1, (False, True), 8, 6, 6, groups=4))
    save(half(net.state_dict()), HERE / "upsampler.safetensors", common)
    x, low = torch.randn(2, 3, 16, 16), torch.rand(2, 3, 16, 16) * 2 - 1
    out |= {"upsampler.x": x, "upsampler.low": low, "upsampler.timesteps": t, "upsampler.sample": net(torch.cat([x, low], 1), t)}

    net = seeded(5, lambda: networks.Guided(8, (1, 2), 2, (True, True), 8, 3, 10, groups=4, positions=64))
    save(half(net.state_dict()), HERE / "classifier.safetensors", common)
    x = torch.randn(2, 3, 16, 16)
    out |= {"classifier.x": x, "classifier.timesteps": t, "classifier.logits": net(x, t)}

    net = seeded(6, lambda: networks.Guided(8, (1, 2), 1, (False, True), 4, 3, 6, groups=4, resample_blocks=False))
    save(half(net.state_dict()), HERE / "improved.safetensors", {"sdgo.pixel.norm_groups": "4"})  # four heads
    x = torch.randn(2, 3, 16, 16)
    out |= {"improved.x": x, "improved.timesteps": t, "improved.sample": net(x, t)}
    return out


def dit():
    """DiT in the diffusers library, and its weights under its authors' names."""
    net = seeded(7, lambda: DiTTransformer2DModel(num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=2,
                                                  sample_size=8, patch_size=2, num_embeds_ada_norm=10))
    state = net.state_dict()
    for k in list(state):  # each block of the library has embedders of its own, of which trained models' are equal
        if "norm1.emb." in k:
            state[k] = state["transformer_blocks.0." + k.split(".", 2)[2]]
    net.load_state_dict(state)
    folder = HERE / "dit"
    config = {"_class_name": "DiTTransformer2DModel"} | json.loads(net.to_json_string())
    config.pop("_diffusers_version", None)
    write_json(folder / "transformer" / "config.json", config)
    first = {k: v for k, v in state.items() if "norm1.emb." not in k or k.startswith("transformer_blocks.0.")}
    save(half(first), folder / "transformer" / "diffusion_pytorch_model.safetensors", None)
    write_json(folder / "scheduler" / "scheduler_config.json", {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0001,
                                                                "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False})
    write_json(folder / "model_index.json", {"_class_name": "DiTPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
                                             "transformer": ["diffusers", "DiTTransformer2DModel"]})
    original = {names.dit(k): v for k, v in first.items() if "attn1.to_" not in k or "to_out" in k}
    for i in range(2):
        for end in "weight", "bias":
            original[f"blocks.{i}.attn.qkv.{end}"] = torch.cat([first[f"transformer_blocks.{i}.attn1.to_{c}.{end}"] for c in "qkv"])
    own = networks.DiT(32, 2, 2, 4).eval()
    own.load_state_dict(original | {"pos_embed": own.pos_embed})
    save(half(original) | {"pos_embed": own.pos_embed.detach()}, HERE / "dit.safetensors", {"sdgo.pixel.heads": "2"})
    x, t, y = torch.randn(2, 4, 8, 8), torch.tensor([981.0, 17.0]), torch.tensor([3, 10])
    sample, authors = net(x, t, class_labels=y).sample, own(x, t, y)
    own.shift = 1  # as the library has it; the authors' frequencies are others
    error = ((sample - own(x, t, y)).norm() / sample.norm()).item()
    assert error < 1e-6, error
    return {"dit.x": x, "dit.timesteps": t, "dit.class": y[:, None].int(), "dit.sample": sample, "dit.authors.sample": authors}


def one_hot(labels, classes):
    return torch.stack([torch.eye(classes)[i] if i < classes else torch.zeros(classes) for i in labels])


def song():
    """NCSN++ and DDPM++ under EDM's names and under score_sde's, and EDM's form of guided diffusion's network."""
    out, t = {}, torch.tensor([0.71, -1.2])
    labels = torch.tensor([3, 16])  # the last stands for none
    for name, seed, settings in (("edm-ncsnpp", 8, dict(fourier=True, taps=(1, 3, 3, 1), encoder="residual", classes=16, augment=9)),
                                 ("edm-guided", 9, dict(guided=True, head_dim=8, classes=16)),
                                 ("ncsnpp", 10, dict(fourier=True, taps=(1, 3, 3, 1), encoder="skip", decoder="skip")),
                                 ("ncsnpp-vp", 13, dict(taps=(1, 3, 3, 1), encoder="residual")),
                                 ("ddpmpp", 11, {})):
        net = seeded(seed, lambda: networks.Song(16, 8, (1, 2), 1, (8,), **settings))
        if hasattr(net, "map_label"):  # few bits, so that a table of 4·weight + bias has few as well
            for p in net.map_label.parameters():
                p.data = (p.data * 16).round() / 16
        if settings.get("fourier"):
            net.map_noise.freqs.data = net.map_noise.freqs.half().float()
        if name.startswith("edm"):
            save(half(net.state_dict()), HERE / f"{name}.safetensors", {"sdgo.pixel.head_dim": "8"} if "guided" in name else None)
        else:
            save(half(net.score_state()) | ({"module.sigmas": torch.tensor([50.0, 1.0, 0.01])} if name == "ncsnpp" else {}), HERE / f"{name}.safetensors", None)
        x = torch.randn(2, 3, 16, 24)
        y = one_hot(labels, 16) if "classes" in settings else None
        out |= {f"{name}.x": x, f"{name}.timesteps": t, f"{name}.sample": net(x, t, y)}
        if y is not None:
            out[f"{name}.class"] = labels[:, None].int()
    return out


def skip():
    """NCSN++ in the diffusers library. Some of its norms have 32 groups whatever their width, as all do in published models, which have 128
    channels or more; this one is narrower."""
    net = seeded(12, lambda: UNet2DModel(
        sample_size=16, layers_per_block=1, block_out_channels=(32, 32), time_embedding_type="fourier", flip_sin_to_cos=True, norm_eps=1e-6,
        norm_num_groups=None, mid_block_scale_factor=2**0.5, attention_head_dim=None, down_block_types=("SkipDownBlock2D", "AttnSkipDownBlock2D"),
        up_block_types=("AttnSkipUpBlock2D", "SkipUpBlock2D")))
    for m in net.modules():
        if isinstance(m, torch.nn.GroupNorm):
            m.num_groups = min(m.num_channels // 4, 32)
    for p in net.parameters():
        p.data = p.data.half().float()
    save_folder("skip", net, {"_class_name": "ScoreSdeVeScheduler", "num_train_timesteps": 2000, "sigma_min": 0.01, "sigma_max": 348.0, "snr": 0.075})
    x, sigma = torch.randn(2, 3, 16, 16), torch.tensor([3.5, 0.2])
    return {"skip.x": x, "skip.timesteps": sigma.log(), "skip.sample": net(x, sigma).sample * sigma[:, None, None, None]}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    values = {}
    for make in ddpm, consistency, guided, dit, song, skip:
        torch.manual_seed(0)
        values |= make()
    save({k: v.clone() for k, v in values.items()}, HERE / "reference.safetensors", None)


if __name__ == "__main__":
    main()
