"""What ``threads.py`` measured and simulated, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench_report import table


@dataclass(frozen=True)
class Speed:
    """Images per second, and processor time of an image in milliseconds."""

    images_per_s: float
    cpu_ms: float


def measured(speeds: Mapping[int, Speed]) -> str:
    """By number of threads; the ratios are to the first number."""
    return table(("threads, measured", "images/s", "to one", "CPU-ms an image"), _rows(speeds, decimals=2))


def simulated(speeds: Mapping[int, Speed], native_ms: float) -> str:
    """The same with native work of ``native_ms`` an image in the place of the engine's own."""
    head = ("threads", "images/s", "to one", "the rest, CPU-ms an image")
    title = f"Simulated, {native_ms:.3f} ms of native work an image:"
    return f"{title}\n\n{table(head, _rows(speeds, decimals=1))}"


def _rows(speeds: Mapping[int, Speed], decimals: int) -> list[tuple[str, ...]]:
    one = next(iter(speeds.values())).images_per_s
    return [
        (f"{n}", f"{speed.images_per_s:,.0f}", f"{speed.images_per_s / one:.{decimals}f}", f"{speed.cpu_ms:.3f}")
        for n, speed in speeds.items()
    ]
