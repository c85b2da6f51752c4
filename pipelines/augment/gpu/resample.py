"""Crop, flip and resize in one, on a GPU: bilinear with anti-aliasing, as ``torchvision`` resizes a cropped PIL image.

Two batched matrix products: static shapes, no index lists, and hardware made for it. They keep fractions of a grey
level, which PIL rounds: the two are within one level. ``pipelines.augment.cpu.resize`` is the CPU's.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
