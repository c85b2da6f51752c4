"""Face recognition: whether two images show one person, by the similarity of their features alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from frl.tasks.layouts.lfw import open_lfw
from frl.tasks.layouts.pairs import FacePairs
from frl.tasks.metrics.verification import VerificationResult, cross_validate
from frl.tasks.task import Score


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How features are compared. None of it is a part of LFW's protocol, so it is told with the figures.

    Attributes:
        centre: subtract the mean feature first.
        whiten: principal components to which features are whitened first; 0: none.
        grid: choose thresholds from insightface's grid in place of all that differ.
    """

    centre: bool = False
    whiten: int = 0
    grid: bool = False


@dataclass(frozen=True)
class Verification:
    """Judges features of the images of a benchmark by its pairs, the threshold of a fold chosen on the others.

    Attributes:
        faces: whom to compare.
        comparison: how; centring and whitening are fitted on the images of the other folds.
    """

    faces: FacePairs
    comparison: Comparison = Comparison()

    name = "verification"

    @classmethod
    def of(cls, images: str | os.PathLike[str], pairs: str | os.PathLike[str], *, centre: bool = False) -> Verification:
        """Of a folder of images and a list in the format of LFW's ``pairs.txt``.

        Raises:
            SourceError: if the list breaks its format, or too few images are there.
        """
        return cls(open_lfw(images, pairs), Comparison(centre=centre))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the images whose features are wanted."""
        return self.faces.names

    def read(self, row: int) -> bytes:
        """The encoded image of a row of ``names``."""
        return self.faces.read(row)

    def result(self, features: np.ndarray, fitted_on: np.ndarray | None = None) -> VerificationResult:
        """What features are worth.

        Args:
            features: ``(N, D)``, one row for each image.
            fitted_on: ``(M, D)``, features of images of other people, on which centring and whitening are fitted
                instead.
        """
        faces, how = self.faces, self.comparison
        found = cross_validate(
            features,
            faces.index,
            faces.same,
            faces.fold,
            centre=how.centre,
            whiten=how.whiten,
            grid=how.grid,
            fitted_on=fitted_on,
        )
        return replace(found, remarks=faces.remarks)

    def score(self, features: np.ndarray) -> Mapping[str, Score]:
        """Accuracy, area under the ROC curve and equal error rate of features ``(N, D)``, one row for each image."""
        found = self.result(features)
        accuracy = f"{found.accuracy:.2%} +- {found.standard_error:.2%}"
        return {
            "accuracy": Score(value=found.accuracy, higher_is_better=True, text=accuracy),
            "auc": Score(value=found.auc, higher_is_better=True, text=f"{found.auc:.4f}"),
            "eer": Score(value=found.eer, higher_is_better=False, text=f"{found.eer:.2%}"),
        }
