"""Writes quantized.json: floats, and the blocks that the gguf package (ggml-org,
Python) makes of them in every type that it quantizes to.

    python testdata/convert/quantize.py
"""
import json
import pathlib

import gguf
import numpy as np

rng = np.random.default_rng(8)
rows = rng.normal(0, 0.05, (6, 64)).astype("<f4")
rows[1] *= 100
rows[2, 32:] = 0  # a block of zeros
rows[3] = np.abs(rows[3])
rows[4] = -0.25  # all the same
rows[5, 7] = 9  # one that dwarfs the others
out = {"floats": rows.tobytes().hex(), "types": {}}
for name in "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "BF16":
    blocks = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[name])
    out["types"][name.lower()] = blocks.tobytes().hex()
pathlib.Path(__file__).with_name("quantized.json").write_text(json.dumps(out, indent=1) + "\n")
