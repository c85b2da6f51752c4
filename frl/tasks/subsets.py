"""The named parts of a benchmark, such as 300-W's common and challenging faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from frl.tasks.task import Score, Truth

SUBSETS = "subsets"
"""The target that says which parts a face belongs to: 1 where it does, 0 where not."""


def subsets(truth: Truth) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Name and members ``(N,)`` of every part that has any."""
    if SUBSETS not in truth.specs:
        return
    members = truth.values[SUBSETS].reshape(len(truth), -1) == 1
    names = truth.specs[SUBSETS].names or tuple(map(str, range(members.shape[1])))
    for name, column in zip(names, members.T, strict=True):
        if column.any():
            yield name, column


def by_subset(truth: Truth, score: Callable[[NDArray[np.bool_]], Mapping[str, Score]]) -> dict[str, Score]:
    """The scores of each part, called ``SCORE/PART``.

    Args:
        truth: says who is in which part.
        score: of some faces, given as a mask ``(N,)``.
    """
    return {f"{what}/{name}": found for name, members in subsets(truth) for what, found in score(members).items()}
