"""Action units: how strongly each of a face's movements shows, from 0 to 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.tasks.losses import known_mean
from frl.tasks.metrics.agreement import consistency, f1, mean_absolute_error, mean_squared_error
from frl.tasks.numbers import Numbers
from frl.tasks.scores import by_column, mean_and_parts, totals_first
from frl.tasks.task import Score, Truth, require_target

HIGHEST = 5.0
PRESENT = 2.0
"""From which intensity on an action unit counts as present, as papers on DISFA have it."""


@dataclass(frozen=True, kw_only=True)
class ActionUnits(Numbers):
    """The intensities, each for itself. One that never varies in the truth has no ICC and is left out of the mean."""

    headline: ClassVar[str] = "icc"

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "action_units") -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there is no such target, or it is no vector of named units.
        """
        spec = specs.get(field)
        fits = spec is not None and spec.kind == Kind.VECTOR and len(spec.names) > 0
        return cls.of_spec(require_target(specs, field, "action-units", "a vector of names such as AU12", fits))

    @property
    def name(self) -> str:
        return "action-units"

    def decode(self, predicted: NDArray[Any]) -> NDArray[np.float64]:
        """As ``Numbers.decode``, within 0 and 5."""
        return super().decode(predicted).clip(0, HIGHEST)

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """The mean squared error of predictions that are clipped to 0 and 5.

        The gradient passes through the clipping: a head that says less than 0 where there is something must learn it.
        """
        clipped = predicted + (predicted.clamp(0, HIGHEST) - predicted).detach()
        return known_mean(torch.square, clipped, encoded)

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """ICC(3,1), mean squared and absolute error, and F1 of being present, over all faces."""
        pair = self.decode(predicted), self.true(truth), self.entries
        return totals_first(
            mean_and_parts("icc", by_column(consistency, *pair), "{:.4f}", higher_is_better=True)
            | mean_and_parts("mse", by_column(mean_squared_error, *pair), "{:.4f}", higher_is_better=False)
            | mean_and_parts("mae", by_column(mean_absolute_error, *pair), "{:.4f}", higher_is_better=False)
            | mean_and_parts("f1", by_column(presence_f1, *pair), "{:.4f}", higher_is_better=True)
        )


def presence_f1(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    """F1 of intensities of at least `PRESENT`, over the faces of which both are known; NaN where none has it."""
    coded = np.isfinite(true) & np.isfinite(predicted)
    return f1(predicted[coded] >= PRESENT, true[coded] >= PRESENT)
