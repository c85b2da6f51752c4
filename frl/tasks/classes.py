"""One of several classes: a gender, an expression."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.errors import ConfigError
from frl.tasks.metrics.classes import accuracy, balanced_accuracy, confusion_matrix, macro_f1, recalls
from frl.tasks.scores import score
from frl.tasks.subsets import by_subset
from frl.tasks.task import Score, Truth, require_sides, require_target


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The classes of any target.

    Attributes:
        field: the target.
        classes: their names.
    """

    field: str
    classes: tuple[str, ...]

    headline: ClassVar[str] = "accuracy"
    bounded: ClassVar[bool] = False

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "") -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there is no such target, or it is no single class with names.
        """
        spec = specs.get(field)
        fits = spec is not None and spec.kind == Kind.CLASS and spec.shape == () and len(spec.names) > 1
        wanted = "one of several classes that have names"
        return cls(field=field, classes=require_target(specs, field, f"classes:{field}", wanted, fits).names)

    @property
    def name(self) -> str:
        return f"classes:{self.field}"

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    @property
    def outputs(self) -> int:
        return len(self.classes)

    def encode(self, targets: Mapping[str, torch.Tensor], sides: torch.Tensor) -> torch.Tensor:
        """1 for the class of a face, 0 for the others."""
        known = targets[self.field] >= 0
        encoded = F.one_hot(targets[self.field].long().clamp(min=0), self.outputs).float()
        return encoded.masked_fill(~known[:, None], torch.nan)

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """The cross-entropy of the softmax of what is predicted."""
        known = ~encoded.isnan().any(dim=1)
        each = -(encoded.nan_to_num() * predicted.log_softmax(dim=1)).sum(dim=1)
        return (each * known).sum() / known.sum().clamp(min=1)

    def confusion(self, predicted: NDArray[Any], truth: Truth) -> NDArray[np.int64]:
        """Faces by class and predicted class, ``(K, K)``."""
        named = np.asarray(predicted).argmax(axis=1)
        return confusion_matrix(named, truth.values[self.field].astype(np.int64), self.outputs)

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """Accuracy, balanced accuracy and the mean of F1 over the classes; of all faces and of each subset."""
        predicted = np.asarray(predicted)
        found = self.confusion(predicted, truth)
        parts = by_subset(truth, lambda members: self._scores(self.confusion(predicted[members], truth.rows(members))))
        each = zip(self.classes, recalls(found).tolist(), strict=True)
        own = {f"recall/{name}": score(value, "{:.2%}", higher_is_better=True) for name, value in each}
        return self._scores(found) | parts | own

    def _scores(self, confusion: NDArray[np.int64]) -> dict[str, Score]:
        return {
            "accuracy": score(accuracy(confusion), "{:.2%}", higher_is_better=True),
            "balanced": score(balanced_accuracy(confusion), "{:.2%}", higher_is_better=True),
            "f1": score(macro_f1(confusion), "{:.4f}", higher_is_better=True),
        }

    def details(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Any]:
        """The confusion matrix: rows are the true classes."""
        return {"classes": list(self.classes), "confusion": self.confusion(predicted, truth).tolist()}

    def constant(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """The shares of the classes, of which the largest is named."""
        return np.nanmean(encoded, axis=0, dtype=np.float64)

    def mirror(self, predicted: torch.Tensor) -> torch.Tensor:
        """The same, but for classes whose names say a side, which are exchanged.

        Raises:
            ConfigError: a name says a side, and none the other.
        """
        return predicted[:, list(require_sides(self.field, self.classes))]


def with_names(spec: TargetSpec, values: NDArray[Any]) -> TargetSpec:
    """A single class without names with the numbers that occur as its names; any other target as it is."""
    if spec.kind != Kind.CLASS or spec.shape or spec.names:
        return spec
    highest = int(values.max(initial=-1))
    if highest >= MOST_CLASSES:
        cause = f"has the class {highest}, and {MOST_CLASSES} are the most that a head is trained for"
        raise ConfigError(f"the target {spec.name!r}", cause, "Number the classes from 0 on.")
    return replace(spec, names=tuple(map(str, range(highest + 1))))


MOST_CLASSES = 10_000
