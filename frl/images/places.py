"""Whether places can be meant for an image: pixels of it, not shares of its sides, nor of another size of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

LEAST_INSIDE = 0.5
"""Landmarks of which a smaller share lies in the image are not its own: of truncated faces, fewer lie outside."""

IN_SHARES = "shares of the image, not pixels"

FARTHEST = 1.5
"""Points as shares of an image's sides, from 0 or from -1 to 1, are hardly ever larger than this."""

PROFILE = 0.3
"""Eyes that are nearer to each other, as a share of the way to the mouth, are those of a profile."""

ABOVE = 0.5
"""The sine of the angle above the line of the eyes from which a mouth is no slip of a detector any more."""


def are_shares(numbers: Sequence[float], least: float = 0.0, most: float = 1.0) -> bool:
    """Whether numbers are shares of an image's sides: no face is a pixel wide, nor so near to the image's corner."""
    return all(least <= number <= most for number in numbers) and any(not number.is_integer() for number in numbers)


def misplaced(width: int, height: int, points: ArrayLike, what: str = "points") -> str | None:
    """Why points are not those of an image, or None.

    Args:
        width: of the image, in pixels.
        height: likewise.
        points: (n, 2 or 3): x, y and depth. Those that are not finite take no part. Of one or two, which may be the
            corners of a box, it is enough that what they span reaches into the image.
        what: they are called.
    """
    flat = np.asarray(points, np.float64)[:, :2]
    known = flat[np.isfinite(flat).all(axis=1)]
    size = np.array([width, height])
    if not len(known):
        return None
    seen = int(((known >= 0) & (known <= size)).all(axis=1).sum())
    if len(known) <= 2:
        is_near = bool(((known.max(axis=0) >= 0) & (known.min(axis=0) <= size)).all())
    else:
        is_near = seen >= LEAST_INSIDE * len(known)
    return None if is_near else f"only {seen} of its {len(known)} {what} lie inside its {width} x {height} pixels"


def exchanged(points: ArrayLike) -> str | None:
    """Why a face cannot be turned by its points, or None: its eyes are named from its own side, not the image's.

    A face turned until its eyes are level, the image's left one on the left, has its mouth below them, however it lay.

    Args:
        points: (5, 2): eyes, nose tip, corners of the mouth, those on the image's left first; NaN where unknown.
    """
    left, right, _, *mouth = np.asarray(points, np.float64)
    across, down = right - left, np.mean(mouth, axis=0) - (left + right) / 2
    width, height = np.hypot(*across), np.hypot(*down)
    # In profile the eyes lie behind each other, and which of them is on the left is left to chance.
    if not width > PROFILE * height:
        return None
    is_above = across[0] * down[1] - across[1] * down[0] < -ABOVE * width * height
    return "its eyes seem to be exchanged: the one on the image's left comes first" if is_above else None
