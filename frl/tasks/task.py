"""What a downstream task is: something to say of an image, and how to judge what was said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure that a task gives.

    Attributes:
        value: of the metric.
        higher_is_better: the direction of the metric.
        text: how people read it, with its spread where it has one.
    """

    value: float
    higher_is_better: bool
    text: str


class Task(Protocol):
    """Judges features of images that it names itself; whoever has a network computes them.

    Attributes:
        name: on the command line and in tables.
        images: files whose features are wanted, each once.
    """

    @property
    def name(self) -> str: ...

    @property
    def images(self) -> Sequence[Path]: ...

    def score(self, features: np.ndarray) -> Mapping[str, Score]:
        """What features ``(N, D)``, one row for each of ``images``, are worth; the first score is the task's own."""
        ...
