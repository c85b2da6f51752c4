"""A contact sheet: what the generator draws, at a glance."""

from collections.abc import Sequence

import cv2
import numpy as np

from frl.synthetic.drawing import Face

VISIBLE, HIDDEN = (60, 255, 90), (255, 70, 70)


def contact_sheet(rows: Sequence[Sequence[Face]], marked: Sequence[int] = ()) -> np.ndarray:
    """Faces of one size, rows of equal length, as one picture (height, width, 3) uint8 RGB.

    In the rows that ``marked`` numbers, dots show the landmarks: green the visible ones, red the hidden ones.
    """
    return np.vstack([np.hstack([_tile(face, number in marked) for face in row]) for number, row in enumerate(rows)])


def _tile(face: Face, marked: bool) -> np.ndarray:
    tile = face.image.copy()
    if marked:
        radius = len(tile) // 160
        for place, visible in zip(face.landmarks, face.visible, strict=True):
            cv2.circle(tile, np.round(place).astype(int).tolist(), radius, VISIBLE if visible else HIDDEN, -1)
    return tile
