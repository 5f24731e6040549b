"""Makes the tiny models without text of this folder and what they compute.

Run it in any folder: python make.py. What it makes is described in README.md.

The weights are random. References are the diffusers library's in float32, and of
networks that it does not have those of networks.py. Every weight is first rounded to
four significant bits, as in ../nets/make.py.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel, UNet2DModel, VQModel
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import magnitude  # noqa: E402
import names  # noqa: E402
import networks  # noqa: E402
import persistence  # noqa: E402
import scoreddpm  # noqa: E402


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


def score_ddpm():
    """The DDPM as score_sde writes it: other blocks than its later networks have."""
    net = seeded(14, lambda: scoreddpm.ScoreDDPM(8, (1, 2), 1, (False, True), 4))
    save(half({"module." + k: v for k, v in net.state_dict().items()}), HERE / "score-ddpm.safetensors", {"sdgo.pixel.norm_groups": "4"})
    x, t = torch.randn(2, 3, 16, 24), torch.tensor([981.0, 17.25])
    return {"score-ddpm.x": x, "score-ddpm.timesteps": t, "score-ddpm.sample": net(x, t)}


def song_pickle():
    """The network of edm-ncsnpp.safetensors as EDM's training writes it, and that of ncsnpp.safetensors as score_sde's does."""
    net = networks.Song(16, 8, (1, 2), 1, (8,), fourier=True, taps=(1, 3, 3, 1), encoder="residual", classes=16, augment=9)
    net.load_state_dict({k: v.float() for k, v in load_file(HERE / "edm-ncsnpp.safetensors").items()})
    persistence.write(HERE / "edm-ncsnpp.pkl", net.half(), "VPPrecond", img_resolution=16, img_channels=3, label_dim=16, beta_d=19.9, beta_min=0.1, M=1000,
                      epsilon_t=1e-5, sigma_min=0.001, sigma_max=float("inf"), use_fp16=False, model_type="SongUNet", channel_mult=[1, 2])
    state = load_file(HERE / "ncsnpp.safetensors")
    order = list(networks.Song(16, 8, (1, 2), 1, (8,), fourier=True, taps=(1, 3, 3, 1), encoder="skip", decoder="skip").score_state())
    zeros = torch.zeros(max(v.numel() for v in state.values())).half()
    still = {"module.sigmas", "module.all_modules.0.W"}
    names = ["module.sigmas"] + order  # a module's own buffers come first
    torch.save({"optimizer": {"state": {}, "param_groups": []}, "model": OrderedDict((k, state[k] if k in still else zeros[:state[k].numel()].view(state[k].shape)) for k in names),
                "ema": {"decay": 0.999, "num_updates": 7, "shadow_params": [state[k] for k in names if k not in still]}, "step": 7}, HERE / "ncsnpp-ema.pt")
    return {}


def edm2():
    """EDM2's UNet by class, under its authors' names, and in a pickle."""
    torch.manual_seed(19)
    net = magnitude.MPUNet(16, 4, 8, (1, 2), 1, (8,), 8, classes=16).eval()
    for p in list(net.parameters()) + list(net.buffers()):
        p.data = p.data.half().float()
    state = {"unet." + k: v for k, v in net.state_dict().items()} | {"logvar_linear.weight": torch.ones(1, 8)}
    save(half(state), HERE / "edm2.safetensors", {"sdgo.pixel.head_dim": "8"})
    labels = torch.tensor([3, 16])
    x, t = torch.randn(2, 4, 16, 24), torch.tensor([0.71, -1.2])
    out = {"edm2.x": x, "edm2.timesteps": t, "edm2.class": labels[:, None].int(), "edm2.sample": net(x, t, one_hot(labels, 16))}
    scale = persistence.Plain("StabilityVAEEncoder", scale=np.float32([0.1, 0.2, 0.3, 0.4]), vae_name="x")
    persistence.write(HERE / "edm2.pkl", net.half(), "Precond", encoder=scale, name="unet", img_resolution=16, img_channels=4, label_dim=16, use_fp16=True,
                      sigma_data=0.5, logvar_channels=8, channels_per_head=8)
    return out


def enlarging_by_text():
    """The UNet of the x4 upscaler: a level of noise as a class, transformers that attend to the text alone."""
    net = seeded(20, lambda: UNet2DConditionModel(
        sample_size=8, in_channels=7, out_channels=4, block_out_channels=(8, 16, 16), layers_per_block=1, cross_attention_dim=12, attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        only_cross_attention=(True, True, False), num_class_embeds=30, use_linear_projection=True, norm_num_groups=8))
    save(half(original(net, lambda k: names.latent_unet(k, 1, (False, True, True)))), HERE / "x4.safetensors", None)
    x, t, text, level = torch.randn(2, 7, 8, 12), torch.tensor([981.0, 17.5]), torch.randn(2, 5, 12), torch.tensor([20, 0])
    return {"x4.x": x, "x4.t": t, "x4.context": text, "x4.class": level[:, None].int(), "x4.out": net(x, t, text, class_labels=level).sample}


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


def autoencoder(kind, seed, **settings):
    down, up = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2
    return seeded(seed, lambda: kind(in_channels=3, out_channels=3, down_block_types=down, up_block_types=up, block_out_channels=(8, 16),
                                     layers_per_block=1, norm_num_groups=8, latent_channels=3, **settings))


def original(net, name, **fixed):
    """The tensors under other names; the matrices of an autoencoder's attention are 1x1 convolutions there."""
    out = {}
    for k, v in net.state_dict().items():
        k = name(k)
        out[k] = v[:, :, None, None] if k.startswith("first_stage_model.") and ".attn_1." in k and v.ndim == 2 else v
    return out | fixed


def coded(vq, z, prefix):
    """What the library decodes a latent to, with the nearest codes, and its latent of a picture."""
    image = torch.randn(1, 3, 16, 16)
    return {prefix + ".z": z, prefix + ".decoded": vq.decode(z).sample, prefix + ".image": image, prefix + ".encoded": vq.encode(image).latents}


def latent():
    """Latent diffusion without text: by class and with averages, free with a KL autoencoder, and enlarging, in the library's layout."""
    out, schedule = {}, (1 - torch.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2).cumprod(0)
    buffers = {"betas": 1 - schedule, "alphas_cumprod": schedule, "sqrt_alphas_cumprod": schedule.sqrt(), "model_ema.decay": torch.tensor(0.999),
               "model_ema.num_updates": torch.tensor(7, dtype=torch.int32), "first_stage_model.loss.logvar": torch.zeros(1)}
    net = seeded(14, lambda: UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=12, attention_head_dim=1, norm_num_groups=8))
    vq = autoencoder(VQModel, 15, num_vq_embeddings=64)
    vq.quantize.embedding.weight.data = (torch.randn(64, 3) * 16).round() / 16
    table = (torch.randn(11, 12) * 16).round() / 16
    state = original(net, lambda k: names.latent_unet(k, 1, (False, True)))
    averages = {"model_ema." + k.removeprefix("model.").replace(".", ""): v.half() for k, v in state.items()}
    state = half({k: torch.zeros_like(v) for k, v in state.items()} | original(vq, lambda k: names.autoencoder(k, 2))) | averages
    metadata = {"sdgo.pixel.size": "8", "sdgo.unet.norm_groups": "8", "sdgo.vae.norm_groups": "8"}
    save(state | {"cond_stage_model.embedding.weight": table.half()} | buffers, HERE / "cin.safetensors", metadata)
    x, t, y = torch.randn(2, 3, 8, 8), torch.tensor([981.0, 17.5]), torch.tensor([3, 10])
    out |= {"cin.x": x, "cin.timesteps": t, "cin.class": y[:, None].int(), "cin.sample": net(x, t, table[y][:, None]).sample} | coded(vq, torch.randn(1, 3, 8, 8), "cin")

    net = seeded(16, lambda: networks.Guided(8, (1, 2), 1, (True, True), 4, 3, 3, groups=4, by_head=True))
    kl = autoencoder(AutoencoderKL, 17)
    state = {"model.diffusion_model." + k: v for k, v in net.state_dict().items()} | original(kl, lambda k: names.autoencoder(k, 2))
    save(half(state) | {"scale_factor": torch.tensor(0.25)} | buffers | {"alphas_cumprod": schedule**0.75}, HERE / "churches.safetensors",
         {"sdgo.pixel.size": "8", "sdgo.pixel.norm_groups": "4", "sdgo.pixel.heads": "0", "sdgo.pixel.head_dim": "4", "sdgo.vae.norm_groups": "8"})
    x = torch.randn(2, 3, 8, 8)
    out |= {"churches.x": x, "churches.timesteps": t, "churches.sample": net(x, t), "churches.decoded": kl.decode(x / 0.25).sample}

    net = seeded(18, lambda: UNet2DModel(
        sample_size=8, in_channels=6, out_channels=3, layers_per_block=1, block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), norm_num_groups=4, attention_head_dim=8))
    save_folder("enlarging", net, {"_class_name": "DDIMScheduler", "num_train_timesteps": 1000, "beta_start": 0.0015, "beta_end": 0.0155,
                                   "beta_schedule": "scaled_linear", "clip_sample": False})
    config = {"_class_name": "VQModel"} | json.loads(vq.to_json_string())
    config.pop("_diffusers_version", None)
    write_json(HERE / "enlarging" / "vqvae" / "config.json", config | {"scaling_factor": 0.5})
    save(half(vq.state_dict()), HERE / "enlarging" / "vqvae" / "diffusion_pytorch_model.safetensors", None)
    write_json(HERE / "enlarging" / "model_index.json", {"_class_name": "LDMSuperResolutionPipeline", "scheduler": ["diffusers", "DDIMScheduler"],
                                                         "unet": ["diffusers", "UNet2DModel"], "vqvae": ["diffusers", "VQModel"]})
    x, low = torch.randn(2, 3, 8, 8), torch.rand(2, 3, 8, 8) * 2 - 1
    return out | {"enlarging.x": x, "enlarging.low": low, "enlarging.timesteps": t, "enlarging.sample": net(torch.cat([x, low], 1), t).sample}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    values = {}
    for make in ddpm, consistency, guided, dit, song, song_pickle, score_ddpm, edm2, skip, latent, enlarging_by_text:
        torch.manual_seed(0)
        values |= make()
    save({k: v.clone() for k, v in values.items()}, HERE / "reference.safetensors", None)


if __name__ == "__main__":
    main()
