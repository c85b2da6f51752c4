"""Crop, flip and resize in one: bilinear with anti-aliasing, as ``torchvision`` resizes a cropped PIL image.

Two implementations of one law. ``batch_resample`` is two batched matrix products, for the GPU: static shapes, no index
lists. ``resample_each`` calls PyTorch's native 8-bit kernel crop by crop, for the CPU, where the dense products cost
ten times as much. The first keeps fractions of a grey level, the second rounds them as PIL does: each is within one
level of PIL.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipelines.threads import Threads


def filter_weights(start: Tensor, length: Tensor, mirrored: Tensor, size: int, extent: int) -> Tensor:
    """Weights of every input pixel for every output pixel along one axis: ``(B, size, extent)``, rows sum to 1.

    A triangle over the input, as wide as one output pixel when shrinking and one input pixel when enlarging. Pixels
    outside of the box weigh nothing, as if the crop had been cut out first.

    Args:
        start: ``(B,)`` first pixel of the box.
        length: ``(B,)`` pixels in the box.
        mirrored: ``(B,)`` bool, reverse the output.
        size: output pixels.
        extent: input pixels of the whole axis.
    """
    scale = (length / size)[:, None]
    output = torch.arange(size, device=start.device) + 0.5
    output = torch.where(mirrored[:, None], size - output, output)
    centre = (start[:, None] + output * scale)[..., None]
    pixel = torch.arange(extent, device=start.device) + 0.5
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])
    weights = (1 - (pixel - centre).abs() / scale.clamp(min=1)[..., None]).clamp(min=0) * inside[:, None]
    return weights / weights.sum(dim=-1, keepdim=True)


def planar(images: Tensor) -> Tensor:
    """``(B, H, W, 3)`` uint8 to ``(B, 3, H, W)`` float32 grey levels: integers that even a TF32 product keeps exact."""
    return images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def batch_resample(images: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    """One crop of each image: ``(B, C, H, W)`` float to ``(B, C, size, size)``.

    Args:
        images: ``(B, C, H, W)`` float32.
        boxes: ``(B, 4)`` float32, top, left, height, width.
        flip: ``(B,)`` bool, mirror left and right.
        size: side of the output.
    """
    batch, channels, height, width = images.shape
    top, left, box_height, box_width = boxes.unbind(dim=1)
    rows = filter_weights(top, box_height, torch.zeros_like(flip), size, height)
    columns = filter_weights(left, box_width, flip, size, width)
    narrow = torch.bmm(images.reshape(batch, channels * height, width), columns.transpose(1, 2))
    return rows[:, None] @ narrow.view(batch, channels, height, size)


def resample_each(
    images: Tensor,
    boxes: NDArray[np.int32],
    flip: NDArray[np.bool_],
    rows: NDArray[np.intp],
    size: int,
    threads: Threads,
) -> Tensor:
    """Some crops on the host: ``(B, H, W, 3)`` uint8 to ``(len(rows), 3, size, size)`` float32 in [0, 1].

    Args:
        images: ``(B, H, W, 3)`` uint8.
        boxes: ``(N, 4)`` int32, top, left, height, width; row n crops image ``n % B``.
        flip: ``(N,)`` bool, mirror left and right.
        rows: the rows of ``boxes`` and ``flip`` to make.
        size: side of the output.
        threads: run the crops.
    """
    planar = images.permute(0, 3, 1, 2)
    crops = np.empty((len(rows), size, size, 3), dtype=np.uint8)

    def resample(k: int) -> None:
        row = rows[k]
        top, left, height, width = boxes[row].tolist()
        image = row % len(images)
        box = planar[image : image + 1, :, top : top + height, left : left + width]
        crop = F.interpolate(box, size=(size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
        crops[k] = crop[:, ::-1] if flip[row] else crop

    threads.for_each(resample, range(len(rows)))
    levels = torch.from_numpy(crops).permute(0, 3, 1, 2)
    return levels.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
