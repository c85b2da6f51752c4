"""The task that every contestant is given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from frl.config import AugmentConfig, as_dict
from frl.presets import preset

Contestant = Callable[["Task"], Iterator[int]]
"""Makes batches for ever, each of them finished in host memory, and says how many images each holds."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Make crops of the images of a ``.beton``, in random order.

    Attributes:
        data: the ``.beton``.
        preset: whose crops; a preset of frl pretrain.
        everything: with colour and blur, or crops and flips alone.
        workers: threads or processes.
        batch_size: images in a batch.
    """

    data: Path
    preset: str
    everything: bool
    workers: int
    batch_size: int

    @property
    def recipe(self) -> AugmentConfig:
        """The crops and what is done to them."""
        full = preset(self.preset).config.augment
        return full if self.everything else full.uncoloured

    def to_json(self) -> str:
        """For the process that runs the contestant."""
        return json.dumps(as_dict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The inverse of ``to_json``."""
        fields = json.loads(text)
        return cls(**{**fields, "data": Path(fields["data"])})


def around_one(strength: float) -> tuple[float, float]:
    """The range of a factor."""
    return max(0.0, 1 - strength), 1 + strength
