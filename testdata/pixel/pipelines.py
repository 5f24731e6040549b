"""Makes pipelines.safetensors: samples that the models of this folder draw.

Run it after make.py, in any folder: python pipelines.py. Schedulers are the diffusers library's; what that has not,
guided diffusion's steps with a learned variance of respaced betas, is written here after its publication (Nichol and
Dhariwal 2021, sections 3.1 and 4). Noise is that of torch's generator on the CPU, one for each sample.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import CMStochasticIterativeScheduler, DDIMScheduler, DDPMScheduler, DiTTransformer2DModel, UNet2DModel
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import make  # noqa: E402
import networks  # noqa: E402

SEED, SHAPE = 7, (1, 3, 16, 16)


def respaced(count, total=1000):
    return [round(i * (total - 1) / (count - 1)) for i in range(count)][::-1]


def ddpm():
    unet = UNet2DModel.from_pretrained(HERE / "ddpm" / "unet")
    s = DDPMScheduler.from_pretrained(HERE / "ddpm" / "scheduler")
    s.set_timesteps(timesteps=respaced(6))
    g = torch.Generator().manual_seed(SEED)
    x = torch.randn(SHAPE, generator=g)
    out = {}
    y = x
    for t in s.timesteps:
        y = s.step(unet(y, t).sample, t, y, generator=g).prev_sample
    out["ddpm.large"] = y

    s = DDIMScheduler.from_pretrained(HERE / "ddpm" / "scheduler", timestep_spacing="trailing")
    s.set_timesteps(5)
    y = x
    for t in s.timesteps:
        y = s.step(unet(y, t).sample, t, y, use_clipped_model_output=True).prev_sample
    return out | {"ddpm.ddim": y}


def consistency():
    unet = UNet2DModel.from_pretrained(HERE / "consistency" / "unet")
    out = {}
    for steps in 1, 2:
        s = CMStochasticIterativeScheduler.from_pretrained(HERE / "consistency" / "scheduler", num_train_timesteps=41)
        g = torch.Generator().manual_seed(SEED)
        s.set_timesteps(timesteps=[0] if steps == 1 else [20, 0])
        x = torch.randn(SHAPE, generator=g) * s.init_noise_sigma
        for t in s.timesteps:
            scaled = s.scale_model_input(x, t)
            x = s.step(unet(scaled, t, class_labels=torch.tensor([3])).sample, t, x, generator=g).prev_sample
        out[f"consistency.{steps}"] = x
    return out


def learned(net, count, betas, seed, shape=SHAPE, clip=1.0, begin=lambda g, bars: None):
    """guided diffusion's p_sample_loop, its betas made anew for the timesteps that are used; begin may draw more noise."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=g)
    bars = torch.cumprod(1 - betas, 0).float().double()
    begin(g, bars)
    steps = respaced(count)
    for i, t in enumerate(steps):
        out = net(x.float(), torch.tensor([float(t)])).double()
        eps, v = out.chunk(2, 1)
        bar, before = bars[t], bars[steps[i + 1]] if i + 1 < count else torch.tensor(1.0, dtype=torch.float64)
        beta = 1 - bar / before
        start = ((x - (1 - bar).sqrt() * eps) / bar.sqrt()).clamp(-clip, clip)
        mean = before.sqrt() * beta / (1 - bar) * start + (1 - beta).sqrt() * (1 - before) / (1 - bar) * x
        if i + 1 < count:
            low, high = torch.log(beta * (1 - before) / (1 - bar)), torch.log(beta)
            share = (v + 1) / 2
            mean = mean + (0.5 * (share * high + (1 - share) * low)).exp() * torch.randn(shape, generator=g)
        x = mean
    return x.float()


def guided():
    linear = torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64).float().double()
    net = networks.Guided(16, (0.5, 1, 1.5), 1, (False, True, True), 8, 3, 6, classes=10, groups=4, by_head=True)
    net.load_state_dict({k: v.float() for k, v in load_file(HERE / "guided.safetensors").items()})
    out = {"guided.3": learned(lambda x, t: net.eval()(x, t, torch.tensor([3])), 6, linear, SEED)}

    net = networks.Guided(8, (1, 2), 1, (False, True), 8, 6, 6, groups=4)
    net.load_state_dict({k: v.float() for k, v in load_file(HERE / "upsampler.safetensors").items()})
    low = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    large = F.interpolate(low.float() / 127.5 - 1, SHAPE[2:], mode="bilinear")
    out["upsampler.low"] = low
    out["upsampler.large"] = learned(lambda x, t: net.eval()(torch.cat([x, large], 1), t), 6, linear, SEED)

    # Conditioning augmentation: noise on the small picture, drawn after the first noise as the library's IFSuperResolutionPipeline does.
    seen = {}

    def noised(g, bars):
        small = low.double() / 127.5 - 1
        small = bars[300].sqrt() * small + (1 - bars[300]).sqrt() * torch.randn(small.shape, generator=g)
        seen["large"] = F.interpolate(small.float(), SHAPE[2:], mode="bilinear")

    out["upsampler.noised"] = learned(lambda x, t: net.eval()(torch.cat([x, seen["large"]], 1), t), 6, linear, SEED, begin=noised)
    return out


def latents():
    """Latents: a diffusion transformer guided towards a class as the library guides it, in all channels, and one that enlarges a picture."""
    linear = torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64).float().double()
    dit = DiTTransformer2DModel.from_config(HERE / "dit" / "transformer")
    state = load_file(HERE / "dit" / "transformer" / "diffusion_pytorch_model.safetensors")
    first = {k: v for k, v in state.items() if ".0.norm1.emb." in k}  # the file has these of one block, the library in each
    state |= {k.replace("blocks.0.", f"blocks.{i}."): v for k, v in first.items() for i in range(1, dit.config.num_layers)}
    dit.load_state_dict({k: v.float() for k, v in state.items()})
    dit.eval()

    def guided_dit(x, t):
        both = dit(torch.cat([x, x]), timestep=t.repeat(2).long(), class_labels=torch.tensor([3, 10])).sample
        eps, v = both.chunk(2, 1)
        return torch.cat([eps[1:] + 4 * (eps[:1] - eps[1:]), v[:1]], 1)

    out = {"dit.guided": learned(guided_dit, 6, linear, SEED, (1, 4, 8, 8), float("inf"))}
    unet = UNet2DModel.from_pretrained(HERE / "enlarging" / "unet").eval()
    s = DDIMScheduler.from_pretrained(HERE / "enlarging" / "scheduler", timestep_spacing="trailing", clip_sample=False)
    s.set_timesteps(5)
    low = torch.randint(0, 256, (1, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(SEED))
    for t in s.timesteps:
        x = s.step(unet(torch.cat([x, low.float() / 127.5 - 1], 1), t).sample, t, x).prev_sample
    return out | {"enlarging.ddim": x}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    values = ddpm() | consistency() | guided() | latents()
    make.save({k: v.clone() for k, v in values.items()}, HERE / "pipelines.safetensors", None)


if __name__ == "__main__":
    main()
