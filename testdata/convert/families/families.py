"""Writes families.tsv.gz, the names, types and shapes of the weights of models as
they are published, and fused.tsv, which rows of the original layout's tensors
the diffusers library's hold where one is not just the other renamed.

    HF_HUB_OFFLINE=1 python testdata/convert/families/families.py

Files in the libraries' layouts are those of the libraries' own models, on
PyTorch's "meta" device. Files in original layouts are written down here; for
all that the diffusers library converts, its converters must make of them exactly
the library's models.
"""
import gzip
import pathlib

import torch
from diffusers import (AutoencoderKL, AutoencoderTiny, ChromaTransformer2DModel, ControlNetModel, DiTTransformer2DModel, FluxTransformer2DModel,
                       SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel)
from diffusers.loaders.single_file_utils import (convert_chroma_transformer_checkpoint_to_diffusers, convert_controlnet_checkpoint,
                                                 convert_flux_transformer_checkpoint_to_diffusers, convert_ldm_unet_checkpoint,
                                                 convert_ldm_vae_checkpoint, convert_sd3_transformer_checkpoint_to_diffusers)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

here = pathlib.Path(__file__).parent
files = {}


def library(make):
    with torch.device("meta"):
        model = make()
    return {k: list(v.shape) for k, v in model.state_dict().items()}, model


def linear(out, name, o, i, bias=True):
    out[name + ".weight"] = [o, i]
    if bias:
        out[name + ".bias"] = [o]


def conv(out, name, o, i, k=3, bias=True):
    out[name + ".weight"] = [o, i, k, k]
    if bias:
        out[name + ".bias"] = [o]


def norm(out, name, c):
    out[name + ".weight"] = out[name + ".bias"] = [c]


def flux(guidance, width=3072, double=19, single=38, channels=64):
    w = {}
    linear(w, "img_in", width, channels)
    linear(w, "txt_in", width, 4096)
    for name, i in [("time_in", 256), ("vector_in", 768)] + [("guidance_in", 256)] * guidance:
        linear(w, name + ".in_layer", width, i)
        linear(w, name + ".out_layer", width, width)
    for n in range(double):
        for s in "img", "txt":
            p = f"double_blocks.{n}.{s}_"
            linear(w, p + "mod.lin", 6 * width, width)
            linear(w, p + "attn.qkv", 3 * width, width)
            linear(w, p + "attn.proj", width, width)
            linear(w, p + "mlp.0", 4 * width, width)
            linear(w, p + "mlp.2", width, 4 * width)
            w[p + "attn.norm.query_norm.scale"] = w[p + "attn.norm.key_norm.scale"] = [128]
    for n in range(single):
        p = f"single_blocks.{n}."
        linear(w, p + "linear1", 7 * width, width)
        linear(w, p + "linear2", width, 5 * width)
        linear(w, p + "modulation.lin", 3 * width, width)
        w[p + "norm.query_norm.scale"] = w[p + "norm.key_norm.scale"] = [128]
    linear(w, "final_layer.linear", 64, width)
    linear(w, "final_layer.adaLN_modulation.1", 2 * width, width)
    return w


def chroma():
    """Without layers of modulation: one network makes for all blocks what they gave."""
    w = {k: v for k, v in flux(False).items() if not any(part in k for part in ("vector_in", "time_in", "_mod.", "modulation"))}
    p = "distilled_guidance_layer."
    linear(w, p + "in_proj", 5120, 64)
    for n in range(5):
        linear(w, f"{p}layers.{n}.in_layer", 5120, 5120)
        linear(w, f"{p}layers.{n}.out_layer", 5120, 5120)
        w[f"{p}norms.{n}.scale"] = [5120]
    linear(w, p + "out_proj", 3072, 5120)
    return w


def sd3(depth, qk_norm=False, dual=0, positions=192):
    w, width = {}, 64 * depth
    w["pos_embed"] = [1, positions**2, width]
    w["x_embedder.proj.weight"], w["x_embedder.proj.bias"] = [width, 16, 2, 2], [width]
    linear(w, "context_embedder", width, 4096)
    for name, i in ("t_embedder", 256), ("y_embedder", 2048):
        linear(w, name + ".mlp.0", width, i)
        linear(w, name + ".mlp.2", width, width)
    layers = depth if depth != 24 or dual == 0 else 24
    for n in range(layers):
        for s in "x", "context":
            p, last = f"joint_blocks.{n}.{s}_block.", s == "context" and n == layers - 1
            linear(w, p + "attn.qkv", 3 * width, width)
            if qk_norm:
                w[p + "attn.ln_q.weight"] = w[p + "attn.ln_k.weight"] = [64]
            linear(w, p + "adaLN_modulation.1", (2 if last else 9 if s == "x" and n < dual else 6) * width, width)
            if last:
                continue
            linear(w, p + "attn.proj", width, width)
            linear(w, p + "mlp.fc1", 4 * width, width)
            linear(w, p + "mlp.fc2", width, 4 * width)
        if n < dual:
            p = f"joint_blocks.{n}.x_block.attn2."
            linear(w, p + "qkv", 3 * width, width)
            linear(w, p + "proj", width, width)
            w[p + "ln_q.weight"] = w[p + "ln_k.weight"] = [64]
    linear(w, "final_layer.linear", 64, width)
    linear(w, "final_layer.adaLN_modulation.1", 2 * width, width)
    return w


fused = []


def both(case, original, converter, make, **options):
    """Records a model in both layouts, and which rows go where."""
    theirs, model = library(make)
    files[case], files[case + "-diffusers"] = original, theirs
    marked = {name: (torch.arange(shape[0], dtype=torch.float64) + (i << 24)).reshape(-1, *[1] * (len(shape) - 1))
              for i, (name, shape) in enumerate(original.items())}
    names = list(original)
    converted = converter(dict(marked), **options)
    assert set(converted) == set(theirs), set(converted) ^ set(theirs)
    for name, rows in converted.items():
        ids = rows.flatten().long().tolist()
        assert len(ids) == theirs[name][0], name
        begin = 0
        while begin < len(ids):
            end = begin + 1
            while end < len(ids) and ids[end] == ids[end - 1] + 1:
                end += 1
            source = names[ids[begin] >> 24]
            assert original[source][1:] == theirs[name][1:] or converter is convert_controlnet_checkpoint, (source, name)
            fused.append([case, source, name, ids[begin] & 0xffffff, end - begin])
            begin = end


both("flux-dev", flux(True), convert_flux_transformer_checkpoint_to_diffusers, lambda: FluxTransformer2DModel(guidance_embeds=True))
both("flux-schnell", flux(False), convert_flux_transformer_checkpoint_to_diffusers, lambda: FluxTransformer2DModel(guidance_embeds=False))
files["flux-fill"], files["flux-depth"] = flux(True, channels=384), flux(True, channels=128)
both("chroma", chroma(), convert_chroma_transformer_checkpoint_to_diffusers, lambda: ChromaTransformer2DModel())
SD3 = dict(patch_size=2, in_channels=16, out_channels=16, attention_head_dim=64, joint_attention_dim=4096, pooled_projection_dim=2048)
both("sd3-medium", sd3(24), convert_sd3_transformer_checkpoint_to_diffusers,
     lambda: SD3Transformer2DModel(num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=192, **SD3))
both("sd3.5-large", sd3(38, qk_norm=True), convert_sd3_transformer_checkpoint_to_diffusers,
     lambda: SD3Transformer2DModel(num_layers=38, num_attention_heads=38, caption_projection_dim=2432, pos_embed_max_size=192, qk_norm="rms_norm", **SD3))
both("sd3.5-medium", sd3(24, qk_norm=True, dual=13, positions=384), convert_sd3_transformer_checkpoint_to_diffusers,
     lambda: SD3Transformer2DModel(num_layers=24, num_attention_heads=24, caption_projection_dim=1536, pos_embed_max_size=384, qk_norm="rms_norm",
                                   dual_attention_layers=tuple(range(13)), **SD3))


def ldm_unet(context, width=320, mults=(1, 2, 4, 4), depths=(1, 1, 1, 0), linears=False, channels=4, adm=0, control=False):
    """The UNet of latent diffusion, or cldm's ControlNet on it: a copy of the way down with convolutions after each block."""
    w, emb = {}, 4 * width
    linear(w, "time_embed.0", emb, width)
    linear(w, "time_embed.2", emb, emb)
    if adm:
        linear(w, "label_emb.0.0", emb, adm)
        linear(w, "label_emb.0.2", emb, emb)
    if control:
        for i, (o, c) in enumerate([(16, 3), (16, 16), (32, 16), (32, 32), (96, 32), (96, 96), (256, 96), (width, 256)]):
            conv(w, f"input_hint_block.{2 * i}", o, c)

    def res(p, i, o):
        norm(w, p + "in_layers.0", i)
        conv(w, p + "in_layers.2", o, i)
        linear(w, p + "emb_layers.1", o, emb)
        norm(w, p + "out_layers.0", o)
        conv(w, p + "out_layers.3", o, o)
        if i != o:
            conv(w, p + "skip_connection", o, i, 1)

    def attention(p, c, depth):
        norm(w, p + "norm", c)
        for end in "proj_in", "proj_out":
            linear(w, p + end, c, c) if linears else conv(w, p + end, c, c, 1)
        for d in range(depth):
            b = f"{p}transformer_blocks.{d}."
            for a, k in ("attn1", c), ("attn2", context):
                w[b + a + ".to_q.weight"], w[b + a + ".to_k.weight"], w[b + a + ".to_v.weight"] = [c, c], [c, k], [c, k]
                linear(w, b + a + ".to_out.0", c, c)
            linear(w, b + "ff.net.0.proj", 8 * c, c)
            linear(w, b + "ff.net.2", c, 4 * c)
            for k in 1, 2, 3:
                norm(w, f"{b}norm{k}", c)

    def zero(n, c):
        if control:
            conv(w, f"zero_convs.{n}.0", c, c, 1)

    conv(w, "input_blocks.0.0", width, channels)
    zero(0, width)
    n, i, skips = 1, width, [width]
    for level, mult in enumerate(mults):
        o = mult * width
        for _ in range(2):
            res(f"input_blocks.{n}.0.", i, o)
            if depths[level]:
                attention(f"input_blocks.{n}.1.", o, depths[level])
            zero(n, o)
            skips.append(o)
            n, i = n + 1, o
        if level + 1 < len(mults):
            conv(w, f"input_blocks.{n}.0.op", o, o)
            zero(n, o)
            skips.append(o)
            n += 1
    middle = max(depths) if depths[-1] == 0 else depths[-1]
    res("middle_block.0.", i, i)
    attention("middle_block.1.", i, middle)
    res("middle_block.2.", i, i)
    if control:
        conv(w, "middle_block_out.0", i, i, 1)
        return w
    n = 0
    for level in reversed(range(len(mults))):
        for k in range(3):
            o = mults[level] * width
            res(f"output_blocks.{n}.0.", i + skips.pop(), o)
            i = o
            if depths[level]:
                attention(f"output_blocks.{n}.1.", o, depths[level])
            if level and k == 2:
                conv(w, f"output_blocks.{n}.{2 if depths[level] else 1}.conv", o, o)
            n += 1
    norm(w, "out.0", i)
    conv(w, "out.2", 4, i)
    return w


for name, context, linears in ("controlnet-sd1", 768, False), ("controlnet-sd2", 1024, True):
    make = lambda: ControlNetModel(cross_attention_dim=context, use_linear_projection=linears, attention_head_dim=8)
    config = library(make)[1].config
    both(name, ldm_unet(context, linears=linears, control=True), convert_controlnet_checkpoint, make, config=config)
    files[name] = {"control_model." + k: v for k, v in files[name].items()}


def text(width, layers, heads, projection=False, vocabulary=49408):
    kind = CLIPTextModelWithProjection if projection else CLIPTextModel
    return library(lambda: kind(CLIPTextConfig(vocab_size=vocabulary, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
                                               num_attention_heads=heads, projection_dim=width)))[0]


def old(names):
    """As transformers before 5 named them, with the integers it kept."""
    return {"text_model.embeddings.position_ids": [1, 77], **{k if "text_" in k else "text_model." + k: v for k, v in names.items()}}


files["clip-l"] = old(text(768, 12, 12))
files["clip-l-transformers5"] = text(768, 12, 12)
files["clip-g"] = old(text(1280, 32, 20, projection=True))
files["openclip-h-transformers"] = old(text(1024, 23, 16))


def openclip(width, layers):
    w = {"positional_embedding": [77, width], "text_projection": [width, width], "logit_scale": [], "token_embedding.weight": [49408, width]}
    for n in range(layers):
        p = f"transformer.resblocks.{n}."
        norm(w, p + "ln_1", width)
        norm(w, p + "ln_2", width)
        w[p + "attn.in_proj_weight"], w[p + "attn.in_proj_bias"] = [3 * width, width], [3 * width]
        linear(w, p + "attn.out_proj", width, width)
        linear(w, p + "mlp.c_fc", 4 * width, width)
        linear(w, p + "mlp.c_proj", width, 4 * width)
    norm(w, "ln_final", width)
    return w


files["openclip-h"] = {**openclip(1024, 24), "visual.proj": [1280, 1024], "visual.class_embedding": [1280], "visual.conv1.weight": [1280, 3, 14, 14]}
files["openclip-g"] = openclip(1280, 32)
t5 = library(lambda: T5EncoderModel(T5Config(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64,
                                             feed_forward_proj="gated-gelu")))[0]
t5.pop("encoder.embed_tokens.weight", None)  # the same as shared.weight; files have one of them
files["t5xxl"] = t5
VAES = {channels: dict(block_out_channels=[128, 256, 512, 512], layers_per_block=2, down_block_types=["DownEncoderBlock2D"] * 4,
                       up_block_types=["UpDecoderBlock2D"] * 4, latent_channels=channels, use_quant_conv=channels == 4, use_post_quant_conv=channels == 4)
        for channels in (4, 16)}
for channels in 4, 16:
    files[f"vae-{channels}-diffusers"] = library(lambda: AutoencoderKL(**VAES[channels]))[0]
    files[f"taesd-{channels}-diffusers"] = library(lambda: AutoencoderTiny(latent_channels=channels))[0]


def taesd(half, channels):
    """madebyollin's TAESD, one file for each half."""
    w = {}

    def block(n):
        for k in 0, 2, 4:
            conv(w, f"{n}.conv.{k}", 64, 64)

    if half == "encoder":
        conv(w, "0", 64, 3)
        block(1)
        for n in 2, 6, 10:
            conv(w, str(n), 64, 64, bias=False)
            for k in 1, 2, 3:
                block(n + k)
        conv(w, "14", channels, 64)
    else:
        conv(w, "1", 64, channels)
        for n in 3, 8, 13:
            for k in range(3):
                block(n + k)
            conv(w, str(n + 4), 64, 64, bias=False)
        block(18)
        conv(w, "19", 3, 64)
    return w


for half in "encoder", "decoder":
    files["taesd-4-" + half], files["taesd-16-" + half] = taesd(half, 4), taesd(half, 16)


def esrgan(blocks=23):
    new, older = {}, {}
    for a, b, o, i in [("conv_first", "0", 64, 3), ("conv_body", f"1.sub.{blocks}", 64, 64), ("conv_up1", "3", 64, 64), ("conv_up2", "6", 64, 64),
                       ("conv_hr", "8", 64, 64), ("conv_last", "10", 3, 64)]:
        conv(new, a, o, i)
        conv(older, "model." + b, o, i)
    for n in range(blocks):
        for r in 1, 2, 3:
            for c in range(1, 6):
                conv(new, f"body.{n}.rdb{r}.conv{c}", 64 if c == 5 else 32, 64 + 32 * (c - 1))
                conv(older, f"model.1.sub.{n}.RDB{r}.conv{c}.0", 64 if c == 5 else 32, 64 + 32 * (c - 1))
    return new, older


files["esrgan"], files["esrgan-old"] = esrgan()

w = files["dit-xl-2"] = {"pos_embed": [1, 256, 1152], "x_embedder.proj.weight": [1152, 4, 2, 2], "x_embedder.proj.bias": [1152],
                         "y_embedder.embedding_table.weight": [1001, 1152]}
linear(w, "t_embedder.mlp.0", 1152, 256)
linear(w, "t_embedder.mlp.2", 1152, 1152)
for n in range(28):
    for name, o, i in ("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4), ("adaLN_modulation.1", 6, 1):
        linear(w, f"blocks.{n}.{name}", 1152 * o, 1152 * i)
linear(w, "final_layer.linear", 32, 1152)
linear(w, "final_layer.adaLN_modulation.1", 2304, 1152)
files["dit-xl-2-diffusers"] = library(lambda: DiTTransformer2DModel(num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8,
                                                                    num_layers=28, sample_size=32, num_embeds_ada_norm=1000))[0]


def guided(classes, width=256, mults=(1, 1, 2, 2, 4, 4), attention=(3, 4, 5)):
    """OpenAI's guided-diffusion at 256x256, with scale-shift norms and residual blocks for resampling."""
    w, emb = {}, 4 * width
    linear(w, "time_embed.0", emb, width)
    linear(w, "time_embed.2", emb, emb)
    if classes:
        w["label_emb.weight"] = [classes, emb]

    def res(p, i, o):
        norm(w, p + "in_layers.0", i)
        conv(w, p + "in_layers.2", o, i)
        linear(w, p + "emb_layers.1", 2 * o, emb)
        norm(w, p + "out_layers.0", o)
        conv(w, p + "out_layers.3", o, o)
        if i != o:
            conv(w, p + "skip_connection", o, i, 1)

    def attend(p, c):
        norm(w, p + "norm", c)
        w[p + "qkv.weight"], w[p + "qkv.bias"], w[p + "proj_out.weight"], w[p + "proj_out.bias"] = [3 * c, c, 1], [3 * c], [c, c, 1], [c]

    conv(w, "input_blocks.0.0", width, 3)
    n, i, skips = 1, width, [width]
    for level, mult in enumerate(mults):
        for k in range(3 if level + 1 < len(mults) else 2):
            o = mult * width
            res(f"input_blocks.{n}.0.", i, o)
            if k < 2 and level in attention:
                attend(f"input_blocks.{n}.1.", o)
            skips.append(o)
            n, i = n + 1, o
    res("middle_block.0.", i, i)
    attend("middle_block.1.", i)
    res("middle_block.2.", i, i)
    n = 0
    for level in reversed(range(len(mults))):
        for k in range(3):
            o = mults[level] * width
            res(f"output_blocks.{n}.0.", i + skips.pop(), o)
            i = o
            if level in attention:
                attend(f"output_blocks.{n}.1.", o)
            if level and k == 2:
                res(f"output_blocks.{n}.{2 if level in attention else 1}.", o, o)
            n += 1
    norm(w, "out.0", i)
    conv(w, "out.2", 6, i)
    return w


files["guided-class"], files["guided-uncond"] = guided(1000), guided(0)
ddpm = dict(sample_size=256, block_out_channels=(128, 128, 256, 256, 512, 512), down_block_types=["DownBlock2D"] * 4 + ["AttnDownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "AttnUpBlock2D"] + ["UpBlock2D"] * 4)
files["ddpm-diffusers"] = library(lambda: UNet2DModel(**ddpm))[0]
files["ddpm-class-diffusers"] = library(lambda: UNet2DModel(num_class_embeds=10, **ddpm))[0]

UNETS = {
    "sd1": dict(cross_attention_dim=768, attention_head_dim=8),
    "sd2": dict(cross_attention_dim=1024, attention_head_dim=[5, 10, 20, 20], use_linear_projection=True),
    "sdxl": dict(cross_attention_dim=2048, attention_head_dim=[5, 10, 20], use_linear_projection=True, block_out_channels=(320, 640, 1280),
                 down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                 up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], transformer_layers_per_block=[1, 2, 10],
                 addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816),
    "sdxl-refiner": dict(cross_attention_dim=1280, attention_head_dim=[6, 12, 24, 24], use_linear_projection=True, block_out_channels=(384, 768, 1536, 1536),
                         down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
                         up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], transformer_layers_per_block=4,
                         addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2560),
}
LDM = {
    "sd1": dict(context=768),
    "sd2": dict(context=1024, linears=True),
    "sdxl": dict(context=2048, mults=(1, 2, 4), depths=(0, 2, 10), linears=True, adm=2816),
    "sdxl-refiner": dict(context=1280, width=384, depths=(0, 4, 4, 0), linears=True, adm=2560),
}
unets = {}
for name, options in UNETS.items():
    unets[name] = library(lambda: UNet2DConditionModel(**options))[1]
    config = dict(unets[name].config)
    both("unet-" + name, ldm_unet(**LDM[name]), lambda w: convert_ldm_unet_checkpoint({"model.diffusion_model." + k: v for k, v in w.items()}, config),
         lambda: UNet2DConditionModel(**options))
for name, base, channels in ("unet-sd1-inpaint", "sd1", 9), ("unet-sdxl-edit", "sdxl", 8):
    files[name + "-diffusers"] = library(lambda: UNet2DConditionModel(in_channels=channels, **UNETS[base]))[0]
    files[name] = ldm_unet(channels=channels, **LDM[base])


def ldm_vae(channels, quant=True):
    w = {}

    def res(p, i, o):
        norm(w, p + "norm1", i)
        conv(w, p + "conv1", o, i)
        norm(w, p + "norm2", o)
        conv(w, p + "conv2", o, o)
        if i != o:
            conv(w, p + "nin_shortcut", o, i, 1)

    def middle(p):
        res(p + "mid.block_1.", 512, 512)
        norm(w, p + "mid.attn_1.norm", 512)
        for k in "q", "k", "v", "proj_out":
            conv(w, p + "mid.attn_1." + k, 512, 512, 1)
        res(p + "mid.block_2.", 512, 512)

    conv(w, "encoder.conv_in", 128, 3)
    i = 128
    for level, o in enumerate([128, 256, 512, 512]):
        for k in 0, 1:
            res(f"encoder.down.{level}.block.{k}.", i, o)
            i = o
        if level < 3:
            conv(w, f"encoder.down.{level}.downsample.conv", o, o)
    middle("encoder.")
    norm(w, "encoder.norm_out", 512)
    conv(w, "encoder.conv_out", 2 * channels, 512)
    conv(w, "decoder.conv_in", 512, channels)
    middle("decoder.")
    for level, o in reversed(list(enumerate([128, 256, 512, 512]))):
        for k in 0, 1, 2:
            res(f"decoder.up.{level}.block.{k}.", i, o)
            i = o
        if level:
            conv(w, f"decoder.up.{level}.upsample.conv", o, o)
    norm(w, "decoder.norm_out", 128)
    conv(w, "decoder.conv_out", 3, 128)
    if quant:
        conv(w, "quant_conv", 2 * channels, 2 * channels, 1)
        conv(w, "post_quant_conv", channels, channels, 1)
    return w


for channels in 4, 16:
    files[f"vae-{channels}"] = ldm_vae(channels, channels == 4)
    model = library(lambda: AutoencoderKL(**VAES[channels]))[1]
    converted = convert_ldm_vae_checkpoint({k: torch.empty(v, device="meta") for k, v in files[f"vae-{channels}"].items()}, dict(model.config))
    assert {k: v.numel() for k, v in converted.items()} == {k: v.numel() for k, v in model.state_dict().items()}


def checkpoint(name, channels=4, **texts):
    """A single file: UNet, autoencoder, text encoders, and what training leaves."""
    w = {"betas": [1000], "sqrt_alphas_cumprod": [1000], "model_ema.decay": [], "model_ema.num_updates": []}
    for prefix, part in [("model.diffusion_model.", ldm_unet(channels=channels, **LDM[name])), ("first_stage_model.", ldm_vae(4)), *texts.values()]:
        w.update({prefix + k: v for k, v in part.items()})
    return w


L = ("cond_stage_model.transformer.", files["clip-l"])
files["sd1"], files["sd1-inpaint"], files["sd1-edit"] = (checkpoint("sd1", c, l=L) for c in (4, 9, 8))
H = ("cond_stage_model.model.", openclip(1024, 24))
files["sd2"], files["sd2-inpaint"] = checkpoint("sd2", h=H), checkpoint("sd2", 9, h=H)
L, G = ("conditioner.embedders.0.transformer.", files["clip-l"]), ("conditioner.embedders.1.model.", openclip(1280, 32))
files["sdxl"], files["sdxl-inpaint"], files["sdxl-edit"] = (checkpoint("sdxl", c, l=L, g=G) for c in (4, 9, 8))
files["sdxl-refiner"] = checkpoint("sdxl-refiner", g=("conditioner.embedders.0.model.", openclip(1280, 32)))


def lora(base, style, rank):
    """Every linear layer of the transformers, and of a text encoder."""
    w = {}
    layers = {n: m for n, m in unets[base].named_modules() if isinstance(m, torch.nn.Linear) and "transformer_blocks" in n}
    pairs = {"kohya": ("lora_down", "lora_up"), "peft": ("lora_A", "lora_B"), "diffusers": ("lora.down", "lora.up"), "diffusers-peft": ("lora_A", "lora_B")}
    down, up = pairs[style]
    prefix = {"kohya": "lora_unet_", "peft": "base_model.model.", "diffusers": "unet.", "diffusers-peft": "unet."}[style]
    for n, m in layers.items():
        n = prefix + (n.replace(".", "_") if style == "kohya" else n)
        w[f"{n}.{down}.weight"], w[f"{n}.{up}.weight"] = [rank, m.in_features], [m.out_features, rank]
        if style == "kohya":
            w[n + ".alpha"] = []
    if style != "peft":
        te = {"kohya": "lora_te1_text_model_" if base == "sdxl" else "lora_te_text_model_", "diffusers": "text_encoder.text_model.",
              "diffusers-peft": "text_encoder.text_model."}[style]
        for n in range(12):
            for m in "q_proj", "k_proj", "v_proj", "out_proj":
                name = f"encoder.layers.{n}.self_attn.{m}"
                name = te + (name.replace(".", "_") if style == "kohya" else name)
                w[f"{name}.{down}.weight"], w[f"{name}.{up}.weight"] = [rank, 768], [768, rank]
                if style == "kohya":
                    w[name + ".alpha"] = []
    return w


for base in "sd1", "sdxl":
    for style in "kohya", "peft", "diffusers", "diffusers-peft":
        files[f"lora-{base}-{style}"] = lora(base, style, 16)
w = files["lora-flux-kohya"] = {}
for n in range(19):
    for m, o in ("img_attn_qkv", 9216), ("img_mlp_0", 12288), ("txt_mod_lin", 18432):
        name = f"lora_unet_double_blocks_{n}_{m}"
        w[name + ".lora_down.weight"], w[name + ".lora_up.weight"], w[name + ".alpha"] = [32, 3072], [o, 32], []
files["lora-flux-diffusers"] = {f"transformer.single_transformer_blocks.{n}.attn.to_{k}.lora_{a}.weight": [16, 3072] if a == "A" else [3072, 16]
                                for n in range(38) for k in "qkv" for a in "AB"}

files["embedding-sd1"] = {"emb_params": [4, 768]}
files["embedding-sd2"] = {"emb_params": [8, 1024]}
files["embedding-sdxl"] = {"clip_l": [3, 768], "clip_g": [3, 1280]}
files["embedding-diffusers"] = {"<cat-toy>": [768]}

integers = ("position_ids", "num_updates")
lines = [f"{case}\t{name}\t{'I64' if name.endswith(integers) else 'F16'}\t{','.join(map(str, shape))}" for case, f in files.items() for name, shape in f.items()]
with open(here / "families.tsv.gz", "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as z:
    z.write(("\n".join(lines) + "\n").encode())
with open(here / "fused.tsv.gz", "wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as z:
    z.write("".join("\t".join(map(str, f)) + "\n" for f in fused if f[0] in ("flux-dev", "chroma", "sd3-medium", "sd3.5-medium", "controlnet-sd1", "unet-sdxl")).encode())
print(len(files), "files,", len(lines), "weights")
