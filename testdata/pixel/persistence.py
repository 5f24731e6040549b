"""Writes pickles in the form of NVIDIA's torch_utils.persistence, which EDM's and EDM2's training writes: each object is
a call of _reconstruct_persistent_obj with a description, in which the source text of its class is."""

import pickle
import sys
import types

import torch

CLASSES = {"Song": "SongUNet", "SongBlock": "UNetBlock", "SongNorm": "GroupNorm", "Resampled": "Conv2d", "MPUNet": "UNet", "MPBlock": "Block", "Module": "FourierEmbedding"}
SOURCE = "import os\nos.abort()  # what reads this text and runs it ends here\n"


def _reconstruct_persistent_obj(meta):
    raise NotImplementedError


def module(name, **members):
    m = sys.modules[name] = types.ModuleType(name)
    for k, v in members.items():
        v.__module__, v.__qualname__, v.__name__ = name, k, k
        setattr(m, k, v)


class EasyDict(dict):
    pass


module("torch_utils")
module("torch_utils.persistence", _reconstruct_persistent_obj=_reconstruct_persistent_obj)
module("dnnlib")
module("dnnlib.util", EasyDict=EasyDict)


class Plain:
    """An object of one of the classes that are written beside the network."""

    def __init__(self, name, **state):
        self.name, self.state = name, state


def text(s):
    return b"X" + len(s).to_bytes(4, "little") + s.encode()


class Pickler(pickle.Pickler):
    def reducer_override(self, value):
        if isinstance(value, torch.storage.TypedStorage):  # whose key is its place in memory, and here its place in the file
            load, (data,) = value.__reduce__()
            self.storages = getattr(self, "storages", -1) + 1
            return load, (data.replace(text(str(value._cdata)), text(str(self.storages))),)
        if isinstance(value, Plain):
            name, state = value.name, value.state
        elif isinstance(value, torch.nn.Module) and type(value).__module__ in ("networks", "persistence", "magnitude"):
            name, state = type(value).__name__, value.__dict__
        elif isinstance(value, torch.nn.Module) and type(value).__name__ in ("Linear", "Conv2d", "Module"):
            name, state = type(value).__name__, value.__dict__
        else:
            return NotImplemented
        return _reconstruct_persistent_obj, ({"type": "class", "version": 6, "module_src": SOURCE, "class_name": CLASSES.get(name, name), "state": state},)


def write(path, network, precond, encoder=None, name="model", others=(), **fields):
    """network under the attribute `name` of an object of the class precond, with fields."""
    attributes = {"model_type", "channel_mult", "channels_per_head"}
    holder = torch.nn.Module()
    holder.add_module(name, network)
    for k, v in others:
        holder.add_module(k, v)
    state = dict(holder.__dict__)
    state |= {k: v for k, v in fields.items() if k not in attributes} | {"_init_args": (), "_init_kwargs": dict(fields)}
    data = {"ema": Plain(precond, **state), "loss_fn": Plain("EDMLoss", P_mean=-1.2, P_std=1.2), "dataset_kwargs": EasyDict(path="x", max_size=None)}
    if encoder:
        data["encoder"] = encoder
    with open(path, "wb") as f:
        Pickler(f, 4).dump(data)
