"""The colour jitter without branches: one ladder of operations on which every order can climb.

The four operations of an image come in one of 24 orders, and images of a batch share a kernel. Selecting at each of
four places among four computed operations would waste three of them. Instead there is one fixed sequence,

    brightness saturation brightness HUE brightness saturation brightness
    CONTRAST
    brightness saturation brightness HUE brightness saturation brightness

that contains every order as a subsequence: brightness, saturation and hue in any order are a subsequence of each half,
and those that come before the contrast climb the first half, those that come after it the second. An image's factors
stand on its own rungs; on all others stand factors that change nothing. The expensive hue is computed twice instead of
eight times, and the contrast, whose mean looks beyond a pixel, once.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pipelines.augment.plan import JITTER_ORDERS, Plan


class Operation(IntEnum):
    """The numbers in ``Plan.order`` and the columns of ``Plan.factors``."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


_B, _C, _S, _H = Operation
_HALF = (_B, _S, _B, _H, _B, _S, _B)
OPERATIONS = (*_HALF, _C, *_HALF)
IDENTITY = np.array([0 if operation is _H else 1 for operation in OPERATIONS], dtype=np.float32)


def _climb(order: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The rungs that one order of the four operations uses, ``(15,)``: the next that fits, each time."""
    used, rung = np.zeros(len(OPERATIONS), dtype=bool), -1
    for operation in order.tolist():
        rung = OPERATIONS.index(operation, rung + 1)
        used[rung] = True
    return used


_PLACES = np.array([64, 16, 4, 1])  # an order as a number in base 4
_RUNGS = np.zeros((256, len(OPERATIONS)), dtype=bool)
_RUNGS[JITTER_ORDERS @ _PLACES] = [_climb(order) for order in JITTER_ORDERS]


def rung_factors(plan: Plan) -> NDArray[np.float32]:
    """The factor of every rung for every crop, ``(..., 15)`` float32; all identity where a crop is not jittered."""
    used = _RUNGS[plan.order @ _PLACES] & plan.jitter[..., None]
    return np.where(used, plan.factors[..., np.array(OPERATIONS)], IDENTITY)
