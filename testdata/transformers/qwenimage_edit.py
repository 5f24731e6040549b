"""Makes what the diffusers library's pipelines of Qwen-Image-Edit draw in float32 with the tiny Qwen-Image of this folder and a vision
tower whose weights a program computes again (vision_weight), for pictures that it computes, too (picture).

pip install torch==2.15.0 torchvision==0.29.2 diffusers==0.42.1 transformers==5.23.0 safetensors
python testdata/transformers/qwenimage.py && python testdata/transformers/qwenimage_edit.py

The pipelines of 0.42.1 drop mm_token_type_ids, without which transformers 5 no longer gives tokens of pictures the places in three axes
that the model was trained with (transformers 4 did, from the ids): here they are passed on.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKLQwenImage, FlowMatchEulerDiscreteScheduler, QwenImageEditPipeline, QwenImageEditPlusPipeline, QwenImageTransformer2DModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as one, pipeline_qwenimage_edit_plus as several
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor, smart_resize
from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

from tiny import qwen_embedding, qwen_tokenizer

HERE = Path(__file__).resolve().parent
torch.set_num_threads(1)
WIDTH, CHANNELS = 128, 4
NATIVE = 512  # in place of 1024, so that there are fewer tokens
SMALLEST, LARGEST = 56 * 56, 28 * 28 * 16384  # pixels that the published processor takes


def floats(name):
    return {k: v.float() for k, v in load_file(HERE / name).items()}


def vision_weight(number, shape):
    """Numbers of eleven bits from -1 to 1, scrambled from a tensor's number among the sorted names and a value's number in it."""
    h = (torch.arange(shape.numel()) * 2654435761 + (number + 1) * 40503 * 65537) % 2**32
    h = (h ^ h >> 15) * 2246822519 % 2**32
    v = ((h ^ h >> 13) >> 21).float() / 1024 - 1
    if len(shape) == 1:
        return v.reshape(shape)
    return v.reshape(shape) * 2.0 ** round(torch.log2(torch.tensor((3 * shape[0] / shape.numel()) ** 0.5)).item())


def picture(width, height):
    img = Image.new("RGB", (width, height))
    img.putdata([((x * 5) % 256, (y * 3) % 256, (x * y) % 256) for y in range(height) for x in range(width)])
    return img


text = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(
    text_config=dict(vocab_size=151680, hidden_size=WIDTH, intermediate_size=40, num_hidden_layers=2, num_attention_heads=1, num_key_value_heads=1,
                     rope_parameters=dict(rope_type="default", rope_theta=1e6, mrope_section=[16, 24, 24]), rms_norm_eps=1e-6, max_position_embeddings=2048),
    vision_config=dict(depth=9, hidden_size=160, intermediate_size=52, num_heads=2, out_hidden_size=WIDTH, fullatt_block_indexes=[7]))).eval()
with torch.no_grad():
    text.model.language_model.load_state_dict({k.removeprefix("model."): v for k, v in floats("qwenimage-text.safetensors").items()}, strict=False)
    text.model.language_model.embed_tokens.weight.copy_(qwen_embedding(151680, WIDTH))
    for i, (name, p) in enumerate(sorted(text.model.visual.named_parameters())):
        v = vision_weight(i, p.shape)
        p.copy_(1 + v / 4 if "norm" in name or "ln_q" in name else v / 4 if p.dim() == 1 else v)

forward = text.forward


def placed(input_ids=None, **k):
    return forward(input_ids=input_ids, mm_token_type_ids=(input_ids == text.config.image_token_id).int(), **k)


text.forward = placed
transformer = QwenImageTransformer2DModel(patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=32, num_attention_heads=2, joint_attention_dim=WIDTH, axes_dims_rope=(4, 14, 14)).eval()
transformer.load_state_dict(floats("qwenimage.safetensors"))
with safe_open(HERE / "qwenimage-vae.safetensors", "pt") as f:
    mean, std = ([float(v) for v in f.metadata()["sdgo.vae.latents_" + key].split()] for key in ("mean", "std"))
vae = AutoencoderKLQwenImage(base_dim=8, z_dim=CHANNELS, dim_mult=[1, 2, 2, 2], num_res_blocks=1, temperal_downsample=[False, True, True], latents_mean=mean, latents_std=std).eval()
vae.load_state_dict(floats("qwenimage-vae.safetensors"))

SCHEDULER = dict(use_dynamic_shifting=True, base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift=1.0, shift_terminal=0.02)
images = Qwen2VLImageProcessor(size={"shortest_edge": SMALLEST, "longest_edge": LARGEST})
processor = Qwen2_5_VLProcessor(image_processor=images, tokenizer=qwen_tokenizer(), video_processor=Qwen2VLVideoProcessor())
parts = dict(scheduler=FlowMatchEulerDiscreteScheduler(**SCHEDULER), vae=vae, text_encoder=text, tokenizer=processor.tokenizer, processor=processor)
reference = {}

# Sizes: a picture's, what the transformer sees of it, what the text encoder sees of it, and that as the tower has it.
rows = []
for w, h in [(1024, 1024), (1, 1), (1328, 800), (800, 1328), (333, 517), (4000, 500), (500, 4000), (1023, 1025), (640, 480), (1920, 1080), (77, 99), (3, 2), (100, 201)]:
    big, small = several.calculate_dimensions(1024 * 1024, w / h), several.calculate_dimensions(384 * 384, w / h)
    rows.append([w, h, *big, *small, *(side for size in (big, small) for side in reversed(smart_resize(size[1], size[0], 28, SMALLEST, LARGEST)))])
reference["sizes"] = torch.tensor(rows, dtype=torch.int32)

# The tower: pictures that are no square, no multiple of a window, smaller than one, and as small as pictures may be.
for w, h in (100, 60), (230, 170), (300, 44), (350, 350), (30, 31):
    seen = images(picture(w, h), return_tensors="pt")
    with torch.no_grad():
        reference[f"tower.{w}x{h}"] = text.model.visual(seen.pixel_values, seen.image_grid_thw).pooler_output
# Pictures that are made larger and smaller, as Pillow and torch do. (Pillow 13 resizes along columns first where that is less work: not here.)
for w, h in (41, 75), (150, 71):
    lanczos = picture(90, 50).resize((w, h), Image.Resampling.LANCZOS)
    cubic = torch.nn.functional.interpolate(torch.tensor(list(picture(90, 50).tobytes()), dtype=torch.uint8).reshape(1, 50, 90, 3).permute(0, 3, 1, 2), size=(h, w), mode="bicubic", antialias=True)
    reference |= {f"lanczos.{w}x{h}": torch.tensor(list(lanczos.tobytes()), dtype=torch.uint8), f"cubic.{w}x{h}": cubic[0].permute(1, 2, 0).contiguous()}

# Both pipelines, with fewer pixels.
dimensions = one.calculate_dimensions
one.calculate_dimensions = lambda area, ratio: dimensions(area * NATIVE**2 // 1024**2, ratio)
several.VAE_IMAGE_SIZE, several.CONDITION_IMAGE_SIZE = NATIVE**2, (NATIVE * 3 // 8)**2
PROMPT, NEGATIVE = "the (red) fox of «picture 1» 写真 in\nsnow", "blurry"
first, second = picture(200, 120), picture(90, 150)


def draw(name, pipe, image, scales):
    pipe.set_progress_bar_config(disable=True)
    square = lambda latents: pipe._unpack_latents(latents, 64, 112, 8)[0, :, 0].clone()
    for kind, scale in scales.items():
        def step(_, i, t, k):
            reference[f"{name}.{kind}.latent.{i + 1}"] = square(k["latents"])
            return k
        out = pipe(image, PROMPT, negative_prompt=NEGATIVE, height=64, width=112, num_inference_steps=3, true_cfg_scale=scale,
                   generator=torch.Generator().manual_seed(42), callback_on_step_end=step)
        reference[f"{name}.{kind}.pixels"] = torch.tensor(list(out.images[0].tobytes()), dtype=torch.uint8)


both = {"plain": 1.0, "guided": 3.0}
pipe = QwenImageEditPipeline(transformer=transformer, **parts)
seen = pipe.image_processor.resize(first, *reversed(one.calculate_dimensions(1024 * 1024, 200 / 120)[:2]))
with torch.no_grad():
    reference["one.context"] = pipe.encode_prompt(PROMPT, seen)[0][0][::3].contiguous()
draw("one", pipe, first, both)

pipe = QwenImageEditPlusPipeline(transformer=transformer, **parts)
with torch.no_grad():
    seen = [pipe.image_processor.resize(p, *reversed(several.calculate_dimensions(several.CONDITION_IMAGE_SIZE, p.width / p.height))) for p in (first, second)]
    reference["several.context"] = pipe.encode_prompt(PROMPT, seen)[0][0]
    text.forward = forward
    assert (pipe.encode_prompt(PROMPT, seen)[0][0] - reference["several.context"]).abs().max() > 0.01
    text.forward = placed
draw("several", pipe, [first, second], both)
draw("alone", pipe, [second], {"plain": 1.0})
still = QwenImageTransformer2DModel(**(dict(transformer.config) | {"zero_cond_t": True})).eval()
still.load_state_dict(transformer.state_dict())
draw("still", QwenImageEditPlusPipeline(transformer=still, **parts), [first, second], {"plain": 1.0})
save_file({k: v.detach().clone().contiguous() for k, v in reference.items()}, HERE / "qwenimage-edit-reference.safetensors", metadata={"prompt": PROMPT, "negative": NEGATIVE})
