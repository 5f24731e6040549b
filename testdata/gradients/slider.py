"""Makes slider.safetensors: a concept slider, trained for some steps by PyTorch and PEFT.

Run it in any folder: python slider.py. The model is that of ../nets/sd1-diffusers, in float32. In each of STEPS steps two
noisy latents with the captions of texts.py are moved by ETA times the difference between two prompts, as the network has them
without the LoRA (Gandikota et al. 2023, arXiv:2311.12092); the optimizer is AdamW without decay. `losses` are before each
step, `target` is that of the first; factors have kohya's names, with `last:` before them after the last step.
"""

import json

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

from texts import CAPTIONS, HERE, UNET, adapted, factors

POSITIVE, NEGATIVE, ETA, STEPS, RATE = "a green bird", "an old house", 2.0, 6, 3e-3


def main():
    torch.set_num_threads(1)
    torch.manual_seed(11)
    folder = HERE.parent / "nets" / "sd1-diffusers"
    unet = adapted(UNet2DConditionModel.from_pretrained(folder, subfolder="unet"), UNET)
    text, tokenizer = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").float().eval(), CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")

    @torch.no_grad()
    def encode(texts):
        return text(tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids).last_hidden_state

    def adapters(on):
        for module in unet.modules():
            if hasattr(module, "lora_A"):
                module.enable_adapters(on)

    captions, ends = encode(CAPTIONS), [encode([p] * 2) for p in (POSITIVE, NEGATIVE)]
    trained = list(factors("lora_unet_", unet))
    tensors = {key: w.detach().clone() for key, w in trained}
    optimizer = torch.optim.AdamW([w for _, w in trained], lr=RATE, weight_decay=0)
    x, t = torch.randn(STEPS, 2, 4, 8, 8), torch.tensor([[941.0, 217.0], [12.0, 555.0], [300.0, 700.0], [999.0, 1.0], [444.0, 80.0], [620.0, 888.0]])
    losses = []
    for k in range(STEPS):
        adapters(False)
        with torch.no_grad():
            plain, positive, negative = (unet(x[k], t[k], c).sample for c in (captions, *ends))
        target = plain + ETA * (positive - negative)
        adapters(True)
        loss = (unet(x[k], t[k], captions).sample - target).square().mean()
        if k == 0:
            tensors["target"] = target
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    tensors |= {"x": x, "t": t, "losses": torch.tensor(losses)} | {"last:" + key: w.detach().clone() for key, w in trained}
    save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / "slider.safetensors", metadata={
        "captions": json.dumps(CAPTIONS), "weights": "[1, 1]", "positive": POSITIVE, "negative": NEGATIVE, "eta": str(ETA), "rate": str(RATE)})


if __name__ == "__main__":
    main()
