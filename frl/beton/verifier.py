"""Verifying a ``.beton``: its structure, its manifest and, on request, every image."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path

from frl.beton.layout import ImageMode
from frl.beton.manifest import ContentHash, Manifest, SampleLine, SampleLines, manifest_path, samples_path
from frl.beton.reader import Beton
from frl.beton.samples import lines_fault, targets_fault
from frl.images import sample
from frl.machine import cores

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


def verify(
    path: str | os.PathLike[str],
    deep: bool = False,
    workers: int = 0,
    against: str | os.PathLike[str] | None = None,
) -> Report:
    """Check a ``.beton``.

    Args:
        path: the file.
        deep: whether to read every image too: compare its checksum and decode it.
        workers: threads for that; 0: one per core.
        against: another manifest, whose content the file should have, whatever its layout.

    Raises:
        BetonError: the structure is damaged, so that nothing else can be checked, or ``against`` is no manifest.
    """
    expected = None if against is None else Manifest.read(against)
    with Beton(path) as beton:
        checked, unchecked, faults = ["structure"], [], []
        if beton.manifest is None:
            unchecked.append(f"metadata: there is no {manifest_path(beton.home).name}")
        else:
            checked.append("metadata against the manifest")
            faults += _manifest_faults(beton)
        count = len(faults)
        stated = beton.manifest.content_sha256 if beton.manifest is not None else None
        content = stated
        if deep:
            lines, reason = _sample_lines(beton)
            if lines is None:
                unchecked.append(f"changed bytes in images that still decode: {reason}")
            else:
                checked.append("checksum of every image")
                if beton.targets:
                    checked.append("checksum of every sample's targets")
            checked.append("decoding of every JPEG")
            stored = beton.manifest
            digest = ContentHash(stored.identities, stored.targets) if stored is not None else ContentHash(None)
            for found in _image_faults(beton, lines, digest, workers or cores()):
                count += len(found)
                faults += found[: max(0, MAX_FAULTS - len(faults))]
            if stated is not None and lines is not None:
                content = digest.hexdigest()
                if content != stated and not count:
                    faults.append(f"{manifest_path(beton.home).name}: states another content hash than the images have")
                    count += 1
        else:
            unchecked.append("images: a deep verification was not asked for")
        if expected is not None:
            checked.append(f"content against {against}")
            difference = _difference(beton, content, expected)
            count += len(difference)
            faults += difference
        return Report(
            path=beton.path,
            samples=len(beton),
            nbytes=beton.data.size,
            checked=tuple(checked),
            unchecked=tuple(unchecked),
            faults=tuple(faults),
            fault_count=count,
        )


def _difference(beton: Beton, content: str | None, expected: Manifest) -> list[str]:
    """How a file differs from another manifest, most telling first; at most one line."""
    if content and expected.content_sha256:
        same = content == expected.content_sha256
    else:
        same = beton.fingerprint == expected.fingerprint
    if same:
        return []
    if len(beton) != expected.samples:
        return [f"it holds {len(beton)} samples, {expected.samples} were expected"]
    if beton.manifest is None or content is None or expected.content_sha256 is None:
        return ["its metadata are not those expected; whether only the layout differs, the manifests do not say"]
    if beton.manifest.identities != expected.identities:
        return ["its identities are not those expected"]
    if beton.manifest.targets != expected.targets:
        return ["its targets are not those expected"]
    return [f"its content is {content[:16]}..., {expected.content_sha256[:16]}... was expected"]


def _manifest_faults(beton: Beton) -> list[str]:
    """Where the manifest disagrees with the file or with the lines about the samples."""
    manifest = beton.manifest
    assert manifest is not None
    faults = []
    stated, actual = (manifest.samples, manifest.bytes), (len(beton), beton.data.size)
    if stated != actual:
        faults.append(f"{manifest_path(beton.home).name}: states {stated} samples and bytes, the file has {actual}")
    if fault := lines_fault(beton, manifest):
        faults.append(fault)
    return faults


def _sample_lines(beton: Beton) -> tuple[SampleLines | None, str]:
    """The lines that the writer noted, if they are whole, or None and the reason."""
    path = samples_path(beton.home)
    lines = SampleLines(path)
    try:
        count = sum(1 for _ in lines)
    except OSError as error:
        return None, f"{path.name} cannot be read ({error.strerror})"
    except ValueError:
        return None, f"{path.name} is damaged"
    if count != len(beton):
        return None, f"{path.name} has {count} lines for {len(beton)} samples"
    return lines, ""


def _image_faults(beton: Beton, lines: SampleLines | None, content: ContentHash, workers: int) -> Iterator[list[str]]:
    """The faults of each chunk of samples, in order, which is also fed to ``content``.

    Few chunks are in flight, and TurboJPEG decodes without the GIL.
    """
    source = iter(lines) if lines is not None else repeat(None)
    chunks = ((first, list(islice(source, min(CHUNK, len(beton) - first)))) for first in range(0, len(beton), CHUNK))
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[tuple[list[str], list[tuple[bytes, bytes, bytes]]]]] = deque()
        for first, known in islice(chunks, 2 * workers):
            pending.append(pool.submit(_chunk_faults, beton, first, known))
        while pending:
            faults, contents = pending.popleft().result()
            for image_sha256, line, targets in contents:
                content.add(image_sha256, line, targets)
            yield faults
            for first, known in islice(chunks, 1):
                pending.append(pool.submit(_chunk_faults, beton, first, known))


def _chunk_faults(
    beton: Beton, first: int, lines: Sequence[SampleLine | None]
) -> tuple[list[str], list[tuple[bytes, bytes, bytes]]]:
    """The faults of some samples; and of each the SHA-256, the line and the stored bytes of the targets."""
    faults, contents = [], []
    sidecar = samples_path(beton.home).name
    for i, line in enumerate(lines, first):
        encoded = beton.encoded(i)
        image_sha256, targets = hashlib.sha256(encoded.data).digest(), b"".join(beton.target_bytes(i))
        contents.append((image_sha256, line.encode() if line is not None else b"", targets))
        if line is not None and zlib.crc32(encoded.data) != line.crc32:
            faults.append(f"{beton.name(i)}: its bytes differ from the checksum of {sidecar}")
        elif line is not None and line.label != beton.labels[i]:
            faults.append(f"{beton.name(i)}: its label is {beton.labels[i]}, in {sidecar} {line.label}")
        elif line is not None and (fault := targets_fault(beton, i, line)):
            faults.append(fault)
        elif beton.modes[i] == ImageMode.JPG:
            fault = sample.fault(encoded, int(beton.heights[i]), int(beton.widths[i]))
            if fault is not None:
                faults.append(f"{beton.name(i)}: {fault}")
    return faults, contents
