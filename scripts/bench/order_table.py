"""What ``order.py`` measured, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench_report import table

from pipelines.sampling.randomness import Randomness


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An epoch of a large file in page order.

    Attributes:
        order: in words.
        file_mb: size of the file.
        limit_mb: memory that the process could use; None: all of the machine's.
        images_per_s: images read a second.
        peak_mb: most of the file that was in memory.
    """

    order: str
    file_mb: int
    limit_mb: int | None
    images_per_s: float
    peak_mb: float


def of_randomness(found: Mapping[str, Mapping[str, Randomness]]) -> str:
    """A table for each kind of file, a row for each order."""
    head = ("order", "same identity", "same page", "distance")
    return "\n".join(f"\n{title}\n\n{table(head, map(_row, by.items()))}" for title, by in found.items())


def of_reading(reading: Reading) -> str:
    """The memory that an epoch holds."""
    head = ("order", "memory", "images/s read", "peak of resident file pages")
    memory = "all of this machine's" if reading.limit_mb is None else f"{reading.limit_mb} MB"
    row = (reading.order, memory, f"{reading.images_per_s:,.0f}", f"{reading.peak_mb:.0f} MB")
    return f"\na file of {reading.file_mb} MB, read once\n\n{table(head, [row])}"


def _row(of_order: tuple[str, Randomness]) -> tuple[str, ...]:
    name, found = of_order
    return name, *(f"{figure:.2f}" for figure in (found.same_identity, found.same_page, found.distance))
