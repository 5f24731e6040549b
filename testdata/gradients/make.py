"""Makes reference.safetensors: gradients of the networks of ../nets, by PyTorch; and
lora.safetensors: a LoRA for their UNet with its gradients, by PEFT.

Run it in any folder, after ../nets/make.py: python make.py. The networks are those of
../nets/sd1-diffusers with the inputs of ../nets/reference.safetensors, computed by the
diffusers and transformers libraries in float32. For each the sum of out * seed is
differentiated by inputs and by some weights; the seed is cos(0.7 * i), i counting the
output's elements.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

HERE = Path(__file__).resolve().parent
NETS = HERE.parent / "nets"
FOLDER = NETS / "sd1-diffusers"

# Weights by the names of the original checkpoints, and by the library's. The time's layers
# are not among them: with one channel in a group, a normalisation takes what they add away.
UNET = {
    "input_blocks.0.0.weight": "conv_in.weight",
    "input_blocks.1.1.norm.weight": "down_blocks.0.attentions.0.norm.weight",
    "input_blocks.1.1.transformer_blocks.0.norm3.bias": "down_blocks.0.attentions.0.transformer_blocks.0.norm3.bias",
    "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight": "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight",
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
    "input_blocks.1.1.transformer_blocks.0.ff.net.0.proj.weight": "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight",
    "input_blocks.2.0.op.weight": "down_blocks.0.downsamplers.0.conv.weight",
    "middle_block.0.in_layers.0.weight": "mid_block.resnets.0.norm1.weight",
    "out.2.bias": "conv_out.bias",
}
DECODER = {"decoder.conv_in.weight": "decoder.conv_in.weight", "decoder.mid.block_1.norm1.weight": "decoder.mid_block.resnets.0.norm1.weight"}
ENCODER = {"encoder.conv_in.weight": "encoder.conv_in.weight", "quant_conv.bias": "quant_conv.bias"}
TEXT = {
    "text_model.embeddings.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "text_model.encoder.layers.0.self_attn.q_proj.weight": "text_model.encoder.layers.0.self_attn.q_proj.weight",
    "text_model.encoder.layers.0.layer_norm1.weight": "text_model.encoder.layers.0.layer_norm1.weight",
}

reference = load_file(NETS / "reference.safetensors")
out = {}


def gradients(name, model, weights, inputs, run):
    """Differentiates run(**inputs) by the inputs and weights."""
    inputs = {k: v.float().clone().requires_grad_() for k, v in inputs.items()}
    parameters = dict(model.named_parameters())
    named = {k: parameters[v if v in parameters else v.removeprefix("text_model.")] for k, v in weights.items()}
    result = run(**inputs)
    seed = torch.cos(0.7 * torch.arange(result.numel(), dtype=torch.float64)).float().reshape(result.shape)
    result.mul(seed).sum().backward()
    for k, v in inputs.items():
        out[f"{name}.d:{k}"] = v.grad.clone().contiguous()
    for k, v in named.items():
        out[f"{name}.d:weight:{k}"] = v.grad.clone().contiguous()


# Layers with a LoRA, as above: linear ones, and convolutions of stride 1, of stride 2 and
# after enlarging.
LORA = {
    "input_blocks.0.0": "conv_in",
    "input_blocks.1.0.in_layers.2": "down_blocks.0.resnets.0.conv1",
    "input_blocks.1.1.transformer_blocks.0.attn1.to_q": "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
    "input_blocks.1.1.transformer_blocks.0.attn1.to_out.0": "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0",
    "input_blocks.1.1.transformer_blocks.0.attn2.to_k": "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k",
    "input_blocks.1.1.transformer_blocks.0.attn2.to_v": "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_v",
    "input_blocks.1.1.transformer_blocks.0.ff.net.0.proj": "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj",
    "input_blocks.1.1.transformer_blocks.0.ff.net.2": "down_blocks.0.attentions.0.transformer_blocks.0.ff.net.2",
    "input_blocks.2.0.op": "down_blocks.0.downsamplers.0.conv",
    "output_blocks.1.1.conv": "up_blocks.0.upsamplers.0.conv",
    "out.2": "conv_out",
}
RANK, ALPHA = 3, 2.0


def lora():
    """Gradients of the sum of out * seed by x and the LoRA's factors."""
    torch.manual_seed(0)
    model = UNet2DConditionModel.from_pretrained(FOLDER, subfolder="unet").float().eval()
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(LORA.values()), init_lora_weights=False)
    model = inject_adapter_in_model(config, model)
    x = reference["sd1.unet.x"].float().clone().requires_grad_()
    result = model(x, reference["sd1.unet.t"], reference["sd1.unet.context"]).sample
    seed = torch.cos(0.7 * torch.arange(result.numel(), dtype=torch.float64)).float().reshape(result.shape)
    result.mul(seed).sum().backward()
    tensors = {"d:x": x.grad.clone(), "out": result.detach().clone()}
    modules = dict(model.named_modules())
    for name, module in LORA.items():
        for part, factors in (("down", modules[module].lora_A), ("up", modules[module].lora_B)):
            w = factors["default"].weight
            tensors[f"{name}.weight.{part}"] = w.detach().clone().contiguous()
            tensors[f"d:adapter:{name}.weight.{part}"] = w.grad.clone().contiguous()
    save_file(tensors, HERE / "lora.safetensors", metadata={"alpha": str(ALPHA)})


def main():
    torch.set_num_threads(1)
    model = UNet2DConditionModel.from_pretrained(FOLDER, subfolder="unet").float().eval()
    steps = reference["sd1.unet.t"]
    for name, x, context in (("unet", "unet.x", "unet.context"), ("odd", "unet.odd.x", "unet.context")):
        gradients(name, model, UNET, {"x": reference["sd1." + x], "context": reference["sd1." + context]},
                  lambda x, context: model(x, steps, context).sample)
        model.zero_grad()
    model = AutoencoderKL.from_pretrained(FOLDER, subfolder="vae").float().eval()
    gradients("decoder", model, DECODER, {"z": reference["sd1.vae.z"]}, lambda z: model.decode(z).sample)
    model.zero_grad()
    gradients("encoder", model, ENCODER, {"image": reference["sd1.vae.image"]}, lambda image: model.encode(image).latent_dist.parameters)
    model = CLIPTextModel.from_pretrained(FOLDER, subfolder="text_encoder").float().eval()
    tokens = reference["sd1.text.tokens"].long()
    layers = json.loads((FOLDER / "text_encoder" / "config.json").read_text())["num_hidden_layers"]
    gradients("text", model, TEXT, {}, lambda: norm(model)(model(tokens, output_hidden_states=True).hidden_states[layers]))
    save_file(out, HERE / "reference.safetensors")
    lora()


def norm(model):
    """The last normalisation, wherever the library keeps it."""
    return next(m for n, m in model.named_modules() if n.endswith("final_layer_norm"))


if __name__ == "__main__":
    main()
