"""Reads a GGUF file with ggml-org's Python package and compares its tensors with
those of the safetensors file in the original layout that it was made from.

    python testdata/convert/peers/check.py FILE.gguf SOURCE.safetensors
"""
import sys

import gguf
import numpy as np
from safetensors import safe_open

# Relative RMS error by type, for weights of any distribution.
BOUNDS = {"F32": 0, "F16": 1e-3, "BF16": 4e-3, "Q8_0": 0.01, "Q4_0": 0.12, "Q4_1": 0.12, "Q5_0": 0.06, "Q5_1": 0.06, "Q2_K": 0.35,
          "Q3_K": 0.2, "Q4_K": 0.1, "Q5_K": 0.05, "Q6_K": 0.03, "IQ4_NL": 0.1}

reader = gguf.GGUFReader(sys.argv[1])
print("architecture", reader.get_field("general.architecture").contents())
with safe_open(sys.argv[2], "np") as source:
    keys = set(source.keys())
    seen, worst = 0, {}
    for t in reader.tensors:
        if t.name not in keys:
            continue
        want = source.get_tensor(t.name).astype(np.float32)
        got = gguf.quants.dequantize(t.data, t.tensor_type).reshape(want.shape)
        error = np.sqrt(np.mean((got - want) ** 2) / np.mean(want ** 2))
        kind = t.tensor_type.name
        worst[kind] = max(worst.get(kind, 0), float(error))
        assert error <= BOUNDS[kind], (t.name, kind, error)
        seen += 1
    assert seen > 0 and seen == len(reader.tensors), (seen, len(reader.tensors))
print(seen, "tensors;", {k: f"{v:.2g}" for k, v in worst.items()})
