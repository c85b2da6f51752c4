"""A plan's arrays side by side in one array of float32, each found again by its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Columns:
    """Where named arrays lie in a row of float32, which holds every whole number of a plan exactly.

    Args:
        of_one: the arrays of one crop, as in ``Plan()``: they give names, order, numbers and types.

    Attributes:
        places: the column of each single number, the range of columns of each list.
        flags: the names of those that are yes or no.
        width: columns in all.
    """

    def __init__(self, of_one: Mapping[str, NDArray[Any]]) -> None:
        self.places: dict[str, int | slice] = {}
        self.flags = {name for name, part in of_one.items() if part.dtype == np.bool_}
        self.width = 0
        for name, part in of_one.items():
            end = self.width + part.size
            self.places[name] = slice(self.width, end) if part.ndim else self.width
            self.width = end

    def pack(self, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """The same arrays of any number of crops side by side, ``(..., width)``."""
        parts = (arrays[name] if isinstance(at, slice) else arrays[name][..., None] for name, at in self.places.items())
        return np.concatenate([part.astype(np.float32, copy=False) for part in parts], axis=-1)
