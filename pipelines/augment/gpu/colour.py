"""Colour operations on batches of RGB images in [0, 1], as ``torchvision.transforms.functional`` defines them.

An image is three planes, so that one pass computes all channels of a pixel: hue and grey need the three together. Each
operation takes one factor per image, ``(N, 1, 1)``, and clamps its result to [0, 1]. Where PIL rounds to whole grey
levels after each operation these keep the fractions. The contrast's pivot is therefore the exact mean grey, about half
a level from PIL's rounded one at most: 0.4 levels in the result at the paper's strengths.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pipelines.augment.gpu.ladder import OPERATIONS, Operation


class Planes(NamedTuple):
    """The channels of a batch of images, each ``(N, H, W)`` float32."""

    red: Tensor
    green: Tensor
    blue: Tensor


def luma(images: Planes) -> Tensor:
    """Grey of ITU-R 601: ``(N, H, W)``."""
    return 0.299 * images.red + 0.587 * images.green + 0.114 * images.blue


def adjust_brightness(images: Planes, factor: Tensor) -> Planes:
    """Blend with black."""
    return Planes(*((plane * factor).clamp(0, 1) for plane in images))


def adjust_contrast(images: Planes, factor: Tensor) -> Planes:
    """Blend with the image's mean grey."""
    # Rows first: PyTorch sums one large image alone in another order than several, and bits would depend on the batch.
    return _blend(images, luma(images).mean(dim=2, keepdim=True).mean(dim=1, keepdim=True), factor)


def adjust_saturation(images: Planes, factor: Tensor) -> Planes:
    """Blend with the image's grey."""
    return _blend(images, luma(images), factor)


def _blend(images: Planes, other: Tensor, factor: Tensor) -> Planes:
    return Planes(*((plane * factor + other * (1 - factor)).clamp(0, 1) for plane in images))


def adjust_hue(images: Planes, turns: Tensor) -> Planes:
    """Turn the colour wheel of HSV, in its closed form: value and chroma of each pixel stay, its hue moves."""
    red, green, blue = images
    value, least = torch.maximum(torch.maximum(*images[:2]), blue), torch.minimum(torch.minimum(*images[:2]), blue)
    chroma = value - least
    divisor = torch.where(chroma == 0, 1, chroma)
    if_green_or_blue = torch.where(value == green, (blue - red) / divisor + 2, (red - green) / divisor + 4)
    sextant = torch.where(value == red, (green - blue) / divisor, if_green_or_blue)
    hue = sextant / 6 + turns
    hue = (hue - hue.floor()) * 6
    shares = ((hue - 3).abs() - 1, 2 - (hue - 2).abs(), 2 - (hue - 4).abs())
    turned = (least + chroma * share.clamp(0, 1) for share in shares)
    return Planes(*(torch.where(turns == 0, old, new) for old, new in zip(images, turned, strict=True)))


ADJUST = {
    Operation.BRIGHTNESS: adjust_brightness,
    Operation.CONTRAST: adjust_contrast,
    Operation.SATURATION: adjust_saturation,
    Operation.HUE: adjust_hue,
}


def batch_jitter(images: Planes, factors: Tensor) -> Planes:
    """The colour jitter, each image's operations in its own order: see ``pipelines.augment.gpu.ladder``.

    Args:
        images: float32 in [0, 1].
        factors: ``(N, 15)`` float32, from ``ladder.rung_factors``.
    """
    for operation, factor in zip(OPERATIONS, factors[:, :, None, None].unbind(dim=1), strict=True):
        images = ADJUST[operation](images, factor)
    return images


def batch_grey(images: Planes, grey: Tensor) -> Planes:
    """Drop the colour of the images where ``grey`` (``(N,)`` bool) says so."""
    level = luma(images)
    return Planes(*(torch.where(grey[:, None, None], level, plane) for plane in images))


def batch_solarise(images: Planes, threshold: Tensor) -> Planes:
    """Invert the values that round to a whole level of ``threshold`` (``(N,)``, 256: none) or above."""
    limit = ((threshold - 0.5) / 255)[:, None, None]
    return Planes(*(torch.where(plane < limit, plane, 1 - plane) for plane in images))
