"""Face recognition: whether two images show one person, by the similarity of their features alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from frl.tasks.layouts.lfw import Pair, read_pairs
from frl.tasks.metrics.verification import VerificationResult, cross_validate
from frl.tasks.task import Score


@dataclass(frozen=True)
class Verification:
    """LFW's protocol: the threshold is chosen on the other folds (``frl.tasks.metrics.verification.cross_validate``).

    Attributes:
        folder: holds ``name/name_0001.jpg`` and so on.
        pairs: whom to compare.
        centre: subtract the mean feature first; no part of LFW's protocol.
    """

    folder: Path
    pairs: Sequence[Pair]
    centre: bool = False

    name = "verification"

    @classmethod
    def of(cls, folder: str | os.PathLike[str], pairs: str | os.PathLike[str], *, centre: bool = False) -> Verification:
        """Of a folder of images and a list in the format of LFW's ``pairs.txt``.

        Raises:
            SourceError: if the list breaks its format.
        """
        return cls(Path(folder), read_pairs(pairs), centre)

    @cached_property
    def names(self) -> list[Path]:
        """The images in the folder that the pairs name, each once."""
        return sorted({name for pair in self.pairs for name in (pair.first, pair.second)})

    @property
    def images(self) -> list[Path]:
        """The files of the images."""
        return [self.folder / name for name in self.names]

    def result(self, features: np.ndarray) -> VerificationResult:
        """What features ``(N, D)``, one row for each image, are worth."""
        row = {name: i for i, name in enumerate(self.names)}
        return cross_validate(
            features,
            np.array([(row[pair.first], row[pair.second]) for pair in self.pairs]),
            np.array([pair.same for pair in self.pairs]),
            np.array([pair.fold for pair in self.pairs]),
            centre=self.centre,
        )

    def score(self, features: np.ndarray) -> Mapping[str, Score]:
        """Accuracy and area under the ROC curve of features ``(N, D)``, one row for each image."""
        found = self.result(features)
        accuracy = f"{found.accuracy:.2%} +- {found.standard_error:.2%}"
        return {
            "accuracy": Score(value=found.accuracy, higher_is_better=True, text=accuracy),
            "auc": Score(value=found.auc, higher_is_better=True, text=f"{found.auc:.4f}"),
        }
