"""Makes the picture files here with Pillow: python make.py, in any folder.

Each shows the same 6x4 pixels (make.PIXELS), or says in its name how it
differs. The eight orient-N.jpg are stored turned, with the EXIF orientation
that turns them back, in grey steps that JPEG keeps well.
"""

from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).resolve().parent
PIXELS = np.zeros((4, 6, 3), np.uint8)
PIXELS[..., 0] = np.arange(6) * 50
PIXELS[..., 1] = np.arange(4)[:, None] * 80
PIXELS[..., 2] = 100

BACK = {  # how to store a picture so that orientation N shows it upright
    1: [], 2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE], 8: [Image.Transpose.ROTATE_270],
}


def main():
    rgb = Image.fromarray(PIXELS)
    rgb.save(HERE / "rgb.png")
    rgb.save(HERE / "rgb.bmp")
    rgb.save(HERE / "rgb.webp", lossless=True)
    rgb.quantize(24).save(HERE / "palette.png")
    rgb.quantize(24).save(HERE / "palette.gif")
    rgb.convert("L").save(HERE / "grey.png")
    alpha = np.full((4, 6), 255, np.uint8)
    alpha[:, :3] = 0
    rgba = np.dstack([PIXELS, alpha])
    Image.fromarray(rgba).save(HERE / "alpha.png")
    Image.fromarray(rgba).save(HERE / "alpha.webp", lossless=True, exact=True)
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257).save(HERE / "red-as-grey16.png")
    # 16 by 24 blocks of 8 pixels: steps that JPEG keeps within a few levels.
    steps = Image.fromarray(np.kron(np.arange(6, dtype=np.uint8).reshape(2, 3) * 50, np.ones((16, 16), np.uint8)))
    for n, turns in BACK.items():
        stored = steps
        for turn in turns:
            stored = stored.transpose(turn)
        exif = Image.Exif()
        exif[0x0112] = n
        stored.save(HERE / f"orient-{n}.jpg", quality=95, exif=exif)
    rgb.resize((48, 32), Image.Resampling.NEAREST).convert("CMYK").save(HERE / "cmyk.jpg", quality=95)


if __name__ == "__main__":
    main()
