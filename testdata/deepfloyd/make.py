"""Makes tiny models of DeepFloyd IF's first two stages, in the diffusers library's layout and under the authors' names, and
what the library's pipelines draw with them in float32: README.md says what is here.

pip install torch==2.15.0 diffusers==0.42.1 transformers==5.23.0 safetensors sentencepiece
HF_HUB_OFFLINE=1 python testdata/deepfloyd/make.py
"""

import copy
import importlib.util
import shutil
from pathlib import Path

import torch
from diffusers import DDPMScheduler, IFPipeline, IFSuperResolutionPipeline, UNet2DConditionModel
from diffusers.pipelines.deepfloyd_if import fast27_timesteps, smart27_timesteps, smart50_timesteps, smart100_timesteps, smart185_timesteps, super27_timesteps, super40_timesteps, super100_timesteps
from PIL import Image
from safetensors.torch import save_file
from transformers import T5EncoderModel, T5Tokenizer

HERE = Path(__file__).resolve().parent
PROMPT, NEGATIVE, SEED, STEPS, HEAD = "A Red apple on a table", "blurry", 42, 4, 4


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


randomise = load(HERE.parent / "transformers" / "randomise.py", "randomise").randomise


def unet(seed, **settings):
    return randomise(UNet2DConditionModel(
        out_channels=6, block_out_channels=(8, 16), norm_num_groups=4, down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn", up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=32,
        encoder_hid_dim=48, attention_head_dim=HEAD, addition_embed_type="text", addition_embed_type_num_heads=4, cross_attention_norm="group_norm",
        resnet_time_scale_shift="scale_shift", act_fn="gelu", **settings), seed)


def scheduler(top):
    return DDPMScheduler(variance_type="learned_range", beta_schedule="squaredcos_cap_v2", thresholding=True, dynamic_thresholding_ratio=0.95,
                         sample_max_value=top)


def save(pipe, name):
    """In float16, which holds all weights."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    parts = {k: copy.deepcopy(v) for k, v in pipe.components.items()}
    type(pipe)(**parts, requires_safety_checker=False).to(torch.float16).save_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return pipe


RESIDUAL = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
            "conv_shortcut": "skip_connection"}
OTHERS = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
          "class_embedding.linear_1": "aug_proj.0", "class_embedding.linear_2": "aug_proj.2", "conv_norm_out": "out.0", "conv_out": "out.2",
          "encoder_hid_proj": "encoder_proj", "add_embedding.norm1": "encoder_pooling.0", "add_embedding.pool": "encoder_pooling.1",
          "add_embedding.proj": "encoder_pooling.2", "add_embedding.norm2": "encoder_pooling.3"}


def heads(parts, width):
    """Rows of the parts of each head one after the other."""
    return torch.cat([x.unflatten(0, (-1, width)) for x in parts], 1).flatten(0, 1)


def authors(net):
    """The state of a network under the names of deep-floyd/IF, which has layers of queries, keys and values by head."""
    state, blocks = net.state_dict(), net.config.layers_per_block
    blocks = [blocks] * len(net.down_blocks) if isinstance(blocks, int) else blocks
    places, n = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2"}, 1
    for level, count in enumerate(blocks):
        for block in range(count):
            places[f"down_blocks.{level}.resnets.{block}"], places[f"down_blocks.{level}.attentions.{block}"] = f"input_blocks.{n}.0", f"input_blocks.{n}.1"
            n += 1
        if level + 1 < len(blocks):
            places[f"down_blocks.{level}.downsamplers.0"] = f"input_blocks.{n}.0"
            n += 1
    n = 0
    for level, count in enumerate(reversed(blocks)):
        for block in range(count + 1):
            places[f"up_blocks.{level}.resnets.{block}"], places[f"up_blocks.{level}.attentions.{block}"] = f"output_blocks.{n}.0", f"output_blocks.{n}.1"
            n += 1
        after = 2 if f"up_blocks.{level}.attentions.0.to_q.weight" in state else 1
        places[f"up_blocks.{level}.upsamplers.0"] = f"output_blocks.{n - 1}.{after}"
    out = {}
    for name, x in state.items():
        place = next((p for p in places if name.startswith(p + ".")), None)
        if place is None:
            layer = next(o for o in OTHERS if name.startswith(o + "."))
            out[OTHERS[layer] + name[len(layer):]] = x
            continue
        layer, leaf = name[len(place) + 1:].rsplit(".", 1)
        if layer in RESIDUAL:
            out[f"{places[place]}.{RESIDUAL[layer]}.{leaf}"] = x
            continue
        piece = lambda *layers: heads([state[f"{place}.{k}.{leaf}"] for k in layers if f"{place}.{k}.{leaf}" in state], HEAD)
        one = lambda x: x[:, :, None] if x.ndim == 2 else x
        made = {"group_norm": ("norm", lambda: x), "norm_cross": ("norm_encoder", lambda: x), "to_out.0": ("proj_out", lambda: one(x)),
                "to_q": ("qkv", lambda: one(piece("to_q", "to_k", "to_v"))), "add_k_proj": ("encoder_kv", lambda: one(piece("add_k_proj", "add_v_proj")))}
        if layer in made:
            other, value = made[layer]
            out[f"{places[place]}.{other}.{leaf}"] = value()
    return {k: v.half().contiguous() for k, v in out.items()}


def seeded():
    return torch.Generator().manual_seed(SEED)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    whole = HERE.parent / "flux" / "flux"
    tokenizer = T5Tokenizer.from_pretrained(whole / "tokenizer_2")
    encoder = T5EncoderModel.from_pretrained(whole / "text_encoder_2", dtype=torch.float32).eval()
    common = dict(tokenizer=tokenizer, text_encoder=encoder, safety_checker=None, feature_extractor=None, watermarker=None, requires_safety_checker=False)
    out = {}
    first = save(IFPipeline(unet=unet(31, sample_size=16, in_channels=3, layers_per_block=1), scheduler=scheduler(1.5), **common), "stage-1")
    out["context"], out["negative"] = first.encode_prompt(PROMPT, negative_prompt=NEGATIVE, clean_caption=False)
    x, t, text = torch.randn(2, 3, 16, 24, generator=seeded()), torch.tensor([981.0, 17.0]), torch.cat([out["context"], out["negative"]])
    out |= {"1.x": x, "1.timesteps": t, "1.context": text, "1.sample": first.unet(x, t, text).sample}
    call = dict(prompt=PROMPT, negative_prompt=NEGATIVE, output_type="pt", clean_caption=False)
    out["1.drawn"] = first(num_inference_steps=STEPS, guidance_scale=7.0, generator=seeded(), **call).images
    out["1.fast27"] = first(timesteps=fast27_timesteps, guidance_scale=7.0, generator=seeded(), **call).images

    # A first level without attention, one whose attention sees the text alone, levels of different length.
    net = unet(32, sample_size=32, in_channels=6, layers_per_block=(1, 2), class_embed_type="timestep", time_embedding_act_fn="gelu", resnet_skip_time_act=True,
               resnet_out_scale_factor=1 / 0.7071, mid_block_scale_factor=1 / 0.7071, only_cross_attention=True)
    second = save(IFSuperResolutionPipeline(unet=net, scheduler=scheduler(1.0), image_noising_scheduler=DDPMScheduler(beta_schedule="squaredcos_cap_v2"), **common), "stage-2")
    x, level = torch.randn(2, 6, 32, 16, generator=seeded()), torch.tensor([250.0, 3.0])
    out |= {"2.x": x[:, :3], "2.low": x[:, 3:], "2.timesteps": t, "2.context": text, "2.noise_level": level,
            "2.sample": net(x, t, text, class_labels=level).sample}
    picture = (torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(29)) * 255).round().to(torch.uint8)
    out["picture"] = picture
    out["2.drawn"] = second(image=Image.fromarray(picture.numpy()), noise_level=250, num_inference_steps=STEPS, guidance_scale=4.0, generator=seeded(), **call).images
    for name, steps in (("fast27", fast27_timesteps), ("smart27", smart27_timesteps), ("smart50", smart50_timesteps), ("smart100", smart100_timesteps),
                        ("smart185", smart185_timesteps), ("super27", super27_timesteps), ("super40", super40_timesteps), ("super100", super100_timesteps)):
        out["timesteps." + name] = torch.tensor(steps, dtype=torch.int32)
    save_file({k: v.contiguous() if v.dtype in (torch.uint8, torch.int32) else v.float().clone().contiguous() for k, v in out.items()}, HERE / "reference.safetensors")
    for n, net in (1, first.unet), (2, net):
        save_file(authors(net), HERE / f"stage-{n}.safetensors", {"sdgo.pixel." + k: "4" for k in ("head_dim", "norm_groups", "text_pool_heads")})
    for path in HERE.glob("*.safetensors"):
        path.chmod(0o644)


if __name__ == "__main__":
    main()
