"""What ``writer.py`` measured, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bench_report import table


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a writer.

    Attributes:
        seconds: by the clock, without its start.
        cpu: processor time of all its processes, user and system, without its start.
        start: processor time until it began: its imports.
    """

    seconds: float
    cpu: float
    start: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Writers on the same images, taking turns.

    Attributes:
        title: what is done to the images.
        images: how many there are.
        nbytes: of all of them.
        runs: of every round, by writer; ours is the first.
    """

    title: str
    images: int
    nbytes: int
    runs: Mapping[str, Sequence[Run]]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Peaks of our command in megabytes: of its main process, and of all its processes together."""

    images: int
    main_mb: float
    all_mb: float


def compared(found: Comparison) -> str:
    """A table: of each writer the median of its rounds, beside ours, and the spread of the ratios."""
    (_, ours), *_ = found.runs.items()
    rows = []
    for name, runs in found.runs.items():
        by_clock = _ratios([run.seconds for run in runs], [run.seconds for run in ours])
        by_cpu = _ratios([run.cpu for run in runs], [run.cpu for run in ours])
        rate = found.images / float(np.median([run.seconds for run in runs]))
        cpu_ms = float(np.median([run.cpu for run in runs])) / found.images * 1e3
        start = float(np.median([run.start for run in runs]))
        rows.append((name, by_cpu, by_clock, f"{cpu_ms:.3f}", f"{rate:,.0f}", f"{start:.1f}"))
    head = ("writer", "CPU time, frl = 1", "wall time, frl = 1", "CPU-ms an image", "images/s", "CPU-s of its start")
    kilobytes = found.nbytes / found.images / 1e3
    title = f"{found.title}, {found.images:,} images of {kilobytes:.1f} kB, no two alike:"
    return f"{title}\n\n{table(head, rows)}\n"


def _ratios(theirs: Sequence[float], ours: Sequence[float]) -> str:
    low, middle, high = np.percentile(np.array(theirs) / np.array(ours), (0, 50, 100))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})" if len(ours) > 1 and low < high else f"{middle:.2f}"


def remembered(found: Memory) -> str:
    """The peaks in a line."""
    peaks = f"main process {found.main_mb:.0f} MB, all processes {found.all_mb:.0f} MB"
    return f"memory, {found.images:,} images: {peaks}"
