"""Verifying a ``.beton``: its structure, its manifest and, on request, every image."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from frl.beton import jpeg
from frl.beton.layout import ImageMode
from frl.beton.manifest import SampleLines, manifest_path, samples_path
from frl.beton.reader import Beton

MAX_FAULTS = 100
CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of a verification.

    Attributes:
        path: the file.
        samples: number of samples.
        nbytes: size of the file.
        checked: what was checked, in words.
        unchecked: what was not, and why.
        faults: what is wrong, naming the sample or the file; at most ``MAX_FAULTS``.
        fault_count: how many faults there are.
    """

    path: Path
    samples: int
    nbytes: int
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]
    faults: tuple[str, ...]
    fault_count: int

    @property
    def ok(self) -> bool:
        """Whether no fault was found."""
        return self.fault_count == 0


def verify(path: str | os.PathLike[str], deep: bool = False, workers: int = 0) -> Report:
    """Check a ``.beton``.

    Args:
        path: the file.
        deep: whether to read every image too: compare its checksum and decode it.
        workers: threads for that; 0: one per core.

    Raises:
        BetonError: the structure is damaged, so that nothing else can be checked.
    """
    with Beton(path) as beton:
        checked, unchecked, faults = ["structure"], [], []
        if beton.manifest is None:
            unchecked.append(f"metadata: there is no {manifest_path(beton.path).name}")
        else:
            checked.append("metadata against the manifest")
            faults += _manifest_faults(beton)
        checksums = None
        if deep:
            checksums, reason = _checksums(beton)
            if checksums is None:
                unchecked.append(f"changed bytes in images that still decode: {reason}")
            else:
                checked.append("checksum of every image")
            checked.append("decoding of every JPEG")
        else:
            unchecked.append("images: a deep verification was not asked for")
        count = len(faults)
        for found in _image_faults(beton, checksums, workers or os.cpu_count() or 1) if deep else ():
            count += len(found)
            faults += found[: max(0, MAX_FAULTS - len(faults))]
        return Report(
            path=beton.path,
            samples=len(beton),
            nbytes=beton.data.size,
            checked=tuple(checked),
            unchecked=tuple(unchecked),
            faults=tuple(faults),
            fault_count=count,
        )


def _manifest_faults(beton: Beton) -> list[str]:
    """Where the manifest disagrees with the file or with the lines about the samples."""
    manifest, lines = beton.manifest, samples_path(beton.path)
    assert manifest is not None
    faults = []
    stated, actual = (manifest.samples, manifest.bytes), (len(beton), beton.data.size)
    if stated != actual:
        faults.append(f"{manifest_path(beton.path).name}: states {stated} samples and bytes, the file has {actual}")
    try:
        with open(lines, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        faults.append(f"{lines.name}: cannot be read ({error.strerror})")
    else:
        if digest != manifest.samples_sha256:
            faults.append(f"{lines.name}: differs from the digest in {manifest_path(beton.path).name}")
    return faults


def _checksums(beton: Beton) -> tuple[np.ndarray | None, str]:
    """The (N,) int64 checksums that the writer noted, or None and the reason."""
    path = samples_path(beton.path)
    try:
        checksums = np.fromiter((line.crc32 for line in SampleLines(path)), np.int64)
    except OSError as error:
        return None, f"{path.name} cannot be read ({error.strerror})"
    except (ValueError, OverflowError):
        return None, f"{path.name} is damaged"
    if len(checksums) != len(beton):
        return None, f"{path.name} has {len(checksums)} lines for {len(beton)} samples"
    return checksums, ""


def _image_faults(beton: Beton, checksums: np.ndarray | None, workers: int) -> Iterator[list[str]]:
    """The faults of each chunk of samples, in order; few chunks are in flight, and OpenCV decodes without the GIL."""
    chunks = iter(range(0, len(beton), CHUNK))
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[list[str]]] = deque()
        for first in islice(chunks, 2 * workers):
            pending.append(pool.submit(_chunk_faults, beton, checksums, first))
        while pending:
            yield pending.popleft().result()
            for first in islice(chunks, 1):
                pending.append(pool.submit(_chunk_faults, beton, checksums, first))


def _chunk_faults(beton: Beton, checksums: np.ndarray | None, first: int) -> list[str]:
    faults = []
    for i in range(first, min(first + CHUNK, len(beton))):
        encoded = beton.encoded(i)
        if checksums is not None and zlib.crc32(encoded.data) != checksums[i]:
            faults.append(f"{beton.name(i)}: its bytes differ from the checksum of {samples_path(beton.path).name}")
        elif beton.modes[i] == ImageMode.JPG:
            fault = jpeg.fault(encoded, int(beton.heights[i]), int(beton.widths[i]))
            if fault is not None:
                faults.append(f"{beton.name(i)}: {fault}")
    return faults
