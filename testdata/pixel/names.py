"""Other names of the tensors of the diffusers library's UNet2DModel and DiTTransformer2DModel."""

import re


def older(key):
    """As the library named them before version 0.15."""
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        key = re.sub(rf"(attentions\.\d+)\.{re.escape(new)}\.", rf"\1.{old}.", key)
    return key


def ddpm(key, levels):
    """As the PyTorch port of the DDPM (Ho et al. 2020) names them; its way up counts levels from the finest."""
    key = re.sub(r"^down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"^down_blocks\.(\d+)\.attentions\.", r"down.\1.attn.", key)
    key = re.sub(r"^down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", key)
    up = lambda part: lambda m: f"up.{levels - 1 - int(m[1])}.{part}"
    key = re.sub(r"^up_blocks\.(\d+)\.resnets\.", up("block."), key)
    key = re.sub(r"^up_blocks\.(\d+)\.attentions\.", up("attn."), key)
    key = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0", up("upsample"), key)
    for new, old in {"time_embedding.linear_1": "temb.dense.0", "time_embedding.linear_2": "temb.dense.1", "mid_block.resnets.0": "mid.block_1",
                     "mid_block.attentions.0": "mid.attn_1", "mid_block.resnets.1": "mid.block_2", "conv_norm_out": "norm_out",
                     "time_emb_proj": "temb_proj", "conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k",
                     "to_v": "v", "to_out.0": "proj_out"}.items():
        key = key.replace(new, old)
    return key


def latent_unet(key, blocks, attention):
    """As latent diffusion names the tensors of the library's UNet2DConditionModel; attention are the levels with it, from the finest."""
    per, levels = blocks + 1, len(attention)

    def at(m):
        way, level, part, i = m[1], int(m[2]), m[3], int(m[4])
        if way == "down":
            return f"input_blocks.{(level + 1) * per}.0.op" if part == "downsamplers" else f"input_blocks.{1 + level * per + i}.{int(part == 'attentions')}"
        has = attention[levels - 1 - level]
        return f"output_blocks.{level * per + blocks}.{1 + has}.conv" if part == "upsamplers" else f"output_blocks.{level * per + i}.{int(part == 'attentions')}"

    resnet = "resnets" in key
    key = re.sub(r"^(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)", at, key).replace(".op.conv.", ".op.").replace(".conv.conv.", ".conv.")
    for new, old in {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
                     "conv_norm_out": "out.0", "conv_out": "out.2", "class_embedding": "label_emb", "mid_block.resnets.0": "middle_block.0",
                     "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2"}.items():
        key = re.sub("^" + re.escape(new + "."), old + ".", key)
    if resnet:
        for new, old in {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
                         "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}.items():
            key = key.replace(f".{new}.", f".{old}.")
    return "model.diffusion_model." + key


def autoencoder(key, levels):
    """As latent diffusion names the tensors of the library's AutoencoderKL and VQModel."""
    key = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", key)
    key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", key)
    for new, old in {"mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2", "mid_block.attentions.0": "mid.attn_1",
                     "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out", "conv_shortcut": "nin_shortcut",
                     "conv_norm_out": "norm_out"}.items():
        key = key.replace(new, old)
    return "first_stage_model." + key


def dit(key):
    """As the authors of DiT name them; queries, keys and values are one layer there."""
    for new, old in {"pos_embed.proj": "x_embedder.proj", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
                     "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
                     "transformer_blocks.0.norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
                     "proj_out_1": "final_layer.adaLN_modulation.1", "proj_out_2": "final_layer.linear", "transformer_blocks.": "blocks.",
                     "norm1.linear": "adaLN_modulation.1", "attn1.to_out.0": "attn.proj", "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2"}.items():
        key = key.replace(new, old)
    return key
