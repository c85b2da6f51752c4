"""From options to a detector."""

from __future__ import annotations

import math

from frl.config.check import require, require_least
from writers.detect.config import DetectConfig
from writers.detect.detector import Detector
from writers.detect.finder import FaceFinder


def start(config: DetectConfig) -> FaceFinder | None:
    """The finder that ``config`` asks for, or None.

    Raises:
        ConfigError: if its library or its model is not there.
    """
    if config.detect == "none":
        return None
    return FaceFinder(
        _detector(config), min_face=config.min_face, min_score=config.min_score, max_faces=config.max_faces
    )


def _detector(config: DetectConfig) -> Detector:
    if config.detect == "dlib":
        from writers.detect.dlib_hog import DlibDetector

        return DlibDetector()
    from writers.detect.yunet import YuNetDetector

    assert config.yunet_model is not None  # validate() saw to it
    return YuNetDetector(config.yunet_model, config.yunet_sha256)


def validate(config: DetectConfig) -> None:
    """Refuse options that cannot work.

    Raises:
        ConfigError: naming the first.
    """
    require_least("min_face", config.min_face, 1, "Use e.g. 80.")
    require_least("max_faces", config.max_faces, 1, "Use e.g. 20.")
    if config.min_score is not None:
        cause = f"{config.min_score} is no score"
        require(math.isfinite(config.min_score), "min_score", cause, "Leave it out for the detector's own.")
    require(
        (config.detect == "yunet") == (config.yunet_model is not None),
        "yunet_model",
        "goes with --detect yunet, and --detect yunet with it",
        "Give both: the ONNX file is face_detection_yunet_*.onnx of github.com/opencv/opencv_zoo.",
    )
    require(
        not (config.align == "eyes" and config.detect == "dlib"),
        "align eyes",
        "needs landmarks, which dlib's detector does not give",
        "Use --detect yunet, or a source that has landmarks.",
    )
    start(config)  # an error of the backend is met here rather than in every worker
