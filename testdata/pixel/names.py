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


def dit(key):
    """As the authors of DiT name them; queries, keys and values are one layer there."""
    for new, old in {"pos_embed.proj": "x_embedder.proj", "transformer_blocks.0.norm1.emb.timestep_embedder.linear_1": "t_embedder.mlp.0",
                     "transformer_blocks.0.norm1.emb.timestep_embedder.linear_2": "t_embedder.mlp.2",
                     "transformer_blocks.0.norm1.emb.class_embedder.embedding_table": "y_embedder.embedding_table",
                     "proj_out_1": "final_layer.adaLN_modulation.1", "proj_out_2": "final_layer.linear", "transformer_blocks.": "blocks.",
                     "norm1.linear": "adaLN_modulation.1", "attn1.to_out.0": "attn.proj", "ff.net.0.proj": "mlp.fc1", "ff.net.2": "mlp.fc2"}.items():
        key = key.replace(new, old)
    return key
