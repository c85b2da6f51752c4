"""How often a class was named right."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def confusion_matrix(named: NDArray[np.int64], true: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Faces by their class (rows) and the class they were taken for (columns), ``(classes, classes)``.

    Args:
        named: ``(N,)``.
        true: ``(N,)``; faces with -1, unknown, do not count.
        classes: how many there are.
    """
    kept = true >= 0
    pairs = true[kept] * classes + named[kept]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def accuracy(confusion: NDArray[np.int64]) -> float:
    """The share of faces that were named right; NaN without any."""
    total = int(confusion.sum())
    return float(np.trace(confusion) / total) if total else np.nan


def recalls(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of each class, the share of its faces that were named right; NaN of classes without any."""
    return _shares(np.diag(confusion), confusion.sum(axis=1))


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """The mean of `recalls` over the classes that have faces."""
    found = recalls(confusion)
    return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """The mean of F1 over the classes that have faces or were named."""
    found = _shares(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1))
    return float(np.nanmean(found)) if np.isfinite(found).any() else np.nan


def _shares(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
