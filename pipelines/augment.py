"""From decoded images and a plan to the normalised views of a training step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frl.config import AugmentConfig, CropSpec
from frl.errors import ConfigError
from pipelines.blur import RADIUS, batch_blur, blur_each
from pipelines.colour import batch_grey, batch_jitter, jitter_in_order, luma
from pipelines.packed import DevicePlan, pack, unpack
from pipelines.plan import Plan
from pipelines.resample import batch_resample, resample_each
from pipelines.threads import Threads

CACHED_PIXELS = 1 << 18  # crops of this many pixels together, 3 MiB as float32, go through the host way at a time


class Normalise(nn.Module):
    """Subtract the mean and divide by the standard deviation, per channel; the views' dtype, channels-last."""

    mean: Tensor
    std: Tensor

    def __init__(self, recipe: AugmentConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.dtype = dtype
        self.register_buffer("mean", torch.tensor(recipe.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(recipe.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        """``(N, 3, H, W)`` float32 in [0, 1] to a view."""
        return ((crops - self.mean) / self.std).to(self.dtype, memory_format=torch.channels_last)


class MultiCrop(nn.Module):
    """Crop, flip, resize, jitter, grey, blur, normalise: all crops of all samples of a batch.

    Two ways to the same views. On a GPU every operation is computed for every crop and masked: static shapes, no
    synchronisation with the host, one graph that compiles to a few kernels. On a CPU the plan, which the host knows,
    says which crops need an operation, and a native 8-bit kernel resamples: it rounds to whole grey levels there.

    Args:
        recipe: the augmentation.
        dtype: of the views; all arithmetic is float32.
        compile: compile the GPU's way (on a CPU it would take minutes and win nothing).

    Raises:
        ConfigError: if a crop is too small for the blur's mirrored border.
    """

    def __init__(self, recipe: AugmentConfig, *, dtype: torch.dtype = torch.float32, compile: bool = False) -> None:
        super().__init__()
        smallest = min(spec.size for spec in recipe.crops)
        if recipe.blur_p > 0 and smallest <= RADIUS:
            cause = f"{smallest} pixels are too few for a blur of {2 * RADIUS + 1} taps"
            raise ConfigError("--augment.crops", cause, f"Use more than {RADIUS}, or --augment.blur-p 0.")
        self.recipe = recipe
        self.normalise = Normalise(recipe, dtype)
        self.threads = Threads(torch.get_num_threads(), "frl-augment")
        self.masked = torch.compile(self.forward_masked, dynamic=False) if compile else self.forward_masked

    def forward(self, images: Tensor, plan: Plan) -> list[Tensor]:
        """Make the views.

        Args:
            images: ``(B, S, S, 3)`` uint8, each in the upper left of its canvas, on the device of this module.
            plan: parameters of the ``(B, V)`` crops.

        Returns:
            One ``(count * B, 3, size, size)`` tensor per crop size: normalised, channels-last, crop-major.
        """
        if images.device.type == "cpu":
            return self.forward_on_host(images, plan)
        packed = torch.from_numpy(pack(plan)).pin_memory()
        return self.masked(images, packed.to(images.device, non_blocking=True))

    def forward_masked(self, images: Tensor, packed: Tensor) -> list[Tensor]:
        """Every operation on every crop, masked. ``packed``: ``(B, V, 16)`` float32, from ``pack``."""
        levels = planar(images)
        views, first = [], 0
        for spec in self.recipe.crops:
            of_spec = packed[:, first : first + spec.count].transpose(0, 1)
            # One crop of each image at a time: the matrix product's intermediate is the largest tensor here.
            crops = [batch_resample(levels, unpack(c).boxes, unpack(c).flip, spec.size) for c in of_spec.unbind()]
            views.append(self.colour_masked(torch.cat(crops) / 255, unpack(of_spec.flatten(0, 1))))
            first += spec.count
        return views

    def colour_masked(self, crops: Tensor, plan: DevicePlan) -> Tensor:
        """Jitter, grey, blur and normalise ``(N, 3, size, size)`` crops."""
        crops = batch_jitter(crops, plan.jitter, plan.order, plan.factors)
        crops = batch_grey(crops, plan.grey)
        if self.recipe.blur_p > 0:
            crops = batch_blur(crops, plan.blur_sigma)
        return self.normalise(crops)

    def forward_on_host(self, images: Tensor, plan: Plan) -> list[Tensor]:
        """Each operation on the crops that need it."""
        views, first = [], 0
        for spec in self.recipe.crops:
            views.append(self.view_on_host(images, plan.crop_major(first, spec.count), spec))
            first += spec.count
        return views

    def view_on_host(self, images: Tensor, plan: Plan, spec: CropSpec) -> Tensor:
        """The crops of one size, a few at a time from end to end, so that they stay in the processor's cache."""
        shape = (len(plan.flip), 3, spec.size, spec.size)
        view = torch.empty(shape, dtype=self.normalise.dtype, memory_format=torch.channels_last)
        for rows in rows_sharing_jitter(plan, at_most=max(1, CACHED_PIXELS // spec.size**2)):
            crops = resample_each(images, plan.boxes, plan.flip, rows, spec.size, self.threads)
            if plan.jitter[rows[0]]:
                crops = jitter_in_order(crops, plan.order[rows[0]], torch.from_numpy(plan.factors[rows]))
            grey = torch.from_numpy(plan.grey[rows])
            crops[grey] = luma(crops[grey])
            blur_each(crops, plan.blur_sigma[rows], self.threads)
            view[torch.from_numpy(rows)] = self.normalise(crops)
        return view


def planar(images: Tensor) -> Tensor:
    """``(B, H, W, 3)`` uint8 to ``(B, 3, H, W)`` float32 grey levels: integers that even a TF32 product keeps exact."""
    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def rows_sharing_jitter(plan: Plan, at_most: int) -> Iterator[NDArray[np.intp]]:
    """Split the rows of a plan into groups without jitter or with the same order of operations."""
    keys = np.where(plan.jitter, plan.order @ np.array([1, 4, 16, 64]), -1)
    for key in np.unique(keys):
        rows = np.flatnonzero(keys == key)
        yield from (rows[first : first + at_most] for first in range(0, len(rows), at_most))


class Resize(nn.Module):
    """Whole images, resized with the crops' filter and normalised.

    Args:
        size: side of the view, in pixels; an image that is not square is stretched.
        recipe: gives the mean and the standard deviation.
    """

    def __init__(self, size: int, recipe: AugmentConfig) -> None:
        super().__init__()
        self.size = size
        self.threads = Threads(torch.get_num_threads(), "frl-resize")
        self.normalise = Normalise(recipe)

    def forward(self, images: Tensor, sizes: NDArray[np.int32]) -> Tensor:
        """``(B, S, S, 3)`` uint8 and their ``(B, 2)`` sizes to ``(B, 3, size, size)`` float32, channels-last."""
        boxes = np.concatenate([np.zeros_like(sizes), sizes], axis=1)
        if images.device.type == "cpu":
            flip, rows = np.zeros(len(sizes), dtype=bool), np.arange(len(sizes))
            return self.normalise(resample_each(images, boxes, flip, rows, self.size, self.threads))
        packed = torch.from_numpy(boxes).to(images.device).float()
        upright = torch.zeros(len(sizes), dtype=torch.bool, device=images.device)
        return self.normalise(batch_resample(planar(images), packed, upright, self.size) / 255)
