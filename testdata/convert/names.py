"""Writes names.tsv: the weights of some models under the names of the original
layout and under the diffusers library's.

    HF_HUB_OFFLINE=1 python testdata/convert/names.py

Package convert's lists (names/main.go) go through the diffusers library's own
converters from the original layout; what comes out must be exactly the names
and shapes of the library's models. In names.tsv each line has the case, the
folder, both names and the diffusers shape.
"""
import json
import os
import pathlib
import subprocess

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from transformers import CLIPTextConfig, CLIPTextModel

here = pathlib.Path(__file__).parent


def models(c):
    u, v, t = c["UNet"], c["VAE"], c["Text"]
    depth = u["TransformerDepth"]
    heads = [u["Heads"] or u["ModelChannels"] * m // u["HeadDim"] for m in u["ChannelMult"]]
    with torch.device("meta"):
        unet = UNet2DConditionModel(
            block_out_channels=[u["ModelChannels"] * m for m in u["ChannelMult"]], layers_per_block=u["NumResBlocks"],
            down_block_types=["CrossAttnDownBlock2D" if d else "DownBlock2D" for d in depth],
            up_block_types=["CrossAttnUpBlock2D" if d else "UpBlock2D" for d in reversed(depth)],
            transformer_layers_per_block=[max(d, 1) for d in depth], cross_attention_dim=u["ContextDim"], attention_head_dim=heads,
            use_linear_projection=u["LinearProjection"],
            **(dict(addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=u["ADMChannels"])
               if u["ADMChannels"] else {}))
        if not v["Channels"]:
            return {"unet": unet}
        levels = len(v["ChannelMult"])
        vae = AutoencoderKL(
            block_out_channels=[v["Channels"] * m for m in v["ChannelMult"]], layers_per_block=v["NumResBlocks"],
            down_block_types=["DownEncoderBlock2D"] * levels, up_block_types=["UpDecoderBlock2D"] * levels, latent_channels=v["ZChannels"])
        text = CLIPTextModel(CLIPTextConfig(
            vocab_size=t["Vocabulary"], max_position_embeddings=t["ContextLength"], hidden_size=t["Width"], intermediate_size=t["FFN"],
            num_hidden_layers=t["Layers"], num_attention_heads=1, bos_token_id=0, eos_token_id=1))
    return {"unet": unet, "vae": vae, "text_encoder": text}


def pairs(weights, prefix, model, convert):
    """Original name and diffusers name of each weight; checks that they are the model's."""
    marked = {name: torch.empty(shape, device="meta") for name, shape in weights.items() if name.startswith(prefix)}
    for name, tensor in marked.items():
        tensor.origin = name
    converted = convert(dict(marked), model.config)
    state = model.state_dict()
    assert set(converted) == set(state), set(converted) ^ set(state)
    for name, tensor in converted.items():
        assert tensor.numel() == state[name].numel(), name
        # The library takes views of convolutions that become matrices.
        yield (tensor if hasattr(tensor, "origin") else tensor._base).origin, name, list(state[name].shape)


def unet(checkpoint, config):
    return convert_ldm_unet_checkpoint(checkpoint, dict(config))


def vae(checkpoint, config):
    return convert_ldm_vae_checkpoint(checkpoint, dict(config))


def text(checkpoint, config):
    # transformers 5 leaves out the level "text_model".
    return {name.removeprefix("cond_stage_model.transformer.text_model."): tensor for name, tensor in checkpoint.items()}


cases = json.loads(subprocess.run(["go", "run", "./testdata/convert/names"], check=True, capture_output=True, cwd=here.parent.parent,
                                  env={**os.environ, "CGO_ENABLED": "0"}).stdout)
lines = []
for case, c in sorted(cases.items()):
    built = models(c)
    for folder, prefix, convert in [("text_encoder", "cond_stage_model.transformer.", text), ("unet", "model.diffusion_model.", unet),
                                    ("vae", "first_stage_model.", vae)]:
        if folder not in built:
            continue
        for old, new, shape in sorted(pairs(c["Weights"], prefix, built[folder], convert)):
            if case != "sd2":  # the same names as SD 1's
                lines.append("\t".join([case, folder, old, new, ",".join(map(str, shape))]))
(here / "names.tsv").write_text("\n".join(lines) + "\n")
print(len(lines), "weights")
