"""What a worker does with an item: one face, or all that are found on it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from frl.beton.targets import TargetSpec
from frl.images.photo import Photo, UnusableImage
from writers.curate import CurateConfig, Fingerprints, QualityFilter
from writers.detect import DetectConfig, Region, start
from writers.image.crop import CropSpec, Face, FaceCropper, refuse_misplaced, share_inside
from writers.items import Item
from writers.reject import Reject
from writers.sources import Store
from writers.sources.source import TargetStore
from writers.targets import Targets, Values

WHOLE = 0.98
"""From this share of a box on, what is outside of the image is rounding."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Read an item, find its faces, and make samples of them."""

    stores: Mapping[str, Store]
    spec: CropSpec
    detect: DetectConfig
    curate: CurateConfig
    targets: tuple[TargetSpec, ...]

    def __call__(self) -> Callable[[Item], list[Face | Reject]]:
        """Set up the worker, and return its function."""
        warnings.simplefilter("ignore")  # Pillow's; they would tear the progress bar
        return _Preparer(self)


class _Preparer:
    """A worker's state."""

    def __init__(self, preparation: Preparation) -> None:
        self._stores = preparation.stores
        self._knowing = {
            name: store for name, store in self._stores.items() if isinstance(store, TargetStore)
        }  # once: to ask it of a protocol takes as long as to read a header
        self._targets = Targets(preparation.targets)
        self._crop = FaceCropper(preparation.spec)
        self._find = start(preparation.detect)
        self._levels = preparation.detect.align == "eyes"
        self._refuse_poor = QualityFilter(preparation.curate)
        self._fingerprint = Fingerprints(preparation.curate.dedupe)

    def __call__(self, item: Item) -> list[Face | Reject]:
        try:
            photo = self._crop.open(self._read(item))
            regions, known = self._regions(item, photo), self._known(item)
            shared = self._targets.share(known, regions) if self._searches(item) else [known]
            return [self._sample(photo, *part) for part in zip(regions, shared, strict=True)]
        except (Reject, UnusableImage) as reject:
            return [_reject(reject)]

    def _read(self, item: Item) -> bytes:
        if item.candidate.fault:
            raise Reject(item.candidate.fault)
        return self._stores[item.source].read(item.candidate.place) if item.data is None else item.data

    def _known(self, item: Item) -> Values | None:
        """The targets of an item; None where its source knows none."""
        store = self._knowing.get(item.source)
        return item.candidate.targets if store is None else store.targets(item.candidate.place)

    def _regions(self, item: Item, photo: Photo) -> Sequence[Region | Reject]:
        """Where the faces are. What the source knows always wins over the detector."""
        box = item.candidate.box
        refuse_misplaced(photo.width, photo.height, box, item.candidate.points)
        # Not those of a .beton, which were judged when it was written: a sample need not show all of them.
        self._targets.refuse_misplaced(photo.width, photo.height, item.candidate.targets)
        if self._find is None or not self._searches(item):
            return [Region(box, item.candidate.points)]
        return self._find(np.asarray(photo.pixels().image))

    def _searches(self, item: Item) -> bool:
        return item.candidate.box is None and self._find is not None

    def _sample(self, photo: Photo, region: Region | Reject, known: Values | None) -> Face | Reject:
        if isinstance(region, Reject):
            return region
        try:
            if self._levels and region.points is None:
                raise Reject("no landmarks to align it by")
            face = self._crop(photo, region.box, region.points if self._levels else None)
            needs_pixels = self._refuse_poor.needs_pixels or self._fingerprint.needs_pixels
            grey = self._crop.grey(face) if needs_pixels else None
            self._refuse_poor(grey, face.width)
            return face._replace(
                fingerprint=self._fingerprint(face.data, grey),
                over_border=region.box is not None and share_inside(photo.width, photo.height, region.box) < WHOLE,
                central=region.box is None and photo.width != photo.height,
                targets=self._targets.place(known, face.placement),
            )
        except (Reject, UnusableImage) as reject:
            return _reject(reject)


def _reject(reason: Reject | UnusableImage) -> Reject:
    return reason if isinstance(reason, Reject) else Reject(str(reason))
