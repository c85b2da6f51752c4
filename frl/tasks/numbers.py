"""Numbers of any kind: an age, a pose, intensities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray

from frl.beton.mirror import signs_of
from frl.beton.targets import Kind, TargetSpec
from frl.tasks.losses import known_mean, means_of_known, smooth_l1
from frl.tasks.metrics.agreement import (
    explained_variance,
    mean_absolute_error,
    pearson,
    root_mean_squared_error,
)
from frl.tasks.scores import by_column, mean_and_parts, totals_first
from frl.tasks.task import Score, Truth, require_sides, require_target


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The numbers of any target, each for itself.

    Attributes:
        field: the target.
        entries: what its numbers are called.
        offset: subtracted of each before it is learned.
        scale: what divides it then.
        unknown: which of the numbers that a head gives training knew nothing of. No head learns them: they are said to
            be NaN.
    """

    field: str
    entries: tuple[str, ...]
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    # Not in the text by which a checkpoint knows its task: it follows from the data, and older ones have none.
    unknown: tuple[int, ...] = dataclasses.field(default=(), repr=False)

    headline: ClassVar[str] = "mae"
    bounded: ClassVar[bool] = False
    usual_scale: ClassVar[float] = 1.0
    """What divides the numbers where nothing else is said."""

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "") -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there is no such target, or it is no vector.
        """
        fits = field in specs and specs[field].kind == Kind.VECTOR
        return cls.of_spec(require_target(specs, field, f"numbers:{field}", "numbers", fits))

    @classmethod
    def of_spec(cls, spec: TargetSpec) -> Self:
        """The task on a target."""
        count = int(np.prod(spec.shape, dtype=int))
        entries = spec.names or ((spec.name,) if count == 1 else tuple(map(str, range(count))))
        return cls(field=spec.name, entries=entries, offset=(0.0,) * count, scale=(cls.usual_scale,) * count)

    def fitted(self, train: Truth) -> Self:
        """The same with numbers of mean 0 and standard deviation 1 in training, whatever their unit is."""
        values = self.true(train)
        mean = means_of_known(values)
        spread = np.nanstd(np.where(np.isnan(mean), 0, values), axis=0)
        return replace(
            self,
            offset=tuple(np.nan_to_num(mean).tolist()),
            scale=tuple(np.where(spread > 0, spread, 1.0).tolist()),
        )

    def learned_from(self, train: Truth) -> Self:
        """The same, saying nothing of the numbers that training knows of no face."""
        return replace(self, unknown=tuple(np.flatnonzero(np.isnan(self.true(train)).all(axis=0)).tolist()))

    @property
    def name(self) -> str:
        return f"numbers:{self.field}"

    @property
    def fields(self) -> tuple[str, ...]:
        return (self.field,)

    @property
    def outputs(self) -> int:
        return len(self.entries)

    def encode(self, targets: Mapping[str, torch.Tensor], sides: torch.Tensor) -> torch.Tensor:
        values = targets[self.field].float().reshape(len(sides), self.outputs)
        return (values - values.new_tensor(self.offset)) / values.new_tensor(self.scale)

    def decode(self, predicted: NDArray[Any]) -> NDArray[np.float64]:
        """The inverse of ``encode``, ``(N, K)``; NaN of what training knew nothing of."""
        said = np.asarray(predicted, np.float64) * self.scale + np.asarray(self.offset)
        said[:, list(self.unknown)] = np.nan
        return said

    def true(self, truth: Truth) -> NDArray[np.float64]:
        """The true numbers, ``(N, K)``."""
        return truth.values[self.field].reshape(len(truth), self.outputs).astype(np.float64)

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        return known_mean(smooth_l1, predicted, encoded)

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """Mean absolute error, root of the mean squared error, R squared and Pearson's correlation."""
        pair = self.decode(predicted), self.true(truth), self.entries
        return totals_first(
            mean_and_parts("mae", by_column(mean_absolute_error, *pair), "{:.4g}", higher_is_better=False)
            | mean_and_parts("rmse", by_column(root_mean_squared_error, *pair), "{:.4g}", higher_is_better=False)
            | mean_and_parts("r2", by_column(explained_variance, *pair), "{:.4f}", higher_is_better=True)
            | mean_and_parts("pcc", by_column(pearson, *pair), "{:.4f}", higher_is_better=True)
        )

    def details(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Any]:
        """Nothing beyond the scores."""
        return {}

    def constant(self, encoded: NDArray[Any]) -> NDArray[np.float64]:
        """The mean."""
        return means_of_known(encoded)

    def mirror(self, predicted: torch.Tensor) -> torch.Tensor:
        """Numbers whose names say a side exchanged, and yaw and roll with the other sign.

        Raises:
            ConfigError: a name says a side, and none the other.
        """
        places = list(require_sides(self.field, self.entries))
        offset, scale, sign = map(predicted.new_tensor, (self.offset, self.scale, signs_of(self.entries)))
        # (sign * (said * scale + offset)[places] - offset) / scale, by which what stays keeps every bit
        return predicted[:, places] * (sign * scale[places] / scale) + (sign * offset[places] - offset) / scale
