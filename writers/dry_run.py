"""The target of ``--dry-run``: it takes what a ``BetonWriter`` takes, and writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

from numpy.typing import ArrayLike

from frl.beton.manifest import SampleLine


class DryRun:
    """Counts what would be written.

    Attributes:
        done: tasks done by an earlier run: none.
        counts: what the caller counts.
        nbytes: of all samples; the file would be a little larger.
    """

    done = 0

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.nbytes = 0

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
    ) -> None:
        """Take in a sample."""
        self.nbytes += len(encoded)

    def reject(self, name: str, reason: str) -> None:
        """Take in an image that is left out: the caller counts it."""

    def commit(self, done: int) -> None:
        """There is nothing to keep."""

    def stored(self) -> Iterator[tuple[bytes, SampleLine]]:
        """What an earlier run left: nothing."""
        return iter(())
