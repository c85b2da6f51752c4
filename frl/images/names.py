"""What names tell of files: which claim to be images, and which lie beside images and are none."""

from __future__ import annotations

from frl.images.formats import sniff

JPEG_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".jif", ".pjpeg", ".pjp"})

IMAGE_SUFFIXES = JPEG_SUFFIXES | frozenset({
    *[".png", ".apng", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".gif"],
    *[".pbm", ".pgm", ".ppm", ".pnm"],
    *[".avif", ".avifs", ".heic", ".heics", ".heif", ".heifs", ".hif", ".jxl", ".jp2", ".j2k"],
})  # fmt: skip
"""By these a file claims to be an image: it becomes a sample, or is rejected for what it holds."""

RAW_SUFFIXES = frozenset({
    *[".3fr", ".arw", ".cr2", ".cr3", ".dng", ".iiq", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw", ".x3f"],
})  # fmt: skip
"""Camera raw. Its content looks like a TIFF, of which Pillow would read the small preview."""

NOTE_SUFFIXES = frozenset({".json", ".jsonl", ".txt", ".csv", ".tsv", ".xml", ".pts", ".cls", ".npy"})
"""Notes that lie beside images, one for each perhaps: to look into all of them would double the time of a listing."""

THUMBNAIL_FOLDERS = frozenset({"@eadir", ".thumbnails", "@__thumb", ".@__thumb", ".thumb", ".thumbs", ".wdmc"})
THUMBNAIL_FILES = frozenset({"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db"})
THUMBNAIL_PREFIXES = ("synophoto_thumb", "synofile_thumb")

SPLITS = ("test", "train", "val")
"""Folders at the top of a data set that are its parts, and nobody's."""

THUMBNAIL = "thumbnails of a NAS, a desktop or Windows"
TWIN = "twins and remains of macOS (._*, __MACOSX, .DS_Store)"
HIDDEN = "hidden (their names begin with a dot)"


def aside(name: str) -> str | None:
    """Why a file or a folder of this name, without its path, is not looked into; None where it is."""
    lower = name.lower()
    if lower in THUMBNAIL_FOLDERS or lower in THUMBNAIL_FILES or lower.startswith(THUMBNAIL_PREFIXES):
        return THUMBNAIL
    if name == "__MACOSX" or name.startswith("._") or name == ".DS_Store":
        return TWIN
    return HIDDEN if name.startswith(".") else None


def path_aside(path: str) -> str | None:
    """As ``aside``, of a path in an archive, any part of which may tell."""
    return next(filter(None, map(aside, path.split("/"))), None)


def suffix_of(path: str) -> str:
    """A path's suffix, with its dot, in lower case: as ``os.path.splitext``, which takes three times as long."""
    stem, dot, suffix = path.rpartition(".")
    if not dot or "/" in suffix or not stem[stem.rfind("/") + 1 :].strip("."):
        return ""
    return f".{suffix}".lower()


def claims_image(path: str) -> bool:
    """Whether a path claims by its suffix to be an image."""
    suffix = suffix_of(path)
    return suffix in IMAGE_SUFFIXES or suffix in RAW_SUFFIXES


def raw_fault(path: str) -> str | None:
    """Why an image cannot be used whose suffix is that of a camera's raw format; None of any other."""
    suffix = suffix_of(path)
    return f"camera raw ({suffix}), which is not decoded: develop it to JPEG first" if suffix in RAW_SUFFIXES else None


def claims_note(path: str) -> bool:
    """Whether a path claims by its suffix to be no image, but something that is known to lie beside images."""
    return suffix_of(path) in NOTE_SUFFIXES


def is_image(path: str, head: bytes) -> bool:
    """Whether a file is listed: it claims to be an image, or is no note and begins as an image does."""
    return claims_image(path) or (not claims_note(path) and sniff(head) is not None)
