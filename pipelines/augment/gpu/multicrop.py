"""The GPU's way from decoded images and a plan to the normalised views of a training step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from frl.config import AugmentConfig, CropSpec
from frl.errors import ConfigError
from pipelines.augment.compiled import Compiled
from pipelines.augment.gpu.blur import RADIUS, TAPS, batch_blur
from pipelines.augment.gpu.colour import Planes, batch_grey, batch_jitter, batch_solarise
from pipelines.augment.gpu.packed import DevicePlan, pack, unpack
from pipelines.augment.gpu.resample import batch_resample, columns_first
from pipelines.augment.normalise import Normalise
from pipelines.augment.plan import Plan
from pipelines.page_locked import page_locked


class MultiCrop(nn.Module):
    """All crops of a batch, on its device: crop, flip, resize, jitter, grey, blur, solarise, normalise.

    An operation that a resolution never sees is left out of its graph, every other is computed for every crop and
    masked: static shapes, no synchronisation with the host, one graph that compiles to a few kernels. It runs on a CPU
    too, slowly, for tests of parity.

    Args:
        augment: the augmentation.
        dtype: of the views; all arithmetic is float32.
        compile: compile the graph (on a CPU it would take minutes and win nothing).

    Raises:
        ConfigError: if a crop is too small for the blur's mirrored border.
    """

    def __init__(self, augment: AugmentConfig, *, dtype: torch.dtype = torch.float32, compile: bool = False) -> None:
        super().__init__()
        require_room_for_blur(augment)
        self.augment = augment
        self.normalise = Normalise(augment, dtype)
        self.masked = Compiled(self.forward_masked) if compile else self.forward_masked

    def forward(self, images: Tensor, plan: Plan) -> list[Tensor]:
        """Make the views.

        Args:
            images: ``(B, S, S, 3)`` uint8, each in the upper left of its canvas, on the device of this module.
            plan: parameters of the ``(B, V)`` crops.

        Returns:
            One ``(count * B, 3, size, size)`` tensor per crop size: normalised, channels-last, crop-major.
        """
        packed = torch.from_numpy(pack(plan))
        if images.is_cuda:
            packed = page_locked(packed).to(images.device, non_blocking=True)
        return self.masked(images, packed)

    def forward_masked(self, images: Tensor, packed: Tensor) -> list[Tensor]:
        """The graph. ``packed``: ``(B, V, columns)`` float32, from ``pack``."""
        columns = columns_first(images)
        views, first = [], 0
        for spec in self.augment.crops:
            views.append(self.view_masked(columns, unpack(packed[:, first : first + spec.count]), spec))
            first += spec.count
        return views

    def view_masked(self, columns: Tensor, plan: DevicePlan, spec: CropSpec) -> Tensor:
        """The crops of one size. They stay columns first until the blur, and each image's together to the end."""
        colour = self.augment.colour_of(spec)
        crops = batch_resample(columns, plan["boxes"], plan["flip"], spec.size)
        planes = Planes(*(crops.float() / 255).unbind(dim=2))
        planes = batch_jitter(planes, plan["rungs"].flatten(0, 1))
        planes = batch_grey(planes, plan["grey"].flatten())
        if colour.blur_p > 0:
            upright = batch_blur(planes, plan["blur_sigma"].flatten(), columns.dtype)
        else:
            upright = Planes(*(plane.transpose(1, 2) for plane in planes))
        if colour.solarise_p > 0:
            upright = batch_solarise(upright, plan["solarise"].flatten())
        stacked = torch.stack(upright, dim=1)
        return self.normalise(stacked.unflatten(0, (-1, spec.count)).transpose(0, 1).flatten(0, 1))


def require_room_for_blur(augment: AugmentConfig) -> None:
    """Refuse crops that the blur's mirrored border does not fit in.

    Raises:
        ConfigError: naming the smallest crop that is blurred.
    """
    blurred = [spec.size for spec in augment.crops if augment.colour_of(spec).blur_p > 0]
    smallest = min(blurred, default=TAPS)
    if smallest <= RADIUS:
        cause = f"{smallest} pixels are too few for a blur of {TAPS} taps"
        raise ConfigError("--augment.crops", cause, f"Use more than {RADIUS}, or a blur probability of 0 for them.")
