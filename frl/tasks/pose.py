"""Head pose: yaw, pitch and roll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.tasks.metrics.agreement import explained_variance
from frl.tasks.metrics.rotation import angular_distance, to_300wlp
from frl.tasks.numbers import Numbers
from frl.tasks.scores import by_column, mean_and_parts, totals_first
from frl.tasks.task import Score, Truth, require_target

ANGLES = ("yaw", "pitch", "roll")


@dataclass(frozen=True, kw_only=True)
class Pose(Numbers):
    """The three angles in degrees; learned as shares of a right angle."""

    usual_scale: ClassVar[float] = 90.0

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "pose") -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there is no pose, or it is not yaw, pitch and roll.
        """
        fits = field in specs and specs[field].kind == Kind.VECTOR and specs[field].names == ANGLES
        return cls.of_spec(require_target(specs, field, "pose", "a vector (3,) of yaw, pitch, roll", fits))

    @property
    def name(self) -> str:
        return "pose"

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """Mean absolute error in degrees, the shorter way round, also in 300W-LP's order of turns, and R squared."""
        guess, true = self.decode(predicted), self.true(truth)
        return totals_first(
            angle_errors("mae", guess, true)
            | mean_and_parts("r2", by_column(explained_variance, guess, true, ANGLES), "{:.4f}", higher_is_better=True)
        )


def angle_errors(name: str, predicted: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, Score]:
    """The mean absolute error of yaw, pitch and roll ``(N, 3)`` and of each, in degrees.

    It is given twice: of the angles as they are, and as ``NAME_300wlp`` of those of the same heads in the order of
    turns that 300W-LP and AFLW2000 have, in which papers compare.
    """
    pairs = {name: (predicted, true), f"{name}_300wlp": (to_300wlp(predicted), to_300wlp(true))}
    found: dict[str, Score] = {}
    for called, pair in pairs.items():
        found |= mean_and_parts(called, by_column(mean_distance, *pair, ANGLES), "{:.2f}", higher_is_better=False)
    return found


def mean_distance(predicted: NDArray[Any], true: NDArray[Any]) -> float:
    """Mean distance of two series of angles in degrees; NaN where none is known."""
    distances = angular_distance(predicted, true)
    known = distances[distances == distances]
    return float(known.mean()) if len(known) else float("nan")
