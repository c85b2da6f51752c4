"""What a detector is: it looks at pixels and says where faces are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from writers.sources.source import Box


class Region(NamedTuple):
    """Where a face is.

    Attributes:
        box: in pixels of the upright image, it may reach over the border; None: the whole image.
        points: x and y of the eyes, the nose tip and the corners of the mouth, those on the image's left first: ten
            numbers in pixels, or None.
    """

    box: Box | None
    points: Sequence[float] | None = None


class Detection(NamedTuple):
    """A face that was found; ``box`` and ``points`` are those of ``Region``, ``score`` is in the detector's units."""

    box: Box
    score: float
    points: Sequence[float] | None = None

    def scaled(self, factor: float) -> Detection:
        """The same face in the image enlarged by ``factor``."""
        points = self.points and [factor * number for number in self.points]
        return Detection(Box(*(factor * number for number in self.box)), self.score, points)


class Detector(Protocol):
    """Finds faces; one a thread.

    Attributes:
        smallest: side of the smallest face that it finds reliably, in pixels.
        min_score: what its authors count as a face.
    """

    smallest: int
    min_score: float

    def __call__(self, pixels: np.ndarray, min_score: float) -> list[Detection]:
        """The faces of at least ``min_score`` in an (H, W, 3) uint8 RGB image, in any order."""
        ...
