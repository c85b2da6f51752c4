"""How good a frozen representation is: identity by nearest neighbours, and face verification."""

from frl.evaluate.baselines import RawPixels, untrained
from frl.evaluate.features import Features, extract_features
from frl.evaluate.images import image_batches
from frl.evaluate.knn import KnnResult, knn_accuracy, leave_one_out, require_pairs
from frl.evaluate.verification import VerificationResult, verification
from frl.tasks.layouts.lfw import read_pairs

__all__ = [
    "Features",
    "KnnResult",
    "RawPixels",
    "VerificationResult",
    "extract_features",
    "image_batches",
    "knn_accuracy",
    "leave_one_out",
    "read_pairs",
    "require_pairs",
    "untrained",
    "verification",
]
