"""A plan on its way to a device: one array, one copy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.plan import Plan

WIDTHS = {"boxes": 4, "flip": 1, "jitter": 1, "order": 4, "factors": 4, "grey": 1, "blur_sigma": 1}


class DevicePlan(NamedTuple):
    """A ``Plan`` as tensors: the same names, leading axes and meaning; whole numbers are float32 too."""

    boxes: Tensor
    flip: Tensor
    jitter: Tensor
    order: Tensor
    factors: Tensor
    grey: Tensor
    blur_sigma: Tensor


def pack(plan: Plan) -> NDArray[np.float32]:
    """All parameters side by side, ``(..., 16)``; float32 holds the whole numbers among them exactly."""
    lead = plan.flip.shape
    parts = [getattr(plan, name).reshape(*lead, width).astype(np.float32) for name, width in WIDTHS.items()]
    return np.concatenate(parts, axis=-1)


def unpack(packed: Tensor) -> DevicePlan:
    """The parameters as views of the packed tensor; the flags as bool."""
    boxes, flip, jitter, order, factors, grey, sigma = packed.split(list(WIDTHS.values()), dim=-1)
    flip, jitter, grey = (flag[..., 0] > 0.5 for flag in (flip, jitter, grey))
    return DevicePlan(boxes, flip, jitter, order, factors, grey, sigma[..., 0])
