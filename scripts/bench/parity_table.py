"""What ``parity.py`` measured, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench_report import table


@dataclass(frozen=True)
class Difference:
    """Of some crops, in grey levels; ``large``: the share of values that differ by more than two."""

    mean: float
    max: float
    large: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} / {self.max:.0f}"


def in_words(result: Mapping[str, Mapping[str, Difference]]) -> str:
    """Mean / max of the differences: a row for what is compared, a column for each engine."""
    names = list(next(iter(result.values())))
    rows = ([row, *(str(by_engine[name]) for name in names)] for row, by_engine in result.items())
    return table(["mean / max, grey levels", *names], rows)
