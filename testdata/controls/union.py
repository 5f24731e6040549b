"""Makes tiny ControlNet Unions for the model of ../xl, and what diffusers' ControlNetUnionModel gives.

Run it in any folder: python union.py. Weights are random, made as those of ../nets; the reference
values are the diffusers library's, in float32 on the CPU.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import ControlNetUnionModel

HERE = Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("make", HERE / "make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
nets, xl = make.nets, make.xl

TYPES, CHOSEN = 6, 3


def make_union(unet, seed):
    torch.manual_seed(seed)
    c = unet.config
    union = ControlNetUnionModel(
        in_channels=c.in_channels, down_block_types=c.down_block_types, block_out_channels=c.block_out_channels,
        layers_per_block=c.layers_per_block, attention_head_dim=c.attention_head_dim, num_attention_heads=c.num_attention_heads,
        cross_attention_dim=c.cross_attention_dim, transformer_layers_per_block=c.transformer_layers_per_block,
        use_linear_projection=c.use_linear_projection, norm_num_groups=c.norm_num_groups, addition_embed_type=c.addition_embed_type,
        addition_time_embed_dim=c.addition_time_embed_dim, projection_class_embeddings_input_dim=c.projection_class_embeddings_input_dim,
        conditioning_embedding_out_channels=make.HINT, num_control_type=TYPES, num_trans_channel=c.block_out_channels[0],
        num_trans_head=4, num_proj_channel=c.block_out_channels[0])
    for name, p in union.named_parameters():
        if name.startswith(("controlnet_", "spatial_ch_projs")):
            p.data = (1.35 if "cond_embedding" in name else 0.3) * torch.randn(p.shape) / max(1, p[0].numel()) ** 0.5
    return nets.randomise(union, seed)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    base = xl.make_unet(43, 96, 64 + 6 * 8)
    union = make_union(base, 97)
    make.save(union, "union.safetensors", None, {"sdgo.unet.head_dim": "16"})
    of = make.given("xl", "base.unet.")
    about = {"text_embeds": of["y"][:, :64], "time_ids": of["ids"]}
    # The same picture for both latents, as in pipelines.
    hint = torch.stack([make.picture(16)] * 2)
    values = {"picture": hint}
    for chosen in (CHOSEN, 0):
        flags = torch.zeros(2, TYPES)
        flags[:, chosen] = 1
        down, middle = union(of["x"], of["t"], encoder_hidden_states=of["context"], controlnet_cond=[hint], control_type=flags,
                             control_type_idx=[chosen], added_cond_kwargs=about, return_dict=False)
        values |= {f"{chosen}.control.{k}": v for k, v in enumerate([*down, middle])}
    assert (values[f"{CHOSEN}.control.0"] - values["0.control.0"]).norm() > 0.01 * values["0.control.0"].norm()
    nets.save({k: v.contiguous() for k, v in values.items()}, HERE / "union-reference.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
