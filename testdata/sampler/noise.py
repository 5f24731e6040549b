"""Normal numbers of PyTorch's CPU generator, and of CUDA's as NumPy computes them.

python noise.py > noise.json

Run on x86-64 with AVX2 or AVX-512: torch's values differ in the last bit elsewhere.
Float32 values are written as their bits. The first Philox values are those that
AUTOMATIC1111's modules/rng_philox.py states for seed 0; its own code, with constants
rounded to float32, is up to 3e-7 off them.
"""

import hashlib
import json

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


def philox(seed, offset, n):
    """Counter (offset, 0, i, 0), key (seed), ten rounds, the first two words by Box and Muller."""
    mask = np.uint64(0xFFFFFFFF)
    c = [np.full(n, offset, np.uint64), np.zeros(n, np.uint64), np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64)]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), b & mask,
             (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), a & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    u, v = (c[0] + 0.5) / 2**32, (c[1] + 0.5) / 2**32 * 2 * np.pi
    return (np.sqrt(-2 * np.log(u)) * np.sin(v)).astype(np.float32)


stated = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564,
          -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]
assert np.abs(philox(0, 0, 12) - np.array(stated, np.float32)).max() < 1e-8  # one differs in its last bit

print(json.dumps({
    "torch": [
        torch_case(42, [256]),
        torch_case(0, [16, 17, 5, 20, 1, 2, 33, 3]),
        torch_case((1 << 32) + 5, [64, 31]),
        torch_case((1 << 63) + 12345, [15, 15]),
    ],
    "torch_hashes": [torch_hash(s, n) for s, n in [(42, 4 * 64 * 64), (1234567, 1 << 20), (99, 16 * 1000 + 7)]],
    "philox": [
        {"seed": s, "draws": [bits(philox(s, i, n)) for i, n in enumerate(sizes)]}
        for s, sizes in [(0, [12, 64]), (42, [40, 5]), ((7 << 32) + 3, [33])]
    ],
    "philox_stated": stated,
}))
