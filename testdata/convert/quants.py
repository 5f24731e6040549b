"""Writes quants.json: random blocks of every quantized type and the floats that
the gguf package (ggml-org, Python) makes of them.

    python testdata/convert/quants.py
"""
import json
import pathlib

import gguf
import numpy as np

TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]

# Places of the f16 scales in a block, in bytes: random bits there would be NaN
# now and then.
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "IQ4_NL": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0]}

rng = np.random.default_rng(5)
out = []
for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (2, size), dtype=np.uint8)
    for at in SCALES[name]:
        blocks[:, at:at + 2] = rng.normal(0, 0.1, (2, 1)).astype(np.float16).view(np.uint8)
    floats = gguf.quants.dequantize(blocks, kind).astype("<f4")
    assert floats.size == 2 * elements and np.isfinite(floats).all()
    out.append({"type": name.lower().replace("_k", "_K"), "blocks": blocks.tobytes().hex(), "floats": floats.tobytes().hex()})
path = pathlib.Path(__file__).with_name("quants.json")
path.write_text("[\n" + ",\n".join(json.dumps(x) for x in out) + "\n]\n")
