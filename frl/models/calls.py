"""What an objective asks of a backbone, so that the backbone can be prepared for it."""

from __future__ import annotations

from typing import NamedTuple


class Call(NamedTuple):
    """A call of a backbone.

    Attributes:
        resolution: index of the crops' resolution.
        crops: how many there are.
    """

    resolution: int
    crops: int
