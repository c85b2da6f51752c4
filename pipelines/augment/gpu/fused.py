"""The multi-crop by kernels written by hand, which training takes on a GPU: they are faster than the graph."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from frl.config import AugmentConfig
from pipelines.augment.compiled import Compiled
from pipelines.augment.gpu.blur import RADIUS
from pipelines.augment.gpu.kernels import SPAN, TILE, blur_tile, colour, sum_luma
from pipelines.augment.gpu.multicrop import MultiCrop
from pipelines.augment.gpu.packed import unpack
from pipelines.augment.gpu.resample import batch_resample, columns_first


class FusedMultiCrop(MultiCrop):
    """The same views as ``MultiCrop``; all that follows the resizing is three kernels of Triton a resolution.

    It needs a GPU, or ``TRITON_INTERPRET=1`` in the environment before Triton is imported.

    Args:
        augment: the augmentation.
        dtype: of the views; all arithmetic is float32.
        compile: compile the resizing too, and fall back on the uncompiled graph where anything does not compile.

    Raises:
        ConfigError: if a crop is too small for the blur's mirrored border.
    """

    def __init__(self, augment: AugmentConfig, *, dtype: torch.dtype = torch.float32, compile: bool = False) -> None:
        super().__init__(augment, dtype=dtype)
        self.resize = torch.compile(self.resized, dynamic=False) if compile else self.resized
        self.masked = Compiled(self.forward_masked, self.forward_fused) if compile else self.forward_fused

    def forward_fused(self, images: Tensor, packed: Tensor) -> list[Tensor]:
        """What ``forward_masked`` makes: one graph, then the kernels."""
        first, views = 0, []
        with torch.cuda.device_of(images):  # Triton launches on the current device
            for spec, crops in zip(self.augment.crops, self.resize(images, packed), strict=True):
                blurs = self.augment.colour_of(spec).blur_p > 0
                views.append(self.finish(crops, packed, first, spec.count, blurs))
                first += spec.count
        return views

    def resized(self, images: Tensor, packed: Tensor) -> list[Tensor]:
        """The crops of each size, ``(B * count, size, 3, size)`` grey levels, columns first."""
        columns = columns_first(images)
        crops, first = [], 0
        for spec in self.augment.crops:
            plan = unpack(packed[:, first : first + spec.count])
            crops.append(batch_resample(columns, plan["boxes"], plan["flip"], spec.size))
            first += spec.count
        return crops

    def finish(self, crops: Tensor, packed: Tensor, first: int, count: int, blurs: bool) -> Tensor:
        """The views of resized crops, over which the coloured ones are written.

        Args:
            crops: ``(B * count, size, 3, size)`` grey levels.
            packed: ``(B, V, columns)`` float32.
            first: of their rows in the plan.
            count: crops of an image.
            blurs: whether any may be blurred.
        """
        crops, packed = crops.contiguous(), packed.contiguous()
        total, size = packed.shape[1], crops.shape[1]
        shape, layout = (len(crops), 3, size, size), torch.channels_last
        views = torch.empty(shape, dtype=self.normalise.dtype, device=crops.device, memory_format=layout)
        tiles = triton.cdiv(size, TILE) ** 2
        sums = torch.empty((len(crops), tiles), device=crops.device)
        mean, std = self.normalise.mean, self.normalise.std
        grid, parts = (len(crops) * tiles,), triton.next_power_of_2(tiles)
        sum_luma[grid](crops, packed, sums, first, count, total, size, SIDE=TILE)
        colour[grid](
            crops, packed, sums, views, mean, std, first, count, total, len(crops), size, SIDE=TILE, PARTS=parts
        )
        if blurs:
            grid = (len(crops) * triton.cdiv(size, SPAN - 2 * RADIUS) ** 2,)
            blur_tile[grid](crops, packed, views, mean, std, first, count, total, len(crops), size, AROUND=SPAN)
        return views
