"""A part of the training data that is held out, so that choices are made without the test set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def held_out(subjects: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which samples are held out: whole subjects, drawn until at least ``share`` of the samples are.

    Two photographs of a person are too alike for one to judge what was learned from the other. Samples of unknown
    subjects are each their own.

    Args:
        subjects: ``(N,)`` int64, whose face it is; -1 where unknown.
        share: of the samples, from 0 to below 1; 0: none.
        seed: decides who.

    Returns:
        ``(N,)`` bool; none is held out where every choice would leave nothing to train on.
    """
    alone = -1 - np.arange(len(subjects))
    groups = np.where(subjects < 0, alone, subjects)
    names, counts = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    before = np.cumsum(counts[order]) - counts[order]
    chosen = names[order[before < share * len(subjects)]]
    if len(chosen) == len(names):
        return np.zeros(len(subjects), bool)
    return np.isin(groups, chosen)
