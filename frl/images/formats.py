"""What a file is, by its first bytes: the suffix is what somebody called it."""

from __future__ import annotations

import re

from PIL import features

from frl.content import stand_in

HEAD = 64
"""Bytes that are enough to tell."""

DECODED = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "PPM", *(["AVIF"] if features.check("avif") else []))
"""What is decoded, whatever the file's suffix says, by Pillow's names; Pillow would also run programs for others."""

READERS = {
    "AVIF": "Pillow 11.3 or newer reads it: pip install -U pillow",
    "HEIC": "convert it to JPEG first, by heif-convert, or by Pillow with pip install pillow-heif",
    "JPEG XL": "convert it to JPEG first, by djxl",
    "JPEG 2000": "convert it to PNG first, by opj_decompress",
    "camera raw": "develop it to JPEG first, by darktable-cli or dcraw",
    "Photoshop": "export it as PNG first",
}
"""How to come to an image that is not decoded, by its format."""

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"FUJIFILMCCD-RAW", "camera raw"),
    (b"8BPS\0\1", "Photoshop"),
)
BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
"""Bytes of the headers that follow a BMP's first 14: two letters alone begin many a text."""

NETPBM = re.compile(rb"P[1-6]\s+(?:#|\d+\s+\d+\s)")
"""What a PBM, PGM or PPM begins with, all of which Pillow calls PPM: its kind, then a comment, or width and height."""

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def sniff(head: bytes) -> str | None:
    """The format of an image by its first ``HEAD`` bytes, as named here and by Pillow; None of whatever else."""
    for signature, name in SIGNATURES:
        if head.startswith(signature):
            return "camera raw" if name == "TIFF" and head[8:10] == b"CR" else name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in BMP_HEADERS:
        return "BMP"
    if NETPBM.match(head):
        return "PPM"
    if head[4:8] == b"ftyp":
        return _brand({head[at : at + 4] for at in (8, *range(16, min(int.from_bytes(head[:4]), len(head)), 4))})
    return None


def _brand(brands: set[bytes]) -> str | None:
    """The format of a file of the ISO base media format, of which most are films."""
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if b"crx " in brands:
        return "camera raw"
    return "HEIC" if brands & HEIF_BRANDS else None


def why_not_decoded(head: bytes) -> str:
    """What to say of a file that Pillow does not know, by its first bytes."""
    name = sniff(head)
    if name in READERS and name not in DECODED:
        return f"{name}, which is not decoded: {READERS[name]}"
    if content := stand_in(head):
        return f"not an image: it is {content.what}. {content.remedy}"
    return f"not an image: it begins with {head[:12]!r}"
