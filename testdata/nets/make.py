"""Makes the tiny random-weight models of this folder and the reference values.

Run it in any folder: python make.py. What it makes is described in README.md.

The weights are random, the structure is that of Stable Diffusion 1.x and 2.x
with fewer and narrower layers. The reference values are those of the diffusers
and transformers libraries in float32 on the CPU. Every weight is first rounded
to four significant bits, which float16 represents exactly: the float16 files
and the float32 reference hold the same numbers, and git can compress them.
"""

import gzip
import json
import re
from pathlib import Path

import open_clip
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = Path(__file__).resolve().parent
MERGES = 200
CHANNELS = (32, 32)  # of the UNet's levels: the first with attention, the second without
RESNETS = 1  # on each level of the UNet's way down; one more on the way up
START, END = "<|startoftext|>", "<|endoftext|>"


# Vocabulary.


def merges():
    """The first merges of CLIP's tokenizer."""
    path = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as f:
        return f.read().split("\n")[1 : MERGES + 1]  # the first line is a header


def vocabulary():
    """Bytes, bytes that end a word, merges, the two special tokens: as in CLIP."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    letters = [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]
    words = letters + [c + "</w>" for c in letters]
    words += ["".join(m.split()) for m in merges()] + [START, END]
    return {w: i for i, w in enumerate(words)}


WORDS = 512 + MERGES + 2


# Models.


def randomise(model, seed):
    """Biases and norms away from 0 and 1, and every weight exact in float16.

    The libraries' initial weights make attention almost uniform and weak; with
    these it chooses, and a mistake in it or in the prompt shows. The embeddings'
    mean, by which emphasis divides, is kept away from 0.
    """
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data += 0.2 * torch.randn(p.shape, generator=g)
            if name.endswith("final_layer_norm.bias"):
                p.data += 0.25
        elif re.search(r"to_[qk]\.|[qk]_proj\.", name):
            p.data *= 3
        elif re.search(r"to_(v|out\.0)\.|(v|out)_proj\.|proj_out\.", name):
            p.data *= 2
        mantissa, exponent = torch.frexp(p.data)
        p.data = torch.ldexp((mantissa * 16).round() / 16, exponent).half().float()
    return model.eval()


def make_unet(seed, **settings):
    torch.manual_seed(seed)
    return randomise(UNet2DConditionModel(
        sample_size=8, block_out_channels=CHANNELS, layers_per_block=RESNETS, cross_attention_dim=64,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **settings), seed)


def make_vae(seed):
    torch.manual_seed(seed)
    return randomise(AutoencoderKL(
        sample_size=64, block_out_channels=(32,) * 4, layers_per_block=1, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4), seed)


def make_text(seed, **settings):
    torch.manual_seed(seed)
    return randomise(CLIPTextModel(CLIPTextConfig(
        vocab_size=WORDS, hidden_size=64, intermediate_size=128, projection_dim=64,
        bos_token_id=WORDS - 2, eos_token_id=WORDS - 1, pad_token_id=WORDS - 1, **settings)), seed)


def make_sd1():
    """Stable Diffusion 1.x: UNet, autoencoder, text encoder."""
    return (make_unet(11, attention_head_dim=8), make_vae(12),
            make_text(13, num_attention_heads=1, num_hidden_layers=2, hidden_act="quick_gelu"))


def make_sd2():
    """Stable Diffusion 2.x: heads of one width, linear layers, gelu, one text layer too many."""
    return (make_unet(21, attention_head_dim=(2, 2), use_linear_projection=True), make_vae(12),
            make_text(23, num_attention_heads=2, num_hidden_layers=3, hidden_act="gelu"))


def final_norm(text):
    return getattr(text, "text_model", text).final_layer_norm


def hidden(text, tokens, layer):
    """The output of a layer, counted from 1, through the final norm."""
    return final_norm(text)(text(tokens, output_hidden_states=True).hidden_states[layer])


# Names of the original files.


def unet_name(key):
    """The original name of a UNet's tensor, of two levels, attention on the first."""
    per = RESNETS + 1

    def down(m):
        level, part, i = int(m[1]), m[2], int(m[3])
        if part == "downsamplers":
            return f"input_blocks.{(level + 1) * per}.0"
        return f"input_blocks.{1 + level * per + i}.{int(part == 'attentions')}"

    def up(m):
        level, part, i = int(m[1]), m[2], int(m[3])
        if part == "upsamplers":  # after the attention, where there is one
            return f"output_blocks.{level * per + RESNETS}.{1 if level == 0 else 2}"
        return f"output_blocks.{level * per + i}.{int(part == 'attentions')}"

    resnet = "resnets" in key
    key = re.sub(r"^down_blocks\.(\d+)\.(downsamplers)\.(\d+)\.conv", lambda m: down(m) + ".op", key)
    key = re.sub(r"^down_blocks\.(\d+)\.(\w+)\.(\d+)", down, key)
    key = re.sub(r"^up_blocks\.(\d+)\.(\w+)\.(\d+)", up, key)
    outer = {"time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
             "mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1",
             "mid_block.resnets.1": "middle_block.2"}
    inner = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1",
             "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
    for new, old in outer.items():
        key = re.sub("^" + re.escape(new + "."), old + ".", key)
    if resnet:
        for new, old in inner.items():
            key = key.replace(f".{new}.", f".{old}.")
    return "model.diffusion_model." + key


def vae_name(key):
    """The original name of an autoencoder's tensor; its way up counts levels from the finest."""
    key = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    key = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{3 - int(m[1])}.block.", key)
    key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", key)
    for new, old in {"mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2",
                     "mid_block.attentions.0": "mid.attn_1", "group_norm": "norm", "to_q": "q", "to_k": "k",
                     "to_v": "v", "to_out.0": "proj_out", "conv_shortcut": "nin_shortcut",
                     "conv_norm_out": "norm_out"}.items():
        key = key.replace(new, old)
    return "first_stage_model." + key


def text_state(text):
    """The text encoder's tensors under the names of transformers before version 5."""
    state = {k: v for k, v in text.state_dict().items() if "position_ids" not in k}
    return {k if k.startswith("text_model.") else "text_model." + k: v for k, v in state.items()}


def clip_tensors(text):
    out = {"cond_stage_model.transformer." + k: v for k, v in text_state(text).items()}
    out["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    return out


def open_clip_tensors(text):
    """OpenCLIP's layout: one matrix for queries, keys and values; a training head."""
    state = {k.removeprefix("text_model."): v for k, v in text_state(text).items()}
    out = {"token_embedding.weight": state["embeddings.token_embedding.weight"],
           "positional_embedding": state["embeddings.position_embedding.weight"],
           "text_projection": torch.eye(64), "logit_scale": torch.tensor(4.625)}
    for end in "weight", "bias":
        out[f"ln_final.{end}"] = state[f"final_layer_norm.{end}"]
        for i in range(text.config.num_hidden_layers):
            new, old = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
            out[f"{old}attn.in_proj_{end}"] = torch.cat([state[f"{new}self_attn.{c}_proj.{end}"] for c in "qkv"])
            for a, b in {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                         "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}.items():
                out[f"{old}{b}.{end}"] = state[f"{new}{a}.{end}"]
    return {"cond_stage_model.model." + k: v for k, v in out.items()}


# Files.


def half(tensors):
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in tensors.items()}


def save(tensors, path, metadata):
    """A safetensors file whose metadata is in order, so that every run makes the same bytes."""
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def save_original(name, unet, vae, text, metadata):
    """One file in the layout of the original releases, which carries its own tokenizer."""
    tensors = {unet_name(k): v for k, v in unet.state_dict().items()} | text
    for k, v in vae.state_dict().items():
        k = vae_name(k)
        # The original attention is made of 1x1 convolutions.
        tensors[k] = v[:, :, None, None] if "attn_1" in k and v.ndim == 2 else v
    save(half(tensors), HERE / name, {"sdgo.tokenizer.merges": "\n".join(merges()), "sdgo.native_size": "64"} | metadata)


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def save_folder(folder, unet, vae, text):
    """The same model in the diffusers library's layout."""
    for part, model, file, library in (("unet", unet, "diffusion_pytorch_model", "diffusers"),
                                       ("vae", vae, "diffusion_pytorch_model", "diffusers"),
                                       ("text_encoder", text, "model", "transformers")):
        config = {"_class_name": type(model).__name__} if library == "diffusers" else {}
        # Through its own text, which leaves out what is no setting.
        config |= json.loads(model.to_json_string() if library == "diffusers" else model.config.to_json_string())
        for unwanted in "_name_or_path", "transformers_version", "_diffusers_version":
            config.pop(unwanted, None)
        write_json(folder / part / "config.json", config)
        state = text_state(model) if part == "text_encoder" else model.state_dict()
        save_file(half(state), folder / part / f"{file}.safetensors", {"format": "pt"})
    write_json(folder / "tokenizer" / "vocab.json", vocabulary())
    text = "\n".join(["#version: 0.2", *merges()]) + "\n"
    (folder / "tokenizer" / "merges.txt").write_text(text, encoding="utf-8")
    write_json(folder / "tokenizer" / "tokenizer_config.json", {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True,
        "bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END})
    write_json(folder / "scheduler" / "scheduler_config.json", {
        "_class_name": "EulerDiscreteScheduler", "num_train_timesteps": 1000, "beta_start": 0.00085,
        "beta_end": 0.012, "beta_schedule": "scaled_linear", "prediction_type": "epsilon",
        "interpolation_type": "linear", "use_karras_sigmas": False, "timestep_spacing": "linspace",
        "steps_offset": 1})
    write_json(folder / "model_index.json", {
        "_class_name": "StableDiffusionPipeline", "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False})


def reference(name, seed, unet, vae, text, layers):
    """Inputs of the three networks and what they give for them."""
    torch.manual_seed(seed)
    io = {"unet.x": torch.randn(2, 4, 10, 6), "unet.t": torch.tensor([981.0, 417.3]),
          "unet.context": torch.randn(2, 77, 64), "unet.long.context": torch.randn(2, 154, 64),
          "unet.odd.x": torch.randn(2, 4, 9, 7),
          "vae.image": torch.rand(1, 3, 32, 48) * 2 - 1, "vae.z": torch.randn(1, 4, 5, 3)}
    t, context = io["unet.t"], io["unet.context"]
    io["unet.out"] = unet(io["unet.x"], t, context).sample
    io["unet.long.out"] = unet(io["unet.x"], t, io["unet.long.context"]).sample
    io["unet.odd.out"] = unet(io["unet.odd.x"], t, context).sample
    io["vae.moments"] = vae.quant_conv(vae.encoder(io["vae.image"]))
    io["vae.decoded"] = vae.decode(io["vae.z"]).sample
    tokens = torch.randint(0, WORDS - 2, (2, 77))
    tokens[:, 0], tokens[0, 20:], tokens[1, 76:] = WORDS - 2, WORDS - 1, WORDS - 1
    io["text.tokens"] = tokens.int()
    for layer in layers:
        io[f"text.hidden.{layer}"] = hidden(text, tokens, layer)
    return {f"{name}.{k}": v.contiguous() for k, v in io.items()}


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    sd1, sd2 = make_sd1(), make_sd2()
    save_original("sd1.safetensors", *sd1[:2], clip_tensors(sd1[2]), {})
    save_folder(HERE / "sd1-diffusers", *sd1)
    # The widths of heads that stand in no shape: 64 in the real models, too wide here.
    save_original("sd2.safetensors", *sd2[:2], open_clip_tensors(sd2[2]),
                  {"sdgo.unet.head_dim": "16", "sdgo.text.heads": "2", "sdgo.prediction": "v"})
    values = reference("sd1", 31, *sd1, (1, 2)) | reference("sd2", 32, *sd2, (2, 3))
    save_file(values, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
