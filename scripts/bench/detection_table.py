"""What ``detection.py`` measured, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a detector found.

    Attributes:
        photographs: that it was shown.
        overlaps: of each annotated face with the box that meets it best.
        boxes: that it gave.
        strays: those of them that meet no annotated face.
        seconds: of processor time.
    """

    photographs: int
    overlaps: Sequence[float]
    boxes: int
    strays: int
    seconds: float


def in_words(found: Found, enough: float) -> str:
    """The figures; a face counts as found from an overlap of ``enough`` on."""
    faces, hits = len(found.overlaps), sum(overlap >= enough for overlap in found.overlaps)
    share = f" ({hits / faces:.1%})" if faces else ""
    middle = f"; median overlap {np.median(found.overlaps):.2f}" if faces else ""
    return (
        f"{hits} of {faces} annotated faces found{share} on {found.photographs} photographs\n"
        f"{found.boxes} boxes, {found.strays} of them on no annotated face{middle}\n"
        f"{found.seconds / found.photographs * 1e3:.0f} ms of processor time a photograph"
    )
