"""Writes small PyTorch checkpoints in every format that torch.save has had, and
what is in them (checkpoint/expected.json).

    python testdata/convert/checkpoint.py
"""
import collections
import json
import io
import pathlib
import pickle
import struct
import tarfile

import numpy as np
import torch

out = pathlib.Path(__file__).with_name("checkpoint")
out.mkdir(exist_ok=True)
expected = {}
TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.float64: "F64", torch.int64: "I64", torch.int32: "I32",
         torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL", torch.float8_e4m3fn: "F8_E4M3",
         torch.float8_e5m2: "F8_E5M2"}


def write(name, value, tensors, **options):
    torch.save(value, out / name, **options)
    expected[name] = {k: {"dtype": TYPES[t.dtype], "shape": list(t.shape),
                          "data": t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes().hex()} for k, t in tensors.items()}


torch.manual_seed(3)
base = torch.randn(4, 6)
every = {
    "a.weight": torch.randn(2, 3), "half": torch.randn(5).half(), "brain": torch.randn(3).bfloat16(), "double": torch.randn(1, 2).double(),
    "long": torch.arange(3), "int": torch.arange(3, dtype=torch.int32), "short": torch.arange(2, dtype=torch.int16),
    "char": torch.tensor([-1, 2], dtype=torch.int8), "byte": torch.tensor([200], dtype=torch.uint8), "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
    "view": base[1:3], "transposed": base.t(), "strided": base[:, ::2], "whole": base, "parameter": torch.nn.Parameter(torch.randn(2, 2)),
}
zipped = dict(every)
write("zip.pt", zipped, zipped)
write("legacy.pt", every, every, _use_new_zipfile_serialization=False)
write("protocol4.pt", every, every, pickle_protocol=4)
write("ordered.pt", collections.OrderedDict(every), every)
f8 = {"e4m3": torch.tensor([0.5, -448.0]).to(torch.float8_e4m3fn), "e5m2": torch.tensor([1.75, 57344.0]).to(torch.float8_e5m2)}
write("fp8.pt", f8, f8)

# As trainers write it: the model among an optimizer's state, counters, numpy
# numbers.
write("trainer.ckpt", {
    "epoch": 3, "global_step": 1 << 40, "pytorch-lightning_version": "1.4.2", "ratio": 0.5, "flag": True, "nothing": None,
    "best": np.float64(0.25), "callbacks": {"a": {"monitor": None, "best_model_score": torch.tensor(1.0)}},
    "optimizer_states": [{"state": {0: {"step": 1, "exp_avg": torch.randn(2)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": [0, 1]}]}],
    "state_dict": every, "hyper_parameters": {"set": {1, 2}, "big": 1 << 100, "bytes": b"\x00\xff"},
}, every)
write("upscaler.pth", {"params_ema": {"conv_first.weight": base}, "params": {"other": base}}, {"conv_first.weight": base})
write("embedding.pt", {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": base}, "name": "x", "step": 9},
      {"string_to_token.*": torch.tensor(265), "string_to_param.*": base})
write("parameters.pt", {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(base)})},
      {"string_to_token.*": torch.tensor(265), "string_to_param.*": base})


def write_tar(name, tensors):
    """The format of 2016, which torch only reads: storages, tensors and the object in a tar archive."""
    names = {torch.float32: "Float", torch.float16: "Half", torch.float64: "Double", torch.int64: "Long", torch.uint8: "Byte"}
    storages, views = {}, io.BytesIO()
    pickle.dump(len(tensors), views, 2)
    keys = {k: 1 << 40 | i for i, k in enumerate(tensors)}
    for k, t in tensors.items():
        storages[t.untyped_storage().data_ptr()] = t
        pickle.dump((keys[k], t.untyped_storage().data_ptr(), getattr(torch, names[t.dtype] + "Tensor")), views, 2)
        views.write(struct.pack("<ii", t.ndim, 0) + struct.pack(f"<{2 * t.ndim + 1}q", *t.shape, *t.stride(), t.storage_offset()))
    data = io.BytesIO()
    pickle.dump(len(storages), data, 2)
    for key, t in storages.items():
        pickle.dump((key, "cpu", getattr(torch, names[t.dtype] + "Storage")), data, 2)
        raw = bytes(t.untyped_storage())
        data.write(struct.pack("<q", len(raw) // t.element_size()) + raw)
    pickle.dump([], data, 2)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return str(value[0]) if isinstance(value, tuple) and len(value) == 1 else None

    objects = io.BytesIO()
    Pickler(objects, 2).dump(collections.OrderedDict((k, (keys[k],)) for k in tensors))
    with tarfile.open(out / name, "w:", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in ("sys_info", pickle.dumps({}, 2)), ("pickle", objects.getvalue()), ("tensors", views.getvalue()), ("storages", data.getvalue()):
            info = tarfile.TarInfo(entry)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    read = torch.load(out / name, weights_only=False)
    for k, t in tensors.items():
        assert torch.equal(read[k], t), k
    expected[name] = {k: {"dtype": TYPES[t.dtype], "shape": list(t.shape),
                          "data": t.contiguous().view(-1).view(torch.uint8).numpy().tobytes().hex()} for k, t in tensors.items()}


write_tar("tar.pt", {k: every[k] for k in ("a.weight", "half", "double", "long", "byte", "view", "transposed", "strided", "whole")})
(out / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")
