"""CLIP's text encoder (Radford et al. 2021) with the weight names of the transformers library, and CLIP's byte-pair encoding.

The vocabulary is CLIP's, cut to its first merges: 256 bytes, 256 bytes that end a word, one token a merge, start, end.
"""

import gzip
import importlib.util
import os
import re

import torch
from torch import nn

from layers import attention

LENGTH = 77
WORD = re.compile(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)


def read_merges(count):
    """CLIP's first `count` merges, from the table that the open_clip_torch package carries (MIT licence)."""
    folder = os.path.dirname(importlib.util.find_spec("open_clip").origin)
    with gzip.open(os.path.join(folder, "bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as f:
        lines = f.read().split("\n")[1 : count + 1]
    return [tuple(line.split()) for line in lines]


def byte_symbols():
    """The printable stand-in of each byte, in the vocabulary's order: printable Latin-1 first, the rest from U+0100 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


class Tokenizer:
    def __init__(self, merges):
        self.merges = merges
        self.symbols = byte_symbols()
        plain = list(self.symbols.values())
        vocab = plain + [s + "</w>" for s in plain] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
        self.ids = {token: i for i, token in enumerate(vocab)}
        self.rank = {m: i for i, m in enumerate(merges)}
        self.start, self.end = len(vocab) - 2, len(vocab) - 1
        self.cache = {}

    def word(self, text):
        if text not in self.cache:
            parts = [self.symbols[b] for b in text.encode("utf-8")]
            parts[-1] += "</w>"
            while len(parts) > 1:
                best = min(zip(parts, parts[1:]), key=lambda pair: self.rank.get(pair, len(self.rank)))
                if best not in self.rank:
                    break
                merged, i = [], 0
                while i < len(parts):
                    two = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
                    merged.append(parts[i] + parts[i + 1] if two else parts[i])
                    i += 1 + two
                parts = merged
            self.cache[text] = [self.ids[p] for p in parts]
        return self.cache[text]

    def __call__(self, texts):
        """Texts to ids [n, 77]: start, tokens, and the end token up to the full length, as SD 1.x pads."""
        out = torch.full((len(texts), LENGTH), self.end, dtype=torch.long)
        for row, text in zip(out, texts):
            tokens = [i for w in WORD.findall(text.lower()) for i in self.word(w)][: LENGTH - 2]
            row[0] = self.start
            row[1 : 1 + len(tokens)] = torch.tensor(tokens, dtype=torch.long)
        return out


class Embeddings(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocab, dim), nn.Embedding(LENGTH, dim)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.position_embedding.weight, std=0.01)

    def forward(self, ids):
        return self.token_embedding(ids) + self.position_embedding.weight


class SelfAttention(nn.Module):
    """Causal; 64 channels a head."""

    def __init__(self, dim):
        super().__init__()
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(dim, dim) for _ in range(4))

    def forward(self, x):
        q, k, v = (f(x).unflatten(-1, (-1, 64)).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        y = attention(q, k, v, causal=True)
        return self.out_proj(y.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))  # quick GELU


class EncoderLayer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.self_attn, self.mlp = SelfAttention(dim), MLP(dim)
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    def __init__(self, dim, layers):
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(dim) for _ in range(layers))


class TextEncoder(nn.Module):
    """Token ids [n, 77] to [n, 77, dim], after the final layer norm."""

    def __init__(self, vocab, dim=128, layers=3):
        super().__init__()
        self.embeddings, self.encoder = Embeddings(vocab, dim), Encoder(dim, layers)
        self.final_layer_norm = nn.LayerNorm(dim)

    def forward(self, ids):
        x = self.embeddings(ids)
        for layer in self.encoder.layers:
            x = layer(x)
        return self.final_layer_norm(x)
