"""The samples of a ``.beton`` one after the other, each compared with its checksum before it is handed out."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.beton.layout import ImageMode
from frl.beton.manifest import Manifest, SampleLine, SampleLines, manifest_path, samples_path
from frl.beton.reader import Beton
from frl.beton.validation import FETCH_AGAIN
from frl.errors import BetonError, blame_machine


@dataclass(frozen=True)
class StoredSample:
    """One sample.

    Attributes:
        index: its number in the file.
        encoded: (n,) uint8, the JPEG, or raw RGB pixels if ``raw``; a view into the mapped file.
        height, width: in pixels.
        label: index of its identity, -1 where unknown.
        identity: the name of the identity: the label's number where the writer left no names; None where unknown.
        name: where it came from: its number where the writer left no name.
        raw: whether ``encoded`` are pixels, as stock ffcv may store them.
        targets: what else is stored of it, by name.
    """

    index: int
    encoded: np.ndarray
    height: int
    width: int
    label: int
    identity: str | None
    name: str
    raw: bool
    targets: dict[str, NDArray[Any]]


def stored_samples(beton: Beton) -> Iterator[StoredSample]:
    """All samples in order.

    Raises:
        BetonError: naming the sample whose bytes are not those that were written, or the sidecar that is damaged.
    """
    for index, line in zip(range(len(beton)), _lines(beton), strict=False):
        encoded, label = beton.encoded(index), int(beton.labels[index])
        if line is not None and zlib.crc32(encoded.data) != line.crc32:
            cause = f"{beton.name(index)}: its bytes differ from the checksum of {samples_path(beton.home).name}"
            raise BetonError(beton.path, cause, f"{FETCH_AGAIN}.")
        if line is not None and (fault := targets_fault(beton, index, line)):
            raise BetonError(beton.path, fault, f"{FETCH_AGAIN}.")
        yield StoredSample(
            index=index,
            encoded=encoded,
            height=int(beton.heights[index]),
            width=int(beton.widths[index]),
            label=label,
            identity=identity_name(beton, label),
            name=f"{index:08d}" if line is None else line.name,
            raw=beton.modes[index] == ImageMode.RAW,
            targets=beton.target_values(index),
        )


def lines_fault(beton: Beton, manifest: Manifest) -> str | None:
    """Why the lines about the samples cannot be trusted, or None: they are those whose digest the manifest holds."""
    path = samples_path(beton.home)
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    if digest != manifest.samples_sha256:
        return f"{path.name} differs from the digest in {manifest_path(beton.home).name}"
    return None


def targets_fault(beton: Beton, index: int, line: SampleLine) -> str | None:
    """How a sample's targets differ from its line, or None."""
    if not beton.targets or (line.targets_crc32 is None and beton.manifest is None):
        return None
    if line.targets_crc32 == zlib.crc32(b"".join(beton.target_bytes(index))):
        return None
    names = ", ".join(spec.name for spec in beton.targets)
    return f"{beton.name(index)}: its targets ({names}) differ from the checksum of {samples_path(beton.home).name}"


def identity_name(beton: Beton, label: int) -> str | None:
    """Who it is, as ``StoredSample.identity``."""
    identities = beton.manifest.identities if beton.manifest is not None else None
    if label < 0:
        return None
    return identities[label] if identities is not None and label < len(identities) else str(label)


def _lines(beton: Beton) -> Iterator[SampleLine | None]:
    """The line of each sample, or None where the file has no manifest, as those of stock ffcv."""
    if beton.manifest is None:
        yield from repeat(None, len(beton))
        return
    sidecar = samples_path(beton.home)
    try:
        lines = iter(SampleLines(sidecar))
        for index in range(len(beton)):
            if (line := next(lines, None)) is None:
                raise ValueError(f"{index} lines for {len(beton)} samples")
            yield line
    except (OSError, ValueError) as error:
        blame_machine(error, f"reading {sidecar}")
        remedy = f"Restore it, or delete {manifest_path(beton.home).name} to do without names and checksums."
        raise BetonError(sidecar, f"is missing or damaged ({error})", remedy) from error
