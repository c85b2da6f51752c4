"""What ``train.py`` measured, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench_report import table


@dataclass(frozen=True, kw_only=True)
class Row:
    """One part: images a second, the same as a share of the reference step's, and the most memory it held."""

    name: str
    images_per_s: float
    of_reference: float
    memory_gib: float | None


def in_words(rows: Sequence[Row]) -> str:
    """The figures as Markdown, and what follows from them."""
    head = ("part", "images/s", "of the reference step", "memory, GiB")
    return "\n\n".join([table(head, map(_cells, rows)), _verdict(rows)])


def _cells(row: Row) -> tuple[str, ...]:
    decimals = 0 if row.images_per_s > 100 else 1
    memory = "-" if row.memory_gib is None else f"{row.memory_gib:.1f}"
    return row.name, f"{row.images_per_s:,.{decimals}f}", f"{row.of_reference:.2f}", memory


def _verdict(rows: Sequence[Row]) -> str:
    speed = {row.name: row.images_per_s for row in rows}
    kept = speed["loader and step"] / speed["step"]
    bound = "the loader" if speed["loader"] < speed["step"] else "the step"
    memory = " Memory that CUDA graphs keep is not counted." if any(row.memory_gib is not None for row in rows) else ""
    return f"With the data attached, {kept:.0%} of the step alone; bound by {bound}.{memory}"
