"""Pictures for tests, whole and damaged."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image


def picture(width: int, height: int) -> Image.Image:
    """Smooth, colourful, and different under every flip and turn."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    red, green, blue = 255 * x / width, 255 * y / height, 127 + 120 * np.sin(x / 17 + y / 29)
    return Image.fromarray(np.dstack([red, green, blue]).astype(np.uint8))


def encode(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def damaged(kind: str) -> bytes:
    whole = encode(picture(200, 200))
    middle = len(whole) // 2
    png = bytearray(encode(picture(200, 200), "PNG"))
    png[len(png) // 2] ^= 1
    return {
        "empty": b"",
        "html": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "half": whole[:middle],
        "no end marker": whole[:-2],
        "half with an end marker": whole[:middle] + b"\xff\xd9",
        "a hole": whole[:middle] + bytes(300) + whole[middle + 300 :],
        "zeros": bytes(5000),
        "only a header": whole[:300],
        "half a png": encode(picture(200, 200), "PNG")[:1000],
        "a flipped bit in a png": bytes(png),
        "half a tiff": encode(picture(200, 200), "TIFF", compression="tiff_lzw")[:2000],
        "half a webp": encode(picture(200, 200), "WEBP")[:500],
        "half a cmyk jpeg": encode(picture(200, 200).convert("CMYK"))[:2000],
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
    }[kind]


def png_of_zeros(side: int, bits: int) -> bytes:
    """A valid grey PNG, all black: a thousandth of its pixels' bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([bits, 0, 0, 0, 0])
    compressor = zlib.compressobj(1)
    row = bytes(1 + side * bits // 8)
    rows = b"".join(compressor.compress(row) for _ in range(side)) + compressor.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
