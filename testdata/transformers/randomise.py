"""Random weights for models of the diffusers and transformers libraries."""

import torch


def rounded(x):
    """To eight significant bits, which float16 has."""
    return x.to(torch.bfloat16).to(torch.float32)


def randomise(model, seed, spread=1.0):
    """Weights with which attention chooses, norms matter and nothing is zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name and p.dim() == 1 and name.endswith("weight"):
                p.copy_(rounded(1 + 0.3 * noise))
            elif p.dim() == 1:
                p.copy_(rounded(0.3 * noise))
            elif "embed_tokens" in name or "shared" in name or "token_embedding" in name or "relative_attention_bias" in name:
                p.copy_(rounded(noise))
            else:
                p.copy_(rounded(spread * noise / p[0].numel() ** 0.5))
        for name, b in model.named_buffers():
            if name.endswith("pos_embed"):
                b.copy_(rounded(b))
    return model.eval()
