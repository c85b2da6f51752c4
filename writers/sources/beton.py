"""Another ``.beton``, of ours or of stock ffcv's."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from frl.beton import Beton
from frl.beton.layout import ImageMode
from frl.beton.manifest import SampleLines, samples_path
from frl.beton.targets import TargetSpec
from frl.errors import SourceError, blame_machine
from writers.reject import Reject
from writers.sources.labels import person
from writers.sources.source import Candidate


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

    def read(self, place: int | tuple[int, int | None]) -> bytes:
        """The encoded image; raw pixels, which stock ffcv may hold, become a BMP. See ``Store``."""
        place = place if isinstance(place, int) else place[0]
        data = self.beton.encoded(place)
        if self.beton.modes[place] == ImageMode.JPG:
            return data.tobytes()
        pixels = data.reshape(self.beton.heights[place], self.beton.widths[place], 3)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "BMP")
        return stream.getvalue()

    def targets(self, place: int | tuple[int, int | None]) -> dict[str, NDArray[Any]]:
        """What is stored of a sample; see ``TargetStore``. A place may come with the checksum of this."""
        if isinstance(place, int):
            return {}
        index, crc32 = place
        if crc32 is not None and zlib.crc32(b"".join(self.beton.target_bytes(index))) != crc32:
            raise Reject(f"its targets differ from the checksum of {samples_path(self.beton.path).name}")
        return self.beton.target_values(index)

    def __reduce__(self) -> tuple[type[BetonSamples], tuple[str]]:
        return type(self), (self.location,)


@dataclass(frozen=True)
class BetonFile:
    """The samples of a file, by the names and identities that its manifest keeps; else by their numbers and labels."""

    store: BetonSamples

    @property
    def targets(self) -> tuple[TargetSpec, ...]:
        """See ``TargetSource``."""
        return self.store.beton.targets

    def candidates(self) -> Iterator[Candidate]:
        """List the samples in their order; see ``Source``."""
        beton = self.store.beton
        identities = beton.manifest.identities if beton.manifest else None
        digits = len(str(beton.labels.max()))
        try:
            for index, ((name, crc32), label) in enumerate(zip(self._lines(), beton.labels.tolist(), strict=True)):
                # As text, numbers of one length sort like numbers: labels keep their order.
                who = identities[label] if identities else f"{label:0{digits}}"
                place = (index, crc32) if beton.targets else index
                yield Candidate(name, place, None if label < 0 else person(who))
        except (OSError, ValueError, IndexError) as error:
            blame_machine(error, f"reading {samples_path(beton.path)}")
            cause, remedy = f"does not fit the file ({error})", "Restore it, or delete the manifest to go by numbers."
            raise SourceError(samples_path(beton.path), cause, remedy) from error

    def _lines(self) -> Iterator[tuple[str, int | None]]:
        """Name, and checksum of the targets, of each sample."""
        beton = self.store.beton
        if beton.manifest is None:
            yield from ((f"{index:08}", None) for index in range(len(beton)))
        else:
            yield from ((line.name, line.targets_crc32) for line in SampleLines(samples_path(beton.path)))
