"""Writes reference.gguf with ggml-org's gguf package: a value of every type of
metadata, arrays, an alignment of 64, and tensors of several types.

    python testdata/convert/reference.py

With a file as argument, prints what the package reads there instead: a line of
JSON for each value and each tensor (shape in PyTorch's order).

    python testdata/convert/reference.py FILE.gguf
"""
import pathlib
import sys

# This file has the package's name, which its folder would shadow.
sys.path = [p for p in sys.path if pathlib.Path(p or ".").resolve() != pathlib.Path(__file__).resolve().parent]

import json

import gguf
import numpy as np


def write(path):
    w = gguf.GGUFWriter(path, "sd1")
    w.add_custom_alignment(64)
    w.add_uint8("u8", 200)
    w.add_int8("i8", -3)
    w.add_uint16("u16", 60000)
    w.add_int16("i16", -9)
    w.add_uint32("u32", 1 << 31)
    w.add_int32("i32", -1)
    w.add_uint64("u64", 1 << 63)
    w.add_int64("i64", -(1 << 62))
    w.add_float32("f32", 0.5)
    w.add_float64("f64", 0.1)
    w.add_bool("yes", True)
    w.add_bool("no", False)
    w.add_string("text", "ü")
    w.add_array("ints", [3, -4, 5])
    w.add_array("floats", [1.5, -2.0])
    w.add_array("bools", [True, False])
    w.add_array("texts", ["a b", "c"])
    ramp = np.arange(192, dtype=np.float32).reshape(3, 64) - 100
    w.add_tensor("plain.f32", ramp[:, :5])
    w.add_tensor("plain.f16", ramp[:2, :12].reshape(2, 3, 2, 2).astype(np.float16))
    for kind in (gguf.GGMLQuantizationType.BF16, gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0):
        w.add_tensor("coded." + kind.name.lower(), gguf.quants.quantize(ramp, kind), raw_dtype=kind)
    w.add_tensor("last.i32", np.arange(7, dtype=np.int32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def show(path):
    r = gguf.GGUFReader(path)
    for f in r.fields.values():
        if not f.name.startswith("GGUF."):
            print(json.dumps([f.name, [t.name for t in f.types], f.contents()], ensure_ascii=False))
    for t in r.tensors:
        print(json.dumps([t.name, t.tensor_type.name, [int(d) for d in t.shape][::-1], int(t.n_bytes), t.data.tobytes().hex()[:16]]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        show(sys.argv[1])
    else:
        write(pathlib.Path(__file__).with_name("reference.gguf"))
