"""A plan on its way to a device: one array, one copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.augment.gpu.ladder import OPERATIONS, rung_factors
from pipelines.augment.plan import Plan


class DevicePlan(NamedTuple):
    """What the kernels need of a ``Plan``: leading axes as there, ``(B, V)``.

    Attributes:
        boxes: ``(B, V, 4)`` float32, top, left, height, width.
        flip: ``(B, V)`` bool.
        jitter: ``(B, V, 15)`` float32, the factors on the rungs of ``pipelines.augment.gpu.ladder``.
        grey: ``(B, V)`` bool.
        blur_sigma: ``(B, V)`` float32, 0: no blur.
    """

    boxes: Tensor
    flip: Tensor
    jitter: Tensor
    grey: Tensor
    blur_sigma: Tensor


def pack(plan: Plan) -> NDArray[np.float32]:
    """All parameters side by side, ``(..., 22)``; float32 holds the whole numbers among them exactly."""
    flags = [plan.flip[..., None], plan.grey[..., None], plan.blur_sigma[..., None]]
    parts = [part.astype(np.float32, copy=False) for part in (plan.boxes, rung_factors(plan), *flags)]
    return np.concatenate(parts, axis=-1)


def unpack(packed: Tensor) -> DevicePlan:
    """The parameters as views of the packed tensor; the flags as bool."""
    boxes, jitter, flip, grey, sigma = packed.split([4, len(OPERATIONS), 1, 1, 1], dim=-1)
    return DevicePlan(boxes, flip[..., 0] > 0.5, jitter, grey[..., 0] > 0.5, sigma[..., 0])
