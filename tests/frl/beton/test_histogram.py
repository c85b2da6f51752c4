"""The bars of a histogram are as high and as wide as their numbers say."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageColor

from frl.beton.histogram import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Histogram, _ticks, draw


def bars(counts: list[int], edges: list[float], colour: str = "#1f77b4", **options: object) -> np.ndarray:
    """Pixels of the bar in each column between the axes' ends."""
    histogram = Histogram(
        title="Sizes", across="pixels", up="images", edges=np.array(edges), counts=np.array(counts), colour=colour,
        **options,
    )  # fmt: skip
    picture = np.asarray(Image.open(io.BytesIO(draw([histogram]))))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    return (picture == ImageColor.getrgb(colour)).all(axis=2).sum(axis=0)[LEFT : WIDTH - RIGHT]


def test_heights_are_in_proportion() -> None:
    columns = bars([10, 0, 5, 40], [0, 1, 2, 3, 4])
    heights = [int(np.median(part)) for part in np.array_split(columns, 4)]
    full = HEIGHT - BOTTOM - TOP
    assert heights == pytest.approx([full / 4, 0, full / 8, full], abs=2)


def test_one_among_millions_shows() -> None:
    assert (bars([1, 5_000_000], [0, 1, 2])[5:200] > 0).all()


def test_equal_ratios_lie_equally_far_apart() -> None:
    columns = bars([1, 0, 1], [1, 10, 100, 1000], logarithmic=True)
    wide, middle, last = (np.count_nonzero(part) for part in np.array_split(columns, 3))
    assert wide == pytest.approx(last, abs=3) and middle <= 3


@pytest.mark.parametrize("high", [0.5, 1, 7, 256, 99_999, 3_310_000])
def test_ticks_are_few_and_round(high: float) -> None:
    ticks = _ticks(0, high)
    assert 1 <= len(ticks) <= 6 and ticks[-1] <= high
    assert all(np.diff(ticks) == ticks[1]) if len(ticks) > 1 else high < 1
