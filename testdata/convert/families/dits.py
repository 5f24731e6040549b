"""Writes dits.tsv.gz: names, types and shapes of the weights of Z-Image, FLUX.2 and their text encoders and autoencoders as they
are published.

    HF_HUB_OFFLINE=1 python testdata/convert/families/dits.py

The libraries' layouts are those of the libraries' own models on PyTorch's "meta" device; the original ones are made of these by
the names of ComfyUI's and black-forest-labs' files, with fused layers.
"""
import gzip
import pathlib
import re

import torch
from diffusers import AutoencoderKLFlux2, AutoencoderKLQwenImage, Flux2Transformer2DModel, QwenImageTransformer2DModel, ZImageTransformer2DModel
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen3Config, Qwen3Model

here = pathlib.Path(__file__).parent
files = {}


def library(make):
    with torch.device("meta"):
        return {k: list(v.shape) for k, v in make().state_dict().items()}


def renamed(tensors, rules):
    """The names after rules; tensors that get the same one are rows of one."""
    out = {}
    for name, shape in tensors.items():
        for pattern, to in rules:
            name = re.sub(pattern, to, name)
        out[name] = [out[name][0] + shape[0], *shape[1:]] if name in out else shape
    return out


zimage = library(lambda: ZImageTransformer2DModel())
original = renamed(zimage, [(r"^all_x_embedder\.2-1", "x_embedder"), (r"^all_final_layer\.2-1", "final_layer"), (r"attention\.to_[qkv]\.", "attention.qkv."),
                            (r"attention\.to_out\.0", "attention.out"), (r"attention\.norm_([qk])", r"attention.\1_norm")])
assert original["layers.0.attention.qkv.weight"] == [11520, 3840] and "layers.0.attention.q_norm.weight" in original
files["z-image-diffusers"], files["z-image"] = zimage, original
files["z-image-prefix"] = {"model.diffusion_model." + k: v for k, v in original.items()}

qwen = {4: dict(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936),
        8: dict(hidden_size=4096, intermediate_size=12288, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8, head_dim=128, vocab_size=151936)}
texts = {n: {"model." + k: v for k, v in library(lambda: Qwen3Model(Qwen3Config(**c))).items()} for n, c in qwen.items()}
files["qwen3-4b"], files["qwen3-8b"] = texts[4], texts[8]
files["qwen3-4b-gguf"] = renamed(texts[4], [(r"^model\.embed_tokens", "token_embd"), (r"^model\.norm", "output_norm"), (r"^model\.layers\.(\d+)\.", r"blk.\1."),
                                            (r"input_layernorm", "attn_norm"), (r"post_attention_layernorm", "ffn_norm"), (r"self_attn\.([qkv])_proj", r"attn_\1"),
                                            (r"self_attn\.o_proj", "attn_output"), (r"self_attn\.([qk])_norm", r"attn_\1_norm"), (r"mlp\.(gate|up|down)_proj", r"ffn_\1")])

vae = library(lambda: AutoencoderKLFlux2())
files["vae-flux2-diffusers"] = vae


def flux2(**k):
    return library(lambda: Flux2Transformer2DModel(patch_size=1, in_channels=128, attention_head_dim=128, mlp_ratio=3.0, **k))


RULES = [(r"^x_embedder", "img_in"), (r"^context_embedder", "txt_in"), (r"^time_guidance_embed\.timestep_embedder\.linear_1", "time_in.in_layer"),
         (r"^time_guidance_embed\.timestep_embedder\.linear_2", "time_in.out_layer"), (r"^time_guidance_embed\.guidance_embedder\.linear_1", "guidance_in.in_layer"),
         (r"^time_guidance_embed\.guidance_embedder\.linear_2", "guidance_in.out_layer"), (r"_modulation(_img|_txt)?\.linear\.", r"_modulation\1.lin."),
         (r"^single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"single_blocks.\1.linear1"), (r"^single_transformer_blocks\.(\d+)\.attn\.to_out", r"single_blocks.\1.linear2"),
         (r"^single_transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"single_blocks.\1.norm.query_norm.scale"),
         (r"^single_transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"single_blocks.\1.norm.key_norm.scale"),
         (r"^transformer_blocks\.(\d+)\.attn\.to_[qkv]\.", r"double_blocks.\1.img_attn.qkv."), (r"^transformer_blocks\.(\d+)\.attn\.add_[qkv]_proj\.", r"double_blocks.\1.txt_attn.qkv."),
         (r"^transformer_blocks\.(\d+)\.attn\.norm_q\.weight", r"double_blocks.\1.img_attn.norm.query_norm.scale"),
         (r"^transformer_blocks\.(\d+)\.attn\.norm_k\.weight", r"double_blocks.\1.img_attn.norm.key_norm.scale"),
         (r"^transformer_blocks\.(\d+)\.attn\.norm_added_q\.weight", r"double_blocks.\1.txt_attn.norm.query_norm.scale"),
         (r"^transformer_blocks\.(\d+)\.attn\.norm_added_k\.weight", r"double_blocks.\1.txt_attn.norm.key_norm.scale"),
         (r"^transformer_blocks\.(\d+)\.attn\.to_out\.0", r"double_blocks.\1.img_attn.proj"), (r"^transformer_blocks\.(\d+)\.attn\.to_add_out", r"double_blocks.\1.txt_attn.proj"),
         (r"^transformer_blocks\.(\d+)\.ff\.linear_in", r"double_blocks.\1.img_mlp.0"), (r"^transformer_blocks\.(\d+)\.ff\.linear_out", r"double_blocks.\1.img_mlp.2"),
         (r"^transformer_blocks\.(\d+)\.ff_context\.linear_in", r"double_blocks.\1.txt_mlp.0"), (r"^transformer_blocks\.(\d+)\.ff_context\.linear_out", r"double_blocks.\1.txt_mlp.2"),
         (r"^norm_out\.linear", "final_layer.adaLN_modulation.1"), (r"^proj_out", "final_layer.linear")]
for name, k in {"flux2-klein-4b": dict(num_layers=5, num_single_layers=20, num_attention_heads=24, joint_attention_dim=7680, guidance_embeds=False),
                "flux2-klein-9b": dict(num_layers=8, num_single_layers=24, num_attention_heads=32, joint_attention_dim=12288, guidance_embeds=False),
                "flux2-dev": dict(num_layers=8, num_single_layers=48, num_attention_heads=48, joint_attention_dim=15360, guidance_embeds=True)}.items():
    files[name + "-diffusers"] = flux2(**k)
    files[name] = renamed(files[name + "-diffusers"], RULES)
assert files["flux2-klein-4b"]["single_blocks.0.linear1.weight"] == [27648, 3072]

# Whole models, as ComfyUI and stable-diffusion.cpp name them.
files["z-image-whole"] = files["z-image-prefix"] | {"text_encoders.qwen3_4b.transformer." + k: v for k, v in texts[4].items()}
files["z-image-whole"] |= {"text_encoders.qwen3_4b.logit_scale": [], "text_encoders.qwen3_4b.transformer.lm_head.weight": [151936, 2560]}
files["flux2-whole"] = {"model.diffusion_model." + k: v for k, v in files["flux2-klein-4b"].items()} | {"text_encoders.llm." + k: v for k, v in texts[4].items()}
files["flux2-whole"] |= {"vae." + k: v for k, v in vae.items()}

# Qwen-Image, whose names all programs share; Edit-2511 of ComfyUI has a tensor that says so. The text encoder with eyes and the layer
# that predicts words, as its authors' files have it, and llama.cpp's. The autoencoder in the library's names and in Wan's.
files["qwen-image"] = library(lambda: QwenImageTransformer2DModel())
files["qwen-image-edit-2511"] = {"model.diffusion_model." + k: v for k, v in files["qwen-image"].items()} | {"model.diffusion_model.__index_timestep_zero__": []}
eyes = library(lambda: Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
    text_config=dict(vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4, rms_norm_eps=1e-6),
    vision_config=dict(depth=32, hidden_size=1280, intermediate_size=3420, num_heads=16, out_hidden_size=3584, fullatt_block_indexes=[7, 15, 23, 31]))))
files["qwen2.5-vl-7b"] = renamed(eyes, [(r"^model\.language_model\.", "model."), (r"^model\.visual\.", "visual.")])
files["qwen2.5-vl-7b-transformers5"] = eyes
files["qwen2.5-vl-7b-gguf"] = renamed({k: v for k, v in files["qwen2.5-vl-7b"].items() if not k.startswith("visual.")}, [
    (r"^model\.embed_tokens", "token_embd"), (r"^model\.norm", "output_norm"), (r"^lm_head", "output"), (r"^model\.layers\.(\d+)\.", r"blk.\1."),
    (r"input_layernorm", "attn_norm"), (r"post_attention_layernorm", "ffn_norm"), (r"self_attn\.([qkv])_proj", r"attn_\1"), (r"self_attn\.o_proj", "attn_output"),
    (r"mlp\.(gate|up|down)_proj", r"ffn_\1")])
files["vae-qwen-image-diffusers"] = library(lambda: AutoencoderKLQwenImage())
wan = {}
for name, shape in files["vae-qwen-image-diffusers"].items():
    name = re.sub(r"^decoder\.up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"decoder.upsamples.{4 * int(m[1]) + int(m[2])}", name)
    name = re.sub(r"^decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.upsamples.{4 * int(m[1]) + 3}", name)
    for pattern, to in [(r"^encoder\.down_blocks", "encoder.downsamples"), (r"mid_block\.resnets\.0", "middle.0"), (r"mid_block\.attentions\.0", "middle.1"),
                        (r"mid_block\.resnets\.1", "middle.2"), (r"norm1\.gamma", "residual.0.gamma"), (r"conv1\.(weight|bias)$", r"residual.2.\1"),
                        (r"norm2\.gamma", "residual.3.gamma"), (r"conv2\.(weight|bias)$", r"residual.6.\1"), (r"conv_shortcut", "shortcut"),
                        (r"^(en|de)coder\.conv_in", r"\1coder.conv1"), (r"norm_out\.gamma", "head.0.gamma"), (r"conv_out", "head.2"), (r"^quant_conv", "conv1"), (r"^post_quant_conv", "conv2")]:
        name = re.sub(pattern, to, name)
    wan[name] = shape
files["vae-qwen-image"] = wan
files["qwen-image-whole"] = {"model.diffusion_model." + k: v for k, v in files["qwen-image"].items()} | {"text_encoders.qwen25_7b.transformer." + k: v for k, v in files["qwen2.5-vl-7b"].items()}
files["qwen-image-whole"] |= {"vae." + k: v for k, v in wan.items()}
assert wan["decoder.upsamples.3.time_conv.weight"] == [768, 384, 3, 1, 1] and wan["decoder.middle.0.residual.0.gamma"] == [384, 1, 1, 1] and len(wan) == len(files["vae-qwen-image-diffusers"])

with gzip.GzipFile(here / "dits.tsv.gz", "wb", mtime=0) as f:
    for file, tensors in files.items():
        for name, shape in tensors.items():
            kind = "I64" if name.endswith("num_batches_tracked") else "BF16"
            f.write(f"{file}\t{name}\t{kind}\t{','.join(map(str, shape))}\n".encode())
