"""Makes the files here that say something about themselves: python parameters.py.

Needs Pillow and piexif, with which AUTOMATIC1111's web UI writes the parameters
of JPEG and WebP files: piexif.helper.UserComment.dump(text, encoding="unicode").
"""

from pathlib import Path

import piexif
import piexif.helper
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from make import BACK, PIXELS

HERE = Path(__file__).resolve().parent
TEXT = "a café, 猫 🚀\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, Seed: 1"


def main():
    rgb = Image.fromarray(PIXELS)
    comment = piexif.helper.UserComment.dump(TEXT, encoding="unicode")
    exif = piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}})
    for name, options in (("parameters.jpg", {}), ("parameters.webp", {"lossless": True})):
        rgb.save(HERE / name, **options)
        piexif.insert(exif, str(HERE / name))

    # What other programs write: a little-endian structure around the same text
    # in either byte order, plain ASCII, a JPEG comment, a PNG text.
    for name, body in (("utf16le", b"UNICODE\0" + TEXT.encode("utf-16-le")), ("utf16be", comment),
                       ("ascii", b"ASCII\0\0\0plain text"), ("unknown", b"JIS\0\0\0\0\0\x30\x21")):
        other = Image.Exif()
        other.get_ifd(0x8769)[0x9286] = body
        rgb.save(HERE / f"comment-{name}.jpg", exif=other)
    rgb.save(HERE / "comment.jpg", comment="as JPEG has it")
    info = PngInfo()
    info.add_itxt("parameters", TEXT)
    rgb.save(HERE / "parameters.png", pnginfo=info)

    # Stored turned, as orient-6.jpg is.
    turned = Image.Exif()
    turned[0x0112] = 6
    stored = rgb.transpose(BACK[6][0])
    stored.save(HERE / "orient-6.png", exif=turned)
    stored.save(HERE / "orient-6.webp", lossless=True, exif=turned)

    frames = [Image.new("RGB", (6, 4), c) for c in ("red", "green", "blue")]
    for ending in ("webp", "png", "gif"):  # GIF and PNG show the first frame
        frames[0].save(HERE / f"animated.{ending}", save_all=True, append_images=frames[1:], duration=100)


if __name__ == "__main__":
    main()
