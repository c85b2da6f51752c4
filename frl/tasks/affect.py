"""Valence and arousal, as AffectNet has them: how pleasant and how excited a face looks, from -1 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from numpy.typing import NDArray

from frl.beton.targets import Kind, TargetSpec
from frl.tasks.losses import known_mean
from frl.tasks.metrics.agreement import concordance, pearson, root_mean_squared_error, sign_agreement
from frl.tasks.numbers import Numbers
from frl.tasks.scores import by_column, mean_and_parts, totals_first
from frl.tasks.task import Score, Truth, require_target

ENTRIES = ("valence", "arousal")


@dataclass(frozen=True, kw_only=True)
class Affect(Numbers):
    """The two numbers, each for itself."""

    headline: ClassVar[str] = "ccc"
    bounded: ClassVar[bool] = True

    @classmethod
    def of(cls, specs: Mapping[str, TargetSpec], field: str = "affect") -> Self:
        """The task on a file with these targets.

        Raises:
            ConfigError: there is no such target, or it is not valence and arousal.
        """
        fits = field in specs and specs[field].kind == Kind.VECTOR and specs[field].names == ENTRIES
        return cls.of_spec(require_target(specs, field, "affect", "a vector (2,) of valence, arousal", fits))

    @property
    def name(self) -> str:
        return "affect"

    def loss(self, predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """The mean squared error, plus 1 less the concordance correlation within the batch of either number."""
        apart = sum(1 - batch_concordance(p, t) for p, t in zip(predicted.T, encoded.T, strict=True))
        return known_mean(torch.square, predicted, encoded) + apart

    def score(self, predicted: NDArray[Any], truth: Truth) -> Mapping[str, Score]:
        """Concordance and Pearson's correlation, root of the mean squared error, and the share of equal signs."""
        pair = self.decode(predicted), self.true(truth), ENTRIES
        return totals_first(
            mean_and_parts("ccc", by_column(concordance, *pair), "{:.4f}", higher_is_better=True)
            | mean_and_parts("pcc", by_column(pearson, *pair), "{:.4f}", higher_is_better=True)
            | mean_and_parts("rmse", by_column(root_mean_squared_error, *pair), "{:.4f}", higher_is_better=False)
            | mean_and_parts("sagr", by_column(sign_agreement, *pair), "{:.4f}", higher_is_better=True)
        )


def batch_concordance(predicted: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
    """The concordance correlation of two series ``(B,)`` where both are known; 1 where that is fewer than two.

    Returns:
        a scalar with a gradient.
    """
    known = ~encoded.isnan()
    count = known.sum()
    if_known = known / count.clamp(min=1)
    true = encoded.nan_to_num()
    predicted_mean, true_mean = (predicted * if_known).sum(), (true * if_known).sum()
    guessed, there = predicted - predicted_mean, true - true_mean
    covariance = (guessed * there * if_known).sum()
    spreads = (guessed.square() * if_known).sum() + (there.square() * if_known).sum()
    found = 2 * covariance / (spreads + (predicted_mean - true_mean).square()).clamp(min=1e-8)
    return torch.where(count > 1, found, 1)
