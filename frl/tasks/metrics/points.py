"""How far predicted points lie from the true ones, as benchmarks of landmarks count it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Normaliser = Literal["inter-ocular", "inter-pupil", "box", "diag"]
"""What an error is divided by: the distance of the outer corners of the eyes, that of the pupils, the square root of
width times height of the face's box, or the diagonal of that box."""

OUTER_CORNERS: dict[int, tuple[int, int]] = {68: (36, 45), 98: (60, 72), 29: (8, 9), 5: (0, 1)}
"""By the number of points: the outer corners of the eyes, of 300-W, WFLW and COFW (as in HRNet's evaluation); of five
points the eyes themselves."""

PUPILS: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {
    68: ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47)),
    98: ((96,), (97,)),
    29: ((16,), (17,)),
}
"""By the number of points: those whose means are the pupils."""

CURVE_STEP = 1e-4
"""Of the error, along the cumulative curve."""


def box_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The box ``(N, 2, 2)`` of points ``(N, n, 2 or 3)``: (left, top), (right, bottom); NaN where no point is known."""
    known = np.isfinite(points[..., :2])
    low = np.where(known, points[..., :2], np.inf).min(axis=1)
    high = np.where(known, points[..., :2], -np.inf).max(axis=1)
    box = np.stack([low, high], axis=1)
    return np.where(np.isfinite(box), box, np.nan)


def lengths(
    points: NDArray[np.float64], normaliser: Normaliser, box: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """What the errors of each face are divided by, ``(N,)``; NaN where it is unknown or 0.

    Args:
        points: the true ones, ``(N, n, 2 or 3)``, NaN where unknown.
        normaliser: which length; of the eyes only where `OUTER_CORNERS` or `PUPILS` know the number of points.
        box: ``(N, 2, 2)``, of the benchmark; None: that of the true points.
    """
    flat = points[..., :2]
    if normaliser == "inter-ocular":
        first, second = OUTER_CORNERS[points.shape[1]]
        found = np.linalg.norm(flat[:, first] - flat[:, second], axis=1)
    elif normaliser == "inter-pupil":
        left, right = PUPILS[points.shape[1]]
        found = np.linalg.norm(flat[:, left].mean(axis=1) - flat[:, right].mean(axis=1), axis=1)
    else:
        sides = np.diff(box_of(points) if box is None else box, axis=1)[:, 0]
        found = np.sqrt(sides.prod(axis=1)) if normaliser == "box" else np.linalg.norm(sides, axis=1)
    return np.where(found > 0, found, np.nan)


def normalised_errors(
    predicted: NDArray[np.float64], points: NDArray[np.float64], lengths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean distance of the known points in the image, over the length, ``(N,)``; NaN of faces without any.

    Args:
        predicted: ``(N, n, 2 or 3)``; depth does not count.
        points: the true ones, of the same shape, NaN where unknown.
        lengths: ``(N,)``.
    """
    distances = np.linalg.norm(predicted[..., :2] - points[..., :2], axis=2)
    known = np.isfinite(distances)
    counts = known.sum(axis=1)
    total = np.where(known, distances, 0).sum(axis=1)
    return np.divide(total, counts * lengths, out=np.full(len(points), np.nan), where=counts > 0)


def cumulative_errors(errors: NDArray[np.float64], end: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The cumulative error distribution: errors from 0 to ``end`` in steps of `CURVE_STEP`, and the share of faces
    whose error is at most that."""
    along = np.linspace(0, end, round(end / CURVE_STEP) + 1)
    known = np.sort(errors[np.isfinite(errors)])
    return along, np.searchsorted(known, along, side="right") / max(1, len(known))


def area_under(errors: NDArray[np.float64], end: float) -> float:
    """The area under `cumulative_errors` up to ``end`` by Simpson's rule, over ``end``; 1 were every error 0, NaN where
    none is known."""
    if not np.isfinite(errors).any():
        return float("nan")
    along, share = cumulative_errors(errors, end)
    if len(along) % 2 == 0:
        raise ValueError(f"{end} is no even number of steps of {CURVE_STEP}")
    third = (along[1] - along[0]) / 3
    return float(third * (share[0] + 4 * share[1:-1:2].sum() + 2 * share[2:-1:2].sum() + share[-1]) / end)


def failure_rate(errors: NDArray[np.float64], end: float) -> float:
    """The share of faces whose error is above ``end``; NaN where none is known."""
    known = errors[np.isfinite(errors)]
    return float((known > end).mean()) if len(known) else float("nan")
