"""Loaders: order, engine, plan and augmentation put together."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from frl.batch import Batch
from frl.beton import Beton
from frl.config import AugmentConfig, DataConfig, EngineName
from frl.errors import ConfigError, LoaderError
from frl.machine import cores
from frl.runtime.distributed import agreed
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import pack
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import draw
from pipelines.augment.points import points_in_views
from pipelines.engines.decoders import Decoder, pil_decoder, simplejpeg_decoder
from pipelines.engines.engine import CroppedBatch, DecodedBatch, Engine, Request
from pipelines.engines.ffcv_engine import libffcv_decoder
from pipelines.engines.threaded import ThreadedImages
from pipelines.page_locked import page_locked
from pipelines.placement import Place, decide
from pipelines.sampling.beton_set import BetonSet, EncodedImages, Open, is_written
from pipelines.sampling.order import EpochOrder, Order, rank_share, shares_by_weight, step_samples
from pipelines.sampling.readahead import ReadAhead, fits_memory
from pipelines.upload import AHEAD, CopyStream, uploaded

Made = tuple[Batch, int]  # on the device, and how many of its samples were replaced

AUGMENTING = 2.5
"""What the augmentation takes at its peak, in views of half precision: 557 MB for 256 images on the GPU of
``docs/results``, whose views are 239 MB."""

WRITE_IT = "Write it once with frl write, or use another option."

DECODERS: dict[EngineName, Callable[[], Decoder]] = {
    "threads": simplejpeg_decoder,
    "ffcv": libffcv_decoder,
    "torch": pil_decoder,
}


def open_engine(images: EncodedImages, data: DataConfig, device: torch.device | str) -> Engine:
    """The engine that ``data`` names, over open files.

    Raises:
        LoaderError: if the engine is not installed.
        ConfigError: if it does not read what ``images`` are.
    """
    device = torch.device(device)
    workers = data.workers or default_workers()
    if data.engine == "dali" and not is_written(images):
        raise ConfigError("--engine dali", f"it reads .beton files alone, and {images.path} is none", WRITE_IT)
    if data.engine == "dali":
        return dali_engine()(images, workers=workers, ahead=data.prefetch, on_broken=data.on_broken, device=device)
    decoder, pin = DECODERS[data.engine](), device.type == "cuda"
    return ThreadedImages(images, decoder, workers=workers, ahead=data.prefetch, on_broken=data.on_broken, pin=pin)


def dali_engine() -> Callable[..., Engine]:
    """The class of the DALI engine, whose module imports DALI.

    Raises:
        LoaderError: if DALI is not installed.
    """
    try:
        from pipelines.engines.dali_engine import DALIImages
    except ImportError as error:
        remedy = "Run pip install nvidia-dali-cuda130==2.4.0, or use --engine threads."
        raise LoaderError("nvidia.dali", f"it is not installed ({error})", remedy) from error
    return DALIImages


def multicrop_on(device: torch.device, augment: AugmentConfig, *, dtype: torch.dtype, compile: bool) -> MultiCrop:
    """The crops of whole images on ``device``: by the kernels in Triton on a GPU, where it is installed."""
    if compile and device.type == "cuda" and importlib.util.find_spec("triton") is not None:
        from pipelines.augment.gpu.fused import FusedMultiCrop

        return FusedMultiCrop(augment, dtype=dtype, compile=True).to(device)
    return MultiCrop(augment, dtype=dtype, compile=compile).to(device)


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Move a small array without waiting for the device: only page-locked memory is copied asynchronously."""
    tensor = torch.from_numpy(array)
    return page_locked(tensor).to(device, non_blocking=True) if device.type == "cuda" else tensor


def known_of(images: EncodedImages, samples: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, torch.Tensor]:
    """What is known of some samples, by name: read here, from pages that their images have just brought in.

    Args:
        images: the data set.
        samples: ``(B,)``.
        labels: ``(B,)``, the identities of these.
    """
    known = {"identity": torch.from_numpy(labels)}
    for spec in images.targets:
        stored = images.target(spec.name, samples)
        stored = stored.astype(np.float32, copy=False) if stored.dtype.kind == "f" else stored
        known[spec.name] = torch.from_numpy(stored)
    return known


def targets_of(
    images: EncodedImages, samples: NDArray[np.int64], labels: NDArray[np.int64], device: torch.device
) -> dict[str, torch.Tensor]:
    """The same on ``device``."""
    return {name: to_device(values.numpy(), device) for name, values in known_of(images, samples, labels).items()}


def default_workers() -> int:
    """The cores that this process may use, shared by the ranks of this machine."""
    return max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


class MultiCropLoader:
    """Training batches of one rank: a pure function of (seed, epoch, step); see ``frl.batch.Loader``.

    Args:
        betons: the data set.
        engine: decodes it.
        order: which samples make up an epoch, and when each comes.
        augment: what is done to make the crops.
        batch_size: samples of a step over all ranks.
        seed: seed of every crop.
        device: where the crops are made.
        dtype: of the views.
        rank: index of this process.
        world: number of processes.
        compile: compile the augmentation.
        augment_on: where the crops are made; auto: measured here, on batches that are thrown away.

    Attributes:
        samples: samples in the data set.
        identities: distinct labels in it; the batches' labels are these in their order, from 0.
        dataset_fingerprint: identity of its content.
        sampling: the order in words; a run that goes on must have the same.
        broken: samples replaced so far by this rank because they did not decode.
        begun: epochs that iterating the loader itself has begun; the next one it begins has this number.
        placement: where the crops are made, and why.
    """

    def __init__(
        self,
        betons: BetonSet,
        engine: Engine,
        order: Order,
        augment: AugmentConfig,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
        rank: int,
        world: int,
        compile: bool,
        augment_on: Literal["auto", "cpu", "gpu"] = "auto",
    ) -> None:
        self.betons = betons
        self.engine = engine
        self.copies = CopyStream(device) if device.type == "cuda" else None
        self.order = order
        self.augment = augment
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.share = rank_share(batch_size, rank, world)
        self.normalise = NormaliseCrops(augment, dtype=dtype, compile=compile).to(device)
        self.multicrop = multicrop_on(device, augment, dtype=dtype, compile=compile)
        self.samples = len(betons)
        self.known = known_labels(betons)
        self.names = ("identity", *(spec.name for spec in betons.targets))
        self.identities = len(self.known)
        self.dataset_fingerprint = betons.fingerprint
        self.sampling = str(order)
        self.broken = 0
        self.begun = 0
        ways: dict[Place, Callable[[int, EpochOrder, int], Iterator[Made]]] = {"cpu": self.cropped, "gpu": self.decoded}
        self.placement = decide(
            augment_on,
            device,
            {place: partial(self._first_epoch, way) for place, way in ways.items()},
            self.share.stop - self.share.start,
        )

    def __len__(self) -> int:
        return len(self.order) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        """An epoch: the first time the first, and each time the next one."""
        self.begun += 1
        return self.epoch(self.begun - 1)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of ``epoch`` from step ``start`` on.

        Raises:
            LoaderError: naming the sample that does not decode, or what no longer answers.
        """
        order = self.order.epoch(epoch)
        make = self.cropped if self.placement.place == "cpu" else self.decoded
        with closing(ReadAhead(self.betons, order, start * self.batch_size)) as ahead:
            for step, (batch, broken) in enumerate(make(epoch, order, start), start):
                ahead.advance(step * self.batch_size, (step + 1) * self.batch_size - 1)
                self.broken += broken
                yield batch

    def identity(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Labels of the files, which may leave numbers out, counted from 0; -1 stays."""
        return np.where(labels < 0, -1, np.searchsorted(self.known, labels))

    def cropped(self, epoch: int, order: EpochOrder, start: int) -> Iterator[Made]:
        """Views of crops that the engine makes."""

        def tensors_of(batch: CroppedBatch) -> list[torch.Tensor]:
            return [*self.described(batch), *batch.crops]

        plan_for = partial(draw, self.augment, self.seed, epoch)
        batches = self.engine.crops(self.requests(order, start), self.augment.crops, plan_for)
        for batch, tensors in uploaded(batches, tensors_of, self.copies):
            crops = tensors[-len(batch.crops) :]
            yield self.batch(self.normalise(crops), tensors), batch.broken

    def decoded(self, epoch: int, order: EpochOrder, start: int) -> Iterator[Made]:
        """Views made on the device from whole images."""

        def tensors_of(batch: DecodedBatch) -> list[torch.Tensor]:
            plan = draw(self.augment, self.seed, epoch, batch.samples, batch.sizes)
            return [*self.described(batch), batch.images, torch.from_numpy(pack(plan))]

        batches = self.engine.images(self.requests(order, start))
        for batch, tensors in uploaded(batches, tensors_of, self.copies):
            images, packed = tensors[-2:]
            yield self.batch(self.multicrop.masked(images, packed), tensors), batch.broken

    def described(self, batch: CroppedBatch | DecodedBatch) -> list[torch.Tensor]:
        """On the host: the samples of a batch, and what is known of them in the order of ``names``."""
        known = known_of(self.betons, batch.samples, self.identity(batch.labels))
        return [torch.from_numpy(batch.samples), *(known[name] for name in self.names)]

    def batch(self, views: list[torch.Tensor], tensors: list[torch.Tensor]) -> Batch:
        """Views with what is known of their samples: the first of ``tensors``, as ``described`` gave them."""
        samples, *known = tensors[: 1 + len(self.names)]
        return Batch(views=views, samples=samples, targets=dict(zip(self.names, known, strict=True)))

    def points(self, batch: Batch, epoch: int, name: str = "landmarks") -> list[torch.Tensor]:
        """Where a target's points lie in the views of a batch of ``epoch``.

        Nothing is remembered for it: the crops of a sample can be drawn again at any time. Waits for the device.

        Returns:
            a tensor per crop size, ``(count * B, n, 2 or 3)`` float32 on the device, in the order of ``batch.views``.

        Raises:
            KeyError: no target has this name.
            ConfigError: it has no points, or nobody knows which points are each other's mirror images.
        """
        values = batch.targets[name]
        spec = next(spec for spec in self.betons.targets if spec.name == name)
        samples = batch.samples.cpu().numpy()
        sizes = np.stack([self.betons.heights[samples], self.betons.widths[samples]], axis=1).astype(np.int32)
        plan = draw(self.augment, self.seed, epoch, samples, sizes)
        return points_in_views(values, plan, self.augment.crops, spec)

    def _first_epoch(self, way: Callable[[int, EpochOrder, int], Iterator[Made]]) -> Iterator[Made]:
        return way(0, self.order.epoch(0), 0)

    def requests(self, order: EpochOrder, start: int) -> Iterator[Request]:
        """What this rank decodes of an epoch from step ``start`` on."""
        for step in range(start, len(self)):
            yield Request(samples=step_samples(order.samples, step, self.batch_size), share=self.share)

    def close(self) -> None:
        """Stop the engine and close the files."""
        self.engine.close()
        self.betons.close()


def known_labels(betons: BetonSet) -> NDArray[np.int64]:
    """The distinct labels of a data set, ascending, without -1."""
    return np.unique(betons.labels[betons.labels >= 0])


def identities_of(data: DataConfig, open: Open = Beton) -> int:
    """How many distinct labels the files have, before there is a loader of them; ``open`` as in ``make_loader``.

    Raises:
        BetonError: if a file is missing or broken.
    """
    with closing(BetonSet(data.data, open)) as betons:
        return len(known_labels(betons))


def bytes_on_device(data: DataConfig, augment: AugmentConfig, open: Open = Beton) -> int:
    """What a loader may hold on a GPU for each image of its share of a batch; ``open`` as in ``make_loader``.

    Batches that are copied, wait, or are used; and what the augmentation makes on its way to the views of the largest
    stage. Where the crops are made on the CPU it is less.

    Raises:
        BetonError: if a file is missing or broken.
    """
    with closing(BetonSet(data.data, open)) as betons:
        whole = 3 * betons.max_side**2
    crops = max(sum(3 * spec.count * spec.size**2 for spec in stage.crops) for stage in augment.by_stage)
    return round((AHEAD + 3) * max(whole, crops) + AUGMENTING * 2 * crops)


def make_loader(
    data: DataConfig,
    augment: AugmentConfig,
    *,
    batch_size: int,
    seed: int,
    device: torch.device | str,
    dtype: torch.dtype = torch.float32,
    rank: int = 0,
    world: int = 1,
    compile: bool = True,
    open: Open = Beton,
) -> MultiCropLoader:
    """Open one or several ``.beton`` files for training; in a process group, a collective call.

    Args:
        data: the files, their order and the engine.
        augment: what is done to make the crops.
        batch_size: samples of a step over all ranks.
        seed: seed of the order and of every crop.
        device: where the crops are made.
        dtype: of the views.
        rank: index of this process.
        world: number of processes.
        compile: compile the augmentation, on a GPU.
        open: opens each of the files.

    Raises:
        BetonError: if the file is missing or broken.
        ConfigError: if no step can be made of the file, or the ranks cannot share one equally.
        LoaderError: if the engine is not installed.
    """
    device = torch.device(device)
    betons = BetonSet(data.data, open)
    order = make_order(betons, data, seed)
    check_batch(betons, order, batch_size, world)
    return MultiCropLoader(
        betons,
        open_engine(betons, data, device),
        order,
        augment,
        batch_size=batch_size,
        seed=seed,
        device=device,
        dtype=dtype,
        rank=rank,
        world=world,
        compile=compile and device.type == "cuda",
        augment_on="gpu" if data.engine == "dali" and data.augment_on == "auto" else data.augment_on,
    )


def check_batch(betons: BetonSet, order: Order, batch_size: int, world: int) -> None:
    """Refuse a batch that no step can be made of.

    Raises:
        ConfigError: if the ranks cannot share it equally, or an epoch is smaller.
    """
    if batch_size % world:
        raise ConfigError(
            "--optim.batch-size",
            f"{batch_size} images cannot be shared equally by {world} processes",
            f"Use a multiple of {world}.",
        )
    if len(order) < batch_size:
        raise ConfigError(
            "--optim.batch-size",
            f"a step of {batch_size} images cannot be made of an epoch of {len(order)} of {betons.path}",
            f"Use at most {len(order)}.",
        )


def make_order(betons: BetonSet, data: DataConfig, seed: int) -> Order:
    """The order that ``data`` asks for; the ranks agree on what ``auto`` means.

    Raises:
        ConfigError: if the weights do not fit the files.
    """
    sizes = np.diff(betons.starts).tolist()
    if data.weights and len(data.weights) != len(sizes):
        cause = f"{len(data.weights)} weights for {len(sizes)} files"
        raise ConfigError("--weights", cause, "Give one a file, in the order of --data, or none.")
    if not all(0 < weight < math.inf for weight in data.weights):
        raise ConfigError("--weights", f"{data.weights} are not all above 0", "Leave a file out of --data instead.")
    shares = shares_by_weight(sizes, data.weights)
    if 0 in shares:
        lacking = betons.betons[shares.index(0)].path
        raise ConfigError("--weights", f"no epoch would hold a sample of {lacking}", "Make its weight larger.")
    written = is_written(betons)
    if data.order == "pages" and not written:
        raise ConfigError("--order pages", f"{betons.path} has no pages, for it is no .beton", WRITE_IT)
    paged = data.order == "pages" or (data.order == "auto" and written and not agreed(fits_memory(betons.nbytes)))
    return Order(
        pages=betons.pages, starts=betons.starts, shares=shares, seed=seed, window=data.page_window if paged else 0
    )
