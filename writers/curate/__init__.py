"""Leave out what a data set should not hold: faces that are there already, and faces of too little quality."""

from writers.curate.config import CurateConfig, validate
from writers.curate.duplicates import Duplicates
from writers.curate.fingerprint import Fingerprint, Fingerprints
from writers.curate.quality import QualityFilter

__all__ = ["CurateConfig", "Duplicates", "Fingerprint", "Fingerprints", "QualityFilter", "validate"]
