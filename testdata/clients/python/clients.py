"""Clients of PyPI against sdgo serve; run.sh starts the servers and says where they are."""

import base64
import concurrent.futures
import io
import json
import os
import threading
import time
import urllib.request
import warnings

import numpy
from PIL import Image

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or it asks the web for prices
warnings.simplefilter("ignore", DeprecationWarning)
URL, OPEN, BUSY, KEY = (os.environ[k] for k in ("SDGO_URL", "SDGO_OPEN_URL", "SDGO_BUSY_URL", "SDGO_KEY"))
EXPECTED, FROM = Image.open(os.environ["SDGO_EXPECTED"]), Image.open(os.environ["SDGO_EXPECTED_FROM"])
A1111 = dict(prompt="a red apple", negative_prompt="a tree", seed=42, steps=4, sampler_name="Euler a", cfg_scale=5, width=64, height=64)
EXTRA = dict(negative_prompt="a tree", seed=42, steps=4, sampler="euler_a", cfg_scale=5)


def same(picture, expected):
    assert numpy.array_equal(numpy.asarray(picture.convert("RGB")), numpy.asarray(expected.convert("RGB"))), "another picture"


def decoded(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


def check(client):
    print(client.__name__.replace("_", " "), end=" … ", flush=True)
    began = time.time()
    client()
    print(f"{time.time() - began:.1f} s")


def webuiapi():
    import webuiapi

    host, port = URL.removeprefix("http://").split(":")
    api = webuiapi.WebUIApi(host=host, port=int(port), username=os.environ["SDGO_USER"], password=os.environ["SDGO_PASSWORD"])
    out = api.txt2img(**A1111)
    same(out.image, EXPECTED)
    assert out.info["seed"] == 42 and "Seed: 42" in out.info["infotexts"][0], out.info
    assert "Seed: 42" in api.png_info(out.image).info
    out = api.txt2img(**A1111 | dict(seed=41), n_iter=2)
    same(out.images[1], EXPECTED)
    assert out.info["all_seeds"] == [41, 42]
    same(api.img2img(images=[EXPECTED], denoising_strength=0.5, **A1111).image, FROM)
    mask = Image.new("L", (64, 64))
    mask.paste(255, (16, 16, 48, 48))
    painted = api.img2img(images=[EXPECTED], mask_image=mask, inpainting_fill=1, mask_blur=0, denoising_strength=0.9, **A1111).image
    different = (numpy.asarray(painted.convert("RGB")) != numpy.asarray(EXPECTED.convert("RGB"))).any(axis=-1)
    assert different[16:48, 16:48].mean() > 0.5 and not different[:12].any() and not different[:, :12].any(), "the mask"
    api.txt2img(**A1111, enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent, denoising_strength=0.6)
    assert api.extra_single_image(EXPECTED, upscaler_1="Lanczos", upscaling_resize=2).image.size == (128, 128)
    assert len(api.extra_batch_images([EXPECTED, EXPECTED], upscaler_1="Nearest", upscaling_resize=2).images) == 2
    options = api.get_options()
    options["samples_format"] = "png"
    api.set_options(options)
    for name in ("get_samplers", "get_schedulers", "get_upscalers", "get_sd_models", "get_hypernetworks", "get_face_restorers", "get_realesrgan_models", "get_prompt_styles",
                 "get_loras", "get_embeddings", "get_scripts", "get_memory", "get_cmd_flags", "refresh_checkpoints", "get_progress", "skip", "util_get_model_names",
                 "util_get_current_model", "controlnet_version", "controlnet_model_list", "controlnet_module_list"):
        if hasattr(api, name):
            getattr(api, name)()
    assert api.util_get_current_model()
    # Progress, and an end before the end.
    seen, pictures = [], []
    drawing = threading.Thread(target=lambda: pictures.append(api.txt2img(**A1111 | dict(steps=150, width=128, height=128), n_iter=8)))
    drawing.start()
    while not any(p > 0.1 for p in seen):
        seen.append(api.get_progress()["progress"])
        time.sleep(0.05)
    api.interrupt()
    drawing.join(30)
    assert pictures and len(pictures[0].images) < 8, "interrupted"
    try:
        api.txt2img(**A1111 | dict(sampler_name="Nonsense"))
    except RuntimeError as e:
        assert "Sampler not found" in str(e), e
    else:
        raise AssertionError("a sampler that there is not")


def webui_controlnet():
    import webuiapi

    host, port = os.environ["SDGO_CONTROLS_URL"].removeprefix("http://").split(":")
    api = webuiapi.WebUIApi(host=host, port=int(port))
    assert "canny" in api.controlnet_module_list(), api.controlnet_module_list()
    (model,) = api.controlnet_model_list()
    unit = webuiapi.ControlNetUnit(image=EXPECTED, module="canny", model=model)
    apple = {k: v for k, v in A1111.items() if k != "negative_prompt"}
    out = api.txt2img(**apple, controlnet_units=[unit])
    same(out.images[0], Image.open(os.environ["SDGO_EXPECTED_CONTROL"]))
    edges = out.images[1]
    assert edges.size == (512, 512) and len(out.images) == 2, "what canny made follows"
    found = api.controlnet_detect(images=[EXPECTED], module="canny", processor_res=512, threshold_a=64, threshold_b=64)
    same(found.images[0], edges)


def openai_sdk():
    import openai

    client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY)
    names = [m.id for m in client.models.list()]
    assert names, names
    out = client.images.generate(prompt="a red apple", model=names[0], size="64x64", n=1, extra_body=EXTRA)
    same(decoded(out.data[0].b64_json), EXPECTED)
    assert out.created > 0 and out.usage.total_tokens == 0
    partial, last = 0, None
    for event in client.images.generate(prompt="a red apple", model=names[0], size="64x64", stream=True, partial_images=2, extra_body=EXTRA):
        if event.type == "image_generation.partial_image":
            assert event.partial_image_index == partial
            partial += 1
        else:
            last = event
    assert partial == 2 and last.type == "image_generation.completed", (partial, last)
    same(decoded(last.b64_json), EXPECTED)

    def file(picture):
        b = io.BytesIO()
        picture.save(b, "PNG")
        return ("picture.png", b.getvalue(), "image/png")

    same(decoded(client.images.edit(image=file(EXPECTED), prompt="a red apple", model=names[0], size="64x64", extra_body=EXTRA | dict(strength=0.5)).data[0].b64_json), FROM)
    mask = Image.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (16, 16, 48, 48))
    painted = decoded(client.images.edit(image=[file(EXPECTED)], mask=file(mask), prompt="a red apple", model=names[0], size="64x64", extra_body=EXTRA).data[0].b64_json)
    assert not numpy.array_equal(numpy.asarray(painted.convert("RGB")), numpy.asarray(EXPECTED.convert("RGB")))
    client.images.create_variation(image=file(EXPECTED), n=1, size="64x64")
    for wrong, kind in ((dict(size="many"), openai.BadRequestError), (dict(background="transparent"), openai.BadRequestError)):
        try:
            client.images.generate(**dict(prompt="x", model=names[0]) | wrong)
        except kind as e:
            assert e.param == next(iter(wrong)), e
        else:
            raise AssertionError(wrong)
    try:
        openai.OpenAI(base_url=URL + "/v1", api_key="sk-wrong-key").images.generate(prompt="x")
    except openai.AuthenticationError:
        pass
    else:
        raise AssertionError("a wrong key")


def openai_sdk_with_a_full_queue():
    import openai

    client = openai.OpenAI(base_url=BUSY + "/v1", api_key="none", max_retries=20)
    refused = []
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        raw = [pool.submit(lambda: client.images.with_raw_response.generate(prompt="x", size="256x256", extra_body=dict(steps=30))) for _ in range(5)]
        for r in raw:
            refused.append(r.result().retries_taken)
    assert any(refused), "the queue was never full"


def litellm_client():
    import litellm

    out = litellm.image_generation(prompt="a red apple", model="openai/x", api_base=URL + "/v1", api_key=KEY, size="64x64", extra_body=EXTRA)
    data = out.data[0]
    same(decoded(data["b64_json"] if isinstance(data, dict) else data.b64_json), EXPECTED)


def langchain_dalle_wrapper():
    from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

    wrapper = DallEAPIWrapper(api_key="none", base_url=OPEN + "/v1", model="dall-e-3", size="256x256", quality="low")
    address = wrapper.run("a red apple")
    assert address.startswith(OPEN), address
    Image.open(io.BytesIO(urllib.request.urlopen(address).read())).load()


def replayed(path, body, method="POST", headers={}):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(OPEN + path, data, {"Content-Type": "application/json"} | headers, method=method)
    with urllib.request.urlopen(request) as reply:
        text = reply.read()
        return json.loads(text) if text.strip() else None


def what_open_webui_sends():
    """AUTOMATIC1111's engine: it posts all options back with another checkpoint, then draws."""
    options = replayed("/sdapi/v1/options", None, "GET")
    options["sd_model_checkpoint"] = replayed("/sdapi/v1/sd-models", None, "GET")[0]["title"]
    replayed("/sdapi/v1/options", options)
    same(decoded(replayed("/sdapi/v1/txt2img", {**A1111, "batch_size": 1})["images"][0]), EXPECTED)
    out = replayed("/v1/images/generations", {"model": "gpt-image-1", "prompt": "a red apple", "n": 1, "size": "64x64", "response_format": "b64_json", **EXTRA})
    same(decoded(out["data"][0]["b64_json"]), EXPECTED)


def what_sillytavern_sends():
    """An empty user and password, further fields, and polling until nothing runs."""
    empty = {"Authorization": "Basic " + base64.b64encode(b"").decode()}
    replayed("/sdapi/v1/options", None, "GET", empty)
    out = replayed("/sdapi/v1/txt2img", {**A1111, "url": OPEN, "auth": "", "scheduler": "automatic", "sampler_index": "Euler a", "restore_faces": False, "enable_hr": False,
                                         "hr_upscaler": "Latent", "hr_scale": 2, "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 0, "clip_skip": 1,
                                         "override_settings": {"CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": True, "save_images": True, "send_images": True,
                                         "do_not_save_grid": False, "do_not_save_samples": False}, headers=empty)
    same(decoded(out["images"][0]), EXPECTED)
    while (p := replayed("/sdapi/v1/progress", None, "GET", empty)) and (p["progress"] or p["state"]["job_count"]):
        time.sleep(0.05)
    assert urllib.request.urlopen(urllib.request.Request(OPEN + "/v1/images/generations", method="OPTIONS")).status < 300


def what_bots_send():
    """Only sampler_index, styles that nobody has, null and zeros."""
    body = {k: v for k, v in A1111.items() if k != "sampler_name"} | {"sampler_index": "Euler a", "styles": ["None"], "denoising_strength": None, "seed_resize_from_h": 0,
                                                                      "seed_resize_from_w": 0, "subseed": -1, "steps": "4", "cfg_scale": "5.0", "width": 64.0, "restore_faces": 0}
    same(decoded(replayed("/sdapi/v1/txt2img", body)["images"][0]), EXPECTED)
    replayed("/sdapi/v1/progress?skip_current_image=false", None, "GET")


if __name__ == "__main__":
    for client in (webuiapi, webui_controlnet, openai_sdk, openai_sdk_with_a_full_queue, litellm_client, langchain_dalle_wrapper, what_open_webui_sends, what_sillytavern_sends, what_bots_send):
        check(client)
