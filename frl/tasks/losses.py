"""Losses of predictions of which only a part has a known answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray


def known_mean(
    each: Callable[[torch.Tensor], torch.Tensor], predicted: torch.Tensor, encoded: torch.Tensor
) -> torch.Tensor:
    """The mean of ``each(difference)`` over the numbers that are known; 0 where none is.

    Args:
        each: elementwise, 0 at 0.
        predicted: any shape.
        encoded: of the same shape, NaN where unknown.
    """
    known = ~encoded.isnan()
    # Not by a mask as an index, whose result would have another size in every step.
    difference = torch.where(known, predicted - encoded.nan_to_num(), 0)
    return each(difference).sum() / known.sum().clamp(min=1)


def means_of_known(numbers: NDArray[Any]) -> NDArray[np.float64]:
    """The mean of each column of ``(N, K)`` over the numbers that are known; NaN of a column of which none is."""
    known = ~np.isnan(numbers).all(axis=0)
    return np.where(known, np.nanmean(np.where(known, numbers, 0), axis=0, dtype=np.float64), np.nan)


def smooth_l1(difference: torch.Tensor) -> torch.Tensor:
    """Half the square below 1, the distance less 1/2 above it."""
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none")


def wing(difference: torch.Tensor, width: float = 0.10, epsilon: float = 0.02) -> torch.Tensor:
    """A logarithm near 0, which minds small errors, and the distance beyond it (Feng et al., "Wing Loss", 2018).

    Args:
        difference: in shares of the image's side.
        width: where the logarithm ends.
        epsilon: the smaller, the more the smallest errors count.
    """
    distance = difference.abs()
    offset = width - width * math.log1p(width / epsilon)
    return torch.where(distance < width, width * torch.log1p(distance / epsilon), distance - offset)
