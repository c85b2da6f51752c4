"""The images of a source as a data set, where they are: what ``frl write`` would store of each, made when it is read.

Same listing, same order, same labels, same square, same bytes: without copies and damage among the images, a run on a
folder is the run on the ``.beton`` that ``frl write`` makes of it. What only a file can do is left to it: to look for
faces, to drop copies, to keep targets and checksums, to be read by pages.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from frl.beton.layout import ImageMode
from frl.beton.targets import TargetSpec
from frl.errors import SourceError, explained
from frl.images.photo import Photo, UnusableImage
from frl.machine import cores
from writers.config import WriteConfig, crop_spec
from writers.image.crop import Face, FaceCropper, crop_square, refuse_misplaced
from writers.item_list import choose
from writers.items import Item, label_identities
from writers.reject import Reject
from writers.sources import Source, Stream, open_sources
from writers.sources.join import accounts
from writers.sources.skipped import total
from writers.sources.unread import Remarking
from writers.targets import Targets, find_targets

SHOWN = 3
"""Images that cannot be used, named in a message."""


class Header(NamedTuple):
    """What the header of a usable image says of its sample."""

    side_y: int
    side_x: int
    nbytes: int
    central: bool


class InPlace:
    """The images of a source, as an engine reads them; threads may share it.

    Args:
        text: the source, as ``frl write`` takes it.

    Attributes:
        path: the source, for messages.
        heights, widths: (N,) uint16, pixels of the samples.
        modes: (N,) uint8, all JPEG.
        labels: (N,) int64, -1 where unknown.
        targets: none.
        nbytes: of all images.
        fingerprint: SHA-256 of the names, the labels and the sizes, for telling two data sets apart.
        rejects: why images are left out, by their names.
        central: how many are central squares of images that are none.
        remarks: what of the data is not used, or only in part, a line each.

    Raises:
        SourceError: if the source is absent, holds no usable image, or can only be read from front to back.
    """

    modes: NDArray[np.uint8]
    targets: tuple[TargetSpec, ...] = ()

    def __init__(self, text: str) -> None:
        config = WriteConfig(sources=(text,), out=Path("unwritten.beton"))
        self.path = text
        self._spec = crop_spec(config)
        self._threads = threading.local()
        warnings.filterwarnings("ignore", module=r"PIL\.")  # of odd metadata, once for every image
        sources = open_sources(config.sources)
        self._stores = {name: _any_order(text, source) for name, source in sources.items()}
        self._known_targets = Targets(find_targets(sources))
        chosen = list(choose(sources, config))
        joins = accounts(sources.values())
        self.remarks = [str(account) for account in joins if not account.complete]
        for source in sources.values():
            if isinstance(source, Remarking):
                self.remarks += source.remarks()
        if skipped := total(source.store for source in sources.values()):
            self.remarks.append(f"{text}: skipped, and not among its images: {skipped}")
        labels = label_identities(chosen)
        self.rejects: dict[str, str] = {}
        self._items: list[Item] = []
        headers: list[Header] = []
        for item, header in zip(chosen, self._headers(chosen), strict=True):
            if isinstance(header, Header):
                self._items.append(item)
                headers.append(header)
            else:
                self.rejects[item.name] = header
        if not headers:
            raise SourceError(text, f"no image of it can be used: {self.left_out}", "Give another one.")
        columns = np.array([header[:3] for header in headers], np.int64)
        self.heights, self.widths = (columns[:, i].astype(np.uint16) for i in (0, 1))
        self.modes = np.full(len(headers), ImageMode.JPG, np.uint8)
        self.labels = np.array([-1 if i.identity is None else labels[i.identity] for i in self._items], np.int64)
        self.nbytes = int(columns[:, 2].sum())
        self.central = sum(header.central for header in headers)
        self.fingerprint = self._fingerprint(columns)
        self._as_it_is = np.zeros(len(headers), bool)  # known to be whole, and to need nothing

    def __len__(self) -> int:
        return len(self._items)

    @property
    def max_side(self) -> int:
        """The largest height or width, in pixels."""
        return int(max(self.heights.max(), self.widths.max()))

    @property
    def left_out(self) -> str:
        """What is left out and why, in words; empty if nothing is."""
        if not self.rejects:
            return ""
        named = "; ".join(f"{name}: {why}" for name, why in list(self.rejects.items())[:SHOWN])
        return f"{len(self.rejects):,} images ({named}{'; ...' if len(self.rejects) > SHOWN else ''})"

    def encoded(self, index: int) -> NDArray[np.uint8]:
        """The ``(nbytes,)`` uint8 JPEG that ``frl write`` would store. The first time it is read, it is checked.

        Raises:
            IndexError: there is no such sample.
            UnusableImage: the image is damaged, or no longer what it was.
            MachineError: the disk fails.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has no sample {index}: it holds {len(self)}")
        item = self._items[index]
        try:
            data = self._read(item)
            if self._as_it_is[index]:
                return np.frombuffer(data, np.uint8)
            face = self._sample(item, data)
        except Reject as reject:
            raise UnusableImage(str(reject)) from reject
        if (face.height, face.width) != (self.heights[index], self.widths[index]):
            raise UnusableImage("it is no longer the image that was listed")
        self._as_it_is[index] = face.untouched
        return np.frombuffer(face.data, np.uint8)

    def target(self, name: str, samples: Sequence[int] | NDArray[np.integer]) -> NDArray[Any]:
        """There are none.

        Raises:
            KeyError: always.
        """
        raise KeyError(f"{self.path} has no target {name!r}: write a .beton, which keeps them")

    def name(self, index: int) -> str:
        """The sample as people should see it."""
        return self._items[index].name

    def close(self) -> None:
        """Nothing is open between two reads."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _headers(self, items: Sequence[Item]) -> Iterator[Header | str]:
        """What the header of each image says, or why it cannot be used."""
        with ThreadPoolExecutor(4 * cores()) as threads:  # they wait for the disk
            yield from threads.map(self._header, items)

    def _header(self, item: Item) -> Header | str:
        try:
            data = self._read(item)
            photo = self._cropper.open(data)
            box = item.candidate.box
            self._refuse_misplaced(photo, item)
            side = min(crop_square(photo.width, photo.height, box, self._spec.margin).side, self._spec.size)
            return Header(side, side, len(data), box is None and photo.width != photo.height)
        except (Reject, UnusableImage) as reject:
            return str(reject)

    def _read(self, item: Item) -> bytes:
        if item.candidate.fault:
            raise Reject(item.candidate.fault)
        try:
            return self._stores[item.source].read(item.candidate.place)
        except OSError as error:
            raise explained(error, f"reading {item.name}") from error

    def _sample(self, item: Item, data: bytes) -> Face:
        photo = self._cropper.open(data)
        self._refuse_misplaced(photo, item)
        return self._cropper(photo, item.candidate.box)

    def _refuse_misplaced(self, photo: Photo, item: Item) -> None:
        """Leave out what ``frl write`` rejects, though the targets are not kept here."""
        known = item.candidate
        refuse_misplaced(photo.width, photo.height, known.box, known.points)
        self._known_targets.refuse_misplaced(photo.width, photo.height, known.targets)

    @property
    def _cropper(self) -> FaceCropper:
        """This thread's own."""
        if not hasattr(self._threads, "cropper"):
            self._threads.cropper = FaceCropper(self._spec)
        return self._threads.cropper

    def _fingerprint(self, columns: NDArray[np.int64]) -> str:
        digest = hashlib.sha256(repr(self._spec).encode())
        for item, label, row in zip(self._items, self.labels.tolist(), columns.tolist(), strict=True):
            digest.update(repr((item.name, label, row, item.candidate.box)).encode())
        return digest.hexdigest()

    def __reduce__(self) -> tuple[type[InPlace], tuple[str]]:
        return type(self), (self.path,)


def _any_order(text: str, source: Source) -> Any:
    """The store of a source whose images can be read one by one."""
    if isinstance(source.store, Stream):
        cause = "can only be read from front to back"
        raise SourceError(text, cause, f"Write it once: frl write {text} --out faces.beton.")
    return source.store
