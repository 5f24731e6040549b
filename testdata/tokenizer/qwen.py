#!/usr/bin/env python3
"""Writes sd/tokenizer/bytelevel/qwen_merges.txt.gz, Qwen's merges, out of the table in the package dashscope (Apache-2.0),
and testdata/tokenizer/qwen.jsonl.gz: 10,000 texts with the ids that the transformers library gives them.

pip install dashscope==2.0.2 transformers==5.23.0. Run from the repository's root.
"""
import base64
import gzip
import importlib.util
import json
import os
import sys

from transformers import Qwen2Tokenizer

sys.path.insert(0, os.path.dirname(__file__))
from strings_of_all_scripts import strings

folder = os.environ.get("DASHSCOPE") or os.path.dirname(importlib.util.find_spec("dashscope").origin)
ranks = {}
with open(os.path.join(folder, "resources", "qwen.tiktoken"), "rb") as f:
    for line in f:
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
assert len(ranks) == 151643 and sorted(ranks.values()) == list(range(151643))

printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
order = printable + [b for b in range(256) if b not in printable]
letters = {b: chr(b) if b in printable else chr(0x100 + [x for x in range(256) if x not in printable].index(b)) for b in range(256)}
assert all(ranks[bytes([b])] == i for i, b in enumerate(order))


def text(token):
    return "".join(letters[b] for b in token)


def halves(token):
    """The two tokens that a token is merged of: what its bytes become with better merges alone."""
    parts, limit = [bytes([b]) for b in token], ranks[token]
    while True:
        best, at = min(((ranks.get(a + b, limit), i) for i, (a, b) in enumerate(zip(parts, parts[1:]))), default=(limit, 0))
        if best >= limit:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    assert len(parts) == 2, token
    return parts


merges = [" ".join(text(half) for half in halves(token)) for token, rank in sorted(ranks.items(), key=lambda x: x[1]) if rank >= 256]
with open("sd/tokenizer/bytelevel/qwen_merges.txt.gz", "wb") as f:
    f.write(gzip.compress("".join(m + "\n" for m in merges).encode(), compresslevel=9, mtime=0))

special = """<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> <|box_end|> <|quad_start|> <|quad_end|>
<|vision_start|> <|vision_end|> <|vision_pad|> <|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|>
<|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>""".split()
tokenizer = Qwen2Tokenizer(vocab={text(token): rank for token, rank in ranks.items()}, merges=[tuple(m.split(" ")) for m in merges])
tokenizer.add_tokens(special, special_tokens=True)
assert tokenizer.convert_tokens_to_ids(special) == [151643 + i for i in range(len(special))]

with gzip.GzipFile("testdata/tokenizer/qwen.jsonl.gz", "wb", mtime=0) as f:
    for s in strings(10000, special[:3] + special[9:13] + special[-2:]):
        f.write((json.dumps([s, tokenizer(s, add_special_tokens=False)["input_ids"]], ensure_ascii=True, separators=(",", ":")) + "\n").encode())
