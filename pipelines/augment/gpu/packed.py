"""A plan on its way to a device: one array, one copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pipelines.augment.columns import Columns
from pipelines.augment.gpu.ladder import rung_factors
from pipelines.augment.plan import Plan

DevicePlan = dict[str, Tensor]
"""The arrays of a ``Plan`` by name, float32 or bool; instead of the jitter's three there is ``rungs``, ``(B, V, 15)``:
the factors on the rungs of ``pipelines.augment.gpu.ladder``."""


def for_device(plan: Plan) -> dict[str, NDArray[Any]]:
    """The arrays that the kernels take, by name."""
    arrays = plan._asdict()
    for name in ("jitter", "order", "factors"):
        del arrays[name]
    return arrays | {"rungs": rung_factors(plan)}


COLUMNS = Columns(for_device(Plan()))


def pack(plan: Plan) -> NDArray[np.float32]:
    """All parameters side by side, ``(..., COLUMNS.width)``."""
    return COLUMNS.pack(for_device(plan))


def unpack(packed: Tensor) -> DevicePlan:
    """The parameters as views of the packed tensor; the flags as bool."""
    parts = {name: packed[..., place] for name, place in COLUMNS.places.items()}
    return {name: part > 0.5 if name in COLUMNS.flags else part for name, part in parts.items()}
