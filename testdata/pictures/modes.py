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
from PIL import Image, ImageCms

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


def adam7(rgb, depth=8):
    out = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        part = rgb[y0::dy, x0::dx]
        out += packed(part.reshape(part.shape[0], -1), depth) if part.size else b""
    return out


def more(rgb, image, grey, alpha, deep, saved):
    """What files have less often."""
    deep_grey, deep_alpha = grey.astype(np.uint16) * 256 + 200, alpha.astype(np.uint16) * 257
    of = lambda values: b"".join(struct.pack(">H", int(v)) for v in np.atleast_1d(values))
    plain = packed(rgb.reshape(H, -1), 8)
    yield "grey1-trns.png", png(1, 0, packed(grey > 127, 1), chunk(b"tRNS", of(1)))
    yield "grey2-trns.png", png(2, 0, packed(grey >> 6, 2), chunk(b"tRNS", of(2)))
    yield "grey16.png", png(16, 0, packed(deep_grey, 16))
    yield "grey16-trns.png", png(16, 0, packed(deep_grey, 16), chunk(b"tRNS", of(deep_grey[3, 3])))
    yield "grey16-interlaced.png", png(16, 0, adam7(deep_grey, 16), interlace=1)
    yield "grey1-interlaced.png", png(1, 0, adam7(grey > 127, 1), interlace=1)
    yield "grey-alpha16.png", png(16, 4, packed(np.stack([deep_grey, deep_alpha], -1).reshape(H, -1), 16))
    yield "rgb16-trns.png", png(16, 2, packed(deep.reshape(H, -1), 16), chunk(b"tRNS", of(deep[5, 6])))
    few = image.quantize(4)
    colours, index = bytes(few.getpalette()[:12]), np.array(few)
    yield "palette1.png", png(1, 3, packed(index & 1, 1), chunk(b"PLTE", colours[:6]))
    yield "palette2-trns.png", png(2, 3, packed(index, 2), chunk(b"PLTE", colours) + chunk(b"tRNS", bytes([0, 128])))
    yield "palette2-interlaced.png", png(2, 3, adam7(index, 2), chunk(b"PLTE", colours), interlace=1)
    # The numbers count, as they do for Pillow: what they would look like on a screen does not.
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    yield "gamma.png", png(8, 2, plain, chunk(b"gAMA", struct.pack(">I", 100000)))
    yield "cicp.png", png(8, 2, plain, chunk(b"cICP", bytes([9, 16, 0, 1])))
    yield "sbit.png", png(8, 2, plain, chunk(b"sBIT", bytes([5, 6, 5])))
    yield "icc.png", saved(image, "PNG", icc_profile=profile)
    yield "icc.jpg", saved(image, "JPEG", quality=90, icc_profile=profile)
    yield "lossy-icc.webp", saved(image, "WEBP", quality=90, icc_profile=profile)
    flipped = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    yield "animated.png", saved(image, "PNG", save_all=True, append_images=[flipped])
    yield "animated-default.png", saved(image, "PNG", save_all=True, append_images=[flipped], default_image=True)

    # JPEG's colours: Adobe's marker counts unless JFIF's is there.
    yield "grey-progressive.jpg", saved(image.convert("L"), "JPEG", quality=90, progressive=True)
    yield "restarts.jpg", saved(image, "JPEG", quality=90, restart_marker_blocks=1)
    jpeg = saved(image, "JPEG", quality=95, subsampling=0)
    bare = jpeg[:2] + jpeg[4 + struct.unpack(">H", jpeg[4:6])[0]:]
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0"
    yield "bare.jpg", bare
    yield "adobe-rgb.jpg", bare[:2] + adobe + b"\0" + bare[2:]
    yield "adobe-ycc.jpg", bare[:2] + adobe + b"\1" + bare[2:]
    yield "jfif-adobe-rgb.jpg", jpeg[:2] + adobe + b"\0" + jpeg[2:]
    ycck = bytearray(saved(image.convert("CMYK"), "JPEG", quality=95))
    ycck[ycck.index(b"Adobe") + 11] = 2
    yield "ycck.jpg", bytes(ycck)
    for w, h in ((1, 7), (3, 2), (4, 4), (4, 9), (5, 9), (9, 1)):  # libjpeg has rules of its own for narrow pictures
        part = Image.fromarray(rgb[:h, :w])
        for name, sub in (("422", 1), ("420", 2)):
            yield f"{w}x{h}-{name}.jpg", saved(part, "JPEG", quality=100, subsampling=sub)
        yield f"lossy-{w}x{h}.webp", saved(part, "WEBP", quality=90)
    yield "lossy-low.webp", saved(image, "WEBP", quality=0)
    yield "lossy-grey-alpha.webp", saved(Image.fromarray(np.dstack([grey, alpha])), "WEBP", quality=90)

    gif = saved(image.quantize(16), "GIF")
    for name, data in (("offset", gif), ("offset-transparent", saved(image.quantize(16), "GIF", transparency=3))):
        data = bytearray(data)
        data[6], data[8] = W + 4, H + 2  # the screen
        at = data.rindex(b",\0\0\0\0")
        data[at + 1], data[at + 3] = 3, 1  # the frame's corner
        yield f"{name}.gif", bytes(data)
    yield "87a.gif", b"GIF87a" + gif[6:]
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    yield "animated.gif", saved(rgba, "GIF", save_all=True, append_images=[rgba.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], disposal=2)

    bgr = rgb[::-1, :, ::-1]
    row = lambda a: b"".join(r.tobytes() + b"\0" * (-len(r.tobytes()) % 4) for r in a)
    r, g, b = (rgb[::-1, :, i].astype(np.uint16) for i in range(3))
    of = lambda *masks: struct.pack(f"<{len(masks)}I", *masks)
    yield "16.bmp", bmp(16, row((r >> 3) << 10 | (g >> 3) << 5 | b >> 3))
    yield "16-565.bmp", bmp(16, row((r >> 3) << 11 | (g >> 2) << 5 | b >> 3), masks=of(0xf800, 0x7e0, 0x1f), compression=3)
    bgra = np.ascontiguousarray(np.dstack([bgr, alpha[::-1]])).tobytes()
    yield "32-masks.bmp", bmp(32, bgra, masks=of(0xff0000, 0xff00, 0xff), compression=3)
    yield "32-masks-52.bmp", bmp(32, bgra, header=52, masks=of(0xff0000, 0xff00, 0xff), compression=3)
    yield "32-masks-56.bmp", bmp(32, bgra, header=56, masks=of(0xff0000, 0xff00, 0xff, 0xff000000), compression=3)
    yield "32-56.bmp", bmp(32, bgra, header=56, masks=of(0xff0000, 0xff00, 0xff, 0xff000000))
    rgba = np.ascontiguousarray(np.dstack([rgb[::-1], alpha[::-1]])).tobytes()
    yield "32-rgba.bmp", bmp(32, rgba, header=108, masks=of(0xff, 0xff00, 0xff0000, 0xff000000), compression=3)
    yield "32-no-alpha.bmp", bmp(32, bgra, header=124, masks=of(0xff0000, 0xff00, 0xff, 0), compression=3)
    yield "24-gap.bmp", bmp(24, row(np.ascontiguousarray(bgr)), gap=b"\0" * 8)
    table = b"".join(bytes(c) + b"\0" for c in np.frombuffer(colours, np.uint8).reshape(-1, 3)[:, ::-1])
    yield "8-gap.bmp", bmp(8, row(np.ascontiguousarray(index[::-1])), header=124, palette=table, gap=b"\0" * 40)
    yield "8-top-down.bmp", bmp(8, row(index), palette=table, top_down=True)


def bmp(bits, rows, header=40, masks=b"", compression=0, palette=b"", top_down=False, gap=b""):
    info = struct.pack("<IiiHHIIiiII", header, W, -H if top_down else H, 1, bits, compression, len(rows), 2835, 2835, len(palette) // 4, 0)
    info += masks + b"\0" * (header - len(info) - len(masks))  # masks are after a header of 40 bytes, and within longer ones
    off = 14 + len(info) + len(palette) + len(gap)
    return b"BM" + struct.pack("<IHHI", off + len(rows), 0, 0, off) + info + palette + gap + rows


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
    yield from more(rgb, image, grey, alpha, deep, saved)


# What package picture does not read, with words of its error.
REFUSED = {
    "masks.bmp": "each colour must have bits of its own", "rle8.bmp": "compression 1", "os2.bmp": "a header of 12 bytes",
    "arithmetic.jpg": "arithmetic coding", "12-bit.jpg": "12 bits a sample", "lossless.jpg": "lossless JPEG",
    "hierarchical.jpg": "hierarchical JPEG", "cmyk-without-adobe.jpg": "Adobe APP14",
    "cmyk-420.jpg": "subsampling ratio", "3x1.jpg": "subsampling ratio", "more-chroma.jpg": "subsampling ratio", "animated.webp": "an animation",
}


def refused():
    yield "masks.bmp", bmp(16, b"\0" * (H * 40), masks=struct.pack("<III", 0xf800, 0xff0, 0x1f), compression=3)
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


    b = io.BytesIO()
    Image.fromarray(pixels()).convert("CMYK").save(b, "JPEG", subsampling=2)
    yield "cmyk-420.jpg", b.getvalue()
    ppm = f"P6 {W} {H} 255\n".encode() + pixels().tobytes()
    for name, sub in (("3x1", "3x1"), ("more-chroma", "1x1,2x2,2x2")):
        yield f"{name}.jpg", subprocess.run(["cjpeg", "-sample", sub], input=ppm, capture_output=True, check=True).stdout
    b = io.BytesIO()
    Image.fromarray(pixels()).save(b, "WEBP", save_all=True, append_images=[Image.fromarray(pixels()[::-1])])
    yield "animated.webp", b.getvalue()


def corrected(name, img, rgba):
    """What Pillow reads, but where it is known to differ from the file's own numbers."""
    if img.mode == "I;16":  # which it cuts off at 255, as no other mode of 16 bits
        rgba[..., :3] = (np.array(img) >> 8)[..., None]
    # Pillow compares the sample that is transparent with levels of 8 bits (PNG 11.3.2.1).
    if name == "grey4-trns.png":
        rgba[..., 3] = np.where(rgba[..., 0] == 5 * 17, 0, 255)
    if name == "grey2-trns.png":
        rgba[..., 3] = np.where(rgba[..., 0] == 2 * 85, 0, 255)
    if name == "grey16-trns.png":
        rgba[..., 3] = np.where(np.array(img) == np.array(img)[3, 3], 0, 255)
    if name == "rgb16-trns.png":
        rgba[..., 3] = np.where((rgba[..., :3] == rgba[5, 6, :3]).all(-1), 0, 255)
    return rgba


def main():
    HERE.mkdir(exist_ok=True)
    for old in HERE.iterdir():
        old.unlink()
    values = {}
    for name, data in files():
        (HERE / name).write_bytes(data)
        img = Image.open(io.BytesIO(data))
        rgba = np.array(img.convert("RGBA"))
        values[name] = corrected(name, img, rgba).tobytes().hex()
    for name, data in refused():
        (HERE / name).write_bytes(data)
    (HERE / "modes.json").write_text(json.dumps({"pixels": values, "refused": REFUSED}, indent=1))


if __name__ == "__main__":
    main()
