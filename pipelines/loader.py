"""Loaders: order, engine, plan and augmentation put together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from frl.batch import Batch
from frl.beton import Beton
from frl.config import AugmentConfig, DataConfig
from frl.errors import ConfigError
from pipelines.augment import HostMultiCrop, Resize
from pipelines.augment_gpu import MultiCrop
from pipelines.decoded import Engine, Request
from pipelines.ffcv_loader import FFCVImages
from pipelines.order import permutation, rank_share, step_samples
from pipelines.plan import draw
from pipelines.torch_loader import TorchImages


def open_engine(beton: Beton, data: DataConfig, device: torch.device) -> Engine:
    """The engine that ``data`` names, over an open file.

    Raises:
        LoaderError: if the engine is not installed.
    """
    engine: type[FFCVImages] | type[TorchImages] = FFCVImages if data.engine == "ffcv" else TorchImages
    return engine(
        beton,
        workers=data.workers or default_workers(),
        ahead=data.prefetch,
        on_broken=data.on_broken,
        pin=device.type == "cuda",
    )


def to_device(array: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    """Move a small array without waiting for the device: only page-locked memory is copied asynchronously."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def default_workers() -> int:
    """The cores that this process may use, shared by the ranks of this machine."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


class MultiCropLoader:
    """Training batches of one rank: a pure function of (seed, epoch, step); see ``frl.batch.Loader``.

    Args:
        beton: the data set.
        engine: decodes it.
        augment: the recipe of the crops.
        batch_size: samples of a step over all ranks.
        seed: seed of the order and of every crop.
        device: where the crops are made.
        dtype: of the views.
        rank: index of this process.
        world: number of processes.
        compile: compile the augmentation.

    Attributes:
        samples: samples in the data set.
        dataset_fingerprint: identity of its content.
        broken: samples replaced so far by this rank because they did not decode.
    """

    def __init__(
        self,
        beton: Beton,
        engine: Engine,
        augment: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        rank: int,
        world: int,
        compile: bool,
    ) -> None:
        self.beton = beton
        self.engine = engine
        self.recipe = augment
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.share = rank_share(batch_size, rank, world)
        self.multicrop = (
            HostMultiCrop(augment, dtype=dtype)
            if device.type == "cpu"
            else MultiCrop(augment, dtype=dtype, compile=compile).to(device)
        )
        self.samples = len(beton)
        self.dataset_fingerprint = beton.fingerprint
        self.broken = 0

    def __len__(self) -> int:
        return self.samples // self.batch_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of ``epoch`` from step ``start`` on.

        Raises:
            LoaderError: naming the sample that does not decode, or the worker that died.
        """
        for decoded in self.engine.batches(self.requests(epoch, start)):
            self.broken += decoded.broken
            plan = draw(self.recipe, self.seed, epoch, decoded.samples, decoded.sizes)
            yield Batch(
                views=self.multicrop(decoded.images.to(self.device, non_blocking=True), plan),
                samples=to_device(decoded.samples, self.device),
                labels=to_device(decoded.labels, self.device),
            )

    def requests(self, epoch: int, start: int) -> Iterator[Request]:
        """What this rank decodes in ``epoch`` from step ``start`` on."""
        order = permutation(self.samples, self.seed, epoch)
        for step in range(start, len(self)):
            yield Request(samples=step_samples(order, step, self.batch_size), share=self.share)

    def close(self) -> None:
        """Stop the engine and close the file."""
        self.engine.close()
        self.beton.close()


def make_loader(
    data: DataConfig,
    augment: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    rank: int = 0,
    world: int = 1,
    compile: bool = True,
) -> MultiCropLoader:
    """Open a ``.beton`` for training.

    Args:
        data: the file and the engine.
        augment: the recipe of the crops.
        batch_size: samples of a step over all ranks.
        seed: seed of the order and of every crop.
        device: where the crops are made.
        dtype: of the views.
        rank: index of this process.
        world: number of processes.
        compile: compile the augmentation, on a GPU.

    Raises:
        BetonError: if the file is missing or broken.
        ConfigError: if no step can be made of the file, or the ranks cannot share one equally.
        LoaderError: if the engine is not installed.
    """
    if batch_size % world:
        raise ConfigError(
            "--optim.batch-size",
            f"{batch_size} images cannot be shared equally by {world} processes",
            f"Use a multiple of {world}.",
        )
    beton = Beton(data.data)
    if len(beton) < batch_size:
        raise ConfigError(
            "--optim.batch-size",
            f"a step of {batch_size} images cannot be made of the {len(beton)} in {data.data}",
            f"Use at most {len(beton)}.",
        )
    return MultiCropLoader(
        beton,
        open_engine(beton, data, device),
        augment,
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        rank=rank,
        world=world,
        compile=compile and device.type == "cuda",
    )


class WholeImages:
    """Every image, in file order, resized to one size: for evaluation. Iterates ``Batch``es of one view.

    Args:
        path: the ``.beton``.
        size: side of the view, in pixels; an image that is not square is stretched.
        batch_size: images of a batch; the last may hold fewer.
        device: where the view is made.
        augment: its mean and standard deviation normalise the view.
        limit: images used at most; None: all.
        engine: which engine decodes.

    Raises:
        BetonError: if the file is missing or broken.
        LoaderError: if the engine is not installed.
    """

    def __init__(
        self,
        path: Path,
        *,
        size: int,
        batch_size: int,
        device: torch.device,
        augment: AugmentConfig,
        limit: int | None = None,
        engine: Literal["ffcv", "torch"] = "ffcv",
    ) -> None:
        self.beton = Beton(path)
        self.engine = open_engine(self.beton, DataConfig(data=path, engine=engine), device)
        self.samples = len(self.beton) if limit is None else min(limit, len(self.beton))
        self.size = size
        self.batch_size = batch_size
        self.device = device
        self.resize = Resize(size, augment).to(device)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for decoded in self.engine.batches(self.requests()):
            yield Batch(
                views=[self.resize(decoded.images.to(self.device, non_blocking=True), decoded.sizes)],
                samples=to_device(decoded.samples, self.device),
                labels=to_device(decoded.labels, self.device),
            )

    def requests(self) -> Iterator[Request]:
        """The batches of the file, in order."""
        for first in range(0, self.samples, self.batch_size):
            samples = np.arange(first, min(first + self.batch_size, self.samples))
            yield Request(samples=samples, share=slice(0, len(samples)))

    def close(self) -> None:
        """Stop the engine and close the file."""
        self.engine.close()
        self.beton.close()
