"""Makes the pictures beside it: what OpenCV does in AUTOMATIC1111's ControlNet
preprocessors, of a picture that is drawn here.

pip install opencv-python-headless==5.0.0.93 numpy
python testdata/preprocess/make.py
"""

import json
import pathlib

import cv2
import numpy as np

folder = pathlib.Path(__file__).parent
random = np.random.default_rng(7)

# Red, green, blue: ground that changes slowly, shapes with hard and with soft edges,
# thin dark lines, some noise.
h, w = 90, 141
y, x = np.mgrid[0:h, 0:w].astype(np.float32)
photo = np.stack([120 + 80 * np.sin(x / 23), 140 + 90 * np.cos(y / 17), 200 - x], axis=2)
photo = photo + random.normal(0, 6, photo.shape)
photo = np.ascontiguousarray(photo.clip(0, 255).astype(np.uint8))
cv2.circle(photo, (40, 40), 22, (230, 40, 30), -1)
cv2.circle(photo, (100, 50), 25, (20, 60, 240), 3)
cv2.line(photo, (5, 80), (135, 8), (10, 10, 10), 1)
cv2.line(photo, (70, 0), (70, 89), (15, 30, 15), 2)
photo[60:85, 85:120] = cv2.GaussianBlur(photo[60:85, 85:120], (0, 0), 3)


def save(name, rgb):
    if rgb.ndim == 2:
        rgb = cv2.cvtColor(rgb, cv2.COLOR_GRAY2RGB)
    cv2.imwrite(str(folder / (name + ".png")), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))


def blur(x, sigma):
    return cv2.GaussianBlur(x.astype(np.float32), (0, 0), sigma)


def lineart(img, sigma, threshold):
    darker = np.min(blur(img, sigma) - img.astype(np.float32), axis=2).clip(0, 255)
    darker = darker / max(16, np.median(darker[darker > threshold])) * 127
    return darker.clip(0, 255).astype(np.uint8)


def scribble(img, threshold):
    d = 255 - (255 - np.min(blur(img, 5) - blur(img, 0.5), axis=2)).clip(0, 255).astype(np.uint8)
    with np.errstate(over="ignore"):
        return np.where(d * np.uint8(2) > threshold, 255, 0).astype(np.uint8)


def power(grey, gamma):
    return ((grey.astype(np.float32) / 255) ** gamma * 255).clip(0, 255).astype(np.uint8)


def disk(numbers, f=256):
    noise = cv2.resize(numbers, (w + 2 * f, h + 2 * f), interpolation=cv2.INTER_CUBIC)[f : f + h, f : f + w]
    noise = noise - noise.min()
    return noise / noise.max()


save("photo", photo)
save("canny", cv2.Canny(photo, 100, 200))
save("canny-low20-high60", cv2.Canny(photo, 20, 60))
save("lineart", lineart(photo, 6.0, 8))
save("lineart-sigma2-threshold20", lineart(photo, 2.0, 20))
save("scribble", scribble(photo, 32))
save("scribble-threshold10", scribble(photo, 10))
save("threshold", np.where(photo.min(axis=2) > 127, 255, 0).astype(np.uint8))
save("invert", 255 - photo)
save("blur", cv2.GaussianBlur(photo, (0, 0), 9.0))
save("blur-sigma0.7", cv2.GaussianBlur(photo, (0, 0), 0.7))
save("tile-factor2.5", cv2.resize(photo, (int(w / 2.5), int(h / 2.5)), interpolation=cv2.INTER_AREA))
grid = cv2.resize(photo, (w // 64, h // 64), interpolation=cv2.INTER_CUBIC)
save("color", cv2.resize(grid, (w, h), interpolation=cv2.INTER_NEAREST))
save("recolor_luminance", power(cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)[:, :, 0], 1.0))
save("recolor_luminance-gamma0.6", power(cv2.cvtColor(photo, cv2.COLOR_RGB2LAB)[:, :, 0], 0.6))
save("recolor_intensity-gamma1.4", power(cv2.cvtColor(photo, cv2.COLOR_RGB2HSV)[:, :, 2], 1.4))
save("larger", cv2.resize(photo, (round(w * 128 / h), 128), interpolation=cv2.INTER_CUBIC))
save("smaller", cv2.resize(photo, (round(w * 64 / h), 64), interpolation=cv2.INTER_AREA))
numbers = random.uniform(0, 1, (2, 2, 2))
flow = np.stack([disk(numbers[0]) * (w - 1), disk(numbers[1]) * (h - 1)], axis=2).astype(np.float32)
save("shuffle", cv2.remap(photo, flow, None, cv2.INTER_LINEAR))
(folder / "shuffle.json").write_text(json.dumps(numbers.reshape(-1).tolist()) + "\n")
