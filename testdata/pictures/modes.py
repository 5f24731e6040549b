"""Makes testdata/pictures/modes with Pillow: python modes.py, in any folder.

A picture of each mode that files have, 19 x 13 pixels of smooth colours with
some edges, and modes.json: for each file the RGBA values that Pillow reads, in
hexadecimal, or "refused" for what package picture refuses by name. Written with
Pillow 13.0 (libjpeg-turbo, libwebp); three need cjpeg of libjpeg-turbo 2.1.
"""

import io
import json
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent / "modes"
W, H = 19, 13


def pixels():
    y, x = np.mgrid[0:H, 0:W].astype(float)
    rgb = np.stack([255 * x / (W - 1), 255 * y / (H - 1), 128 + 127 * np.sin(x / 3 + y / 4)], -1)
    rgb[4:9, 5:8] = [250, 20, 30]
    rgb[2:6, 11:17] = [10, 40, 240]
    return rgb.round().astype(np.uint8)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth, colour, rows, extra=b"", interlace=0):
    """A PNG of rows of packed bytes: Pillow does not write every mode."""
    head = struct.pack(">IIBBBBB", W, H, depth, colour, 0, 0, interlace)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def packed(values, depth):
    """Rows of samples [H, n], each row after filter type 0."""
    out = b""
    for row in values:
        if depth == 16:
            out += b"\0" + row.astype(">u2").tobytes()
            continue
        bits = "".join(format(int(v), f"0{depth}b") for v in row)
        bits += "0" * (-len(bits) % 8)
        out += b"\0" + bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    return out


def adam7(rgb):
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = rgb[y0::dy, x0::dx]
        out += packed(part.reshape(part.shape[0], -1), 8) if part.size else b""
    return out


def bmp(bits, rows, header=40, masks=b"", compression=0, palette=b"", top_down=False):
    off = 14 + header + len(palette)
    info = struct.pack("<IiiHHIIiiII", header, W, -H if top_down else H, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
    info += masks + b"\0" * (header - len(info) - len(masks))
    return b"BM" + struct.pack("<IHHI", off + len(rows), 0, 0, off) + info + palette + rows


def files():
    rgb = pixels()
    image = Image.fromarray(rgb)
    grey = np.array(image.convert("L"))
    alpha = np.minimum(255, np.arange(W)[None] * 14 + np.arange(H)[:, None]).astype(np.uint8)
    deep = rgb.astype(np.uint16) * 256 + 77
    colours = image.quantize(16)
    palette, index = bytes(colours.getpalette()[:48]), np.array(colours)

    def saved(img, kind, **options):
        b = io.BytesIO()
        img.save(b, kind, **options)
        return b.getvalue()

    yield "grey1.png", png(1, 0, packed(grey > 127, 1))
    yield "grey2.png", png(2, 0, packed(grey >> 6, 2))
    yield "grey4.png", png(4, 0, packed(grey >> 4, 4))
    yield "grey4-trns.png", png(4, 0, packed(grey >> 4, 4), chunk(b"tRNS", struct.pack(">H", 5)))
    yield "grey8.png", png(8, 0, packed(grey, 8))
    yield "grey8-trns.png", png(8, 0, packed(grey, 8), chunk(b"tRNS", struct.pack(">H", int(grey[3, 3]))))
    yield "grey-alpha8.png", png(8, 4, packed(np.stack([grey, alpha], -1).reshape(H, -1), 8))
    yield "rgb16.png", png(16, 2, packed(deep.reshape(H, -1), 16))
    yield "rgba16.png", png(16, 6, packed(np.dstack([deep, alpha.astype(np.uint16) * 257]).reshape(H, -1), 16))
    yield "rgba8.png", png(8, 6, packed(np.dstack([rgb, alpha]).reshape(H, -1), 8))
    yield "rgb8-trns.png", png(8, 2, packed(rgb.reshape(H, -1), 8), chunk(b"tRNS", struct.pack(">HHH", 250, 20, 30)))
    yield "rgb8-interlaced.png", png(8, 2, adam7(rgb), interlace=1)
    yield "palette4.png", png(4, 3, packed(index, 4), chunk(b"PLTE", palette))
    yield "palette8-trns.png", png(8, 3, packed(index, 8), chunk(b"PLTE", palette) + chunk(b"tRNS", bytes(range(0, 240, 20))))
    for name, sub in (("444", 0), ("422", 1), ("420", 2)):
        yield f"{name}.jpg", saved(image, "JPEG", quality=90, subsampling=sub)
    for name, sub in (("440", "1x2"), ("411", "4x1"), ("410", "4x2")):  # which Pillow does not write
        ppm = f"P6 {W} {H} 255\n".encode() + rgb.tobytes()
        yield f"{name}.jpg", subprocess.run(["cjpeg", "-quality", "90", "-sample", sub], input=ppm, capture_output=True, check=True).stdout
    yield "progressive.jpg", saved(image, "JPEG", quality=90, progressive=True)
    yield "grey.jpg", saved(image.convert("L"), "JPEG", quality=90)
    yield "cmyk.jpg", saved(image.convert("CMYK"), "JPEG", quality=95)
    yield "rgb.jpg", saved(image, "JPEG", quality=95, keep_rgb=True)
    yield "lossy.webp", saved(image, "WEBP", quality=90)
    yield "lossy-alpha.webp", saved(Image.fromarray(np.dstack([rgb, alpha])), "WEBP", quality=90)
    yield "lossless.webp", saved(image, "WEBP", lossless=True)
    yield "lossless-alpha.webp", saved(Image.fromarray(np.dstack([rgb, alpha])), "WEBP", lossless=True, exact=True)
    yield "palette.gif", saved(colours, "GIF")
    yield "interlaced.gif", saved(colours, "GIF", interlace=1)
    yield "transparent.gif", saved(colours, "GIF", transparency=3)
    row = lambda a: b"".join(r.tobytes() + b"\0" * (-len(r.tobytes()) % 4) for r in a)
    bgr = rgb[::-1, :, ::-1]
    four = np.frombuffer(palette, np.uint8).reshape(-1, 3)[:, ::-1]
    four = b"".join(bytes(c) + b"\0" for c in four)
    bits = lambda values, depth: b"".join(r + b"\0" * (-len(r) % 4) for r in (packed(v[None], depth)[1:] for v in values[::-1]))
    yield "1.bmp", bmp(1, bits(grey > 127, 1), palette=b"\0\0\0\0\xff\xff\xff\0")
    yield "4.bmp", bmp(4, bits(index, 4), palette=four)
    yield "8.bmp", bmp(8, bits(index, 8), palette=four)
    yield "24.bmp", bmp(24, row(np.ascontiguousarray(bgr)))
    yield "24-top-down.bmp", bmp(24, row(np.ascontiguousarray(bgr[::-1])), top_down=True)
    bgra = lambda a: np.ascontiguousarray(np.dstack([bgr, a[::-1]])).tobytes()
    yield "32.bmp", bmp(32, bgra(alpha))
    yield "32-v4.bmp", bmp(32, bgra(alpha * 0), header=108)
    masks = struct.pack("<IIII", 0xff0000, 0xff00, 0xff, 0xff000000)
    yield "32-v4-alpha.bmp", bmp(32, bgra(alpha), header=108, masks=masks, compression=3)


# What package picture does not read, with words of its error.
REFUSED = {
    "16.bmp": "16 bits a pixel", "rle8.bmp": "compression 1", "os2.bmp": "a header of 12 bytes",
    "arithmetic.jpg": "arithmetic coding", "12-bit.jpg": "12 bits a sample", "lossless.jpg": "lossless JPEG",
    "hierarchical.jpg": "hierarchical JPEG", "cmyk-without-adobe.jpg": "Adobe APP14",
}


def refused():
    yield "16.bmp", bmp(16, b"\0" * (H * 40))
    yield "rle8.bmp", bmp(8, b"\0\1", compression=1, palette=b"\0" * 1024)
    yield "os2.bmp", b"BM" + struct.pack("<IHHI", 99, 0, 0, 26) + struct.pack("<IHHHH", 12, W, H, 1, 24) + b"\0" * (H * 60)
    b = io.BytesIO()
    Image.fromarray(pixels()).save(b, "JPEG")
    jpeg = b.getvalue()
    at = jpeg.index(b"\xff\xc0")
    for name, marker in (("arithmetic.jpg", 0xc9), ("lossless.jpg", 0xc3), ("hierarchical.jpg", 0xc5)):
        yield name, jpeg[:at + 1] + bytes([marker]) + jpeg[at + 2:]
    yield "12-bit.jpg", jpeg[:at] + b"\xff\xc1" + jpeg[at + 2:at + 4] + b"\x0c" + jpeg[at + 5:]
    b = io.BytesIO()
    Image.fromarray(pixels()).convert("CMYK").save(b, "JPEG")
    jpeg = b.getvalue()
    at = jpeg.index(b"\xff\xee")
    yield "cmyk-without-adobe.jpg", jpeg[:at] + jpeg[at + 2 + struct.unpack(">H", jpeg[at + 2:at + 4])[0]:]


def main():
    HERE.mkdir(exist_ok=True)
    values = {}
    for name, data in files():
        (HERE / name).write_bytes(data)
        img = Image.open(io.BytesIO(data))
        rgba = np.array(img.convert("RGBA"))
        if name == "grey4-trns.png":
            # Pillow compares the sample that is transparent, 5, with grey levels
            # of 8 bits, of which it would be 5 * 17 (PNG 11.3.2.1).
            rgba[..., 3] = np.where(rgba[..., 0] == 5 * 17, 0, 255)
        values[name] = rgba.tobytes().hex()
    for name, data in refused():
        (HERE / name).write_bytes(data)
    (HERE / "modes.json").write_text(json.dumps({"pixels": values, "refused": REFUSED}, indent=1))


if __name__ == "__main__":
    main()
