"""Makes merging.safetensors: what UNets return whose self-attention merges tokens.

Run it after make.py and ../xl/make.py: pip install --no-deps tomesd; python -P merging.py. The
merging is that of the authors (tomesd 0.1.3, use_rand=False) in every transformer block of the first
resolution that attends: of sd1 the first, of XL's base the second, which the authors' own patch
leaves alone. Sides are odd at one of the resolutions.
"""

import importlib.util
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from safetensors.torch import load_file, save_file
from tomesd.merge import bipartite_soft_matching_random2d

HERE = Path(__file__).resolve().parent


def merged(unet, width, height, ratio, call):
    """The output with merging in the blocks whose images have these sides."""
    tokens, done = width * height, []

    def patch(block):
        attend = block.attn1.forward

        def see(_block, inputs):
            x = inputs[0]
            r = int(tokens * ratio) if x.shape[1] == tokens else 0
            block.ways = bipartite_soft_matching_random2d(x, width, height, 2, 2, r, no_rand=True)
            done.append(r)

        def forward(x, *args, **more):
            merge, unmerge = block.ways
            return unmerge(attend(merge(x), *args, **more))

        block.attn1.forward = forward
        return block.register_forward_pre_hook(see), lambda: setattr(block.attn1, "forward", attend)

    patches = [patch(b) for b in unet.modules() if isinstance(b, BasicTransformerBlock)]
    out = call().sample
    assert any(done)
    for hook, back in patches:
        hook.remove()
        back()
    return out


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    unet = UNet2DConditionModel.from_pretrained(HERE / "sd1-diffusers" / "unet", torch_dtype=torch.float32).eval()
    known = load_file(HERE / "reference.safetensors")
    t, context = (known[f"sd1.unet.{k}"] for k in ("t", "context"))
    x = torch.randn(2, 4, 11, 8, generator=torch.Generator().manual_seed(5))
    out = {"sd1.x": x, "sd1.plain": unet(x, t, context).sample}
    for ratio in (0.3, 0.5, 0.75):
        out[f"sd1.{ratio}"] = merged(unet, 8, 11, ratio, lambda: unet(x, t, context))
        assert (out[f"sd1.{ratio}"] - out["sd1.plain"]).abs().max() > 1e-3

    spec = importlib.util.spec_from_file_location("xl", HERE.parent / "xl" / "make.py")
    xl = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(xl)
    given = load_file(HERE.parent / "xl" / "reference.safetensors")
    t, context, y, ids = (given[f"base.unet.{k}"] for k in ("t", "context", "y", "ids"))
    unet = xl.make_unet(43, 96, 64 + 6 * 8)
    about = {"added_cond_kwargs": {"text_embeds": y[:, :64], "time_ids": ids}}
    x = torch.randn(len(t), 4, 12, 14, generator=torch.Generator().manual_seed(6))
    out["xl.x"] = x
    out["xl.0.5"] = merged(unet, 7, 6, 0.5, lambda: unet(x, t, context, **about))
    save_file({k: v.contiguous() for k, v in out.items()}, HERE / "merging.safetensors")


if __name__ == "__main__":
    main()
