"""Makes reference.safetensors: what variations of the tiny UNets compute.

Run it in any folder: python make.py. The weights and most inputs are those of
../nets and ../xl, the values those of the diffusers library in float32 on the CPU.
README.md describes them.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.pipelines.pag.pag_utils import PAGMixin
from safetensors.torch import load_file, save_file

HERE = Path(__file__).resolve().parent
GROUPS, EPS = 8, 1e-3


def module(folder):
    spec = importlib.util.spec_from_file_location(folder, HERE.parent / folder / "make.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def perturbed(unet, x, t, context, **more):
    """The output with the identity for the self-attention of the middle block.

    The library's processor takes a batch whose second half is to be perturbed.
    """
    pipeline = PAGMixin()
    pipeline.unet = unet
    pipeline.set_pag_applied_layers("mid")
    before = dict(unet.attn_processors)
    pipeline._set_pag_attn_processor(pag_applied_layers=pipeline.pag_applied_layers, do_classifier_free_guidance=False)
    changed = [k for k, p in unet.attn_processors.items() if "PAG" in type(p).__name__]
    assert changed and all("mid_block" in k and "attn1" in k for k in changed)
    twice = {k: double(v) for k, v in more.items()}
    out = unet(double(x), double(t), double(context), **twice).sample[len(x):]
    unet.set_attn_processor(before)
    return out


def expect(got, given):
    """The weights are those of the other folders' files."""
    error = ((got - given).square().mean() / given.square().mean()).sqrt()
    assert error < 1e-5, error


def double(v):
    if isinstance(v, dict):
        return {k: double(w) for k, w in v.items()}
    if isinstance(v, tuple):
        return tuple(double(w) for w in v)
    return torch.cat([v, v])


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    nets, xl = module("nets"), module("xl")
    given = load_file(HERE.parent / "nets" / "reference.safetensors")
    x, t, context = (given[f"sd1.unet.{k}"] for k in ("x", "t", "context"))
    unet = nets.make_sd1()[0]
    expect(unet(x, t, context).sample, given["sd1.unet.out"])
    values = {"sd1.perturbed": perturbed(unet, x, t, context)}

    # What a ControlNet returns: something for each skip, and for the middle.
    torch.manual_seed(71)
    sizes = [(10, 6), (10, 6), (5, 3), (5, 3)]
    skips = tuple(torch.randn(2, 32, *size) for size in sizes)
    middle = torch.randn(2, 32, 5, 3)
    for k, skip in enumerate(skips):
        values[f"sd1.control.{k}"] = skip
    values["sd1.control.middle"] = middle
    residuals = {"down_block_additional_residuals": skips, "mid_block_additional_residual": middle}
    values["sd1.controlled"] = unet(x, t, context, **residuals).sample
    values["sd1.controlled.perturbed"] = perturbed(unet, x, t, context, **residuals)

    # The same weights in a UNet with other norms.
    grouped = UNet2DConditionModel.from_config(unet.config, norm_num_groups=GROUPS, norm_eps=EPS)
    grouped.load_state_dict(unet.state_dict())
    values["sd1.grouped"] = grouped.eval()(x, t, context).sample

    # A middle block of two transformer blocks.
    given = load_file(HERE.parent / "xl" / "reference.safetensors")
    x, t, context = (given[f"base.unet.{k}"] for k in ("x", "t", "context"))
    about = {"added_cond_kwargs": {"text_embeds": given["base.unet.y"][:, :64], "time_ids": given["base.unet.ids"]}}
    unet = xl.make_unet(43, 96, 64 + 6 * 8)
    expect(unet(x, t, context, **about).sample, given["base.unet.out"])
    values["base.perturbed"] = perturbed(unet, x, t, context, **about)
    save_file({k: v.contiguous() for k, v in values.items()}, HERE / "reference.safetensors")


if __name__ == "__main__":
    main()
