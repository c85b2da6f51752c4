"""The files beside a ``.beton``: a manifest, one line per sample, and one line per rejected image.

``faces.beton.json``         what the file holds and how it was made, with digests of the file and of the next
``faces.beton.samples.tsv``  crc32 of the encoded image (hex), label, source name, and in files with targets the crc32
                             of their bytes (hex); in sample order
``faces.beton.rejects.tsv``  source name, reason; not there where nothing was rejected
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from frl.beton.schema import Schema
from frl.beton.targets import TargetSpec
from frl.errors import BetonError, blame_machine

FORMAT = "frl-beton"
FORMAT_VERSION = 1
WITH_TARGETS = 2
"""The version of manifests that describe targets; those of files without stay as older software knows them."""

HASH_BLOCK = 1 << 20

_CONTROLS = (*range(0x20), 0x7F, *range(0x80, 0xA0))
"""Characters that would steer the terminal in which a sidecar is looked at."""
_ESCAPES = {chr(code): f"\\x{code:02x}" for code in _CONTROLS} | {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape: plain for plain, escape in _ESCAPES.items()}
_ESCAPED = re.compile(r"\\(?:[\\tnr]|x[0-9a-f]{2})")
_TO_ESCAPE = re.compile(f"[{re.escape(''.join(_ESCAPES))}]")


def manifest_path(beton: str | os.PathLike[str]) -> Path:
    """Where the manifest of a ``.beton`` lies."""
    return Path(f"{os.fspath(beton)}.json")


def samples_path(beton: str | os.PathLike[str]) -> Path:
    """Where the lines about the samples of a ``.beton`` lie."""
    return Path(f"{os.fspath(beton)}.samples.tsv")


def rejects_path(beton: str | os.PathLike[str]) -> Path:
    """Where the lines about the images that were left out lie."""
    return Path(f"{os.fspath(beton)}.rejects.tsv")


def home_of(beton: str | os.PathLike[str]) -> Path:
    """The path by which a ``.beton`` is read together with the files beside it: its own; but of a link, beside which
    there is none of them, that of the file it leads to."""
    beside = (manifest_path(beton), samples_path(beton), rejects_path(beton))
    if os.path.islink(beton) and not any(map(os.path.exists, beside)):
        return Path(os.path.realpath(beton))
    return Path(beton)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a ``.beton`` holds and how it was made.

    Attributes:
        samples: number of samples.
        bytes: size of the ``.beton``.
        fingerprint: SHA-256 of its header, fields, metadata and allocation table (see ``fingerprint``).
        samples_sha256: SHA-256 of the lines about the samples, which hold the checksum of each image.
        rejected: number of images left out.
        identities: name of each label, if the writer knew them.
        settings: sources, size, quality, seed and the like, as the writer gave them.
        writer: version of the software.
        content_sha256: digest of names, labels and images, whatever their layout (see ``ContentHash``); None in files
            of older versions.
        counts: what else the writer counted, such as the images that passed through untouched.
        joins: how each table of boxes, landmarks or labels met the images: ``table``, ``rows``, ``used``, ``images``,
            ``without`` (a row), and some names of either side.
        targets: what is stored of each sample beside image and label, in the order of the file's fields.
        known: by target, the samples of which it is known.
        listed: of a shard, a digest of all that its command listed, whichever part of it the shard has; None in other
            files, and in shards of older versions.
    """

    samples: int
    bytes: int
    fingerprint: str
    samples_sha256: str
    rejected: int
    identities: tuple[str, ...] | None
    settings: dict[str, Any]
    writer: str
    content_sha256: str | None = None
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    joins: tuple[dict[str, Any], ...] = ()
    targets: tuple[TargetSpec, ...] = ()
    known: dict[str, int] = dataclasses.field(default_factory=dict)
    listed: str | None = None

    def to_json(self) -> str:
        """The text of the manifest file."""
        version = WITH_TARGETS if self.targets else FORMAT_VERSION
        content = {"format": FORMAT, "version": version, **dataclasses.asdict(self)}
        if not self.targets:
            del content["targets"], content["known"]
        if not self.joins:  # so that older software reads the manifests of files without tables
            del content["joins"]
        if self.listed is None:
            del content["listed"]
        return json.dumps(content, indent=1, ensure_ascii=True) + "\n"

    @classmethod
    def load(cls, beton: str | os.PathLike[str]) -> Manifest | None:
        """The manifest beside ``beton`` (see ``home_of``), or None where there is none; raises like ``read``."""
        path = manifest_path(home_of(beton))
        return cls.read(path) if path.exists() else None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Manifest:
        """A manifest by its own path.

        Raises:
            BetonError: it cannot be read or is none.
        """
        path = Path(path)
        if path.suffix == ".beton":
            beside = manifest_path(home_of(path))
            remedy = f"Name {beside}." if beside.is_file() else f"{beside} would be its manifest, and is not there."
            raise BetonError(path, "is not a readable manifest but a .beton", remedy)
        try:
            content = json.loads(path.read_bytes().decode())  # whose guess at an encoding would name a wrong cause
            if content.pop("format") != FORMAT or content.pop("version") not in (FORMAT_VERSION, WITH_TARGETS):
                raise ValueError("another format or version")
            if content["identities"] is not None:
                content["identities"] = tuple(content["identities"])
            content["joins"] = tuple(content.get("joins", ()))
            content["targets"] = Schema(tuple(map(TargetSpec.from_json, content.get("targets", ())))).targets
            return cls(**content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            blame_machine(error, f"reading {path}")
            raise BetonError(
                path, f"is not a readable manifest ({error})", "Restore it, or delete it to do without its checks."
            ) from error


class ContentHash:
    """SHA-256 of what a data set holds: equal for equal samples in equal order, whatever pages they lie on.

    It is fed the names of the identities as JSON, or ``null``, and for each sample the SHA-256 of the encoded image
    (32 bytes) followed by its line in the sidecar, which holds label and name. If the file has targets, their
    description as JSON follows the names, and the stored bytes of a sample's targets its line.
    """

    def __init__(self, identities: Sequence[str] | None, targets: Sequence[TargetSpec] = ()) -> None:
        self._digest = hashlib.sha256(json.dumps(identities).encode())
        if targets:
            self._digest.update(json.dumps([dataclasses.asdict(spec) for spec in targets]).encode())

    def add(self, image_sha256: bytes, line: bytes, targets: bytes = b"") -> None:
        """Take in the next sample."""
        self._digest.update(image_sha256 + line + targets)

    def copy(self) -> ContentHash:
        """A hash that goes on from here by itself."""
        other = ContentHash.__new__(ContentHash)
        other._digest = self._digest.copy()
        return other

    def hexdigest(self) -> str:
        """The digest of what was taken in so far."""
        return self._digest.hexdigest()


def fingerprint(file: int, regions: list[tuple[int, int]]) -> str:
    """SHA-256, in hex, of some regions of an open file.

    Args:
        file: descriptor of the file.
        regions: offset of the first byte and of the one after the last, region by region.
    """
    digest = hashlib.sha256()
    for start, stop in regions:
        for offset in range(start, stop, HASH_BLOCK):
            digest.update(os.pread(file, min(HASH_BLOCK, stop - offset), offset))
    return digest.hexdigest()


class Claim(NamedTuple):
    """What is said of an image.

    Attributes:
        label: index of the identity, -1 where unknown.
        targets_crc32: checksum of the stored bytes of its targets; None where there are none.
    """

    label: int = -1
    targets_crc32: int | None = None

    def contradiction(self, name: str, other: Claim) -> str | None:
        """In words, why this cannot be true if ``other`` is, which is said of a copy called ``name``; None: it can."""
        if self.label != other.label and min(self.label, other.label) >= 0:
            return f"contradicts the copy {name}: another person"
        known = None not in (self.targets_crc32, other.targets_crc32)
        if known and self.targets_crc32 != other.targets_crc32:
            return f"contradicts the copy {name}: other targets"
        return None


class SampleLine(NamedTuple):
    """What the sidecar says of one sample.

    Attributes:
        crc32: checksum of the encoded image.
        label: index of the identity, -1 where unknown.
        name: where the image came from.
        targets_crc32: checksum of the stored bytes of its targets; None where the file has none.
    """

    crc32: int
    label: int
    name: str
    targets_crc32: int | None = None

    @property
    def claim(self) -> Claim:
        """What it says of the image."""
        return Claim(self.label, self.targets_crc32)

    def encode(self) -> bytes:
        """The line, with its end."""
        targets = "" if self.targets_crc32 is None else f"\t{self.targets_crc32:08x}"
        line = f"{self.crc32:08x}\t{self.label}\t{_escaped(self.name)}{targets}\n"
        return line.encode("utf-8", "surrogateescape")

    @classmethod
    def decode(cls, line: bytes) -> SampleLine:
        """The inverse of ``encode``.

        Raises:
            ValueError: the line is not of this form.
        """
        crc32, label, name, *targets = line.rstrip(b"\n").split(b"\t")
        if len(targets) > 1:
            raise ValueError(f"{3 + len(targets)} cells in a line")
        plain = name.decode("utf-8", "surrogateescape")
        if "\\" in plain:
            plain = _ESCAPED.sub(lambda m: _UNESCAPES.get(m[0], m[0]), plain)
        targets_crc32 = int(targets[0], 16) if targets else None
        return cls(crc32=int(crc32, 16), label=int(label), name=plain, targets_crc32=targets_crc32)


def tsv_line(*cells: str) -> bytes:
    """One line of tab-separated cells, whatever characters (or undecodable bytes of file names) they hold."""
    return "\t".join(map(_escaped, cells)).encode("utf-8", "surrogateescape") + b"\n"


def _escaped(cell: str) -> str:
    return _TO_ESCAPE.sub(lambda m: _ESCAPES[m[0]], cell)


class SampleLines:
    """Random access to the lines about the samples, holding one offset per block of lines in memory."""

    BLOCK = 1024

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _offsets(self) -> list[int]:
        offsets, offset = [0], 0
        with open(self._path, "rb") as file:
            while block := list(islice(file, self.BLOCK)):
                offset += sum(map(len, block))
                offsets.append(offset)
        return offsets

    def __getitem__(self, index: int) -> SampleLine:
        """The line of one sample.

        Raises:
            OSError, ValueError, IndexError: there is no such file, line or form.
        """
        block, skip = divmod(index, self.BLOCK)
        with open(self._path, "rb") as file:
            file.seek(self._offsets[block])
            line = next(islice(file, skip, None), None)
        if line is None:
            raise IndexError(index)
        return SampleLine.decode(line)

    def __iter__(self) -> Iterator[SampleLine]:
        """All lines in order; raises like ``__getitem__``."""
        with open(self._path, "rb") as file:
            yield from map(SampleLine.decode, file)
