"""How far an order's batches are from uniformly drawn ones: by whom they show, and by where in the file they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KOLMOGOROV_MEAN = 0.8687  # of sqrt(n) times the Kolmogorov distance of n uniform numbers: sqrt(pi / 2) ln 2


@dataclass(frozen=True, kw_only=True)
class Randomness:
    """Means over the batches of an epoch, as multiples of what uniform batches have: all are about 1 for those.

    Attributes:
        same_identity: pairs of samples of one identity within a batch.
        same_page: pairs of samples of one page within a batch: samples that meet again and again.
        distance: Kolmogorov distance between the samples' places in the file and the uniform distribution.
    """

    same_identity: float
    same_page: float
    distance: float


def measure(
    order: NDArray[np.int64], labels: NDArray[np.int64], pages: NDArray[np.int64], batch_size: int
) -> Randomness:
    """Measure an epoch's order; its samples are numbered by their place in the file.

    Args:
        order: ``(N,)`` int64, every sample once.
        labels: ``(N,)`` int64, identity of each sample.
        pages: ``(N,)`` int64, page of each sample.
        batch_size: samples in a batch, at least 2.
    """
    batches = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
    return Randomness(
        same_identity=_pairs_ratio(batches, labels),
        same_page=_pairs_ratio(batches, pages),
        distance=float(np.mean(_distances(batches / len(order)))) * batch_size**0.5 / KOLMOGOROV_MEAN,
    )


def _pairs_ratio(batches: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """Pairs of one group within a batch, over what drawing without replacement would give."""
    size, total = batches.shape[1], len(groups)
    pairs = np.mean([_pairs(groups[batch]) for batch in batches])
    return float(pairs / (size * (size - 1) / (total * (total - 1)) * _pairs(groups)))


def _pairs(groups: NDArray[np.int64]) -> float:
    counts = np.unique(groups, return_counts=True)[1].astype(np.float64)
    return float((counts * (counts - 1)).sum())


def _distances(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Kolmogorov distance of each row from the uniform distribution on [0, 1)."""
    ordered, n = np.sort(places, axis=1), places.shape[1]
    above = (np.arange(1, n + 1) / n - ordered).max(axis=1)
    below = (ordered - np.arange(n) / n).max(axis=1)
    return np.maximum(above, below)
