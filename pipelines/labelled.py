"""Labelled faces of ``.beton`` files for fine-tuning: augmented training batches, and whole images to judge by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from frl.batch import Batch, LabelledBatch
from frl.beton.targets import TargetSpec
from frl.config import CropSpec, DataConfig
from frl.config.finetune import WarpConfig
from frl.errors import ConfigError
from frl.machine import memory_bytes
from pipelines.augment.affine import Warp, draw_warp
from pipelines.augment.normalise import NormaliseCrops
from pipelines.augment.plan import plan_whole
from pipelines.augment.warp import WarpImages, carried, packed_warp, require_mirror
from pipelines.engines.engine import Engine, Request
from pipelines.loader import known_of, open_engine, to_device
from pipelines.sampling.beton_set import BetonSet
from pipelines.sampling.order import rank_share, shuffled
from pipelines.upload import on_device

Samples = NDArray[np.int64]
DECODED_SHARE = 0.25
"""Of the device's memory that decoded images may fill; the rest is for training."""
DECODED_AT_ONCE = 256


class Pictures(Protocol):
    """Whole images at one size, wherever they come from."""

    def batches(self, requests: Iterable[Request]) -> Iterator[tuple[Tensor, Samples]]:
        """For each request ``(B, size, size, 3)`` uint8 on the device, and the samples that these show."""
        ...


class Streamed:
    """Images that are decoded whenever they are wanted.

    Args:
        engine: decodes them.
        size: side to which they are resized, anti-aliased; those that are not square are stretched.
        device: where they go.
    """

    def __init__(self, engine: Engine, size: int, device: torch.device) -> None:
        self.engine = engine
        self.spec = CropSpec(size=size, count=1, scale=(1, 1))
        self.device = device

    def batches(self, requests: Iterable[Request]) -> Iterator[tuple[Tensor, Samples]]:
        """See ``Pictures``."""
        for batch in self.engine.crops(requests, (self.spec,), plan_whole):
            yield on_device(batch.crops[0], self.device), batch.samples


class Decoded:
    """Images that are decoded once and kept on the device as bytes.

    Args:
        source: decodes them.
        samples: which, ``(N,)``, ascending.
        count: samples in the data set.
    """

    def __init__(self, source: Streamed, samples: Samples, count: int) -> None:
        size = source.spec.size
        self.images = torch.empty((len(samples), size, size, 3), dtype=torch.uint8, device=source.device)
        self.shown = np.empty_like(samples)  # another sample where one is broken and was replaced
        self.place = np.full(count, -1)
        self.place[samples] = np.arange(len(samples))
        starts = range(0, len(samples), DECODED_AT_ONCE)
        requests = (_request(samples[start : start + DECODED_AT_ONCE]) for start in starts)
        for start, (images, shown) in zip(starts, source.batches(requests), strict=True):
            self.images[start : start + len(images)] = images
            self.shown[start : start + len(images)] = shown

    def batches(self, requests: Iterable[Request]) -> Iterator[tuple[Tensor, Samples]]:
        """See ``Pictures``; only of the samples that are kept."""
        for request in requests:
            places = self.place[request.wanted]
            yield self.images[to_device(places, self.images.device)], self.shown[places]


class LabelledFaces:
    """The faces of some ``.beton`` files at one size.

    Args:
        paths: the files.
        samples: those that will be used, ``(N,)``; None: all.
        size: side of the images in pixels; images that are not square are stretched.
        augment: its mean and standard deviation normalise whole images.
        device: where the images go.
        dtype: of the views.
        keep_decoded: whether images are decoded once and kept on the device; auto: where they fit.
        data: engine, workers and what is done about broken images; its files and its order are not read.

    Raises:
        BetonError: if a file is missing or broken.
        LoaderError: if the engine is not installed, or an image does not decode.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        samples: Samples | None = None,
        *,
        size: int,
        augment: WarpConfig,
        device: torch.device | str,
        dtype: torch.dtype = torch.float32,
        keep_decoded: Literal["auto", "on", "off"] = "auto",
        data: DataConfig | None = None,
    ) -> None:
        self.size, self.augment, self.dtype = size, augment, dtype
        self.device = torch.device(device)
        self.betons = BetonSet(paths)
        self.samples = np.arange(len(self.betons)) if samples is None else np.unique(samples)
        self.engine = open_engine(self.betons, data or DataConfig(data=tuple(paths)), self.device)
        self.pictures: Pictures = Streamed(self.engine, size, self.device)
        nbytes = len(self.samples) * size * size * 3
        if keep_decoded == "on" or (keep_decoded == "auto" and nbytes <= DECODED_SHARE * _memory(self.device)):
            self.pictures = Decoded(self.pictures, self.samples, len(self.betons))

    def spec(self, name: str) -> TargetSpec:
        """What a target means.

        Raises:
            ConfigError: the files have none of this name in common.
        """
        for spec in self.betons.targets:
            if spec.name == name:
                return spec
        there = ", ".join(spec.name for spec in self.betons.targets) or "none"
        raise ConfigError(self.betons.path, f"has no target {name!r} (targets: {there})", "Write it with its targets.")

    def sides(self, samples: Samples) -> Tensor:
        """``(B, 2)`` float32, width and height of the stored images in pixels."""
        sides = np.stack([self.betons.widths[samples], self.betons.heights[samples]], axis=1)
        return torch.from_numpy(sides.astype(np.float32))

    def targets(self, samples: Samples, names: Sequence[str]) -> dict[str, Tensor]:
        """What is stored of some samples under these names, ``(B, *shape)``, on the CPU."""
        known = known_of(self.betons, samples, self.betons.labels[samples])
        return {name: known[name] for name in names}

    def training(
        self, samples: Samples, names: Sequence[str], *, batch_size: int, seed: int, rank: int = 0, world: int = 1
    ) -> TrainingFaces:
        """Augmented batches of some of the samples, endlessly, in an order that is shuffled anew in every pass.

        Args:
            samples: ``(n,)``, at least one, of those that are used.
            names: of the targets that the batches carry.
            batch_size: samples of a step over all ranks.
            seed: of the order and of the augmentation.
            rank: index of this process.
            world: number of processes.

        Raises:
            ConfigError: if there is no sample, the ranks cannot share a batch equally, a target is missing, or images
                are mirrored and nobody knows the mirror images of its points.
        """
        if not len(samples):
            raise ConfigError(self.betons.path, "no sample is left to train on", "Use a larger share of the labels.")
        if batch_size % world:
            cause = f"{batch_size} images cannot be shared equally by {world} processes"
            raise ConfigError("--finetune.batch-size", cause, f"Use a multiple of {world}.")
        specs = tuple(map(self.spec, names))
        if self.augment.flip_p > 0:
            for spec in specs:
                require_mirror(spec)
        return TrainingFaces(self, np.asarray(samples), specs, batch_size, seed, rank_share(batch_size, rank, world))

    def whole(self, samples: Samples, *, batch_size: int, part: tuple[int, int] = (0, 1)) -> WholeFaces:
        """Some of the samples as they are, in their order.

        Args:
            samples: ``(n,)``, of those that are used.
            batch_size: of a batch at most.
            part: which of how many parts of them, one after the other: of several ranks each takes its own.
        """
        index, parts = part
        share = samples[len(samples) * index // parts : len(samples) * (index + 1) // parts]
        return WholeFaces(self, share, batch_size)

    def close(self) -> None:
        """Stop the engine and close the files."""
        self.engine.close()
        self.betons.close()


class TrainingFaces:
    """Training batches of one rank; see ``frl.batch.LabelledLoader``. Made by ``LabelledFaces.training``.

    The passes through the samples follow each other without a gap: a step may hold the end of one and the beginning of
    the next, or several, so that a step has as many images however few are labelled.
    """

    def __init__(
        self,
        faces: LabelledFaces,
        samples: Samples,
        specs: Sequence[TargetSpec],
        batch_size: int,
        seed: int,
        share: slice,
    ) -> None:
        self.faces, self.samples, self.specs = faces, samples, specs
        self.batch_size, self.seed, self.share = batch_size, seed, share
        self.order = lru_cache(maxsize=2)(partial(shuffled, samples, seed))
        self.warp = WarpImages(faces.augment, faces.size, dtype=faces.dtype).to(faces.device)
        self.targets = faces.targets(samples, [spec.name for spec in specs])
        self.sides = faces.sides(samples)

    @property
    def fingerprint(self) -> str:
        """Identity of the files' content and of the samples that are used."""
        return hashlib.sha256(self.faces.betons.fingerprint.encode() + self.samples.tobytes()).hexdigest()

    def batches(self, start: int, stop: int) -> Iterator[LabelledBatch]:
        """Yield this rank's share of the batches of the steps from ``start`` to before ``stop``.

        Raises:
            LoaderError: naming the sample that does not decode.
        """
        requests = (Request(samples=self.step(step)[0], share=self.share) for step in range(start, stop))
        for step, (images, shown) in enumerate(self.faces.pictures.batches(requests), start):
            yield self.batch(images, shown, self.step(step)[1][self.share])

    def step(self, step: int) -> tuple[Samples, NDArray[np.int64]]:
        """The samples of a global step, ``(batch_size,)``, and the pass that each belongs to."""
        places = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        turns, within = np.divmod(places, len(self.samples))
        drawn = np.empty_like(turns)
        for turn in np.unique(turns).tolist():
            here = turns == turn
            drawn[here] = self.order(turn)[within[here]]
        return drawn, turns

    def batch(self, images: Tensor, samples: Samples, turns: NDArray[np.int64]) -> LabelledBatch:
        """The augmented views of whole images, ``(B, size, size, 3)`` uint8."""
        faces, size = self.faces, self.faces.size
        warp: Warp = draw_warp(faces.augment, self.seed, turns, samples, size)
        # Targets are small: they are carried on the host, and the device is handed the result.
        targets = faces.targets(samples, [spec.name for spec in self.specs])
        moved = carried(targets, self.specs, faces.sides(samples), warp, size)
        return LabelledBatch(
            images=self.warp(images, to_device(packed_warp(warp), faces.device)),
            samples=to_device(samples, faces.device),
            targets={name: to_device(values.numpy(), faces.device) for name, values in moved.items()},
            sides=torch.full((len(samples), 2), float(size), device=faces.device),
        )


class WholeFaces:
    """Whole images in order, as often as it is iterated; made by ``LabelledFaces.whole``. Batches of one view."""

    def __init__(self, faces: LabelledFaces, samples: Samples, batch_size: int) -> None:
        self.faces, self.samples, self.batch_size = faces, samples, batch_size
        self.normalise = NormaliseCrops(faces.augment.whole(faces.size), dtype=faces.dtype).to(faces.device)

    def __len__(self) -> int:
        return -(-len(self.samples) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        starts = range(0, len(self.samples), self.batch_size)
        requests = (_request(self.samples[start : start + self.batch_size]) for start in starts)
        device = self.faces.device
        for images, shown in self.faces.pictures.batches(requests):
            labels = to_device(self.faces.betons.labels[shown], device)
            yield Batch(views=self.normalise([images]), samples=to_device(shown, device), targets={"identity": labels})


def _request(samples: Samples) -> Request:
    return Request(samples=samples, share=slice(0, len(samples)))


def _memory(device: torch.device) -> int:
    """Bytes that the device has in all."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return memory_bytes()
