"""Find the faces in whole photographs. A new detector is one module with a ``Detector``, and one line in ``start``."""

from writers.detect.config import DetectConfig
from writers.detect.detector import Detection, Detector, Region
from writers.detect.finder import FaceFinder
from writers.detect.start import start, validate

__all__ = ["DetectConfig", "Detection", "Detector", "FaceFinder", "Region", "start", "validate"]
