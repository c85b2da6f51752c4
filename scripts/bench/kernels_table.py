"""What ``kernels.py`` counted, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from bench_report import table


def in_words(counts: Mapping[str, Counter[str]]) -> str:
    """Operations of each part of a step, and of all of it."""
    rows = [(part, f"{of_part.total():,}", _most(of_part)) for part, of_part in counts.items()]
    everything = sum(of_part.total() for of_part in counts.values())
    return table(("part", "operations", "most frequent"), [*rows, ("**all**", f"**{everything:,}**", "")])


def _most(counts: Counter[str]) -> str:
    return ", ".join(f"{number} {operation}" for operation, number in counts.most_common(6))
