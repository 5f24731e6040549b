#!/usr/bin/env python3
"""Writes sd/tokenizer/clip_merges.txt.gz: CLIP's merges, cut from the table in the open_clip_torch package (MIT).

The table of the package has 262,144 merges; CLIP uses the first 49152 - 256 - 2. Run from the repository's root.
"""
import gzip
import os

import open_clip

source = os.path.join(os.path.dirname(open_clip.__file__), "bpe_simple_vocab_16e6.txt.gz")
with gzip.open(source, "rt", encoding="utf-8") as f:
    lines = f.read().split("\n")[1 : 49152 - 256 - 2 + 1]
assert len(lines) == 48894 and all(len(line.split(" ")) == 2 for line in lines)

with open("sd/tokenizer/clip_merges.txt.gz", "wb") as f:
    f.write(gzip.compress("".join(line + "\n" for line in lines).encode("utf-8"), compresslevel=9, mtime=0))
