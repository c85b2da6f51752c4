"""How well predicted numbers agree with the true ones: two series ``(N,)``, faces of which one is unknown left out.

Moments are those of the population (divided by N), as in the code of EmoNet, AffectNet's and the action units' papers.
A figure that is not defined is NaN: of no face at all, or a correlation with what never varies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Series = NDArray[np.float64]
Agreement = Callable[[Series, Series], float]
"""Of the predicted and the true series."""


def known(predicted: Series, true: Series) -> tuple[Series, Series]:
    """The faces of which both are known, in float64."""
    kept = np.isfinite(predicted) & np.isfinite(true)
    return predicted[kept].astype(np.float64), true[kept].astype(np.float64)


def mean_squared_error(predicted: Series, true: Series) -> float:
    """Mean of the squared differences."""
    predicted, true = known(predicted, true)
    return float(np.square(predicted - true).mean()) if len(true) else np.nan


def root_mean_squared_error(predicted: Series, true: Series) -> float:
    """Its root, in the unit of the numbers."""
    return float(np.sqrt(mean_squared_error(predicted, true)))


def mean_absolute_error(predicted: Series, true: Series) -> float:
    """Mean of the distances."""
    predicted, true = known(predicted, true)
    return float(np.abs(predicted - true).mean()) if len(true) else np.nan


def explained_variance(predicted: Series, true: Series) -> float:
    """R squared: 1 less the squared error over that of the true mean; NaN where the truth never varies."""
    predicted, true = known(predicted, true)
    spread = _variance(true)
    return 1 - mean_squared_error(predicted, true) / spread if spread > 0 else np.nan


def pearson(predicted: Series, true: Series) -> float:
    """Pearson's correlation (PCC); NaN where one of them never varies."""
    predicted, true = known(predicted, true)
    spread = np.sqrt(_variance(predicted) * _variance(true))
    return _covariance(predicted, true) / spread if spread > 0 else np.nan


def concordance(predicted: Series, true: Series) -> float:
    """Lin's concordance correlation (CCC): it minds another mean and spread, too; 0 of a constant."""
    predicted, true = known(predicted, true)
    if not len(true):
        return np.nan
    bottom = _variance(predicted) + _variance(true) + (predicted.mean() - true.mean()) ** 2
    return 2 * _covariance(predicted, true) / bottom if bottom > 0 else np.nan


def sign_agreement(predicted: Series, true: Series) -> float:
    """The share of equal signs (SAGR); 0 has a sign of its own."""
    predicted, true = known(predicted, true)
    return float((np.sign(predicted) == np.sign(true)).mean()) if len(true) else np.nan


def consistency(predicted: Series, true: Series) -> float:
    """ICC(3,1) of two raters (Shrout and Fleiss, 1979): the intraclass correlation that forgives another mean.

    (BMS - EMS) / (BMS + EMS), of the mean squares between faces and of the residual; newer software calls it ICC(C,1).
    NaN where the truth never varies.
    """
    predicted, true = known(predicted, true)
    if not _variance(true) > 0:
        return np.nan
    return 2 * _covariance(predicted, true) / (_variance(predicted) + _variance(true))


def f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and recall of two masks; NaN where nothing is true."""
    hits = int((predicted & true).sum())
    return 2 * hits / int(predicted.sum() + true.sum()) if true.any() else np.nan


def _variance(series: Series) -> float:
    # Of equal numbers it is 0 and not what rounding leaves of their mean.
    return float(series.var()) if len(series) and series.min() < series.max() else 0.0


def _covariance(first: Series, second: Series) -> float:
    return float(((first - first.mean()) * (second - second.mean())).mean())
