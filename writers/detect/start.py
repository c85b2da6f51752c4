"""From options to a detector."""

from __future__ import annotations

import math

from frl.config.check import require, require_least
from frl.errors import ConfigError
from writers.detect import obtain
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

    if config.yunet_model is not None:
        return YuNetDetector(config.yunet_model, config.yunet_sha256)
    if not obtain.kept().is_file():
        remedy = "Run frl doctor --get yunet, or name its ONNX file with --yunet-model."
        raise ConfigError("--detect yunet", f"its network is not there ({obtain.kept()})", remedy)
    return YuNetDetector(obtain.kept(), config.yunet_sha256 or obtain.SHA256)


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
        config.detect == "yunet" or config.yunet_model is None,
        "yunet_model",
        "goes with --detect yunet",
        "Give both, or neither.",
    )
    require(
        not (config.align == "eyes" and config.detect == "dlib"),
        "align eyes",
        "needs landmarks, which dlib's detector does not give",
        "Use --detect yunet, or a source that has landmarks.",
    )
    start(config)  # an error of the backend is met here rather than in every worker
