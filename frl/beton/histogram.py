"""Histograms as a picture, by Pillow alone: Matplotlib would take longer to load than a small data set to write."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 585, 415
"""Pixels of one histogram."""
LEFT, RIGHT, TOP, BOTTOM = 80, 25, 60, 70
"""Margins around its axes."""
INK, PAPER = "#262626", "white"
TITLE_SIZE, TEXT_SIZE = 21, 16
MOST_TICKS = 6


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Bars over a line of numbers.

    Attributes:
        title: above it.
        across: what the numbers are.
        up: what is counted.
        edges: (B + 1,) ascending limits of the bins.
        counts: (B,) how many are in each.
        colour: of the bars, as ``#rrggbb``.
        logarithmic: whether equal ratios lie equally far apart.
    """

    title: str
    across: str
    up: str
    edges: np.ndarray
    counts: np.ndarray
    colour: str
    logarithmic: bool = False


def draw(histograms: Sequence[Histogram]) -> bytes:
    """The histograms side by side, as a PNG."""
    picture = Image.new("RGB", (WIDTH * len(histograms), HEIGHT), PAPER)
    pen = ImageDraw.Draw(picture)
    for number, histogram in enumerate(histograms):
        _draw_one(pen, histogram, number * WIDTH)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


def _draw_one(pen: ImageDraw.ImageDraw, histogram: Histogram, start: int) -> None:
    left, right, top, bottom = start + LEFT, start + WIDTH - RIGHT, TOP, HEIGHT - BOTTOM
    title, text = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(TEXT_SIZE)
    pen.text(((left + right) / 2, 8), histogram.title, INK, title, anchor="ma")
    pen.text(((left + right) / 2, HEIGHT - 14), histogram.across, INK, text, anchor="ms")
    pen.text((left - 8, top - 12), histogram.up, INK, text, anchor="ms")
    most = max(1, int(histogram.counts.max()))
    low, high = float(histogram.edges[0]), float(histogram.edges[-1])

    def x_of(number: float) -> float:
        share = (
            math.log(number / low) / math.log(high / low) if histogram.logarithmic else (number - low) / (high - low)
        )
        return left + share * (right - left)

    def y_of(count: float) -> float:
        return bottom - count / most * (bottom - top)

    for begin, end, count in zip(histogram.edges[:-1], histogram.edges[1:], histogram.counts, strict=True):
        if count:
            pen.rectangle((x_of(begin), min(y_of(count), bottom - 1), x_of(end) - 1, bottom), histogram.colour)
    pen.line((left, top, left, bottom, right, bottom), INK)
    for count in _ticks(0, most):
        pen.line((left - 5, y_of(count), left, y_of(count)), INK)
        pen.text((left - 8, y_of(count)), f"{count:,}", INK, text, anchor="rm")
    for number in _decades(high) if histogram.logarithmic else _ticks(low, high):
        pen.line((x_of(number), bottom, x_of(number), bottom + 5), INK)
        pen.text((x_of(number), bottom + 8), f"{number:,}", INK, text, anchor="ma")


def _ticks(low: float, high: float) -> list[int]:
    """Round whole numbers from ``low`` to ``high``, not too many."""
    steps = (digit * 10**power for power in range(19) for digit in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step < MOST_TICKS)
    return list(range(math.ceil(low / step) * step, math.floor(high) + 1, step))


def _decades(high: float) -> list[int]:
    """1, 10, 100, ... up to ``high``."""
    return [10**power for power in range(math.floor(math.log10(high)) + 1)]
