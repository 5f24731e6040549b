"""Makes configs.json: every field that diffusers' schedulers, UNets, autoencoders and DiT read from their
configuration files, with the class's default.

Run it in any folder: python configs.py. The fields are the arguments of the classes' constructors, which
register_to_config writes into the files. Version of diffusers: in the result.
"""

import inspect
import json
from pathlib import Path

import diffusers
from diffusers import (AutoencoderKL, ConfigMixin, DiTTransformer2DModel, SchedulerMixin, UNet2DConditionModel,
                       UNet2DModel, VQModel, schedulers)


def fields(kind):
    """name -> default, as a configuration file has it."""
    out = {}
    for name, p in inspect.signature(kind.__init__).parameters.items():
        if name in ("self", "args", "kwargs") or name in kind.ignore_for_config:
            continue
        default = None if p.default is inspect.Parameter.empty else p.default
        out[name] = str(default) if isinstance(default, float) and default in (float("inf"), float("-inf")) else default
    return out


def scheduler_classes():
    for name in sorted(dir(schedulers)):
        kind = getattr(schedulers, name)
        if inspect.isclass(kind) and issubclass(kind, ConfigMixin) and issubclass(kind, SchedulerMixin) and kind is not SchedulerMixin:
            yield kind
        elif inspect.isclass(kind) and issubclass(kind, ConfigMixin) and kind is not ConfigMixin:
            yield kind


def main():
    out = {
        "diffusers": diffusers.__version__,
        "unet": fields(UNet2DConditionModel),
        "vae": fields(AutoencoderKL),
        "unet2d": fields(UNet2DModel),
        "dit": fields(DiTTransformer2DModel),
        "vq": fields(VQModel),
        "scheduler": {k.__name__: fields(k) for k in scheduler_classes()},
    }
    path = Path(__file__).resolve().parent / "configs.json"
    path.write_text(json.dumps(out, indent=1, sort_keys=True, default=str) + "\n")


if __name__ == "__main__":
    main()
