"""What ``writer.py`` measured, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Writers on the same images, taking turns.

    Attributes:
        title: what is done to the images.
        images: how many there are.
        seconds: of every round, by writer; ours is the first.
    """

    title: str
    images: int
    seconds: Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peaks of our command in megabytes: of its main process, and of all its processes together."""

    images: int
    main_mb: float
    all_mb: float


def compared(found: Comparison) -> str:
    """Rates, and ours as ratios of the rounds."""
    rates = {name: found.images / float(np.median(times)) for name, times in found.seconds.items()}
    head = f"{found.title}, {found.images:,} images: "
    lines = [head + ", ".join(f"{name} {rate:,.0f} images/s" for name, rate in rates.items())]
    (_, ours), *others = found.seconds.items()
    for name, times in others:
        low, middle, high = np.percentile(np.array(times) / np.array(ours), (0, 50, 100))
        lines.append(f"  frl is {middle:.2f} times as fast as {name} (rounds: {low:.2f} to {high:.2f})")
    return "\n".join(lines)


def remembered(found: Memory) -> str:
    """The peaks in a line."""
    peaks = f"main process {found.main_mb:.0f} MB, all processes {found.all_mb:.0f} MB"
    return f"memory, {found.images:,} images: {peaks}"
