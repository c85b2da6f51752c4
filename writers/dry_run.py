"""The target of ``--dry-run``: it takes what a ``BetonWriter`` takes, and writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from frl.beton.layout import ALLOCATION
from frl.beton.ledger import first_page, place
from frl.beton.manifest import SampleLine
from frl.beton.schema import Schema
from frl.beton.targets import TargetSpec
from frl.beton.writer import PAGE_SIZE


class DryRun:
    """Counts what would be written.

    Args:
        capacity, targets: as a ``BetonWriter``'s.

    Attributes:
        done, lost: what an earlier run has done: nothing.
        counts: what the caller counts.
    """

    done = 0
    lost = None

    def __init__(self, capacity: int, targets: Sequence[TargetSpec] = ()) -> None:
        self.counts: Counter[str] = Counter()
        self._schema = Schema(tuple(targets))
        self._position = first_page(self._schema, capacity, PAGE_SIZE)
        self._samples = 0
        self._labels: set[int] = set()

    @property
    def samples(self) -> int:
        """Samples taken in up to now."""
        return self._samples

    @property
    def people(self) -> int:
        """How many people are on them."""
        return len(self._labels)

    @property
    def nbytes(self) -> int:
        """The size of the file: metadata, pages and the allocation table."""
        return self._position + self._samples * self._schema.entries * ALLOCATION.itemsize

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def append(
        self,
        encoded: bytes,
        height: int,
        width: int,
        label: int,
        name: str,
        targets: Mapping[str, ArrayLike] | None = None,
        sha256: bytes | None = None,
    ) -> None:
        """Take in a sample."""
        nbytes = len(encoded) + self._schema.tail
        self._position = place(self._position, nbytes, PAGE_SIZE) + nbytes
        self._samples += 1
        if label >= 0:
            self._labels.add(label)

    def reject(self, name: str, reason: str) -> None:
        """Take in an image that is left out: the caller counts it."""

    def commit(self, done: int) -> None:
        """There is nothing to keep."""

    def keep(self) -> None:
        """There is nothing to keep."""

    def forget(self) -> None:
        """There is nothing to forget."""

    def stored(self) -> Iterator[tuple[bytes, SampleLine]]:
        """What an earlier run left: nothing."""
        return iter(())
