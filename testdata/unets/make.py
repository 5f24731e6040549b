"""Makes reference.safetensors, configs.json and names.tsv.gz: UNets of unusual structure.

Run it in any folder: python make.py. README.md describes what it makes, and how weights
and inputs come of their names.
"""

import gzip
import json
import math
import re
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, LatentConsistencyModelPipeline, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
PREFIX = "model.diffusion_model."
CROSS, PLAIN = "CrossAttn{}Block2D", "{}Block2D"

# The structure of published networks, as the configuration files of their folders have it.
SD1 = {"cross_attention_dim": 64, "attention_head_dim": 8}
XL = {"cross_attention_dim": 96, "attention_head_dim": (1, 2, 4), "use_linear_projection": True,
      "addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 112}
NETS = {
    "bk-sdm-base": SD1 | {"levels": 4, "attention": 3, "layers_per_block": 1},
    "bk-sdm-small": SD1 | {"levels": 4, "attention": 3, "layers_per_block": 1, "mid_block_type": None},  # and small-sd
    "bk-sdm-tiny": SD1 | {"levels": 3, "attention": 3, "layers_per_block": 1, "mid_block_type": None},  # and tiny-sd
    "lcm": SD1 | {"levels": 4, "attention": 3, "layers_per_block": 2, "time_cond_proj_dim": 256},
    "ssd-1b": XL | {"layers_per_block": 2, "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [0, [2, 2], [4, 4]],
                    "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1]},
    "vega": XL | {"layers_per_block": 2, "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [0, 1, 2]},
    "koala-700m": XL | {"layers_per_block": 1, "mid_block_type": None, "transformer_layers_per_block": [0, 2, 5]},
    "koala-1b": XL | {"layers_per_block": 1, "transformer_layers_per_block": [0, 2, 6]},
    "lcm-sdxl": XL | {"layers_per_block": 2, "transformer_layers_per_block": [0, 2, 10], "time_cond_proj_dim": 256},
}
GUIDANCE = [1.0, 4.5, 8.5]


def uniform(name, shape):
    """Numbers from -1 to 1: splitmix64 (Steele et al. 2014) after FNV-1a of the name."""
    seed = 0xCBF29CE484222325
    for b in name.encode():
        seed = (seed ^ b) * 0x100000001B3 % 2**64
    n = math.prod(shape)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(40)).astype(np.float64) / 2**23 - 1).reshape(shape)


def weight(name, shape):
    u = uniform(name, shape)
    if len(shape) == 1:
        w = 0.2 * u + (1 if re.search(r"norm\w*\.weight$", name) else 0)
    else:
        w = u * math.sqrt(3 / math.prod(shape[1:]))
    return torch.from_numpy(w.astype(np.float32))


def values(name, *shape):
    return torch.from_numpy((1.7 * uniform(name, shape)).astype(np.float32))


def make(name):
    settings = dict(NETS[name])
    levels, first = settings.pop("levels", 3), 0 if "levels" in NETS[name] else 1
    last = first + settings.pop("attention", 2)
    has = [first <= i < last for i in range(levels)]
    kinds = [(CROSS if a else PLAIN) for a in has]
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64, 128, 128)[:levels], down_block_types=[k.format("Down") for k in kinds],
        up_block_types=[k.format("Up") for k in reversed(kinds)], **settings).eval()
    unet.load_state_dict({k: weight(k, tuple(v.shape)) for k, v in unet.state_dict().items()})
    return unet, has


def original(key, blocks, levels, has, script=False):
    """The original name of a tensor.

    Or that of scripts, such as the library's convert_diffusers_to_original_stable_diffusion.py,
    which count the blocks of all UNets as if they had two on each level of the way down.
    """
    row = 2 if script else blocks
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
             "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    outer = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "time_embedding.cond_proj": "time_embed.cond_proj", "add_embedding.linear_1": "label_emb.0.0",
             "add_embedding.linear_2": "label_emb.0.2", "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2"}
    for new, old in outer.items():
        if key.startswith(new + "."):
            return PREFIX + old + key[len(new):]
    m = re.match(r"(down_blocks|up_blocks|mid_block)\.(?:(\d+)\.)?(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)", key)
    side, level, part, i, rest = m[1], int(m[2] or 0), m[3], int(m[4]), m[5]
    if part == "resnets":
        layer, kind = rest.rsplit(".", 1)
        rest = f"{inner[layer]}.{kind}"
    if side == "mid_block":
        return f"{PREFIX}middle_block.{1 if part == 'attentions' else 2 * i}.{rest}"
    if side == "down_blocks":
        n = 1 + level * (row + 1) + (row if part == "downsamplers" else i)
        where = {"resnets": "0.", "attentions": "1.", "downsamplers": "0.op."}[part]
        return f"{PREFIX}input_blocks.{n}.{where}{rest.removeprefix('conv.') if part == 'downsamplers' else rest}"
    n = level * (row + 1) + (row if part == "upsamplers" else i)
    after = 2 if has[levels - 1 - level] else 1
    if script and has[0]:  # as in SD 1; SDXL has a script of its own
        after = 1 if level == 0 else 2
    where = {"resnets": "0.", "attentions": "1.", "upsamplers": f"{after}."}[part]
    return f"{PREFIX}output_blocks.{n}.{where}{rest}"


def time_ids(unet, ids):
    """What the library makes of the six numbers of sizes: added to the pooled text, y."""
    return unet.add_time_proj(ids.flatten()).reshape(len(ids), -1)


def sample(unet, guidance):
    """The latent after five steps of Euler's method, of the prompt and noise of ../pipelines."""
    given = load_file(HERE.parent / "pipelines" / "pipeline.safetensors")
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    pipeline = StableDiffusionPipeline(AutoencoderKL(block_out_channels=(32,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4), None, None, unet, scheduler, None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    # The pipeline multiplies latents by the scheduler's first sigma.
    scheduler.set_timesteps(5)
    noise = given["sd1.noise"] * given["sd1.sigmas"][0] / scheduler.init_noise_sigma
    return pipeline(prompt_embeds=given["sd1.cond.embedding"], latents=noise, num_inference_steps=5, guidance_scale=guidance,
                    output_type="latent").images


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    out, lines, configs = {}, [], {}
    pipeline = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    guidance = pipeline(None, torch.tensor(GUIDANCE) - 1, embedding_dim=256)
    out["guidance.embedding"] = guidance
    for name in NETS:
        unet, has = make(name)
        x, t = values("x", 2, 4, 16, 8), torch.tensor([981.0, 17.0])
        context = values("context", 2, 77, unet.config.cross_attention_dim)
        more = {}
        if unet.config.addition_embed_type:
            ids, pooled = torch.tensor([[64, 64, 0, 0, 64, 64], [96, 64, 8, 0, 64, 32]]).float(), values("pooled", 2, 64)
            more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": ids}
            out[f"{name}.y"] = torch.cat([pooled, time_ids(unet, ids)], 1)
        if unet.config.time_cond_proj_dim:
            more["timestep_cond"] = guidance[1:]
        config = json.loads(unet.to_json_string())
        configs[name] = {k: v for k, v in config.items() if not k.startswith("_")} | {"_class_name": "UNet2DConditionModel"}
        out[f"{name}.out"] = unet(x, t, context, **more).sample
        if name == "lcm":
            out["lcm.latent"] = sample(unet, GUIDANCE[1])
        for key, v in unet.state_dict().items():
            ldm = original(key, unet.config.layers_per_block, len(has), has)
            script = original(key, unet.config.layers_per_block, len(has), has, True)
            lines.append("\t".join([name, ldm, key, ",".join(map(str, v.shape)), script]))
    save_file({k: v.contiguous() for k, v in out.items()}, HERE / "reference.safetensors")
    (HERE / "configs.json").write_text(json.dumps(configs, sort_keys=True) + "\n")
    (HERE / "reference.safetensors").chmod(0o644)
    with open(HERE / "names.tsv.gz", "wb") as f, gzip.GzipFile("", "wb", fileobj=f, mtime=0) as z:
        z.write("".join(line + "\n" for line in lines).encode())


if __name__ == "__main__":
    main()
