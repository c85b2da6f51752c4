"""Another ``.beton``, of ours or of stock ffcv's."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from frl import store
from frl.beton import Beton
from frl.beton.layout import ImageMode
from frl.beton.manifest import SampleLine, SampleLines, home_of, samples_path
from frl.beton.outline import fetch_outline
from frl.beton.targets import TargetSpec
from frl.errors import SourceError, blame_machine
from frl.stored_file import StoredFile
from writers.reject import Reject
from writers.sources.labels import person
from writers.sources.source import Candidate

DIGITS = len(str(np.iinfo(np.int64).max))
"""Of a label without a name, in any file. As text, numbers of one length sort like numbers: labels keep their order."""


class BetonSamples:
    """The store of the samples of a ``.beton``; every process maps the file for itself.

    Attributes:
        location: the file.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    @cached_property
    def beton(self) -> Beton:
        """The open file.

        Raises:
            BetonError: if it is damaged.
        """
        return Beton(self.location)

    def place(self, index: int, crc32: int | None) -> int | tuple[int, int | None]:
        """What ``read`` and ``targets`` take for a sample; with the checksum of its targets, if there are any."""
        return (index, crc32) if self.beton.targets else index

    def lines(self) -> Iterator[SampleLine]:
        """What is said of each sample beside the file; raises like ``SampleLines``."""
        return iter(SampleLines(samples_path(self.beton.home)))

    def read(self, place: int | tuple[int, int | None]) -> bytes:
        """The encoded image; raw pixels, which stock ffcv may hold, become a BMP. See ``Store``."""
        place = place if isinstance(place, int) else place[0]
        data = self.beton.encoded(place)
        if self.beton.modes[place] == ImageMode.JPG:
            return data.tobytes()
        return _bitmap(data, self.beton.heights[place], self.beton.widths[place])

    def targets(self, place: int | tuple[int, int | None]) -> dict[str, NDArray[Any]]:
        """What is stored of a sample; see ``TargetStore``. A place may come with the checksum of this."""
        if isinstance(place, int):
            return {}
        index, crc32 = place
        if crc32 is not None and zlib.crc32(b"".join(self.beton.target_bytes(index))) != crc32:
            raise _damaged_targets(self.location)
        return self.beton.target_values(index)

    def __reduce__(self) -> tuple[type[BetonSamples], tuple[str]]:
        return type(self), (self.location,)


class SamplePlace(NamedTuple):
    """Where a sample lies in a file of an object store: all that a worker needs to know of it.

    Attributes:
        start, nbytes: of the encoded image.
        shape: height and width of raw pixels; None of a JPEG.
        targets: see ``Beton.target_places``.
        targets_crc32: their checksum, if it is known.
    """

    start: int
    nbytes: int
    shape: tuple[int, int] | None
    targets: tuple[int | float, ...]
    targets_crc32: int | None


class StoredSamples:
    """The store of the samples of a ``.beton`` in an object store: the tables are read once, by the process that lists
    the samples; those that read them ask for their bytes alone, an image and its targets by one request.

    Attributes:
        location: the file's address.
        version: which file it must be.
    """

    def __init__(self, version: StoredFile, specs: tuple[TargetSpec, ...] | None = None) -> None:
        self.location = version.where
        self.version = version
        self._given = specs
        self._last: tuple[SamplePlace | None, list[bytes]] = (None, [])

    @cached_property
    def beton(self) -> Beton:
        """The tables of the file.

        Raises:
            BetonError: if it is damaged.
            StoreError: if the store does not give them.
        """
        return fetch_outline(self.version)

    def place(self, index: int, crc32: int | None) -> SamplePlace:
        """What ``read`` and ``targets`` take for a sample."""
        beton = self.beton
        raw = beton.modes[index] != ImageMode.JPG
        shape = (int(beton.heights[index]), int(beton.widths[index])) if raw else None
        start, nbytes = int(beton.pointers[index]), int(beton.nbytes[index])
        return SamplePlace(start, nbytes, shape, beton.target_places(index), crc32)

    def lines(self) -> Iterator[SampleLine]:
        """What is said of each sample beside the file.

        Raises:
            ValueError: if a line is of another form, or they are not those of which the manifest knows.
            StoreError: if the store does not give them.
        """
        digest = hashlib.sha256()
        where = store.address(samples_path(self.location))
        with store.Reader(str(where)) as raw:
            for line in io.BufferedReader(raw):
                digest.update(line)
                yield SampleLine.decode(line)
        if self.beton.manifest is not None and digest.hexdigest() != self.beton.manifest.samples_sha256:
            raise ValueError("its lines are not those of the manifest")

    def read(self, place: SamplePlace) -> bytes:
        """The encoded image; raw pixels become a BMP. See ``Store``."""
        data = self._fetched(place)[0]
        return data if place.shape is None else _bitmap(np.frombuffer(data, np.uint8), *place.shape)

    def targets(self, place: SamplePlace) -> dict[str, NDArray[Any]]:
        """What is stored of a sample; see ``TargetStore``."""
        _, *stored = self._fetched(place)
        if stored and place.targets_crc32 is not None and zlib.crc32(b"".join(stored)) != place.targets_crc32:
            self.version.confirm()
            raise _damaged_targets(self.location)
        return {spec.name: spec.decode(data) for spec, data in zip(self._specs, stored, strict=True)}

    @property
    def _specs(self) -> tuple[TargetSpec, ...]:
        return self.beton.targets if self._given is None else self._given

    def _fetched(self, place: SamplePlace) -> list[bytes]:
        """The image, and what is stored of each target. The last is kept: who asks for the one asks for the other."""
        last, parts = self._last  # at once, for another thread may read another sample
        if last is not place:
            known = list(zip(self._specs, place.targets, strict=True))
            arrays = [(int(start), spec.nbytes) for spec, start in known if spec.shape]
            image, *fetched = self.version.read_ranges([(place.start, place.nbytes), *arrays])
            rest = iter(fetched)
            targets = [next(rest) if spec.shape else np.array(number, spec.dtype).tobytes() for spec, number in known]
            parts = [image, *targets]
            self._last = place, parts
        return parts

    def __reduce__(self) -> tuple[type[StoredSamples], tuple[StoredFile, tuple[TargetSpec, ...]]]:
        return type(self), (self.version, self._specs)


def _bitmap(data: NDArray[np.uint8], height: int, width: int) -> bytes:
    """Raw RGB pixels as a BMP."""
    stream = io.BytesIO()
    Image.fromarray(data.reshape(height, width, 3)).save(stream, "BMP")
    return stream.getvalue()


def _damaged_targets(location: str) -> Reject:
    return Reject(f"its targets differ from the checksum of {samples_path(home_of(location)).name}")


@dataclass(frozen=True)
class BetonFile:
    """The samples of a file, by the names and identities that its manifest keeps; else by their numbers and labels."""

    store: BetonSamples | StoredSamples

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """See ``TargetSource``."""
        return self.store.beton.targets

    def candidates(self) -> Iterator[Candidate]:
        """List the samples in their order; see ``Source``."""
        beton = self.store.beton
        identities = beton.manifest.identities if beton.manifest else None
        beside = samples_path(home_of(self.store.location))
        lines = store.address(beside) or beside
        try:
            for index, ((name, crc32), label) in enumerate(zip(self._lines(), beton.labels.tolist(), strict=True)):
                who = identities[label] if identities else f"{label:0{DIGITS}}"
                yield Candidate(name, self.store.place(index, crc32), None if label < 0 else person(who))
        except (OSError, ValueError, IndexError) as error:
            blame_machine(error, f"reading {lines}")
            cause, remedy = f"does not fit the file ({error})", "Restore it, or delete the manifest to go by numbers."
            raise SourceError(lines, cause, remedy) from error

    def _lines(self) -> Iterator[tuple[str, int | None]]:
        """Name, and checksum of the targets, of each sample."""
        beton = self.store.beton
        if beton.manifest is None:
            yield from ((f"{index:08}", None) for index in range(len(beton)))
        else:
            yield from ((line.name, line.targets_crc32) for line in self.store.lines())


def open_beton(path: str) -> BetonFile:
    """The source of a file, here or in an object store.

    Raises:
        StoreError: if a store does not know it.
    """
    address = store.address(path)
    return BetonFile(StoredSamples(StoredFile.now(address)) if address else BetonSamples(path))
