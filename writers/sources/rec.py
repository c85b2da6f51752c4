"""Training sets of insightface: a folder with ``train.rec`` and ``train.idx``, or a ``.rec`` (see ``recordio.py``)."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from PIL import Image, UnidentifiedImageError

from frl.errors import SourceError, blame_machine
from frl.tasks.layouts.recordio import BrokenRecord, RecordFile
from writers.reject import Reject
from writers.sources.labels import person
from writers.sources.source import Candidate

RECORDS = "train.rec"


class Records:
    """The store of the images of a ``.rec``; every process opens the file for itself.

    Attributes:
        location: the file.
        swapped: whether red and blue are in each other's place, as in MS1MV3.
    """

    def __init__(self, location: str, swapped: bool = False) -> None:
        self.location = location
        self.swapped = swapped

    @cached_property
    def file(self) -> RecordFile:
        """The open file.

        Raises:
            SourceError: if it is none.
        """
        return RecordFile(self.location)

    def read(self, place: int) -> bytes:
        """The encoded image of the record that begins at a byte; see ``Store``."""
        try:
            image = self.file.image(place)
        except BrokenRecord as error:
            raise Reject(f"its record is damaged: {error}") from error
        return swap(image) if self.swapped and image else image

    def __reduce__(self) -> tuple[type[Records], tuple[str, bool]]:
        return type(self), (self.location, self.swapped)


@dataclass(frozen=True)
class Rec:
    """The images of a ``.rec`` by the numbers of their records; who is on one is its first label."""

    store: Records

    def candidates(self) -> Iterator[Candidate]:
        """List the images; see ``Source``. Of each the header is read."""
        for number, begin in self.store.file.images():
            name = f"{number:08}"
            try:
                yield Candidate(name, begin, person(self.store.file.header(begin).labels[0]))
            except BrokenRecord as error:
                yield Candidate(name, begin, fault=f"its record is damaged: {error}")
            except ValueError as error:
                yield Candidate(name, begin, fault=str(error))

    def remarks(self) -> Iterator[str]:
        """Which verification sets lie beside the records; see ``Remarking``."""
        folder = os.path.dirname(self.store.location)
        sets = sorted(name for name in os.listdir(folder) if name.endswith(".bin"))
        if sets:
            yield f"{folder}: {', '.join(sets)} not read; frl evaluate verification --protocol bin reads them"


def open_rec(path: str, swapped: bool = False) -> Rec:
    """The records of a folder's ``train.rec``, or of a file.

    Raises:
        SourceError: if there are none.
    """
    location = os.path.join(path, RECORDS) if os.path.isdir(path) else path
    if not os.path.exists(location):
        raise SourceError(path, f"has no {RECORDS}", "Give the folder of insightface's train.rec and train.idx.")
    return Rec(Records(location, swapped))


def swap(data: bytes) -> bytes:
    """An encoded image with red and blue exchanged, as a PNG: without loss.

    Raises:
        Reject: if it is none.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            red, green, blue = image.convert("RGB").split()
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        blame_machine(error, "exchanging red and blue")
        raise Reject(f"cannot be decoded: {error}") from error
    stream = io.BytesIO()
    Image.merge("RGB", (blue, green, red)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
