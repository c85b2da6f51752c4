"""The options of detection, as the command line shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from frl.config.coerce import coerce


@dataclass(frozen=True, kw_only=True)
class DetectConfig:
    """How faces are found in images that come without a box; a box of the source always wins."""

    detect: Literal["none", "dlib", "yunet"] = "none"
    """none: the whole image is the face; dlib: frontal faces, no model file; yunet: OpenCV's network, any pose."""
    yunet_model: Path | None = None
    """YuNet's ONNX file, face_detection_yunet_*.onnx from github.com/opencv/opencv_zoo; none: what frl doctor --get
    yunet has put in place."""
    yunet_sha256: str | None = None
    """Refuse the ONNX file unless this is its SHA-256, in hex."""
    min_face: int = 80
    """Reject faces that are found with a smaller longer side, in pixels; to find small ones takes longer."""
    min_score: float | None = None
    """Ignore what the detector is less sure of; none: the detector's own threshold (dlib: -0.4, yunet: 0.7)."""
    max_faces: int = 20
    """Use only so many faces of a photograph, the largest."""
    align: Literal["none", "eyes"] = "none"
    """eyes: turn each face until its eyes are level; needs landmarks, from the source or from yunet."""

    def __post_init__(self) -> None:
        coerce(self)
