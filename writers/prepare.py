"""What a worker does with an item."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from writers.crop import CropSpec, Face, FaceCropper
from writers.items import Item
from writers.sources import Reject, Store


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Read an item, and make a sample of it."""

    stores: Mapping[str, Store]
    spec: CropSpec

    def __call__(self) -> Callable[[Item], Face | Reject]:
        """Set up the worker, and return its function."""
        warnings.simplefilter("ignore")  # Pillow's; they would tear the progress bar
        crop = FaceCropper(self.spec)

        def prepare(item: Item) -> Face | Reject:
            try:
                return crop(self._read(item), item.candidate.box)
            except Reject as reject:
                return reject

        return prepare

    def _read(self, item: Item) -> bytes:
        if item.candidate.fault:
            raise Reject(item.candidate.fault)
        return self.stores[item.source].read(item.candidate.place) if item.data is None else item.data
