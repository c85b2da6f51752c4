"""The CPU's way from decoded images and a plan to the normalised views of a training step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from frl.config import AugmentConfig, CropSpec
from pipelines.augment_gpu import require_room_for_blur
from pipelines.blur import blur_each
from pipelines.colour import ADJUST, Planes, luma
from pipelines.ladder import Operation
from pipelines.normalise import Normalise
from pipelines.plan import Plan
from pipelines.resample import batch_resample, columns_first, resample_each
from pipelines.threads import Threads

CACHED_PIXELS = 1 << 18  # crops of this many pixels together, 3 MiB as float32, go through the host way at a time


class HostMultiCrop(nn.Module):
    """Crop, flip, resize, jitter, grey, blur, normalise on the CPU: each operation on the crops that need it.

    The plan, which the host knows, says which those are, and a native 8-bit kernel resamples: it rounds to whole grey
    levels there.

    Args:
        recipe: the augmentation.
        dtype: of the views; all arithmetic is float32.

    Raises:
        ConfigError: if a crop is too small for the blur's mirrored border.
    """

    def __init__(self, recipe: AugmentConfig, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        require_room_for_blur(recipe)
        self.recipe = recipe
        self.normalise = Normalise(recipe, dtype)
        self.threads = Threads(torch.get_num_threads(), "frl-augment")

    def forward(self, images: Tensor, plan: Plan) -> list[Tensor]:
        """Make the views; see ``pipelines.augment_gpu.MultiCrop``."""
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
            crops[grey] = luma(Planes(*crops[grey].unbind(1)))[:, None]
            blur_each(crops, plan.blur_sigma[rows], self.threads)
            view[torch.from_numpy(rows)] = self.normalise(crops)
        return view


def jitter_in_order(crops: Tensor, order: NDArray[np.uint8], factors: Tensor) -> Tensor:
    """Apply the four operations in one order to all ``(N, 3, H, W)`` crops; ``factors``: ``(N, 4)``."""
    planes = Planes(*crops.unbind(dim=1))
    for operation in order.tolist():
        planes = ADJUST[Operation(operation)](planes, factors[:, operation, None, None])
    return torch.stack(planes, dim=1)


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
        packed = torch.from_numpy(boxes).to(images.device).float()[:, None]
        upright = torch.zeros((len(sizes), 1), dtype=torch.bool, device=images.device)
        whole = batch_resample(columns_first(images), packed, upright, self.size)
        return self.normalise(whole.permute(0, 2, 3, 1).float() / 255)
