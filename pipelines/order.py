"""Which sample when: a pure function of (seed, epoch, step), the same on any number of ranks.

An epoch is a permutation cut into global steps of equal length; what is left at its end is dropped. Rank r of W takes
the r-th of W equal parts of each step, so a run may be stopped after any step and go on with another number of ranks.

The place of a page-aware order for files larger than memory (shuffle the pages, then the samples within a window of
pages) is here: a second function of (n, seed, epoch, page of each sample) beside ``permutation``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.hashing import Stream, fold


def permutation(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A uniform permutation of ``n`` samples: ``(n,)`` int64, the samples sorted by their hash."""
    keys = fold(fold(fold(seed, Stream.ORDER), epoch), np.arange(n))
    return np.argsort(keys, kind="stable")


def step_samples(order: NDArray[np.int64], step: int, batch_size: int) -> NDArray[np.int64]:
    """The samples of a global step, over all ranks: ``(batch_size,)``."""
    return order[step * batch_size : (step + 1) * batch_size]


def rank_share(batch_size: int, rank: int, world: int) -> slice:
    """The positions within a global step that belong to ``rank``; ``world`` must divide ``batch_size``."""
    local = batch_size // world
    return slice(rank * local, (rank + 1) * local)
