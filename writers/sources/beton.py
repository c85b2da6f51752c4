"""Another ``.beton``, of ours or of stock ffcv's."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from PIL import Image

from frl.beton import Beton
from frl.beton.layout import ImageMode
from frl.beton.manifest import SampleLines, samples_path
from frl.errors import SourceError
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

    def read(self, place: int) -> bytes:
        """The encoded image; raw pixels, which stock ffcv may hold, become a BMP. See ``Store``."""
        data = self.beton.encoded(place)
        if self.beton.modes[place] == ImageMode.JPG:
            return data.tobytes()
        pixels = data.reshape(self.beton.heights[place], self.beton.widths[place], 3)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "BMP")
        return stream.getvalue()

    def __reduce__(self) -> tuple[type[BetonSamples], tuple[str]]:
        return type(self), (self.location,)


@dataclass(frozen=True)
class BetonFile:
    """The samples of a file, by the names and identities that its manifest keeps; else by their numbers and labels."""

    store: BetonSamples

    def candidates(self) -> Iterator[Candidate]:
        """List the samples in their order; see ``Source``."""
        beton = self.store.beton
        identities = beton.manifest.identities if beton.manifest else None
        digits = len(str(beton.labels.max()))
        try:
            for index, (name, label) in enumerate(zip(self._names(), beton.labels.tolist(), strict=True)):
                # As text, numbers of one length sort like numbers: labels keep their order.
                who = identities[label] if identities else f"{label:0{digits}}"
                yield Candidate(name, index, None if label < 0 else person(who))
        except (OSError, ValueError, IndexError) as error:
            cause, remedy = f"does not fit the file ({error})", "Restore it, or delete the manifest to go by numbers."
            raise SourceError(samples_path(beton.path), cause, remedy) from error

    def _names(self) -> Iterator[str]:
        beton = self.store.beton
        if beton.manifest is None:
            yield from (f"{index:08}" for index in range(len(beton)))
        else:
            yield from (line.name for line in SampleLines(samples_path(beton.path)))
