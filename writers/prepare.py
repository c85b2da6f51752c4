"""What a worker does with an item."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from writers.crop import CropSpec, Face, FaceCropper, Reject
from writers.items import Item
from writers.sources import Source


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Read an item, and make a sample of it."""

    sources: dict[str, Source]
    spec: CropSpec

    def __call__(self) -> Callable[[Item], Face | Reject]:
        """Set up the worker, and return its function."""
        warnings.simplefilter("ignore")  # Pillow's; they would tear the progress bar
        crop = FaceCropper(self.spec)

        def prepare(item: Item) -> Face | Reject:
            try:
                return crop(self.sources[item.source].read(item.candidate), item.candidate.box)
            except Reject as reject:
                return reject

        return prepare
