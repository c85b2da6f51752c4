"""Whole images of a ``.beton`` as batches, for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from frl.batch import Batch
from frl.beton import Beton
from frl.config import AugmentConfig, CropSpec, DataConfig, EngineName
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import plan_whole
from pipelines.engines.engine import Request
from pipelines.loader import open_engine, targets_of, to_device
from pipelines.sampling.beton_set import Open
from pipelines.upload import on_device


class WholeImages:
    """Every image, in file order, resized to one size: for evaluation. Iterates ``Batch``es of one view.

    Args:
        path: the ``.beton``.
        size: side of the view, in pixels; an image that is not square is stretched.
        batch_size: images of a batch; the last may hold fewer.
        device: where the view is normalised; it is resized while loading.
        augment: its mean and standard deviation normalise the view.
        limit: images used at most; None: all.
        part: which of how many parts of them, one after the other: 0 of 1 for all; of several ranks each takes its own.
        engine: which engine decodes.
        workers: its threads; 0: the cores of this machine shared by its ranks.
        on_broken: raise on an image that does not decode, or (replace) go without it.
        open: opens ``path``.

    Attributes:
        labels: ``(N,)`` int64 of the images that are used, -1 where unknown.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if the engine is not installed.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        size: int,
        batch_size: int,
        device: torch.device | str,
        augment: AugmentConfig,
        limit: int | None = None,
        part: tuple[int, int] = (0, 1),
        engine: EngineName = "threads",
        workers: int = 0,
        on_broken: Literal["raise", "replace"] = "raise",
        open: Open = Beton,
    ) -> None:
        device = torch.device(device)
        self.beton = open(Path(path))
        data = DataConfig(data=(Path(path),), engine=engine, workers=workers, on_broken=on_broken)
        self.engine = open_engine(self.beton, data, device)
        total = len(self.beton) if limit is None else min(limit, len(self.beton))
        index, parts = part
        self.samples = range(total * index // parts, total * (index + 1) // parts)
        self.labels = self.beton.labels[self.samples.start : self.samples.stop]
        self.spec = CropSpec(size=size, count=1, scale=(1, 1))
        self.batch_size = batch_size
        self.device = device
        self.normalise = NormaliseCrops(augment).to(device)

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        made = self.engine.crops(self.requests(), (self.spec,), plan_whole)
        for request, batch in zip(self.requests(), made, strict=True):
            # What stands in for a broken image would be its own nearest neighbour: evaluation goes without.
            kept = np.flatnonzero(batch.samples == request.wanted)
            crops = [on_device(view, self.device) for view in batch.crops]
            if len(kept) < len(batch.samples):
                crops = [view[to_device(kept, self.device)] for view in crops]
            yield Batch(
                views=self.normalise(crops),
                samples=to_device(batch.samples[kept], self.device),
                targets=targets_of(self.beton, batch.samples[kept], batch.labels[kept], self.device),
            )

    def requests(self) -> Iterator[Request]:
        """The batches of the file, in order."""
        for first in range(0, len(self.samples), self.batch_size):
            samples = np.array(self.samples[first : first + self.batch_size])
            yield Request(samples=samples, share=slice(0, len(samples)))

    def close(self) -> None:
        """Stop the engine and close the file."""
        self.engine.close()
        self.beton.close()
