"""Normal numbers of PyTorch's CPU generator, and of CUDA's as NumPy computes them.

python noise.py > noise.json

Run on x86-64 with AVX2 or AVX-512: torch's values differ in the last bit elsewhere.
Float32 values are written as their bits. The first Philox values are those that
AUTOMATIC1111's modules/rng_philox.py states for seed 0; its own code, with constants
rounded to float32, is up to 3e-7 off them.
"""

import hashlib
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch


def bits(a):
    return np.asarray(a, np.float32).view(np.uint32).ravel().tolist()


def torch_case(seed, sizes):
    torch.manual_seed(seed)
    return {"seed": seed, "draws": [bits(torch.randn(n).numpy()) for n in sizes]}


def torch_hash(seed, n):
    torch.manual_seed(seed)
    return {"seed": seed, "n": n, "sha256": hashlib.sha256(torch.randn(n).numpy().tobytes()).hexdigest()}


def words(seed, offset, n):
    """The first two words of counter (offset, 0, i, 0) and key (seed), after ten rounds."""
    mask = np.uint64(0xFFFFFFFF)
    c = [np.full(n, offset, np.uint64), np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64)]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & mask,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[0].tolist(), c[1].tolist()


def philox(seed, offset, n):
    """Each two words by Box and Muller."""
    c = [np.array(w) for w in words(seed, offset, n)]
    u, v = (c[0] + 0.5) / 2**32, (c[1] + 0.5) / 2**32 * 2 * np.pi
    return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


def check_words(seeds):
    """torch's own engine, of its header, has the words that philox computes."""
    source = """#include <ATen/core/PhiloxRNGEngine.h>
#include <cstdio>
#include <cstdlib>
int main(int n, char** seeds) {
  for (int i = 1; i < n; i++)
    for (int j = 0; j < 3; j++) {
      at::Philox4_32 engine(strtoull(seeds[i], nullptr, 10), j, 0);
      for (int k = 0; k < 2; k++) printf("%u\\n", engine());
    }
}"""
    with tempfile.TemporaryDirectory() as folder:
        program = folder + "/words"
        include = Path(torch.__file__).parent / "include"
        subprocess.run(["c++", "-std=c++20", "-x", "c++", "-", f"-I{include}", f"-I{include}/torch/csrc/api/include", "-o", program],
                       input=source, text=True, check=True)
        theirs = subprocess.run([program, *map(str, seeds)], capture_output=True, text=True, check=True).stdout.split()
    ours = [w for s in seeds for pair in zip(*words(s, 0, 3)) for w in pair]
    assert [int(w) for w in theirs] == ours


stated = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
          -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]
assert np.abs(philox(0, 0, 12) - np.array(stated, np.float32)).max() < 1e-8  # one differs in its last bit
check_words([0, 42, (7 << 32) + 3, (1 << 63) + 12345, (1 << 64) - 1])

print(json.dumps({
    "torch": [
        torch_case(42, [256]),
        torch_case(0, [16, 17, 5, 20, 1, 2, 33, 3]),
        torch_case((1 << 32) + 5, [64, 31]),
        torch_case((1 << 63) + 12345, [15, 15]),
        torch_case((1 << 64) - 1, [16, 3]),
    ],
    "torch_hashes": [torch_hash(s, n) for s, n in [(42, 4 * 64 * 64), (1234567, 1 << 20), (99, 16 * 1000 + 7)]],
    "philox": [
        {"seed": s, "draws": [bits(philox(s, i, n)) for i, n in enumerate(sizes)]}
        for s, sizes in [(0, [12, 64]), (42, [40, 5]), ((7 << 32) + 3, [33]), ((1 << 63) + 12345, [5]), ((1 << 64) - 1, [5, 2])]
    ],
    "philox_stated": stated,
}))
