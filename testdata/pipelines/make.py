"""Makes pipeline.safetensors: two small pictures, drawn by diffusers' networks.

Run it after ../nets/make.py, in any folder: python make.py. The tensors are
described in README.md.

The networks are those of ../nets, the tokenizer is transformers', everything
between them is written out here after its definition: the k-diffusion wrappers
of the UNet (Karras et al. 2022, table 1, the rows of VP; for v-prediction
Salimans and Ho 2022), Euler's method, AUTOMATIC1111's chunks and emphasis.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
NETS = HERE.parent / "nets"
PROMPT, NEGATIVE = "a red apple on a table", "blurry"
# "a (red:1.3) apple on a ((table))": each pair of brackets counts 1.1.
WEIGHTED = (("a ", 1.0), ("red", 1.3), (" apple on a ", 1.0), ("table", 1.1**2))
# No commas, before which AUTOMATIC1111 breaks chunks.
LONG = " ".join(f"{thing} on a table and" for thing in (
    "a red apple", "the old house", "one green bird", "some white flowers", "two small dogs",
    "three black birds", "the first house")) + " the end"
SEED, STEPS, GUIDANCE = 42, 5, 7.0


def load_nets_script():
    spec = importlib.util.spec_from_file_location("nets", NETS / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


nets = load_nets_script()
tokenizer = CLIPTokenizer.from_pretrained(NETS / "sd1-diffusers" / "tokenizer")


# Prompts.


def chunks(segments, pad):
    """Token ids and weights, [chunks, 77] each: 75 tokens between start and end."""
    tokens, weights = [], []
    for text, weight in segments:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        tokens += ids
        weights += [weight] * len(ids)
    ids = torch.full((max(1, -(-len(tokens) // 75)), 77), pad)
    mult = torch.ones(ids.shape)
    for i in range(len(ids)):
        part = tokens[i * 75 : i * 75 + 75]
        ids[i, : len(part) + 2] = torch.tensor([tokenizer.bos_token_id, *part, tokenizer.eos_token_id])
        mult[i, 1 : len(part) + 1] = torch.tensor(weights[i * 75 : i * 75 + 75])
    return ids, mult


def embed(text, layer, ids, mult):
    """The chunks' embeddings one after another, [1, chunks*77, width]."""
    out = []
    for tokens, weights in zip(ids, mult):
        z = nets.hidden(text, tokens[None], layer)
        if not torch.all(weights == 1):
            mean = z.mean()
            z = z * weights[None, :, None]
            z = z * (mean / z.mean())
        out.append(z)
    return torch.cat(out, dim=1)


# Sampling.


def log_sigmas():
    """log σ of the 1000 training timesteps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    return ((1 - alphas) / alphas).log() / 2


def schedule():
    """Timesteps evenly from 999 to 0, which are fractional, and their σ, then 0."""
    table = log_sigmas()
    t = torch.linspace(999, 0, STEPS, dtype=torch.float64)
    low = t.floor().long().clamp(max=998)
    sigmas = torch.lerp(table[low], table[low + 1], t - low).exp()
    return t.float(), torch.cat([sigmas, torch.zeros(1)]).float()


def denoise(unet, prediction, x, sigma, t, context):
    """The guided estimate of the clean latent. context is [2, tokens, width]: negative, positive."""
    scaled = (x / (sigma**2 + 1).sqrt()).repeat(2, 1, 1, 1)
    out = unet(scaled, t.repeat(2), context).sample
    if prediction == "v":
        clean = x / (sigma**2 + 1) - out * sigma / (sigma**2 + 1).sqrt()
    else:
        clean = x - sigma * out
    negative, positive = clean.chunk(2)
    return negative + GUIDANCE * (positive - negative)


def draw(unet, vae, prediction, context):
    """Euler's method from noise to picture, every step kept."""
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    t, sigmas = schedule()
    x = noise * sigmas[0]
    out = {"noise": noise, "timesteps": t, "sigmas": sigmas}
    for i in range(STEPS):
        clean = denoise(unet, prediction, x, sigmas[i], t[i], context)
        x = x + (x - clean) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
        out[f"latent.{i + 1}"] = x
    image = (vae.decode(x / 0.18215).sample / 2 + 0.5).clamp(0, 1)
    out["image"] = image
    out["pixels"] = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    return out


# Pictures as input.


def start_picture():
    """A picture to begin with and a mask, [64, 64, 3] and [64, 64], 8 bits: slopes, and a block that is white."""
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    picture = torch.stack([x * 4, y * 4, 255 - (x + y) * 2], dim=-1).to(torch.uint8)
    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[13:45, 20:56] = 255
    return picture, mask


def redraw(unet, vae, prediction, context, inpaint):
    """From a picture: a draw from the encoder's distribution and noise, both from SEED, then the last int(STEPS*0.6)+1 steps."""
    picture, mask = start_picture()
    pixels = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
    seeded = lambda: torch.Generator().manual_seed(SEED)
    x0 = vae.encode(pixels).latent_dist.sample(generator=seeded()) * 0.18215
    cells = torch.nn.functional.max_pool2d(mask[None, None].float() / 255, 8)
    t, sigmas = schedule()
    first = STEPS - int(STEPS * 0.6) - 1
    x = x0 + torch.randn(x0.shape, generator=seeded()) * sigmas[first]
    for i in range(first, STEPS):
        clean = denoise(unet, prediction, x, sigmas[i], t[i], context)
        if inpaint:
            clean = clean * cells + x0 * (1 - cells)
        x = x + (x - clean) / sigmas[i] * (sigmas[i + 1] - sigmas[i])
    image = (vae.decode(x / 0.18215).sample / 2 + 0.5).clamp(0, 1)
    drawn = (image[0].permute(1, 2, 0) * 255).round().to(torch.uint8)
    if inpaint:
        drawn = torch.where(mask[..., None] > 0, drawn, picture)
    return {"start": picture, "mask": mask, "source": x0, "latent": x, "pixels": drawn}


def widen(unet, channels, seed):
    """The UNet with more input channels, and its new first weight, exact in float16."""
    old = unet.conv_in
    extra = torch.randn(old.weight.shape[0], channels - 4, 3, 3, generator=torch.Generator().manual_seed(seed)) * 0.1
    mantissa, exponent = torch.frexp(extra)
    extra = torch.ldexp((mantissa * 16).round() / 16, exponent).half().float()
    wide = torch.nn.Conv2d(channels, old.weight.shape[0], 3, padding=1)
    wide.weight.data, wide.bias = torch.cat([old.weight, extra], dim=1), old.bias
    unet.conv_in = wide
    return old, wide.weight.data


def redraw_beside(unet, vae, context, kind):
    """As StableDiffusionInpaintPipeline (9 channels) and StableDiffusionInstructPix2PixPipeline (8) of diffusers have it,
    with Euler's method, every draw from SEED, and the encoder's draw of the masked picture after that of the whole."""
    picture, mask = start_picture()
    pixels = picture.permute(2, 0, 1)[None].float() / 127.5 - 1
    rng = torch.Generator().manual_seed(SEED)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    t, sigmas = schedule()
    if kind == "nine":
        x0 = vae.encode(pixels).latent_dist.sample(generator=rng) * 0.18215
        masked = vae.encode(torch.where(mask > 0, 0.0, pixels)).latent_dist.sample(generator=rng) * 0.18215
        beside = torch.cat([torch.nn.functional.max_pool2d(mask[None, None].float() / 255, 8), masked], dim=1)
        views, first = [beside] * 2, STEPS - int(STEPS * 0.6) - 1
        mix = lambda out: out[0] + GUIDANCE * (out[1] - out[0])
    else:
        x0, beside, first = torch.zeros_like(noise), vae.encode(pixels).latent_dist.mode(), 0
        context = torch.cat([context[:1], context])
        views = [torch.zeros_like(beside), beside, beside]
        mix = lambda out: out[0] + 1.5 * (out[1] - out[0]) + GUIDANCE * (out[2] - out[1])
    x = x0 + noise * sigmas[first]
    for i in range(first, STEPS):
        scaled = x / (sigmas[i] ** 2 + 1).sqrt()
        eps = unet(torch.cat([torch.cat([scaled, v], dim=1) for v in views]), t[i].repeat(len(views)), context).sample
        x = x + mix(eps)[None] * (sigmas[i + 1] - sigmas[i])
    return x


# Pipelines.


def pipeline(unet, vae, text, prediction, layer, pad):
    out = {}
    for name, segments in (("cond", [(PROMPT, 1.0)]), ("uncond", [(NEGATIVE, 1.0)]),
                           ("weighted", WEIGHTED), ("long", [(LONG, 1.0)])):
        ids, mult = chunks(segments, pad)
        out[f"{name}.tokens"] = ids.int()
        out[f"{name}.embedding"] = embed(text, layer, ids, mult)
        if name == "weighted":
            out["weighted.weights"] = mult
    context = torch.cat([out["uncond.embedding"], out["cond.embedding"]])
    return out | draw(unet, vae, prediction, context)


def load_sd1():
    """The networks as the diffusers library reads them from the folder."""
    folder = NETS / "sd1-diffusers"
    parts = [kind.from_pretrained(folder / name, torch_dtype=torch.float32).eval() for kind, name in (
        (UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"), (CLIPTextModel, "text_encoder"))]
    known = load_file(NETS / "reference.safetensors")
    torch.testing.assert_close(nets.hidden(parts[2], known["sd1.text.tokens"].long(), 2), known["sd1.text.hidden.2"])
    torch.testing.assert_close(parts[1].decode(known["sd1.vae.z"]).sample, known["sd1.vae.decoded"])
    got = parts[0](known["sd1.unet.x"], known["sd1.unet.t"], known["sd1.unet.context"]).sample
    torch.testing.assert_close(got, known["sd1.unet.out"])
    return parts


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    sd1, end = load_sd1(), tokenizer.eos_token_id
    out = {f"sd1.{k}": v for k, v in pipeline(*sd1, "epsilon", layer=2, pad=end).items()}
    context = torch.cat([out["sd1.uncond.embedding"], out["sd1.cond.embedding"]])
    for name in ("img2img", "inpaint"):
        out |= {f"sd1.{name}.{k}": v for k, v in redraw(*sd1[:2], "epsilon", context, name == "inpaint").items()}
    for name, channels in (("nine", 9), ("eight", 8)):
        narrow, weight = widen(sd1[0], channels, seed=channels)
        out |= {f"sd1.{name}.conv_in": weight, f"sd1.{name}.latent": redraw_beside(*sd1[:2], context, name)}
        sd1[0].conv_in = narrow
    ids, mult = chunks([(PROMPT, 1.0)], end)
    out["sd1.skip.embedding"] = embed(sd1[2], 1, ids, mult)
    # OpenCLIP pads with token 0; the last of the three layers is not used.
    out |= {f"sd2.{k}": v for k, v in pipeline(*nets.make_sd2(), "v", layer=2, pad=0).items()}
    texts = {"prompt": PROMPT, "negative": NEGATIVE, "long": LONG, "weighted": "a (red:1.3) apple on a ((table))"}
    nets.save(out, HERE / "pipeline.safetensors", texts)


if __name__ == "__main__":
    main()
