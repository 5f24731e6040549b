"""Makes the tiny text encoders of this folder and the reference values: Qwen3, Qwen2.5, T5 1.1 and umT5 with random
weights, as the transformers library computes them in float32.

pip install torch==2.15.0 transformers==5.23.0 safetensors
python testdata/texts/make.py
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2Model, Qwen3Config, Qwen3Model, T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "transformers"))
from tiny import randomise  # noqa: E402
torch.set_num_threads(1)


def weight(name, shape, noise):
    """Weights with which attention chooses and norms matter."""
    if "norm" in name and len(shape) == 1:
        return 1 + 0.3 * noise
    if len(shape) == 1 or "relative_attention_bias" in name:
        return 0.5 * noise
    if "embed" in name or "shared" in name:
        return noise
    return 1.5 * noise / shape[1] ** 0.5


reference = {}
common = dict(vocab_size=96, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
              rope_theta=1e6, rms_norm_eps=1e-6, max_position_embeddings=256, tie_word_embeddings=True)
models = {
    "qwen3": Qwen3Model(Qwen3Config(head_dim=16, **common)),
    "qwen2.5": Qwen2Model(Qwen2Config(head_dim=128, **{**common, "num_attention_heads": 2, "num_key_value_heads": 1})),
}
tokens = torch.randint(0, 96, (2, 21), generator=torch.Generator().manual_seed(3))
reference["tokens"] = tokens.to(torch.int32)
for i, (name, model) in enumerate(models.items()):
    randomise(model, i, weight)
    weights = {"model." + k: v.to(torch.float16) for k, v in model.state_dict().items()}
    with torch.no_grad():
        out = model(tokens, output_hidden_states=True)
    for k, h in enumerate(out.hidden_states[1:-1], 1):
        reference[f"{name}.state.{k}"] = h
    reference[f"{name}.hidden"] = out.last_hidden_state
    save_file(weights, HERE / f"{name}.safetensors")

common = dict(vocab_size=96, d_model=48, d_kv=8, d_ff=80, num_layers=3, num_heads=4, relative_attention_num_buckets=32,
              relative_attention_max_distance=128, feed_forward_proj="gated-gelu", layer_norm_epsilon=1e-6)
models = {"t5": T5EncoderModel(T5Config(**common)), "umt5": UMT5EncoderModel(UMT5Config(**common))}
tokens = torch.randint(0, 96, (1, 150), generator=torch.Generator().manual_seed(4))  # further apart than the last bucket begins
reference["t5.tokens"] = tokens.to(torch.int32)
for i, (name, model) in enumerate(models.items()):
    randomise(model, 10 + i, weight)
    weights = {k: v.to(torch.float16) for k, v in model.state_dict().items() if k != "encoder.embed_tokens.weight"}
    with torch.no_grad():
        reference[f"{name}.hidden"] = model(tokens).last_hidden_state
        if name == "t5":  # two tokens of padding after 21, which none attends to
            padded = torch.nn.functional.pad(tokens[:, :21], (0, 2))
            reference["t5.masked"] = model(padded, attention_mask=(torch.arange(23) < 21)[None].long()).last_hidden_state
    save_file(weights, HERE / f"{name}.safetensors")
# The buckets of distances from a query at 149 back to 0, and from 0 to 149.
attention = models["t5"].encoder.block[0].layer[0].SelfAttention
far = torch.arange(-149, 150)
reference["buckets"] = attention._relative_position_bucket(far, bidirectional=True, num_buckets=32, max_distance=128).to(torch.int32)
save_file({k: v.contiguous() for k, v in reference.items()}, HERE / "reference.safetensors")
