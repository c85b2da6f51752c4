"""What a file is, told by its first bytes: for errors that name what was given in place of what was wanted."""

from __future__ import annotations

import os
import pickletools
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from frl.printable import abridged

HEAD_BYTES = 4096
DOWNLOAD_AGAIN = "Download it again: the address that gives the file itself, signed in if need be"
GIVE_IMAGES = "Give the .beton here that frl write made of images"
WRITE_IMAGES = "frl write FILE --out faces.beton"


@dataclass(frozen=True)
class Content:
    """What a file turned out to be.

    Attributes:
        what: completes the sentence "it is ...".
        remedy: how to come by the file that was meant, such as weights, without a full stop.
        remedy_of_images: the same where a ``.beton`` was meant, if it is another.
    """

    what: str
    remedy: str
    remedy_of_images: str | None = None


@dataclass(frozen=True)
class Signature:
    """Bytes by which a format is known.

    Attributes:
        magic: the bytes.
        offset: where they stand.
        content: what such a file is.
    """

    magic: bytes
    content: Content
    offset: int = 0


def _compressed(name: str, unpack: str, unpack_tar: str = "") -> Content:
    """A compressed file; of a tar that is compressed so, ``frl write`` reads what ``unpack_tar`` unpacks."""
    weights, images = (f"Unpack it first: {unpack} > {file}" for file in ("weights.pth", "faces.beton"))
    if unpack_tar:
        weights, images = f"{weights}, or {unpack_tar}", f"{images}, or make one of a tar: {WRITE_IMAGES}"
    return Content(f"a file compressed with {name}", weights, images)


def _network(what: str, remedy: str) -> Content:
    """What holds a network, or numbers that may be of one."""
    return Content(what, remedy, GIVE_IMAGES)


_WRITE = f"Make one of its images: {WRITE_IMAGES}"
_FOLDER = Content(
    "a folder",
    "Give a file in it",
    "Give a .beton in it, or make one of its images: frl write FOLDER --out faces.beton",
)
STAND_INS = ("a Git LFS pointer", "a git-annex pointer", "a DVC pointer", "a web page")
_PICTURE = Content("a picture", "Give another file")
_PROGRAM = Content("a program or library", "Give another file")
_NUMPY = _network("an array of NumPy", "Give the PyTorch checkpoint that it was made from")
_KERAS = _network(
    "a model of Keras", "Give the PyTorch version of these weights, or convert them to a PyTorch state dict"
)

BETON = Content("a .beton of images", "Give the weights of a network here, and the .beton as data")
WEIGHTS = _network("weights of PyTorch or safetensors", GIVE_IMAGES)

SIGNATURES = (
    Signature(b"\x1f\x8b", _compressed("gzip", "gunzip -c FILE", "tar -xzf FILE")),
    Signature(b"BZh", _compressed("bzip2", "bunzip2 -c FILE", "tar -xjf FILE")),
    Signature(b"\xfd7zXZ\0", _compressed("xz", "xz -dc FILE", "tar -xJf FILE")),
    Signature(b"\x28\xb5\x2f\xfd", _compressed("Zstandard", "zstd -dc FILE")),
    Signature(b"\x04\x22\x4d\x18", _compressed("LZ4", "lz4 -dc FILE")),
    Signature(b"7z\xbc\xaf\x27\x1c", Content("a 7-Zip archive", "Unpack it first: 7z x FILE")),
    Signature(b"Rar!\x1a\x07", Content("a RAR archive", "Unpack it first: unrar x FILE")),
    Signature(b"ustar", Content("a tar archive", "Unpack it first: tar -xf FILE", _WRITE), offset=257),
    Signature(b"\x89HDF\r\n\x1a\n", Content("an HDF5 file", _KERAS.remedy, _WRITE)),
    Signature(b"\x93NUMPY", _NUMPY),
    Signature(b"GGUF", _network("a GGUF file of llama.cpp", "Give the PyTorch checkpoint that it was made from")),
    Signature(b"TFL3", _network("a TensorFlow Lite model", "Give the PyTorch checkpoint of this network"), offset=4),
    Signature(b"%PDF-", Content("a PDF document", DOWNLOAD_AGAIN)),
    Signature(b"\xff\xd8\xff", _PICTURE),
    Signature(b"\x89PNG\r\n", _PICTURE),
    Signature(b"GIF8", _PICTURE),
    Signature(b"\x7fELF", _PROGRAM),
    Signature(b"MZ", _PROGRAM),
    Signature(b"SQLite format 3\0", Content("an SQLite database", "Give another file")),
)


def recognise(path: Path) -> Content | None:
    """What stands at ``path``, if it is something that is often taken for another file; None: not known.

    Files that PyTorch or safetensors may have written are not recognised here, damaged or not.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return _absent(path)
    if stat.S_ISDIR(mode):
        return _FOLDER
    if not stat.S_ISREG(mode):
        return Content("no regular file but a pipe, a socket or a device", "Copy it to a file first")
    head = first_bytes(path)
    if not head:
        return Content("empty", "Download or copy it again")
    for signature in SIGNATURES:
        if head[signature.offset :].startswith(signature.magic):
            return signature.content
    if _is_beton(head):
        return BETON
    if zipfile.is_zipfile(path):
        return _zip_content(path)
    if _is_weights(head):
        return None
    return _graph(path, head) or _text(head)


def recognise_in_place_of_beton(path: Path) -> Content | None:
    """What stands at ``path``, where a ``.beton`` was meant; None: not known, or a damaged ``.beton``."""
    content = recognise(path)
    if content is None:
        return WEIGHTS if zipfile.is_zipfile(path) or _is_weights(first_bytes(path)) else None
    return None if content is BETON else replace(content, remedy=content.remedy_of_images or content.remedy)


def in_place_of(wanted: str, path: Path, *kin: str) -> tuple[str, str] | None:
    """Cause and remedy of an error about what stands at ``path``; None: a damaged file of the kind, or not known.

    Args:
        wanted: what was meant, such as ``tar archive``, as ``Content.what`` would call it.
        path: of the file.
        kin: words in ``Content.what`` by which a damaged one is known, too.
    """
    content = recognise(path)
    if content is None or any(word in content.what for word in (wanted, *kin)):
        return None
    return f"is no {wanted}: it is {content.what}", f"{content.remedy_of_images or content.remedy}."


def stand_in(head: bytes) -> Content | None:
    """What a text stands for that came in place of a file, by its first bytes: a pointer or a page; else None."""
    content = _text(head)
    return content if content is not None and content.what.startswith(STAND_INS) else None


def first_bytes(path: Path, count: int = HEAD_BYTES) -> bytes:
    """The first bytes of a file; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins like this is one of safetensors: the length of a header, then JSON."""
    return len(head) > 8 and 2 <= int.from_bytes(head[:8], "little") <= 100_000_000 and head[8:9] == b"{"


def is_pickle(head: bytes) -> bool:
    """Whether a file begins as a pickle does; of the old text protocol it must be one to its end."""
    if head[:1] == b"\x80":
        return 2 <= head[1] <= 5 if len(head) > 1 else True
    if not head.rstrip().endswith(b"."):
        return False
    try:
        return all(True for _ in pickletools.genops(head))
    except Exception:  # pickletools raises whatever its readers of arguments meet
        return False


def _is_beton(head: bytes) -> bool:
    """Whether a file begins as ffcv's do: their version, any number of fields, and a size that pages may have."""
    version, _, page_size = struct.unpack("<HHI", head[:8].ljust(8, b"\0"))
    return version == 2 and page_size >= 1 << 21 and page_size.bit_count() == 1


def _is_weights(head: bytes) -> bool:
    return is_safetensors(head) or is_pickle(head)


def _absent(path: Path) -> Content | None:
    """A link to nowhere, which a listing shows as a file."""
    if not path.is_symlink():
        return None
    target = os.readlink(path)
    annexed = "annex/objects" in target
    remedy = "Fetch it: git annex get FILE" if annexed else "Copy the file that it points to as well, or download again"
    return Content(f"a link to {target}, which is not here", remedy)


def _zip_content(path: Path) -> Content | None:
    """What a zip holds; None for what ``torch.save`` writes."""
    try:
        with zipfile.ZipFile(path) as container:
            names = container.namelist()
    except (zipfile.BadZipFile, OSError, NotImplementedError):
        return None
    inner = [name.partition("/")[2] or name for name in names]
    if any(name.startswith("code/") for name in inner) and "constants.pkl" in inner:
        remedy = (
            "If you trust its author, save its state dict alone: "
            "torch.save(torch.jit.load(FILE, 'cpu').state_dict(), 'weights.pth')"
        )
        return _network("a TorchScript archive, a program with its weights", remedy)
    if "data.pkl" in inner:
        return None
    if "archive_format" in inner or any(name.startswith("models/") and name.endswith(".json") for name in inner):
        remedy = "Save its state dict alone: torch.save(torch.export.load(FILE).state_dict, 'weights.pth')"
        return _network("a program that torch.export wrote", remedy)
    if "model.weights.h5" in inner:
        return _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return replace(_NUMPY, what="a file of NumPy's arrays (.npz)")
    shown = abridged([repr(name) for name in names], 3)
    return Content(f"a zip archive of other files ({shown or 'none'})", "Unpack it first: unzip FILE")


def _graph(path: Path, head: bytes) -> Content | None:
    """The protocol buffers of ONNX and TensorFlow, which have no magic bytes but begin alike."""
    if re.match(rb"\x08[\x02-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", head):
        return _network("an ONNX graph", "Give the checkpoint that it was exported from")
    tensorflow = _network("a model of TensorFlow", "Give the PyTorch checkpoint of this network")
    if re.match(rb"\x08\x01\x12", head) or re.search(r"\.data-\d+-of-\d+$", path.name):
        return tensorflow
    with open(path, "rb") as file:
        file.seek(-min(8, path.stat().st_size), os.SEEK_END)
        return tensorflow if file.read() == b"\x57\xfb\x80\x8b\x24\x75\x47\xdb" else None


def _text(head: bytes) -> Content | None:
    """Pointers, pages and messages that came in place of a file."""
    text = _decoded(head)
    if text is None:
        return None
    start = text.lstrip("\ufeff \t\r\n")
    lower = start[:200].lower()
    if start.startswith("version https://git-lfs"):
        return Content("a Git LFS pointer, not the file it stands for", "Fetch it: git lfs install, then git lfs pull")
    if "/annex/objects/" in start[:200]:
        return Content("a git-annex pointer, not the file it stands for", "Fetch it: git annex get FILE")
    if re.match(r"(outs|deps|md5):", lower) and "md5:" in start:
        return Content("a DVC pointer, not the file it stands for", "Fetch it: dvc pull")
    if lower.startswith(("<!doctype html", "<html", "<head", "<body", "<script", "<!--")):
        return Content("a web page (HTML)", DOWNLOAD_AGAIN)
    shown = f"that begins with {' '.join(start[:60].split())!r}"
    listed = f"Download it again, or make one of a list of images: {WRITE_IMAGES}"
    if lower.startswith("<"):
        return Content(f"XML {shown}, such as a server's error message", DOWNLOAD_AGAIN)
    if start.startswith(("{", "[")):
        if '"weight_map"' in text:
            return _network("the list of a model's parts (an index in JSON)", "Give the one file of all weights")
        return Content(f"JSON {shown}", DOWNLOAD_AGAIN, listed)
    return Content(f"a text file {shown}", DOWNLOAD_AGAIN, listed) if start else Content("blank text", DOWNLOAD_AGAIN)


def _decoded(head: bytes) -> str | None:
    """The text that these bytes are, or None."""
    for encoding in _encodings(head):
        try:
            text = head.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4 or len(head) < HEAD_BYTES:  # else a character cut by the end of the head
                continue
            text = head[: error.start].decode(encoding)
        if not re.search(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]", text):
            return text
    return None


def _encodings(head: bytes) -> Iterator[str]:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        yield "utf-16"
    yield "utf-8"
