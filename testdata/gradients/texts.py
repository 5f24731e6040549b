"""Makes sd1-lora.safetensors and xl-lora.safetensors: LoRAs of UNet and text encoders with the gradients of a
training step's loss, by PEFT 0.21.2.

Run it in any folder: python texts.py. The models are those of ../nets/sd1-diffusers and ../xl/base-diffusers, computed by
the diffusers and transformers libraries in float32. For two samples with the captions in the metadata it is the mean of the
squared differences between the network's output and `target`, of which the samples weigh 0.5 and 1.5. Names are those of
kohya's scripts, with `d:` before them for the gradients; Stable Diffusion XL's figures are the size of the picture, twice,
and no crop.
"""

import json
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).resolve().parent
RANK, ALPHA = 2, 3.0
CAPTIONS = ["a red apple", "blue table on a red cat"]
WEIGHTS = [0.5, 1.5]
UNET = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]


def adapted(model, modules):
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=modules, init_lora_weights=False)
    return inject_adapter_in_model(config, model.float().eval())


def factors(title, model):
    """(kohya's name, the parameter) of each factor. Newer versions of transformers leave out "text_model"."""
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        if title != "lora_unet_" and not name.startswith("text_model"):
            name = "text_model." + name
        for part, layer in (("down", module.lora_A), ("up", module.lora_B)):
            yield f"{title}{name.replace('.', '_')}.lora_{part}.weight", layer["default"].weight


def step(name, folder, kinds):
    torch.manual_seed(7)
    parts = {"lora_unet_": adapted(UNet2DConditionModel.from_pretrained(folder, subfolder="unet"), UNET)}
    states, pooled, ids = [], None, []
    for i, kind in enumerate(kinds):
        end = "" if i == 0 else f"_{i + 1}"
        title = "lora_te_" if len(kinds) == 1 else f"lora_te{i + 1}_"
        parts[title] = model = adapted(kind.from_pretrained(folder, subfolder="text_encoder" + end), TEXT)
        tokens = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer" + end)(CAPTIONS, padding="max_length", max_length=77, return_tensors="pt").input_ids
        ids.append(tokens)
        out = model(tokens, output_hidden_states=True)
        states.append(out.last_hidden_state if len(kinds) == 1 else out.hidden_states[-2])
        pooled = getattr(out, "text_embeds", None)
    x, target, t = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.tensor([941.0, 217.0])
    added = None
    if len(kinds) > 1:
        added = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)}
    out = parts["lora_unet_"](x, t, torch.cat(states, dim=-1), added_cond_kwargs=added).sample
    loss = ((out - target).square().mean(dim=(1, 2, 3)) * torch.tensor(WEIGHTS)).mean()
    loss.backward()
    tensors = {"x": x, "target": target, "t": t, "out": out.detach(), "loss": loss.detach()}
    tensors |= {f"tokens.{i}": v.int() for i, v in enumerate(ids)}
    for title, model in parts.items():
        for key, w in factors(title, model):
            tensors[key] = w.detach().clone()
            if w.grad is not None:  # not of layers after the one that is used
                tensors["d:" + key] = w.grad.clone()
    tensors = {k: v.contiguous() for k, v in tensors.items()}
    save_file(tensors, HERE / f"{name}-lora.safetensors", metadata={"alpha": str(ALPHA), "captions": json.dumps(CAPTIONS), "weights": json.dumps(WEIGHTS)})


def main():
    torch.set_num_threads(1)
    step("sd1", HERE.parent / "nets" / "sd1-diffusers", [CLIPTextModel])
    step("xl", HERE.parent / "xl" / "base-diffusers", [CLIPTextModel, CLIPTextModelWithProjection])


if __name__ == "__main__":
    main()
