"""Which points benchmarks annotate: their order, their places in a mirror, and where the eyes, nose and mouth are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import MIRRORS, Kind, TargetSpec
from frl.tasks.layouts.layout import Rectangle


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """A set of points.

    Attributes:
        count: of the points.
        mirror: for each point, the index of the one that takes its place in a mirrored image.
        five: the points whose mean is the eye on the image's left, the other eye, the nose's tip, the corners of the
            mouth.
    """

    count: int
    mirror: tuple[int, ...]
    five: tuple[tuple[int, ...], ...]

    def points(self, name: str = "landmarks") -> TargetSpec:
        """The target that holds x and y."""
        return TargetSpec(name=name, kind=Kind.POINTS, shape=(self.count, 2), mirror=self._mirror)

    def points3d(self, name: str = "landmarks3d") -> TargetSpec:
        """The target that holds x, y and depth."""
        return TargetSpec(name=name, kind=Kind.POINTS, shape=(self.count, 3), mirror=self._mirror)

    def visible(self, name: str = "visible") -> TargetSpec:
        """The target that holds which of them are seen."""
        return TargetSpec(name=name, kind=Kind.VISIBILITY, shape=(self.count,), mirror=self._mirror)

    @property
    def _mirror(self) -> str | tuple[int, ...]:
        """By its name, where it has one, so that lists of the same points agree with it."""
        return next((name for name, table in MIRRORS.items() if table == self.mirror), self.mirror)


def swapped(count: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """A mirror in which the points of each pair change places, and all others stay."""
    table = list(range(count))
    for one, other in pairs:
        table[one], table[other] = other, one
    return tuple(table)


IBUG68 = Scheme(
    count=68,
    mirror=MIRRORS["300w"],
    five=(tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
)
"""300-W (Sagonas et al., "300 Faces In-The-Wild Challenge", 2016)."""

WFLW98 = Scheme(
    count=98,
    mirror=swapped(98, [
        *((i, 32 - i) for i in range(16)),
        *zip(range(33, 38), range(46, 41, -1), strict=True), *zip(range(38, 42), range(50, 46, -1), strict=True),
        (55, 59), (56, 58),
        *zip(range(60, 65), range(72, 67, -1), strict=True), (65, 75), (66, 74), (67, 73),
        (76, 82), (77, 81), (78, 80), (87, 83), (86, 84), (88, 92), (89, 91), (95, 93), (96, 97),
    ]),
    five=((96,), (97,), (54,), (76,), (82,)),
)  # fmt: skip
"""WFLW (Wu et al., "Look at Boundary", CVPR 2018)."""

COFW29 = Scheme(
    count=29,
    mirror=swapped(
        29, [(0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17), (18, 19), (22, 23)]
    ),
    five=((16,), (17,), (20,), (22,), (23,)),
)
"""COFW (Burgos-Artizzu et al., "Robust face landmark estimation under occlusion", ICCV 2013)."""

AFLW19 = Scheme(
    count=19,
    mirror=swapped(19, [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 14), (15, 17)]),
    five=((7,), (10,), (13,), (15,), (17,)),
)
"""AFLW without the ears (Zhu et al., "Unconstrained Face Alignment via Cascaded Compositional Learning", CVPR 2016)."""

SCHEMES = {scheme.count: scheme for scheme in (IBUG68, WFLW98, COFW29, AFLW19)}

FACE_BOX = TargetSpec(name="face_box", kind=Kind.POINTS, shape=(2, 2))
"""Left and top, right and bottom of the box by which a benchmark divides the errors; it follows the crop."""


def five_points(points: NDArray[Any]) -> NDArray[np.float64] | None:
    """Eyes, nose tip and corners of the mouth, (5, 2), of points (n, 2 or 3); None where nobody knows."""
    scheme = SCHEMES.get(len(points))
    if scheme is None:
        return None
    five = np.array([np.mean(np.asarray(points, np.float64)[list(part), :2], axis=0) for part in scheme.five])
    return five if np.isfinite(five).all() else None


def bounds(points: NDArray[Any]) -> Rectangle | None:
    """The box of points (n, 2 or 3); None where none is known."""
    known = np.asarray(points, np.float64)[:, :2]
    known = known[np.isfinite(known).all(axis=1)]
    if not len(known):
        return None
    (left, top), (right, bottom) = known.min(axis=0).tolist(), known.max(axis=0).tolist()
    return Rectangle(left, top, right - left, bottom - top)


def corners(box: Rectangle) -> NDArray[np.float64]:
    """A box as ``FACE_BOX`` has it."""
    return np.array([[box.left, box.top], [box.left + box.width, box.top + box.height]])


def points_fault(points: NDArray[Any]) -> str | None:
    """Why points of which all should be known cannot be used, or None."""
    return None if np.isfinite(points).all() else "a point that is no finite number"
