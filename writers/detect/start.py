"""From options to a detector."""

from __future__ import annotations

from frl.errors import ConfigError
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

    def require(condition: bool, option: str, cause: str, remedy: str) -> None:
        if not condition:
            raise ConfigError(option, cause, remedy)

    require(config.min_face >= 1, "--min-face", f"{config.min_face} is no size of a face", "Use e.g. 80.")
    require(config.max_faces >= 1, "--max-faces", "no face could be used", "Use e.g. 20.")
    require(
        (config.detect == "yunet") == (config.yunet_model is not None),
        "--yunet-model",
        "goes with --detect yunet, and --detect yunet with it",
        "Give both: the ONNX file is face_detection_yunet_*.onnx of github.com/opencv/opencv_zoo.",
    )
    require(
        not (config.align == "eyes" and config.detect == "dlib"),
        "--align eyes",
        "needs landmarks, which dlib's detector does not give",
        "Use --detect yunet, or a source that has landmarks.",
    )
    start(config)  # an error of the backend is met here rather than in every worker
