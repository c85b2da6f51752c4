"""YuNet (Wu et al., "YuNet: a tiny millisecond-level face detector", 2023) through OpenCV, by the user's file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from frl.content import recognise
from frl.errors import ConfigError
from writers.detect.detector import Detection
from writers.sources.source import Box

REMEDY = "Give face_detection_yunet_2023mar.onnx or newer of github.com/opencv/opencv_zoo."
LARGEST = 300
"""Side of the largest face it was trained to find, in pixels (OpenCV's documentation)."""
LOG_ERRORS = 2
"""OpenCV's level that shows errors and no warnings."""
OVERLAP = 0.3
"""Intersection over union from which two boxes are one face."""


class YuNetDetector:
    """Finds faces in any pose, with five landmarks. Large photographs are searched at halved scales, too.

    Args:
        model: the ONNX file.
        sha256: its digest in hex, or None to trust it.

    Raises:
        ConfigError: if the file is absent, has another digest, or is not such a network.
    """

    smallest = 16
    min_score = 0.7

    def __init__(self, model: Path, sha256: str | None = None) -> None:
        check(model, sha256)
        try:
            with _quiet():
                self._network = cv2.FaceDetectorYN.create(str(model), "", (320, 320))
                self._network.detect(np.zeros((320, 320, 3), np.uint8))
        except cv2.error as error:
            raise _refusal(model, f"OpenCV cannot run it ({error.err})") from error

    def __call__(self, pixels: np.ndarray, min_score: float) -> list[Detection]:
        """See ``Detector``."""
        self._network.setScoreThreshold(min_score)
        found: list[Detection] = []
        factor = 1.0
        while True:
            found += [detection.scaled(factor) for detection in self._detect_at_one_scale(pixels)]
            if max(pixels.shape[:2]) <= LARGEST:
                return _without_repeats(found, min_score)
            height, width = pixels.shape[:2]
            pixels = cv2.resize(pixels, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
            factor *= 2

    def _detect_at_one_scale(self, pixels: np.ndarray) -> list[Detection]:
        height, width = pixels.shape[:2]
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(np.ascontiguousarray(pixels[..., ::-1]))
        # A row: left, top, width, height, x and y of five points, score. The right eye, on the image's left, is first.
        return [Detection(Box(*row[:4]), row[14], row[4:14]) for row in ([] if rows is None else rows.tolist())]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without OpenCV's warnings, which tell its developers of what its engine does not do yet."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(LOG_ERRORS)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def check(model: Path, sha256: str | None) -> None:
    """Refuse a model file that is absent or another than the user means.

    Raises:
        ConfigError: naming it.
    """
    try:
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"--yunet-model {model}", f"cannot be read ({error.strerror})", REMEDY) from error
    if sha256 is not None and digest != sha256.lower():
        raise _refusal(model, f"its SHA-256 is {digest}, not {sha256}")


def _refusal(model: Path, cause: str) -> ConfigError:
    """The error of a file that is not the network; it says what else it is, where that can be told."""
    content = recognise(model)
    if content is None or content.what == "an ONNX graph":
        return ConfigError(f"--yunet-model {model}", cause, REMEDY)
    return ConfigError(f"--yunet-model {model}", f"{cause}: it is {content.what}", f"{content.remedy}. {REMEDY}")


def _without_repeats(found: list[Detection], min_score: float) -> list[Detection]:
    """Keep the surest of those that overlap."""
    boxes, scores = [detection.box for detection in found], [detection.score for detection in found]
    return [found[i] for i in np.ravel(cv2.dnn.NMSBoxes(boxes, scores, min_score, OVERLAP)).astype(int)]
