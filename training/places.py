"""Four simple places behind the things: grass under a blue sky, the sea, the night, a room. Each is drawn anew with other colours and
shapes, at twice the size and scaled down."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WORDS = {
    "meadow": ("on grass under a blue sky", "on the grass under a blue sky", "on grass", "in a meadow"),
    "sea": ("on the sea", "at sea", "on the blue sea", "by the sea"),
    "night": ("at night", "at night under the stars", "under the stars", "under a night sky"),
    "room": ("in a room", "indoors", "in a room with a wooden floor", "on the floor of a room"),
}
NAMES = list(WORDS)


def _fade(top, bottom, width, height):
    """A picture that goes from one colour at the top to another at the bottom."""
    part = np.linspace(0, 1, height)[:, None, None]
    rows = (1 - part) * np.array(top, float) + part * np.array(bottom, float)
    return Image.fromarray(np.broadcast_to(rows, (height, width, 3)).round().astype(np.uint8).copy())


def _near(rng, colour, by=8):
    return tuple(int(v) for v in np.clip(np.array(colour) + rng.integers(-by, by + 1, 3), 0, 255))


def _hill(rng, width, y, high):
    """A polygon from a gentle curve down to the bottom edge."""
    x = np.arange(0, width + 8, 8)
    curve = y + high * np.sin(x / width * rng.uniform(2, 5) + rng.uniform(0, 6))
    return [(0, 2 * width), *zip(x.tolist(), curve.tolist()), (2 * width, 2 * width)]


def _meadow(rng, s):
    img = _fade(_near(rng, (95, 170, 240)), _near(rng, (205, 232, 250)), s, s)
    draw = ImageDraw.Draw(img)
    for _ in range(rng.integers(1, 3)):
        x, y, r = rng.uniform(0.05, 0.95) * s, rng.uniform(0.06, 0.3) * s, rng.uniform(0.05, 0.08) * s
        for dx, part in ((-1.1, 0.7), (0, 1), (1.1, 0.75)):
            draw.ellipse([x + dx * r - r * part, y - r * part, x + dx * r + r * part, y + r * part * 0.8], fill=(250, 252, 255))
    horizon = rng.uniform(0.56, 0.64) * s
    draw.polygon(_hill(rng, s, horizon, 0.03 * s), fill=_near(rng, (120, 185, 85)))
    draw.polygon(_hill(rng, s, horizon + 0.12 * s, 0.02 * s), fill=_near(rng, (95, 165, 70)))
    return img


def _sea(rng, s):
    img = _fade(_near(rng, (150, 210, 245)), _near(rng, (225, 240, 248)), s, s)
    horizon = int(rng.uniform(0.46, 0.54) * s)
    img.paste(_fade(_near(rng, (60, 150, 205)), _near(rng, (20, 95, 165)), s, s - horizon), (0, horizon))
    draw = ImageDraw.Draw(img)
    for _ in range(9):
        depth = rng.uniform(0.08, 1)
        y, long, x = horizon + depth * (s - horizon), 0.05 + 0.12 * depth, rng.uniform(0, 1)
        draw.line([((x - long) * s, y), ((x + long) * s, y)], fill=_near(rng, (130, 195, 230)), width=max(2, int(0.012 * s * (0.5 + depth))))
    return img


def _night(rng, s):
    img = _fade(_near(rng, (14, 18, 50)), _near(rng, (48, 52, 110)), s, s)
    draw = ImageDraw.Draw(img)
    for _ in range(rng.integers(10, 17)):
        x, y, r = rng.uniform(0, s), rng.uniform(0, 0.72) * s, rng.uniform(0.007, 0.014) * s
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(250, 246, 215))
    draw.polygon(_hill(rng, s, rng.uniform(0.8, 0.86) * s, 0.025 * s), fill=_near(rng, (20, 34, 48)))
    return img


def _room(rng, s):
    img = _fade(_near(rng, (243, 226, 196)), _near(rng, (235, 214, 180)), s, s)
    draw = ImageDraw.Draw(img)
    floor = rng.uniform(0.64, 0.7) * s
    draw.rectangle([0, floor, s, s], fill=_near(rng, (176, 120, 72)))
    plank = _near(rng, (150, 98, 56))
    for y in (0.25, 0.6):
        draw.line([(0, floor + y * (s - floor)), (s, floor + y * (s - floor))], fill=plank, width=s // 100)
    draw.rectangle([0, floor - 0.03 * s, s, floor], fill=(250, 244, 232))
    x, y, w = rng.choice([0.07, 0.67]) * s, 0.1 * s, 0.26 * s  # a window with a cross
    draw.rectangle([x, y, x + w, y + w], fill=(250, 246, 238))
    for i in (0, 1):
        for j in (0, 1):
            a, b, half = x + 0.02 * s + i * w * 0.48, y + 0.02 * s + j * w * 0.48, w * 0.37
            draw.rectangle([a, b, a + half, b + half], fill=_near(rng, (165, 210, 240)))
    return img


def draw(name, rng, size):
    """An RGB picture of a place, size x size."""
    large = {"meadow": _meadow, "sea": _sea, "night": _night, "room": _room}[name](rng, 2 * size)
    return large.filter(ImageFilter.GaussianBlur(0.6)).resize((size, size), Image.Resampling.BOX)
