"""Makes the tiny adapters of this folder and the reference values. README.md says what they are.

Run it in any folder: python make.py. The model is ../nets/sd1.safetensors, whose script makes it again here. Its
weights with adapters are LyCORIS's get_merged_weight and PEFT's; what its networks give with these weights is what the
diffusers and transformers libraries compute in float32 on the CPU.
"""

import json
import re
import sys
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from lycoris import modules as ly
from peft import LoraConfig
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "nets"))
import make as nets  # noqa: E402

STRENGTHS = {"1": 1.0, "0.6": 0.6, "-0.5": -0.5}
BLOCK = "down_blocks.0.attentions.0."
LINEAR = [BLOCK + "transformer_blocks.0." + n for n in
          ("attn1.to_q", "attn1.to_out.0", "attn2.to_k", "attn2.to_v", "ff.net.0.proj", "ff.net.2")]
LINEAR += ["time_embedding.linear_1", "mid_block.resnets.0.time_emb_proj", "mid_block.attentions.0.transformer_blocks.0.attn1.to_v"]
CONV = ["conv_in", BLOCK + "proj_in", "down_blocks.0.resnets.0.conv1", "down_blocks.0.downsamplers.0.conv",
        "up_blocks.0.upsamplers.0.conv", "conv_out"]
NORM = ["down_blocks.0.resnets.0.norm1", BLOCK + "transformer_blocks.0.norm2", "conv_norm_out"]
TEXT = ["encoder.layers.0.self_attn.q_proj", "encoder.layers.1.self_attn.out_proj", "encoder.layers.0.mlp.fc1", "encoder.layers.1.mlp.fc2"]

SMALL = ["conv_in", LINEAR[0], LINEAR[2]]  # for kinds that are as large as the weight

# Kind, options, layers.
LYCORIS = {
    "locon": (ly.LoConModule, {"lora_dim": 4, "alpha": 2}, LINEAR + CONV),
    "locon-tucker": (ly.LoConModule, {"lora_dim": 4, "alpha": 3, "use_tucker": True}, CONV),
    "dylora": (ly.DyLoraModule, {"lora_dim": 4, "alpha": 2, "block_size": 2}, LINEAR),
    "dora": (ly.LoConModule, {"lora_dim": 2, "alpha": 2, "weight_decompose": True}, LINEAR + CONV),
    "dora-columns": (ly.LoConModule, {"lora_dim": 2, "alpha": 2, "weight_decompose": True, "wd_on_out": False}, LINEAR[:5] + CONV[:3]),
    "loha": (ly.LohaModule, {"lora_dim": 2, "alpha": 1}, LINEAR + CONV),
    "loha-tucker": (ly.LohaModule, {"lora_dim": 2, "alpha": 1, "use_tucker": True}, CONV),
    "loha-dora": (ly.LohaModule, {"lora_dim": 2, "alpha": 1, "weight_decompose": True}, LINEAR[:3]),
    "lokr": (ly.LokrModule, {"lora_dim": 2, "alpha": 1, "factor": 4}, LINEAR + CONV),
    "lokr-both": (ly.LokrModule, {"lora_dim": 1, "alpha": 3, "factor": 8, "decompose_both": True}, LINEAR + CONV),
    "lokr-full": (ly.LokrModule, {"lora_dim": 2, "alpha": 1, "factor": 8, "full_matrix": True}, LINEAR[:4] + CONV[:2]),
    "lokr-tucker": (ly.LokrModule, {"lora_dim": 2, "alpha": 1, "factor": 4, "use_tucker": True}, CONV),
    "full": (ly.FullModule, {}, SMALL),
    "norm": (ly.NormModule, {}, NORM),
    "ia3": (ly.IA3Module, {}, LINEAR + CONV),
    "ia3-input": (ly.IA3Module, {"train_on_input": True}, LINEAR + CONV),
    "glora": (ly.GLoRAModule, {"lora_dim": 3, "alpha": 2}, LINEAR[:5] + CONV[:3]),
    "oft": (ly.DiagOFTModule, {"lora_dim": 4}, LINEAR[:5] + CONV[:5]),
    "oft-limit": (ly.DiagOFTModule, {"lora_dim": 4, "constraint": 0.02, "rescaled": True}, LINEAR[:5] + CONV[:5]),
    "boft": (ly.ButterflyOFTModule, {"lora_dim": 4}, LINEAR[:4] + CONV[:3]),
    "boft-limit": (ly.ButterflyOFTModule, {"lora_dim": 4, "constraint": 0.05, "rescaled": True}, LINEAR[:4] + CONV[:3]),
}


def exact(t):
    """Rounded to four significant bits, so that float16 and compressed files hold the same."""
    mantissa, exponent = torch.frexp(t)
    return torch.ldexp((mantissa * 16).round() / 16, exponent).half().float()


def perturb(module, generator):
    for name, p in module.named_parameters():
        if name == "dora_scale" or "rescale" in name:
            p.data = exact(p.data * (1 + 0.2 * torch.randn(p.shape, generator=generator)))
        else:
            p.data = exact(0.3 * torch.randn(p.shape, generator=generator))


def kohya(prefix, layer):
    return prefix + layer.replace(".", "_")


def sampled(t):
    flat = t.detach().flatten()
    return flat[:: max(1, flat.numel() // 64)].clone()


class Case:
    """An adapter's reference: weights with it, and what networks give with them."""

    def __init__(self, base, values):
        self.unet, self.text, self.values = base[0], base[2], values
        g = torch.Generator().manual_seed(77)
        self.x, self.t = torch.randn(1, 4, 8, 8, generator=g), torch.tensor([417.3])
        self.context = torch.randn(1, 77, 64, generator=g)
        self.tokens = torch.randint(0, nets.WORDS - 2, (1, 77), generator=g)
        self.tokens[:, 0], self.tokens[:, 20:] = nets.WORDS - 2, nets.WORDS - 1
        values |= {"x": self.x, "t": self.t, "context": self.context, "tokens": self.tokens.int()}
        values["unet.out"], values["text.out"] = self.outputs()

    def outputs(self):
        return (self.unet(self.x, self.t, self.context).sample.clone(), nets.hidden(self.text, self.tokens, 2).clone())

    def add(self, name, merged, weights=True):
        """merged(strength) gives (network, layer) → (weight, bias or None)."""
        for label, m in STRENGTHS.items():
            new, old = merged(m), []
            for (network, layer), (w, b) in new.items():
                module = (self.unet if network == "unet" else getattr(self.text, "text_model", self.text)).get_submodule(layer)
                old.append((module, module.weight.data, None if module.bias is None else module.bias.data))
                if weights:
                    self.values[f"{name}|{label}|{network}|{layer}"] = sampled(w)
                module.weight.data = w.detach().float().reshape(module.weight.shape)
                if b is not None:
                    module.bias.data = b.detach().float()
            out, hidden = self.outputs()
            for module, w, b in old:
                module.weight.data = w
                if b is not None:
                    module.bias.data = b
            if any(n == "unet" for n, _ in new):
                change = float((out - self.values["unet.out"]).norm() / out.norm())
                assert change > 0.01, (name, change)
                self.values[f"{name}|{label}|unet.out"] = out
            if any(n == "text" for n, _ in new):
                assert float((hidden - self.values["text.out"]).norm() / hidden.norm()) > 0.01, name
                self.values[f"{name}|{label}|text.out"] = hidden


def lycoris(case, seed, name, cls, options, layers):
    """A file of LyCORIS's, in kohya's names."""
    g = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    made, state = {}, {}
    for layer in layers:
        module = cls(kohya("lora_unet_", layer), case.unet.get_submodule(layer), 1.0, **options)
        perturb(module, g)
        made[layer] = module
        for key, value in module.state_dict().items():
            if "org_module" in key:
                continue
            state[f"{module.lora_name}.{key}"] = value
        if cls is ly.FullModule:  # not applied yet, its weight is the difference
            state[f"{module.lora_name}.diff"] = module.weight
            if module.bias is not None:
                state[f"{module.lora_name}.diff_b"] = module.bias
        elif hasattr(module, "custom_state_dict") and (custom := module.custom_state_dict()):
            state = {k: v for k, v in state.items() if not k.startswith(module.lora_name + ".")}
            state |= {f"{module.lora_name}.{k}": v for k, v in custom.items() if v is not None}

    def merged(m):
        out = {}
        for layer, module in made.items():
            own = case.unet.get_submodule(layer).weight
            if cls in (ly.LohaModule, ly.LokrModule):  # get_diff_weight has their scale twice, forward once
                weight, bias = own + (1.0 if "dora" in name else m) * module.get_weight(own.shape), None
                weight = module.apply_weight_decompose(weight, 1.0) if "dora" in name else weight
            elif cls is ly.DyLoraModule:  # it merges a part of its rank, as it trains
                up, down = (state[f"{module.lora_name}.lora_{end}.weight"] for end in ("up", "down"))
                weight, bias = own + m * 0.5 * (up @ down).reshape(own.shape), None
            else:
                weight, bias = module.get_merged_weight(1.0 if "dora" in name else m)
            if "dora" in name:  # W + m(W' - W), as in AUTOMATIC1111 and ComfyUI
                weight = own + m * (weight.reshape(own.shape) - own)
            out["unet", layer] = (weight, bias)
        return out

    case.add(name, merged)
    nets.save({k: v.detach().clone() for k, v in state.items()}, HERE / f"{name}.safetensors", {"ss_output_name": name})
    return state


def pairs(case, layers, text, rank, seed, names=(LINEAR, CONV)):
    """The factors of a LoRA, by network and layer."""
    g = torch.Generator().manual_seed(seed)
    out = {}
    for network, all_layers in (("unet", layers), ("text", text)):
        root = case.unet if network == "unet" else getattr(case.text, "text_model", case.text)
        for layer in all_layers:
            shape = root.get_submodule(layer).weight.shape
            down = exact(0.3 * torch.randn(rank, *shape[1:], generator=g))
            up = exact(0.3 * torch.randn(shape[0], rank, *([1] * (len(shape) - 2)), generator=g))
            out[network, layer] = (down, up)
    return out


def with_pairs(case, all_pairs, scale):
    def merged(m):
        out = {}
        for (network, layer), (down, up) in all_pairs.items():
            root = case.unet if network == "unet" else getattr(case.text, "text_model", case.text)
            w = root.get_submodule(layer).weight
            delta = (up.flatten(1) @ down.flatten(1)).reshape(w.shape)
            out[network, layer] = (w + m * scale(network, layer) * delta, None)
        return out
    return merged


def layouts(case):
    """One LoRA in the layouts of all programs."""
    attention = [layer for layer in LINEAR if ".attn" in layer]
    all_pairs = pairs(case, LINEAR + CONV[:3], TEXT, 3, 5)
    plain = {k: v for k, v in all_pairs.items() if k[1] not in CONV}
    original = {}
    for network, layer in all_pairs:
        if network == "unet":
            original[layer] = nets.unet_name(layer + ".weight").removeprefix("model.diffusion_model.").removesuffix(".weight")

    def write(name, factors, key, down, up, extra=None, metadata=None):
        state = {}
        for (network, layer), (a, b) in factors.items():
            k = key(network, layer)
            state[k + down], state[k + up] = a, b
            state |= extra(k) if extra else {}
        save = {k: v.clone().contiguous() for k, v in state.items()}
        nets.save({k: v.half() for k, v in save.items()}, HERE / f"{name}.safetensors", metadata or {})

    kohya_alpha = lambda k: {k + ".alpha": torch.tensor(2.0)}  # noqa: E731
    prefix = {"unet": "lora_unet_", "text": "lora_te_text_model_"}
    case.add("kohya", with_pairs(case, all_pairs, lambda *_: 2 / 3))
    metadata = {"ss_output_name": "The Tiny Style", "ss_base_model_version": "sd_v1", "ss_network_dim": "3", "ss_network_alpha": "2",
                "ss_tag_frequency": json.dumps({"10_tiny": {"tinystyle": 12, "a cat": 3}, "2_more": {"tinystyle": 2, "sea": 5}})}
    write("kohya", all_pairs, lambda n, k: kohya(prefix[n], k), ".lora_down.weight", ".lora_up.weight", kohya_alpha, metadata)
    write("kohya-original", all_pairs, lambda n, k: kohya(prefix[n], original.get(k, k)), ".lora_down.weight", ".lora_up.weight", kohya_alpha)
    write("comfyui", all_pairs, lambda n, k: ("diffusion_model." + original[k]) if n == "unet" else "text_encoders.clip_l.transformer.text_model." + k,
          ".lora_A.weight", ".lora_B.weight", kohya_alpha)
    folder = {"unet": "unet.", "text": "text_encoder.text_model."}
    case.add("plain", with_pairs(case, plain, lambda *_: 1))
    write("diffusers", plain, lambda n, k: folder[n] + k, ".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")
    write("diffusers-lora", plain, lambda n, k: folder[n] + k, ".lora.down.weight", ".lora.up.weight")
    write("peft-5", plain, lambda n, k: {"unet": "unet.", "text": "text_encoder."}[n] + k, ".lora_A.weight", ".lora_B.weight")
    write("peft-default", plain, lambda n, k: folder[n] + k, ".lora_A.default.weight", ".lora_B.default.weight")
    heads = {k: v for k, v in plain.items() if k[1] in attention and k[0] == "unet"}
    case.add("heads", with_pairs(case, heads, lambda *_: 1))
    processor = lambda n, k: "unet." + re.sub(r"\.(to_\w+?)(\.0)?$", r".processor.\1_lora", k)  # noqa: E731
    write("processors", heads, processor, ".down.weight", ".up.weight")
    write("peft-bare", heads, lambda n, k: "base_model.model." + k, ".lora_A.weight", ".lora_B.weight")
    cloneofsimo(case)
    peft(case)
    halves(all_pairs, prefix)


def halves(all_pairs, prefix):
    """A LoRA of rank 4 and the two of rank 2 that it consists of."""
    g = torch.Generator().manual_seed(8)
    whole, parts = {}, ({}, {})
    for (network, layer), (down, up) in all_pairs.items():
        k = kohya(prefix[network], layer)
        a = exact(0.3 * torch.randn(4, *down.shape[1:], generator=g))
        b = exact(0.3 * torch.randn(up.shape[0], 4, *up.shape[2:], generator=g))
        whole |= {k + ".lora_down.weight": a, k + ".lora_up.weight": b}
        for i in range(2):
            parts[i][k + ".lora_down.weight"], parts[i][k + ".lora_up.weight"] = a[2 * i:2 * i + 2], b[:, 2 * i:2 * i + 2]
    for name, state in {"whole": whole, "half-1": parts[0], "half-2": parts[1]}.items():
        nets.save({k: v.half().contiguous() for k, v in state.items()}, HERE / f"{name}.safetensors", {})


def visited(unet):
    """The layers in the order of cloneofsimo's program: attention and GEGLU, the middle block last."""
    def place(name):
        kind, *numbers = re.match(r"(\w+?)(?:\.(\d+))?\.attentions\.(\d+)\.transformer_blocks\.(\d+)", name).groups()
        return ["down_blocks", "up_blocks", "mid_block"].index(kind), [int(n or 0) for n in numbers]
    inner = ["attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "ff.net.0.proj",
             "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"]
    blocks = sorted({n[:-len(".attn1.to_q")] for n, _ in unet.named_modules() if n.endswith("attn1.to_q")}, key=place)
    return [f"{b}.{i}" for b in blocks for i in inner]


def cloneofsimo(case):
    layers = visited(case.unet)
    text = [f"encoder.layers.{i}.self_attn.{h}_proj" for i in range(2) for h in ("k", "v", "q", "out")]
    all_pairs = pairs(case, layers, text, 1, 6)
    case.add("cloneofsimo", with_pairs(case, all_pairs, lambda *_: 1), weights=False)
    case.add("cloneofsimo-list", with_pairs(case, {k: v for k, v in all_pairs.items() if k[0] == "unet"}, lambda *_: 1), weights=False)
    state, metadata, flat = {}, {}, []
    for network, order in (("unet", layers), ("text", text)):
        word = {"unet": "unet", "text": "text_encoder"}[network]
        metadata[word] = json.dumps(["CrossAttention", "Attention", "GEGLU"] if network == "unet" else ["CLIPAttention"])
        for i, layer in enumerate(order):
            down, up = all_pairs[network, layer]
            state[f"{word}:{i}:up"], state[f"{word}:{i}:down"] = up.half(), down.half()
            metadata[f"{word}:{i}:rank"] = "1"
            if network == "unet":
                flat += [up.half(), down.half()]
    nets.save(state, HERE / "cloneofsimo.safetensors", metadata)
    torch.save(flat, HERE / "cloneofsimo-list.pt")


def peft(case):
    """What PEFT itself makes, and the diffusers library saves, with alpha in the metadata alone."""
    import copy
    import tempfile
    settings = {"peft": {"lora_alpha": 8}, "peft-rs": {"lora_alpha": 8, "use_rslora": True},
                "peft-dora": {"lora_alpha": 8, "use_dora": True}, "peft-pattern": {"lora_alpha": 8, "alpha_pattern": {"to_k": 2}, "rank_pattern": {"attn2.to_v": 3}}}
    for seed, (name, more) in enumerate(settings.items()):
        unet = copy.deepcopy(case.unet)
        torch.manual_seed(40 + seed)
        config = LoraConfig(r=4, init_lora_weights=False, target_modules=[".".join(k.split(".")[-3:]) for k in LINEAR[:5]] + ["conv_in"], **more)
        unet.add_adapter(config)
        g = torch.Generator().manual_seed(90 + seed)
        for k, p in unet.named_parameters():
            if "lora_" in k and "magnitude" not in k:
                p.data = exact(0.2 * torch.randn(p.shape, generator=g))
            elif "magnitude" in k:
                p.data = exact(p.data * (1 + 0.2 * torch.randn(p.shape, generator=g)))
        state = {k.replace(".default", ""): v.detach() for k, v in unet.state_dict().items() if "lora_" in k}
        state = {k.replace("lora_magnitude_vector.weight", "lora_magnitude_vector"): v for k, v in state.items()}
        with tempfile.TemporaryDirectory() as folder:
            StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=state, unet_lora_adapter_metadata=config.to_dict())
            data = (Path(folder) / "pytorch_lora_weights.safetensors").read_bytes()
        (HERE / f"{name}.safetensors").write_bytes(data)

        def merged(m):
            out = {}
            for layer, module in unet.named_modules():
                if isinstance(module, BaseTunerLayer):
                    own = module.get_base_layer().weight
                    one = copy.deepcopy(module)
                    one.merge()
                    out["unet", layer] = (own + m * (one.get_base_layer().weight - own), None)
            return out
        case.add(name, merged)


def embeddings(values):
    """The same words in the five layouts."""
    g = torch.Generator().manual_seed(9)
    three, one = exact(torch.randn(3, 64, generator=g)), exact(torch.randn(64, generator=g))
    token = torch.tensor(265)
    torch.save({"string_to_token": {"*": token}, "string_to_param": {"*": three}, "name": "tiny", "step": 100,
                "sd_checkpoint": None, "sd_checkpoint_name": None}, HERE / "words-a1111.pt")
    torch.save({"<words>": three}, HERE / "words-diffusers.bin")
    torch.save({"<word>": one}, HERE / "word-diffusers.bin")
    save_file({"emb_params": three}, HERE / "words-kohya.safetensors")
    save_file({"<words>": three}, HERE / "words-token.safetensors")
    save_file({"clip_l": exact(torch.randn(2, 64, generator=g)), "clip_g": exact(torch.randn(2, 64, generator=g))}, HERE / "words-xl.safetensors")
    values["words"], values["word"] = three, one
    pipe = StableDiffusionPipeline.from_pretrained(HERE.parent / "nets" / "sd1-diffusers", torch_dtype=torch.float32)
    pipe.load_textual_inversion(HERE / "words-diffusers.bin", token="<words>")
    pipe.load_textual_inversion(HERE / "word-diffusers.bin", token="<word>")
    for name, text in {"plain": "a cat at dusk", "both": "a <words> cat, <word> at dusk"}.items():
        values[f"context.{name}"] = pipe.encode_prompt(text, "cpu", 1, False)[0]


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    values = {}
    case = Case(nets.make_sd1(), values)
    for i, (name, (cls, options, layers)) in enumerate(LYCORIS.items()):
        lycoris(case, 100 + i, name, cls, options, layers)
    layouts(case)
    embeddings(values)
    save_file({k: v.detach().contiguous() for k, v in values.items()}, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
