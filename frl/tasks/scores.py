"""Scores out of metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from frl.tasks.metrics.agreement import Agreement
from frl.tasks.task import Score

MISSING = "n/a"
"""What people read where a figure is not defined."""


def score(value: float, pattern: str, *, higher_is_better: bool) -> Score:
    """A score whose text is the value in a pattern such as ``"{:.4f}"``."""
    shown = pattern.format(value) if np.isfinite(value) else MISSING
    return Score(value=float(value), higher_is_better=higher_is_better, text=shown, pattern=pattern)


def mean_and_parts(name: str, parts: Mapping[str, float], pattern: str, *, higher_is_better: bool) -> dict[str, Score]:
    """The mean over the parts of which the figure is defined, and each part."""
    defined = [value for value in parts.values() if np.isfinite(value)]
    values = {name: float(np.mean(defined)) if defined else np.nan}
    values |= {f"{name}/{part}": value for part, value in parts.items()} if len(parts) > 1 else {}
    return {called: score(value, pattern, higher_is_better=higher_is_better) for called, value in values.items()}


def by_column(
    metric: Agreement, predicted: NDArray[np.float64], true: NDArray[np.float64], names: Sequence[str]
) -> dict[str, float]:
    """A metric of each column of ``(N, K)``, by the columns' names."""
    return {name: metric(p, t) for name, p, t in zip(names, predicted.T, true.T, strict=True)}


def totals_first(scores: Mapping[str, Score]) -> dict[str, Score]:
    """The scores of everything before those of parts, otherwise in their order."""
    return dict(sorted(scores.items(), key=lambda item: "/" in item[0]))
