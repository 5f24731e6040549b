"""What the scripts of tiny transformers and text encoders share: random weights, and Qwen's tokenizer out of the merges that are
built into this library."""

import gzip
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def rounded(x):
    """To eight significant bits, which float16 has."""
    return x.to(torch.bfloat16).to(torch.float32)


def randomise(model, seed, weight):
    """Gives a model's weights values: weight(name, shape, noise), rounded."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(rounded(weight(name, p.shape, torch.randn(p.shape, generator=generator))))
    return model.eval()


def usual(name, shape, noise):
    """Layers that keep magnitudes, norms and tokens that matter."""
    if "norm" in name and len(shape) == 1 or name == "cap_embedder.0.weight":
        return 1 + 0.3 * noise
    if len(shape) == 1 or "pad_token" in name:
        return 0.3 * noise
    return noise / shape[1] ** 0.5


def convolutions(name, shape, noise):
    """The same for an autoencoder."""
    if "norm" in name and name.endswith("weight"):
        return 1 + 0.3 * noise
    if len(shape) == 1:
        return 0.1 * noise
    return noise / shape[1:].numel() ** 0.5


def qwen_embedding(rows, width):
    """A table of embeddings that a program computes again: eleven bits of a number for each."""
    i, j = torch.arange(rows)[:, None], torch.arange(width)[None]
    return (((i * 7919 + j * 104729) % 2048 - 1024) / 512).to(torch.float32)


SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>",
            "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
            "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>",
            "<tool_response>", "</tool_response>", "<think>", "</think>"]

# One message of a user, as the template of Qwen3's tokenizer renders it.
TEMPLATE = ("{%- for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{%- endfor %}"
            "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}"
            "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}")


def qwen_tokenizer():
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    merges = gzip.open(ROOT / "sd/tokenizer/bytelevel/qwen_merges.txt.gz", "rt", encoding="utf-8").read().splitlines()
    pairs = [tuple(m.split(" ")) for m in merges]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    vocab = {letter: i for i, letter in enumerate(letters)}
    for a, b in pairs:
        vocab[a + b] = len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=pairs))
    t.normalizer = normalizers.NFC()
    words = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens([AddedToken(s, normalized=False) for s in SPECIALS])
    out = PreTrainedTokenizerFast(tokenizer_object=t, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    out.chat_template, out.padding_side = TEMPLATE, "right"
    assert out.convert_tokens_to_ids("<|im_start|>") == 151644
    return out
