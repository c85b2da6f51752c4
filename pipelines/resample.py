"""Crop, flip and resize in one: bilinear with anti-aliasing, as ``torchvision`` resizes a cropped PIL image.

Two implementations of one law. ``batch_resample`` is two batched matrix products, for the GPU: static shapes, no index
lists, and hardware made for it. ``resample_each`` calls PyTorch's native 8-bit kernel crop by crop, for the CPU, where
the dense products cost ten times as much. The first keeps fractions of a grey level, the second rounds them as PIL
does: each is within one level of PIL.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pipelines.threads import Threads


def columns_first(images: Tensor) -> Tensor:
    """``(B, H, W, 3)`` uint8 to ``(B, W, 3, H)`` floating-point grey levels, as ``batch_resample`` wants them.

    Half precision on a GPU: it holds the levels exactly and its matrix units then work at their full rate.
    """
    operand = torch.float16 if images.is_cuda else torch.float32
    return images.permute(0, 2, 3, 1).to(operand, memory_format=torch.contiguous_format)


def filter_weights(start: Tensor, length: Tensor, mirrored: Tensor, size: int, extent: int) -> Tensor:
    """Weights of every input pixel for every output pixel along one axis: ``(N, size, extent)``, rows sum to 1.

    A triangle over the input, as wide as one output pixel when shrinking and one input pixel when enlarging. Pixels
    outside of the box weigh nothing, as if the crop had been cut out first.

    Args:
        start: ``(N,)`` first pixel of the box.
        length: ``(N,)`` pixels in the box.
        mirrored: ``(N,)`` bool, reverse the output.
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


def batch_resample(columns: Tensor, boxes: Tensor, flip: Tensor, size: int) -> Tensor:
    """Some crops of each image: two batched matrix products, in the images' dtype, which sum in float32.

    Columns come first so that each product contracts an outer axis, and nothing is transposed or repeated between them.

    Args:
        columns: ``(B, W, 3, H)``, from ``columns_first``.
        boxes: ``(B, count, 4)`` float32, top, left, height, width.
        flip: ``(B, count)`` bool, mirror left and right.
        size: side of the crops.

    Returns:
        ``(B * count, size, 3, size)`` grey levels, columns first too; all crops of one image together.
    """
    batch, width, _, height = columns.shape
    top, left, box_height, box_width = boxes.flatten(0, 1).unbind(dim=1)
    across = filter_weights(left, box_width, flip.flatten(), size, width).to(columns.dtype)
    down = filter_weights(top, box_height, torch.zeros_like(flip.flatten()), size, height).to(columns.dtype)
    narrow = torch.bmm(across.view(batch, -1, width), columns.flatten(2))
    return torch.bmm(narrow.view(-1, size * 3, height), down.transpose(1, 2)).view(-1, size, 3, size)


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
