"""ffcv's ``.beton``, version 2: an own reader, validator and streaming writer, without ffcv."""

from frl.beton.reader import Beton
from frl.beton.verifier import Report, verify
from frl.beton.writer import BetonWriter

__all__ = ["Beton", "BetonWriter", "Report", "verify"]
