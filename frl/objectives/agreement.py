"""Predicting one view from another, without negatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from frl.objectives.contrast import unit
from frl.objectives.diagnosis import Metric

AGREEMENT = Metric(
    name="positive_similarity",
    title="Similarities",
    label="of prediction and target",
    note="cosine; near 1 with a small feature standard deviation: collapsed",
)


def agreement(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean cosine of every view's prediction with the targets of the *other* views; a scalar in [-1, 1].

    Args:
        predictions: ``(B, D)`` of all V views.
        targets: ``(B, D)`` of the first views, which are constants: no gradient goes to them.
    """
    constants = [unit(target.detach()) for target in targets]
    directions = [unit(prediction) for prediction in predictions]
    cosines = [
        (direction * constant).sum(1).mean()
        for view, constant in enumerate(constants)
        for other, direction in enumerate(directions)
        if other != view
    ]
    return torch.stack(cosines).mean()
