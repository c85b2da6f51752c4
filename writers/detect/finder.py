"""Find the faces of a photograph, whatever its size, at the scale at which the detector works best."""

from __future__ import annotations

import cv2
import numpy as np

from writers.detect.detector import Detection, Detector, Region
from writers.reject import Reason, Reject

LONGEST = 1920
"""Photographs are searched at no more than this on their longer side, which bounds time and memory."""


class FaceFinder:
    """Finds faces; one a thread.

    Args:
        detector: the backend.
        min_face: side of the smallest face wanted, in pixels of the photograph.
        min_score: what counts as a face; None: what the detector's module says.
        max_faces: how many of a photograph are wanted at most.
    """

    def __init__(self, detector: Detector, *, min_face: int, min_score: float | None = None, max_faces: int) -> None:
        self._detector = detector
        self._min_face = min_face
        self._min_score = detector.min_score if min_score is None else min_score
        self._max_faces = max_faces

    def __call__(self, pixels: np.ndarray) -> list[Region | Reject]:
        """The faces in an (H, W, 3) uint8 RGB photograph, the largest first; a reject for each that is not wanted.

        Raises:
            Reject: if there is none.
        """
        found = self.detect(pixels)
        if not found:
            raise Reject("no face was found", Reason.NO_FACE)
        return [self._judge(face, rank) for rank, face in enumerate(found)]

    def detect(self, pixels: np.ndarray) -> list[Detection]:
        """All that the detector finds in an (H, W, 3) uint8 RGB photograph, in its pixels, the largest first.

        It is searched at the scale at which the smallest face wanted is the smallest that the detector finds, so
        smaller ones are found only by chance, and no time is spent on them.
        """
        height, width = pixels.shape[:2]
        scale = min(self._detector.smallest / self._min_face, LONGEST / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        shown = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=interpolation)
        found = self._detector(np.ascontiguousarray(shown), self._min_score)
        faces = [detection.scaled(max(height, width) / max(size)) for detection in found]
        faces = [face for face in faces if _overlaps(face, width, height)]
        return sorted(faces, key=lambda face: (-face.box.width * face.box.height, face.box))

    def _judge(self, face: Detection, rank: int) -> Region | Reject:
        side = max(face.box.width, face.box.height)
        if side < self._min_face:
            return Reject(f"a face of {side:.0f} pixels, fewer than {self._min_face}", Reason.SMALL)
        if rank >= self._max_faces:
            return Reject(f"{self._max_faces} faces of the photograph are larger", Reason.CROWD)
        return Region(face.box, face.points)


def _overlaps(face: Detection, width: int, height: int) -> bool:
    left, top, across, down = face.box
    return left < width and top < height and left + across > 0 and top + down > 0
